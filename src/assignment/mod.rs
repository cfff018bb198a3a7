//! The whole assignment, in its order: starts the servers, fetches the page, looks at the
//! rotation, measures, writes the report, stops everything.
//!
//! Knows neither HTTP servers nor tables: it runs the programs that a student would run, and
//! hands what it finds to [`report`]. Entry point: [`main`]; the order stands in `carry_out`.
//! Note: `notes/README.md`.

// the servers as processes of their own
pub mod servers;
// fetches the page through the lb and checks it
pub mod page;
// a picture of the page, if there is a browser
mod browser;
// programs that are run and waited for, with a deadline
pub mod program;
// the performance test, with ab's figures beside ours
mod measure;

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::lab::notes;
use crate::lab::report::{self, Findings, Machine, Started};
use measure::{LEVELS, Measurement};
use page::Fetched;
use servers::{Ports, Servers};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `progjar all`
pub const TOPIC: Topic = Topic {
    name: "all",
    summary: "the whole assignment: servers, page, rotation, tables, report",
    operand: "",
    operand_default: "",
    flags: &[&[
        flag("--rounds", "N", "15", "measure everything in turn, N times; the median counts"),
        flag("-n", "requests", "1000", "requests per run"),
        flag("--report", "DIR", "report", "where report.html, report.md, results.csv and logs/ go"),
        flag("--root", "DIR", "www", "the folder that the servers serve"),
        flag("--free-ports", "", "", "any free ports instead of 9002-9005, 44444 and 46000"),
        flag("--no-screenshot", "", "", "no picture of the page, even if there is a browser"),
        flag("--notes", "DIR", "", "also refresh DIR/*.md's results blocks and DIR/img's chart"),
    ]],
    more: "Needs no other program. With ab (apache2-utils) installed its figures stand beside ours,\n\
        with Chromium a picture of the page. Ctrl-C stops everything.",
};

/// How each target is loaded before the first round.
const WARMUP: Duration = Duration::from_millis(200);
/// Requests for the look at the rotation: each of the four backends answers four times.
const ROTATION: usize = 16;
/// How long the log may take to show what has been answered.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// Why a step did not come to its end.
#[derive(Debug)]
pub enum End {
    /// Ctrl-C.
    Stopped,
    /// One sentence.
    Failed(String),
}

impl From<String> for End {
    fn from(sentence: String) -> End {
        End::Failed(sentence)
    }
}

/// What the command line says.
struct Settings {
    rounds: usize,
    requests: u64,
    report: PathBuf,
    root: PathBuf,
    ports: Ports,
    screenshot: bool,
    notes: Option<PathBuf>,
}

impl Settings {
    fn of(given: &Given) -> Result<Settings, String> {
        let path = |name| PathBuf::from(given.text(name).unwrap_or_default());
        Ok(Settings {
            rounds: given.number("--rounds", 1..=1000)?.unwrap_or(1) as usize,
            requests: given.number("-n", 100..=1_000_000)?.unwrap_or(1000),
            report: path("--report"),
            root: path("--root"),
            ports: match given.has("--free-ports") {
                true => Ports::FREE,
                false => Ports::ASSIGNED,
            },
            screenshot: !given.has("--no-screenshot"),
            notes: given.text("--notes").map(PathBuf::from),
        })
    }
}

/// Runs the topic. Ctrl-C is no failure: everything is stopped, and that is said.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let settings = Settings::of(given)?;
    match carry_out(&settings, stop) {
        Ok(()) => Ok(()),
        // Whatever broke while everything was being stopped broke for that reason.
        _ if stop.is_raised() => {
            say("all: stopped before the end; every server has been stopped");
            Ok(())
        }
        Err(End::Stopped) => Ok(()),
        Err(End::Failed(sentence)) => Err(Failure::CannotWork(format!("all: {sentence}"))),
    }
}

/// The assignment, step by step.
fn carry_out(settings: &Settings, stop: &Stop) -> Result<(), End> {
    let begun = Instant::now();
    if let Some(folder) = &settings.notes {
        notes::check(folder)?;
    }
    servers::check_free(&settings.ports, stop)?;
    let logs = fresh_folder(&settings.report)?;
    let mut servers = Servers::new(&logs, &settings.root);
    start(&mut servers, settings, stop)?;
    let fetched = fetch_page(&servers, settings, stop)?;
    let screenshot = take_picture(&servers, settings, stop);
    let rotation = look_at_rotation(&servers, &fetched, stop)?;
    let measurement = measure(&servers, settings, stop)?;
    servers.check_running()?;
    let findings = Findings {
        date: report::now(),
        machine: Machine::look(),
        requests: settings.requests,
        rounds: settings.rounds,
        warmup: WARMUP,
        started: started(&servers)?,
        fetched: fetched.iter().map(Fetched::to_string).collect(),
        rotation,
        screenshot,
        systems: measurement.systems,
        cells: measurement.cells,
        ab: measurement.ab,
        ab_version: measurement.ab_version,
    };
    step(7, &format!("writing the report in {}", settings.report.display()));
    report::write(&findings, &settings.report)?;
    if let Some(folder) = &settings.notes {
        refresh_notes(&findings, folder)?;
    }
    servers.end();
    say(&format!("\n{}", report::tables(&findings)));
    say(&format!(
        "done in {:.0} s; every server has been stopped; see {}",
        begun.elapsed().as_secs_f64(),
        settings.report.join("report.html").display()
    ));
    findings.trouble().map_or(Ok(()), |e| Err(End::Failed(e)))
}

/// Steps 2 and 3, and the server to compare with.
fn start(servers: &mut Servers, settings: &Settings, stop: &Stop) -> Result<(), End> {
    let ports = &settings.ports;
    step(2, "starting four async_servers");
    let mut backends = Vec::new();
    for port in ports.async_servers {
        let address = servers.start("async_server", port, &[], stop)?.address;
        say(&format!("      async_server: http://{address}/"));
        backends.push(format!("--backend={address}"));
    }
    if *ports == Ports::ASSIGNED {
        backends.clear(); // the lb knows these
    }
    step(3, "starting lb, and thread_server to compare with");
    let address = servers.start("lb", ports.lb, &backends, stop)?.address;
    say(&format!("      lb: http://{address}/"));
    let server = servers.start("thread_server", ports.thread_server, &[], stop)?;
    say(&format!("      thread_server: http://{}/", server.address));
    Ok(())
}

/// Step 4.
fn fetch_page(servers: &Servers, settings: &Settings, stop: &Stop) -> Result<Vec<Fetched>, End> {
    let lb = servers.one("lb")?.address;
    step(4, &format!("fetching http://{lb}/page.html and all it shows"));
    let fetched = page::fetch(lb, &settings.root, ROTATION, stop)?;
    for one in fetched.iter().filter(|one| !one.is_repeated()) {
        say(&format!("      {one}"));
    }
    Ok(fetched)
}

/// A picture of step 4, if there is a browser; the report says why there is none.
fn take_picture(servers: &Servers, settings: &Settings, stop: &Stop) -> Result<Vec<u8>, String> {
    if !settings.screenshot {
        return Err("not asked for".to_owned());
    }
    let lb = servers.one("lb")?.address;
    step(4, "taking a picture of the page in Chromium");
    let picture = browser::screenshot(&format!("http://{lb}/page.html"), &settings.report, stop);
    if let Err(why) = &picture {
        say(&format!("      no picture: {why}"));
    }
    picture
}

/// Step 5: every backend in turn, as the answers and the log say.
fn look_at_rotation(
    servers: &Servers,
    fetched: &[Fetched],
    stop: &Stop,
) -> Result<Vec<String>, End> {
    step(5, "looking at the rotation in the log of lb");
    page::check_rotation(fetched)?;
    let log = &servers.one("lb")?.log;
    let deadline = Instant::now() + LOG_PATIENCE;
    // Before ours stand the line that says "listening" and whoever else found the port.
    let first = format!("GET /{} -> ", fetched.first().map_or("", |f| f.path.as_str()));
    let rotation: Vec<String> = loop {
        let lines = log_lines(log)?.into_iter().skip_while(|line| !line.contains(&first));
        let lines: Vec<String> = lines.take(fetched.len()).collect();
        if lines.len() == fetched.len() {
            break lines;
        }
        program::pause(stop)?;
        if Instant::now() > deadline {
            return Err(End::Failed(format!(
                "lb has answered {} requests, but {} does not show them",
                fetched.len(),
                log.display()
            )));
        }
    };
    for line in &rotation {
        say(&format!("      {line}"));
    }
    Ok(rotation)
}

/// Step 6.
fn measure(servers: &Servers, settings: &Settings, stop: &Stop) -> Result<Measurement, End> {
    step(
        6,
        &format!(
            "performance test: {} requests at {LEVELS:?}, 3 systems in turn, {} rounds",
            settings.requests, settings.rounds
        ),
    );
    let url = |topic| Ok::<_, End>(format!("http://{}/", servers.one(topic)?.address));
    let urls = [url("lb")?, url("async_server")?, url("thread_server")?];
    measure::run(urls, settings.requests, settings.rounds, WARMUP, stop)
}

/// The programs with the beginning of their logs, for the report.
fn started(servers: &Servers) -> Result<Vec<Started>, End> {
    let of = |server: &servers::Server| {
        Ok(Started {
            topic: server.topic,
            command: server.command.clone(),
            log: log_lines(&server.log)?.into_iter().take(3).collect(),
        })
    };
    servers.all().iter().map(of).collect()
}

fn refresh_notes(findings: &Findings, folder: &Path) -> Result<(), End> {
    let count = notes::refresh(folder, &|name| report::block(findings, name))?;
    say(&format!(
        "      {count} results block{} refreshed in {}",
        if count == 1 { "" } else { "s" },
        folder.display()
    ));
    let images = folder.join("img");
    if images.is_dir() {
        report::write_chart(findings, &images)?;
    }
    Ok(())
}

/// The report's folder with an empty folder for logs in it: nothing in them is from another run.
fn fresh_folder(report: &Path) -> Result<PathBuf, String> {
    let logs = report.join("logs");
    let wrong = |e| format!("cannot write in '{}': {e}; see --report", logs.display());
    fs::create_dir_all(&logs).map_err(wrong)?;
    for entry in fs::read_dir(&logs).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|e| e == "log") {
            fs::remove_file(&path).map_err(wrong)?;
        }
    }
    Ok(logs)
}

fn log_lines(log: &Path) -> Result<Vec<String>, String> {
    let bytes = fs::read(log).map_err(|e| format!("cannot read '{}': {e}", log.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    // A line without its end is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(whole.lines().map(str::to_owned).collect())
}

/// The step of the assignment that begins.
fn step(number: usize, what: &str) {
    say(&format!("[{number}/7] {what}"));
}

/// A line of progress. A reader that went away (`| head`) is no reason to stop.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
