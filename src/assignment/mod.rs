//! The whole assignment, in its order: starts the servers, fetches the page, looks at the
//! rotation, measures, writes the report, stops everything.
//!
//! Knows neither HTTP servers nor tables: it runs the programs that a student would run, and
//! hands what it finds to [`report`]. Entry point: [`main`]; the order stands in `carry_out`.
//! Note: `notes/README.md`.

// the assignment's ports, and whether they are free
pub mod ports;
// fetches the page through the lb and checks it
pub mod fetch;
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
use report::Findings;
use std::path::Path;
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

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let rounds = given.number("--rounds", 1..=1000)?.unwrap_or(1) as usize;
    let requests = given.number("-n", 100..=1_000_000)?.unwrap_or(1000);
    end("all", carry_out(given, requests, rounds, stop), stop)
}

fn carry_out(given: &Given, requests: u64, rounds: usize, stop: &Stop) -> Result<(), String> {
    let begun = Instant::now();
    let [report, root] = ["--report", "--root"].map(|f| Path::new(given.text(f).unwrap_or(".")));
    let notes = given.text("--notes").map(Path::new);
    notes.map_or(Ok(()), notes::check)?;
    let mut servers = ports::ASSIGNED;
    if given.has("--free-ports") {
        servers.iter_mut().for_each(|(_, port)| *port = 0);
    }
    ports::check_free(&servers, stop)?;
    let fleet = Fleet::new(&report.join("logs"), root, stop);
    let mut fleet = fleet.map_err(|e| format!("{e}; see --report"))?;
    start(&mut fleet, &servers)?;
    let lb = fleet.one("lb")?.clone();
    step(4, &format!("fetching http://{}/page.html and all it shows", lb.address));
    let fetched = fetch::fetch(lb.address, root, ROTATION, stop)?;
    // Without the tiles, which the page fetches again and again.
    let shown = fetched.iter().filter(|one| !one.path.contains('?'));
    shown.for_each(|one| say(&format!("      {}", one.line)));
    let rotation = look_at_rotation(&lb.log, &fetched, stop)?;
    step(6, &format!("performance test: {requests} requests at {LEVELS:?}, {rounds} rounds of"));
    say(&format!("      {}", SYSTEMS.map(|(_, title)| title).join(", ")));
    let measured = measure::run(&fleet, requests, rounds, stop)?;
    fleet.check_running()?;
    let (started, fetched) = (fleet.servers.clone(), fetched.into_iter().map(|f| f.line).collect());
    let findings = Findings { requests, rounds, started, fetched, rotation, measured };
    step(7, &format!("writing the report in {}", report.display()));
    report::write(&findings, report)?;
    if let Some(folder) = notes {
        let charts = [("requests", report::requests_chart(&findings))];
        notes::refresh(folder, &|name| report::block(&findings, name), &charts)?;
    }
    drop(fleet);
    say(&format!("\n{}", report::summary(&findings)));
    let (seconds, file) = (begun.elapsed().as_secs_f64(), report.join("report.html"));
    say(&format!("done in {seconds:.0} s; every server has been stopped; see {}", file.display()));
    findings.trouble().map_or(Ok(()), Err)
}

/// Steps 2 and 3, and the server to compare with.
fn start(fleet: &mut Fleet, servers: &[(&str, u16)]) -> Result<(), String> {
    let mut backends = Vec::new();
    for (i, (topic, port)) in servers.iter().enumerate() {
        match i {
            0 => step(2, "starting four async_servers"),
            4 => step(3, "starting lb, and thread_server to compare with"),
            _ => {}
        }
        // On the assigned ports it knows its backends.
        let arguments: &[String] = if *topic == "lb" && *port == 0 { &backends } else { &[] };
        let address = fleet.start(topic, *port, arguments)?.address;
        say(&format!("      {topic}: http://{address}/"));
        backends.push(format!("--backend={address}"));
    }
    Ok(())
}

/// Step 5: every backend in turn, as the answers and the log say.
fn look_at_rotation(log: &Path, fetched: &[Fetched], stop: &Stop) -> Result<Vec<String>, String> {
    step(5, "looking at the rotation in the log of lb");
    fetch::check_rotation(&fetched.iter().map(|f| &*f.served_by).collect::<Vec<_>>())?;
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

fn step(number: usize, what: &str) {
    say(&format!("[{number}/7] {what}"));
}
