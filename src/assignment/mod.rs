//! The whole assignment, in its order: starts the servers, fetches the page, looks at the
//! rotation, measures, writes the report, stops everything.
//!
//! Knows neither HTTP servers nor tables: it runs the programs that a student would run, and
//! hands what it finds to [`report`]. Entry point: [`main`]; the order stands in `carry_out`.
//! Note: `notes/README.md`.

// the assignment's ports, and whether they are free
mod ports;
// fetches the page through the lb and checks it
mod fetch;
// the performance test and the load curve
mod measure;
// the same runs by ab
mod ab;
// what is handed in
mod report;

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::Fleet;
use crate::lab::notes;
use crate::lab::process::{end, lines, pause, say};
use fetch::Fetched;
use measure::{LEVELS, SYSTEMS};
use ports::Ports;
use report::Findings;
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
        flag("--notes", "DIR", "", "also refresh DIR/*.md's results blocks and DIR/img's chart"),
    ]],
    more: "Needs no other program. With ab (apache2-utils) installed its figures stand beside ours.\n\
        Ctrl-C stops everything.",
};

/// Requests for the look at the rotation: each of the four backends answers four times.
const ROTATION: usize = 16;
/// How long the log may take to show what has been answered.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// What the command line says.
struct Settings<'a> {
    rounds: usize,
    requests: u64,
    report: PathBuf,
    root: PathBuf,
    ports: Ports,
    notes: Option<PathBuf>,
    stop: &'a Stop,
}

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let path = |name| PathBuf::from(given.text(name).unwrap_or_default());
    let settings = Settings {
        rounds: given.number("--rounds", 1..=1000)?.unwrap_or(1) as usize,
        requests: given.number("-n", 100..=1_000_000)?.unwrap_or(1000),
        report: path("--report"),
        root: path("--root"),
        ports: if given.has("--free-ports") { Ports::FREE } else { Ports::ASSIGNED },
        notes: given.text("--notes").map(PathBuf::from),
        stop,
    };
    end("all", "every server", carry_out(&settings), stop)
}

/// The assignment, step by step.
fn carry_out(settings: &Settings) -> Result<(), String> {
    let begun = Instant::now();
    if let Some(folder) = &settings.notes {
        notes::check(folder)?;
    }
    ports::check_free(&settings.ports, settings.stop)?;
    let fleet = Fleet::new(&settings.report.join("logs"), &settings.root, settings.stop);
    let mut fleet = fleet.map_err(|e| format!("{e}; see --report"))?;
    start(&mut fleet, settings)?;
    let lb = fleet.one("lb")?.clone();
    step(4, &format!("fetching http://{}/page.html and all it shows", lb.address));
    let fetched = fetch::fetch(lb.address, &settings.root, ROTATION, settings.stop)?;
    // Without the tiles, which the page fetches again and again.
    let shown = fetched.iter().filter(|one| !one.path.contains('?'));
    shown.for_each(|one| say(&format!("      {}", one.line)));
    let rotation = look_at_rotation(&lb.log, &fetched, settings.stop)?;
    let systems = SYSTEMS.map(|(_, title)| title).join(", ");
    let (requests, rounds) = (settings.requests, settings.rounds);
    step(6, &format!("performance test: {requests} requests at {LEVELS:?}, {rounds} rounds of"));
    say(&format!("      {systems}"));
    let measured = measure::run(&fleet, requests, rounds, settings.stop)?;
    fleet.check_running()?;
    let findings = Findings {
        requests,
        rounds,
        started: fleet.all().to_vec(),
        fetched: fetched.into_iter().map(|one| one.line).collect(),
        rotation,
        measured,
    };
    step(7, &format!("writing the report in {}", settings.report.display()));
    report::write(&findings, &settings.report)?;
    if let Some(folder) = &settings.notes {
        let charts = [("requests", report::requests_chart(&findings))];
        notes::refresh(folder, &|name| report::block(&findings, name), &charts)?;
    }
    drop(fleet);
    say(&format!("\n{}", report::summary(&findings)));
    say(&format!(
        "done in {:.0} s; every server has been stopped; see {}",
        begun.elapsed().as_secs_f64(),
        settings.report.join("report.html").display()
    ));
    findings.trouble().map_or(Ok(()), Err)
}

/// Steps 2 and 3, and the server to compare with.
fn start(fleet: &mut Fleet, settings: &Settings) -> Result<(), String> {
    let ports = &settings.ports;
    let mut start = |topic, port, arguments: &[String]| {
        let server = fleet.start(topic, port, arguments)?;
        say(&format!("      {topic}: http://{}/", server.address));
        Ok::<_, String>(server.address)
    };
    step(2, "starting four async_servers");
    let mut backends = Vec::new();
    for port in ports.async_servers {
        backends.push(format!("--backend={}", start("async_server", port, &[])?));
    }
    if *ports == Ports::ASSIGNED {
        backends.clear(); // the lb knows these
    }
    step(3, "starting lb, and thread_server to compare with");
    start("lb", ports.lb, &backends)?;
    start("thread_server", ports.thread_server, &[])?;
    Ok(())
}

/// Step 5: every backend in turn, as the answers and the log say.
fn look_at_rotation(log: &Path, fetched: &[Fetched], stop: &Stop) -> Result<Vec<String>, String> {
    step(5, "looking at the rotation in the log of lb");
    fetch::check_rotation(fetched)?;
    let deadline = Instant::now() + LOG_PATIENCE;
    // Besides ours stand the line that says "listening", and whoever else found the port. Two
    // workers may log two answers in another order than they gave them.
    let asked: Vec<String> = fetched.iter().map(|f| format!(" GET /{} -> ", f.path)).collect();
    let is_ours = |line: &String| asked.iter().any(|request| line.contains(request));
    loop {
        let rotation = lines(log).into_iter().filter(is_ours).take(fetched.len());
        let rotation: Vec<String> = rotation.collect();
        if rotation.len() == fetched.len() {
            rotation.iter().for_each(|line| say(&format!("      {line}")));
            return Ok(rotation);
        }
        if Instant::now() > deadline {
            let (count, log) = (fetched.len(), log.display());
            return Err(format!("lb has answered {count} requests, but {log} does not show them"));
        }
        pause(stop)?;
    }
}

/// The step of the assignment that begins.
fn step(number: usize, what: &str) {
    say(&format!("[{number}/7] {what}"));
}
