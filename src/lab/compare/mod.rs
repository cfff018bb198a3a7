//! The same work for several systems in turn, round after round: this program beside nginx and
//! HAProxy, `async_server` with each poller, this program without each of its tricks. It is bench,
//! with the processes around it.
//!
//! Starts and stops everything itself. Entry point: [`main`]. Notes: `notes/fast.md`,
//! `notes/poller.md`.

// cases, systems, rounds: what is measured of each
mod measure;
// system calls per request
mod calls;
// what nginx and HAProxy are told
mod configs;
// this program beside nginx and HAProxy
mod servers;
// scan, poll and epoll
mod pollers;
// what each trick gains
mod tricks;

use super::machine::circumstances;
use super::page::{BOLD, Page, Part, put};
use super::{notes, process::say};
use crate::bench::verdict::{self, Pair};
use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::net::sys;
use measure::{Instrument, Row};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `progjar compare`
pub const TOPIC: Topic = Topic {
    name: "compare",
    summary: "this project beside nginx and HAProxy; or its pollers, or its tricks",
    operand: "WHAT",
    operand_default: "servers",
    flags: &[&[
        flag("--rounds", "N", "10", "measure everything in turn, N times; medians count"),
        flag("--seconds", "S", "0.3", "length of one measurement"),
        flag("--only", "CASE", "", "only this case (repeatable)"),
        flag("--idle", "N", "10000", "idle connections, as far as descriptors reach"),
        flag("--report", "DIR", "report", "where tables, charts, configurations and logs go"),
        flag("--root", "DIR", "www", "where the image lies"),
        flag("--notes", "DIR", "", "also refresh DIR/*.md's results block"),
        flag("--patches", "DIR", "notes/tricks", "of tricks: what takes each out"),
        flag(
            "--without",
            "DIR",
            "target/without",
            "of tricks: the program without each; run.sh builds them",
        ),
    ]],
    more: "WHAT: servers, pollers, or tricks. Cases of servers: keep-alive, keep-alive-wrk, one, image, large,\n\
        idle, close; of pollers: 1, 10, 100, 1000, 10000; of tricks: the names of the patches. Uses nginx,\n\
        haproxy, wrk and perf where installed, and names what is not. Ctrl-C stops everything.",
};

/// Descriptors of a process beside those of its idle connections.
const OTHER_DESCRIPTORS: u64 = 700;
/// One of the page's images, and a large file that is made for the measurement.
const IMAGE: &str = "readiness.jpg";
const LARGE: &str = "large.bin";
const LARGE_SIZE: usize = 8 << 20;

/// What the command line says.
struct Settings<'a> {
    rounds: usize,
    length: Duration,
    only: Vec<String>,
    idle: usize,
    report: PathBuf,
    /// For configurations and logs, inside the report's folder.
    folder: PathBuf,
    root: PathBuf,
    patches: PathBuf,
    without: PathBuf,
    stop: &'a Stop,
}

/// What one comparison found out.
struct Findings {
    title: &'static str,
    /// How it was measured, in addition to what is so for all.
    method: String,
    rows: Vec<Row>,
    parts: Vec<Part>,
}

impl Settings<'_> {
    fn of<'a>(given: &Given, stop: &'a Stop) -> Result<Settings<'a>, String> {
        let path = |name| PathBuf::from(given.text(name).unwrap_or_default());
        let length = given.duration("--seconds")?.unwrap_or_default();
        if length < Duration::from_millis(50) {
            return Err("compare: --seconds: give at least 0.05".to_owned());
        }
        Ok(Settings {
            rounds: given.number("--rounds", 1..=1000)?.unwrap_or(1) as usize,
            length,
            only: given.all("--only").map(str::to_owned).collect(),
            idle: given.number("--idle", 1..=1_000_000)?.unwrap_or(1) as usize,
            folder: path("--report").join("compare"),
            report: path("--report"),
            root: path("--root"),
            patches: path("--patches"),
            without: path("--without"),
            stop,
        })
    }

    /// Whether this case is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// As many idle connections as a process may hold that needs `each` descriptors for one; fewer
    /// than wanted is a remark.
    fn idle(&self, each: u64, instrument: &mut Instrument) -> Result<usize, String> {
        let limit = sys::raise_descriptor_limit()
            .map_err(|e| format!("cannot ask for the descriptor limit: {e}"))?;
        let most = (limit.saturating_sub(OTHER_DESCRIPTORS) / each).max(1) as usize;
        if most < self.idle {
            instrument.remark(format!(
                "only {most} idle connections: the descriptor limit is {limit} (ulimit -Hn)"
            ));
        }
        Ok(self.idle.min(most))
    }

    /// The folder that all serve: the image and the large file.
    fn site(&self) -> Result<PathBuf, String> {
        let site = self.folder.join("site");
        let wrong = |e| format!("cannot write in '{}': {e}", site.display());
        fs::create_dir_all(&site).map_err(wrong)?;
        let image = self.root.join(IMAGE);
        fs::copy(&image, site.join(IMAGE))
            .map_err(|e| format!("cannot copy '{}': {e}; see --root", image.display()))?;
        fs::write(site.join(LARGE), vec![b'x'; LARGE_SIZE]).map_err(wrong)?;
        Ok(site)
    }
}

/// Runs the topic. Ctrl-C is no failure: everything is stopped, and that is said.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let mut settings = Settings::of(given, stop)?;
    let cannot = |sentence| Failure::CannotWork(format!("compare: {sentence}"));
    let what = given.operand()?;
    let tricks = match what {
        "tricks" => tricks::read_all(&settings).map_err(cannot)?,
        _ => Vec::new(),
    };
    let known: Vec<&str> = match what {
        "servers" => servers::CASES.map(|case| case.name).to_vec(),
        "pollers" => pollers::SIZES.map(|(name, _)| name).to_vec(),
        "tricks" => tricks.iter().map(|trick| trick.name.as_str()).collect(),
        other => {
            let sentence = format!("compare: '{other}': give servers, pollers or tricks");
            return Err(Failure::Usage(sentence));
        }
    };
    if let Some(name) = settings.only.iter().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        let sentence = format!("compare: there is no case '{name}'; the cases are {known}");
        return Err(Failure::Usage(sentence));
    }
    let notes = given.text("--notes").map(Path::new);
    match carry_out(what, tricks, &mut settings, notes) {
        // Whatever broke while everything was being stopped broke for that reason.
        Err(_) if stop.is_raised() => {
            say("compare: stopped before the end; everything has been stopped");
            Ok(())
        }
        done => done.map_err(cannot),
    }
}

fn carry_out(
    what: &str,
    tricks: Vec<tricks::Trick>,
    settings: &mut Settings,
    notes: Option<&Path>,
) -> Result<(), String> {
    let begun = Instant::now();
    if let Some(folder) = notes {
        notes::check(folder)?;
    }
    let wrong = |e| format!("cannot write in '{}': {e}; see --report", settings.folder.display());
    fs::create_dir_all(&settings.folder).map_err(wrong)?;
    settings.folder = fs::canonicalize(&settings.folder).map_err(wrong)?;
    let mut instrument = Instrument::new(settings);
    let found = match what {
        "pollers" => pollers::run(settings, &mut instrument),
        "tricks" => tricks::run(tricks, settings, &mut instrument),
        _ => servers::run(settings, &mut instrument),
    };
    // The large file is of no further use.
    let _ = fs::remove_file(settings.folder.join("site").join(LARGE));
    let found = found?;
    let counted = found.rows.iter().any(|row| row.median(measure::Figure::Calls).is_some());
    instrument.remarks.push(match counted {
        true => {
            "System calls were counted by perf in a run of their own, backends included.".to_owned()
        }
        false => "System calls are not counted: perf is missing or may not.".to_owned(),
    });
    let (stem, operand) = match what {
        "servers" => ("compare", String::new()),
        other => (other, format!(" {other}")),
    };
    let (rounds, seconds) = (settings.rounds, settings.length.as_secs_f64());
    let only: String = settings.only.iter().map(|case| format!(" --only {case}")).collect();
    let command = format!("./run.sh compare{operand} --rounds {rounds} --seconds {seconds}{only}");
    let method = format!(
        "{} Medians of {rounds} rounds of {seconds} s. Processes are started anew for each case; within it all systems are measured in \
         turn, each round with another one first, so that a disturbance meets all alike. {}",
        circumstances(&command),
        found.method
    );
    let remarks = instrument.remarks.into_iter().map(Part::Text);
    let parts = [Part::Text(method)].into_iter().chain(found.parts).chain(remarks).collect();
    let page = Page { title: found.title.to_owned(), lang: "en", parts };
    page.write_markdown(&settings.report, stem)?;
    page.write_html(&settings.report, stem)?;
    put(&settings.report, &format!("{stem}.csv"), measure::csv(&found.rows).as_bytes())?;
    let (tables, charts): (Vec<Part>, Vec<Part>) =
        page.parts.into_iter().partition(|part| !matches!(part, Part::Charts(_)));
    let tables = Page { parts: tables, ..page };
    say(&format!("\n{}", tables.markdown()));
    if let Some(folder) = notes {
        let count = notes::refresh(folder, &|name| (name == stem).then(|| tables.markdown()))?;
        let images = folder.join("img");
        if count > 0 && images.is_dir() {
            Page { parts: charts, ..tables }.write_charts(&images)?;
        }
        say(&format!("{count} results blocks refreshed in {}", folder.display()));
    }
    say(&format!(
        "done in {:.0} s; everything has been stopped; see {}",
        begun.elapsed().as_secs_f64(),
        settings.report.join(format!("{stem}.html")).display()
    ));
    Ok(())
}

/// A heading, and which of these pairs differ.
fn differences(pairs: Vec<Pair>) -> [Part; 2] {
    let sentences = verdict::sentences(&verdict::judge(pairs));
    [Part::heading(BOLD, "Differences"), Part::List(sentences)]
}
