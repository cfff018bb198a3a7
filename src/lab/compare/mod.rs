//! The same work on this project and, where installed, on nginx and HAProxy, in turn, round
//! after round; as `compare pollers`, on the three pollers; as `compare tricks`, on this program
//! without each of its tricks.
//!
//! Starts and stops everything itself; the core never imports it. Entry point: [`main`].
//! Notes: `notes/fast.md`, `notes/poller.md`.

// what was asked for
mod settings;
// what is compared, and what is to be reached
mod cases;
// what nginx and HAProxy are told
mod configs;
// programs that are not ours, and that do not outlive us
pub(crate) mod guest;
// all systems, running
mod lineup;
// CPU time and memory from /proc
pub(crate) mod usage;
// thousands of connections that say nothing
mod idle;
// one measurement
mod load;
// system calls per request
mod calls;
// medians, ratios, goals
mod results;
// tables and charts as files
mod page;
// ratios of all cases, drawn
mod charts;
// what compare hands in
mod tables;
// scan, poll and epoll
mod pollers;
// what each trick gains
mod tricks;

use crate::assignment::{End, program, say};
use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::lab::notes;
use crate::lab::report::circumstances;
use calls::Counter;
use cases::{CASES, Case, IMAGE, LARGE, LARGE_SIZE};
use lineup::{Lineup, Place};
use load::Load;
use page::Page;
use results::{Results, Run};
use settings::{OTHER_DESCRIPTORS, Settings, reachable_idle, traces_folder};
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
        flag("--rounds", "N", "5", "measure everything in turn, N times; medians count"),
        flag("--seconds", "S", "2", "length of one measurement"),
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
    more: "WHAT: servers, pollers, or tricks. Cases of servers: keep-alive, keep-alive-wrk, close, close-ab, one,\n\
        image, large, idle; of pollers: 1, 10, 100, 1000, 10000; of tricks: the names of the patches. Uses nginx, haproxy, wrk, ab, perf or\n\
        strace where installed, and names what is not. Ctrl-C stops everything.",
};

/// How each system is loaded before the first round of a case.
const WARMUP: Duration = Duration::from_millis(200);
/// How long system calls are counted.
const COUNTED: Duration = Duration::from_millis(500);

/// Runs the topic. Ctrl-C is no failure: everything is stopped, and that is said.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let settings = Settings::of(given)?;
    let done = match given.operand()? {
        "servers" => {
            settings.check_only(&CASES.map(|case| case.name.to_owned()))?;
            servers(&settings, stop)
        }
        "pollers" => {
            settings.check_only(&pollers::SIZES.map(|size| size.to_string()))?;
            pollers::run(&settings, stop)
        }
        "tricks" => {
            let told = |sentence| Failure::CannotWork(format!("compare: {sentence}"));
            let tricks = tricks::read_all(&settings).map_err(told)?;
            let known: Vec<String> = tricks.iter().map(|trick| trick.name.clone()).collect();
            settings.check_only(&known)?;
            tricks::run(tricks, &settings, stop)
        }
        other => {
            let sentence = format!("compare: '{other}': give servers, pollers or tricks");
            return Err(Failure::Usage(sentence));
        }
    };
    match done {
        Ok(()) => Ok(()),
        // Whatever broke while everything was being stopped broke for that reason.
        _ if stop.is_raised() => {
            say("compare: stopped before the end; everything has been stopped");
            Ok(())
        }
        Err(End::Stopped) => Ok(()),
        Err(End::Failed(sentence)) => Err(Failure::CannotWork(format!("compare: {sentence}"))),
    }
}

/// This project beside others.
fn servers(settings: &Settings, stop: &Stop) -> Result<(), End> {
    let begun = Instant::now();
    if let Some(folder) = &settings.notes {
        notes::check(folder)?;
    }
    let folder = traces_folder(settings)?;
    let mut missing = Vec::new();
    // A load balancer keeps a second descriptor ready for each client: its backend's.
    let idle = reachable_idle(settings.idle, 2, &mut missing)?;
    let load = Load {
        length: settings.length,
        idle,
        wrk: program::find(&["wrk"]),
        ab: program::find(&["ab"]),
    };
    let wanted = CASES.into_iter().filter(|case| settings.wants(case.name));
    let (cases, without): (Vec<Case>, Vec<Case>) = wanted.partition(|case| load.can(case));
    for case in without {
        let what = format!("{} is left out: its driver is not installed", case.name);
        say(&what);
        missing.push(what);
    }
    let root = site(settings, &folder)?;
    let place =
        Place { folder: &folder, root: &root, connections: idle as u64 + OTHER_DESCRIPTORS / 2 };
    let mut lineup = Lineup::start(&place, stop)?;
    missing.extend(lineup.missing.iter().cloned());
    // A floor that keeps connections and one that closes them are two programs, and one row.
    let mut systems: Vec<_> = lineup.systems.iter().map(|s| (s.name, s.role)).collect();
    systems.dedup();
    let mut results = Results { systems, cases, ..Results::default() };
    let measured = measure(&mut results, &lineup, &load, settings, stop, &mut missing)
        .and_then(|()| count_calls(&mut results, &lineup, &load, &folder, stop, &mut missing))
        .and_then(|()| Ok(lineup.check_running()?));
    // The large file is of no further use.
    let _ = fs::remove_file(root.join(LARGE));
    measured?;
    drop(lineup);
    let method = format!(
        "{} Medians of {} rounds of {} s; all systems in turn, so that a disturbance meets all alike. Clients, servers and \
         backends share one machine and its loopback interface. CPU: user and system time of a system's processes, backends included. \
         {} workers for each load balancer, 1 for each server; no logs.",
        circumstances(&settings.command),
        settings.rounds,
        settings.length.as_secs_f64(),
        lineup::workers(),
    );
    let page = tables::page(&results, method, &missing);
    hand_in(&page, &tables::csv(&results), settings, begun)
}

/// All cases; within each all systems in turn, round after round.
fn measure(
    results: &mut Results,
    lineup: &Lineup,
    load: &Load,
    settings: &Settings,
    stop: &Stop,
    missing: &mut Vec<String>,
) -> Result<(), End> {
    for case in results.cases.clone() {
        say(&format!("{}: {}", case.name, case.title));
        let systems = || lineup.systems.iter().filter(|system| (system.can)(&case));
        for system in systems() {
            load.active(&case, system, WARMUP, stop)?;
        }
        for round in 1..=settings.rounds {
            let mut line = format!("      round {round}/{}:", settings.rounds);
            for system in systems() {
                let sample = match load.run(&case, system, stop) {
                    // The others are worth their time all the same.
                    Err(End::Failed(why)) => {
                        let what =
                            format!("Failed: {}, {}, round {round}: {why}", case.name, system.name);
                        say(&what);
                        missing.push(what);
                        continue;
                    }
                    sample => sample?,
                };
                line.push_str(&format!("  {} {:.0}", system.name, sample.rate));
                results.runs.push(Run { case, system: system.name, round, sample });
            }
            say(&line);
        }
    }
    Ok(())
}

/// System calls per request in the first case, by a short run of its own.
fn count_calls(
    results: &mut Results,
    lineup: &Lineup,
    load: &Load,
    folder: &Path,
    stop: &Stop,
    missing: &mut Vec<String>,
) -> Result<(), End> {
    let case = CASES[0];
    if !results.cases.contains(&case) {
        return Ok(());
    }
    for counter in Counter::all() {
        for system in lineup.systems.iter().filter(|system| (system.can)(&case)) {
            let mut work = || load.active(&case, system, COUNTED, stop);
            let count = counter.per_request(&system.pids, folder, stop, &mut work)?;
            results.calls.extend(count.map(|count| (system.name, count)));
        }
        if !results.calls.is_empty() {
            missing.push(format!(
                "System calls were counted by {} in a run of their own, backends included.",
                counter.name
            ));
            return Ok(());
        }
    }
    missing
        .push("System calls are not counted: perf and strace are missing or may not.".to_owned());
    Ok(())
}

/// Writes the files, refreshes the notes, prints the tables.
fn hand_in(page: &Page, csv: &str, settings: &Settings, begun: Instant) -> Result<(), End> {
    page.write(&settings.report, csv)?;
    say(&format!("\n{}", page.markdown()));
    if let Some(folder) = &settings.notes {
        let count = page.refresh(folder)?;
        say(&format!("{count} results blocks refreshed in {}", folder.display()));
    }
    say(&format!(
        "done in {:.0} s; everything has been stopped; see {}",
        begun.elapsed().as_secs_f64(),
        settings.report.join(format!("{}.html", page.name)).display()
    ));
    Ok(())
}

/// The folder that all serve: the image and the large file.
fn site(settings: &Settings, folder: &Path) -> Result<PathBuf, String> {
    let site = folder.join("site");
    let wrong = |e| format!("cannot write in '{}': {e}", site.display());
    fs::create_dir_all(&site).map_err(wrong)?;
    let image = settings.root.join(IMAGE);
    fs::copy(&image, site.join(IMAGE))
        .map_err(|e| format!("cannot copy '{}': {e}; see --root", image.display()))?;
    fs::write(site.join(LARGE), vec![b'x'; LARGE_SIZE]).map_err(wrong)?;
    Ok(site)
}
