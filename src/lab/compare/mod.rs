//! The same work for several systems in turn, round after round: this program beside nginx and
//! HAProxy, `async_server` with each poller, this program without each of its tricks. It is bench,
//! with the processes around it.
//!
//! Starts and stops everything itself. Entry point: [`main`]. Notes: `notes/fast.md`,
//! `notes/poller.md`.

// a case on all its systems, round after round
mod measure;
// what was measured: table, charts
mod rows;
// nginx and HAProxy, and what they are told
mod others;
// this program beside nginx and HAProxy
mod servers;
// scan, poll and epoll
mod pollers;
// what each trick gains
mod tricks;

use super::chart::Chart;
use super::fleet::Fleet;
use super::notes::{self, circumstances};
use super::page::{BOLD, Page, Part};
use super::process::{end, say};
use crate::bench::Plan;
use crate::bench::verdict::{self, Pair};
use crate::cli::Result;
use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::net::sys;
use measure::Case;
use rows::{Reference, Row};
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
        flag("--without", "DIR", "target/without", "of tricks: what run.sh builds without each"),
    ]],
    more: "WHAT: servers, pollers, or tricks. Cases of servers: keep-alive, one, image, large, idle, close;\n\
        of pollers: 1, 10, 100, 1000, 10000; of tricks: the names of the patches. Uses nginx and haproxy\n\
        where installed, and names what is not. Ctrl-C stops everything.",
};

/// Descriptors of a process beside those of its idle connections.
const OTHER_DESCRIPTORS: u64 = 700;
/// One of the page's images, and a large file that is made for the measurement.
const IMAGE: &str = "readiness.jpg";
const LARGE: &str = "large.bin";
const LARGE_SIZE: usize = 8 << 20;

/// What the command line says, and what else measures.
struct Comparison<'a> {
    rounds: usize,
    length: Duration,
    only: Vec<String>,
    idle: usize,
    /// For configurations and logs, inside the report's folder.
    folder: PathBuf,
    /// What all servers serve: the image and the large file.
    site: PathBuf,
    stop: &'a Stop,
    /// What a reader of the tables has to know.
    remarks: Vec<String>,
}

type Start<'a> = dyn Fn(&mut Fleet, &Case) -> Result<Vec<Plan>> + 'a;

/// What is compared: cases, and the systems that are started for each.
struct List<'a> {
    title: &'static str,
    /// How it was measured, in addition to what is so for all.
    method: String,
    /// The name of its table, its first two columns, and what stands below it.
    heading: &'static str,
    columns: [&'static str; 2],
    below: &'static str,
    cases: Vec<Case>,
    start: Box<Start<'a>>,
    reference: Reference,
    /// What is judged among the rows of a case.
    pairs: fn(&[Row]) -> Vec<Pair>,
    /// Each with the stem of its file.
    charts: fn(&[Row]) -> Vec<(&'static str, Chart)>,
}

impl Comparison<'_> {
    fn of<'a>(given: &Given, stop: &'a Stop) -> Result<Comparison<'a>> {
        let path = |name| PathBuf::from(given.text(name).unwrap_or_default());
        let length = given.duration("--seconds")?.unwrap_or_default();
        if length < Duration::from_millis(50) {
            return Err("compare: --seconds: give at least 0.05".to_owned());
        }
        Ok(Comparison {
            rounds: given.number("--rounds", 1..=1000)?.unwrap_or(1) as usize,
            length,
            only: given.all("--only").map(str::to_owned).collect(),
            idle: given.number("--idle", 1..=1_000_000)?.unwrap_or(1) as usize,
            folder: path("--report").join("compare"),
            site: path("--report").join("compare/site"),
            stop,
            remarks: Vec::new(),
        })
    }

    fn remark(&mut self, what: String) {
        say(&what);
        self.remarks.push(what);
    }

    /// The idle connections that `each` descriptors allow; fewer than wanted is a remark.
    fn reachable_idle(&mut self, each: u64) -> Result<usize> {
        let limit = sys::raise_descriptor_limit()
            .map_err(|e| format!("cannot ask for the descriptor limit: {e}"))?;
        let most = (limit.saturating_sub(OTHER_DESCRIPTORS) / each).max(1) as usize;
        if most < self.idle {
            self.remark(format!(
                "only {most} idle connections: the descriptor limit is {limit} (ulimit -Hn)"
            ));
        }
        Ok(self.idle.min(most))
    }

    fn prepare(&mut self, root: &Path) -> Result<()> {
        let wrong = |e| format!("cannot write in '{}': {e}; see --report", self.folder.display());
        self.folder = fs::create_dir_all(&self.site)
            .and_then(|()| fs::canonicalize(&self.folder))
            .map_err(wrong)?;
        self.site = self.folder.join("site");
        let image = root.join(IMAGE);
        fs::copy(&image, self.site.join(IMAGE))
            .map_err(|e| format!("cannot copy '{}': {e}; see --root", image.display()))?;
        fs::write(self.site.join(LARGE), vec![b'x'; LARGE_SIZE])
            .map_err(|e| format!("cannot write in '{}': {e}", self.site.display()))
    }
}

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let mut compare = Comparison::of(given, stop)?;
    let (what, list) = match given.operand()? {
        "servers" => ("", servers::list(&mut compare)),
        "pollers" => (" pollers", pollers::list(&mut compare)),
        "tricks" => (" tricks", tricks::list(&compare, given)),
        other => {
            let sentence = format!("compare: '{other}': give servers, pollers or tricks");
            return Err(Failure::Usage(sentence));
        }
    };
    let list = list.map_err(|sentence| Failure::CannotWork(format!("compare: {sentence}")))?;
    let known: Vec<&str> = list.cases.iter().map(|case| case.name.as_str()).collect();
    if let Some(name) = compare.only.iter().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        let sentence = format!("compare: there is no case '{name}'; the cases are {known}");
        return Err(Failure::Usage(sentence));
    }
    end("compare", carry_out(what, &list, &mut compare, given), stop)
}

/// Measures, writes the files, refreshes the notes, prints the tables.
fn carry_out(what: &str, list: &List, compare: &mut Comparison, given: &Given) -> Result<()> {
    let begun = Instant::now();
    let [report, root] = ["--report", "--root"].map(|f| Path::new(given.text(f).unwrap_or(".")));
    let notes = given.text("--notes").map(Path::new);
    notes.map_or(Ok(()), notes::check)?;
    compare.prepare(root)?;
    let rows = compare.measure(list);
    // The large file is of no further use.
    let _ = fs::remove_file(compare.site.join(LARGE));
    let rows = rows?;
    let mut page = page(what, list, compare, &rows);
    let block = page.markdown();
    say(&format!("\n{block}"));
    let charts = (list.charts)(&rows);
    page.parts.insert(1, Part::Charts(charts.clone()));
    let stem = if what.is_empty() { "compare" } else { what.trim() };
    page.write_markdown(report, stem)?;
    page.write_html(report, stem)?;
    if let Some(folder) = notes {
        notes::refresh(folder, &|name| (name == stem).then(|| block.clone()), &charts)?;
    }
    let (seconds, report) = (begun.elapsed().as_secs_f64(), report.join(format!("{stem}.html")));
    say(&format!(
        "done in {seconds:.0} s; every server has been stopped; see {}",
        report.display()
    ));
    Ok(())
}

/// All but the charts.
fn page(what: &str, list: &List, compare: &Comparison, rows: &[Row]) -> Page {
    let (rounds, seconds) = (compare.rounds, compare.length.as_secs_f64());
    let only: String = compare.only.iter().map(|case| format!(" --only {case}")).collect();
    let command = format!("./run.sh compare{what} --rounds {rounds} --seconds {seconds}{only}");
    let method = format!(
        "{} Medians of {rounds} rounds of {seconds} s. Processes are started anew for each case; within it all systems are measured in \
         turn, each round with another one first, so that a disturbance meets all alike. {}",
        circumstances(&command),
        list.method
    );
    let mut parts = vec![
        Part::Text(method),
        Part::heading(BOLD, list.heading),
        Part::Table(rows::table(list.columns, rows, list.reference)),
        Part::text(list.below),
    ];
    let pairs: Vec<Pair> = rows::by_case(rows).flat_map(list.pairs).collect();
    if !pairs.is_empty() {
        parts.push(Part::heading(BOLD, "Differences"));
        parts.push(Part::List(verdict::sentences(&verdict::judge(pairs))));
    }
    parts.extend(compare.remarks.iter().map(Part::text));
    Page { title: list.title.to_owned(), lang: "en", parts }
}
