//! scan, poll and epoll below the same server, with ever more connections of which few say
//! anything: what does it cost to find out who is ready?
//!
//! Entry point: [`run`].

use super::calls::Counter;
use super::cases::{CASES, Case};
use super::idle::Idle;
use super::lineup::{Role, System};
use super::load::{Load, Sample};
use super::page::{Page, Part};
use super::settings::{Settings, reachable_idle, traces_folder};
use super::{COUNTED, WARMUP, hand_in};
use crate::assignment::servers::Servers;
use crate::assignment::{End, say};
use crate::bench::stats::Spread;
use crate::cli::shutdown::Stop;
use crate::lab::notes;
use crate::lab::report::chart::{Chart, Point, Series, Shape};
use crate::lab::report::circumstances;
use crate::lab::report::scale::Scale;
use crate::lab::report::words::number;
use crate::net::poller::Kind;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

/// Connections in all.
pub const SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// Of these, so many have a request under way.
const ACTIVE: usize = 8;

/// One measurement.
#[derive(Debug)]
struct Run {
    poller: &'static str,
    size: usize,
    round: usize,
    sample: Sample,
    calls: Option<f64>,
}

/// All sizes and pollers in turn, each with a server of its own.
pub fn run(settings: &Settings, stop: &Stop) -> Result<(), End> {
    let begun = Instant::now();
    if let Some(folder) = &settings.notes {
        notes::check(folder)?;
    }
    let folder = traces_folder(settings)?;
    let mut remarks = Vec::new();
    let most = reachable_idle(settings.idle, 1, &mut remarks)?;
    let mut sizes: Vec<usize> = SIZES.iter().map(|size| *size.min(&most)).collect();
    sizes.dedup();
    sizes.retain(|size| settings.only.is_empty() || settings.wants(&size.to_string()));
    let mut counters = Counter::all();
    let mut runs: Vec<Run> = Vec::new();
    for round in 1..=settings.rounds {
        for size in &sizes {
            let mut line = format!("round {round}/{}, {size} connections:", settings.rounds);
            for kind in Kind::ALL {
                let counter = counters.first().filter(|_| round == 1).cloned();
                let poller = kind.name();
                let (sample, calls) =
                    measure(poller, *size, counter.as_ref(), settings, &folder, stop)?;
                if counter.is_some() && calls.is_none() {
                    counters.remove(0); // it may not count here
                }
                let _ = write!(line, "  {poller} {:.0}", sample.rate);
                runs.push(Run { poller, size: *size, round, sample, calls });
            }
            say(&line);
        }
    }
    remarks.push(match counters.first() {
        Some(counter) => {
            format!("System calls were counted by {} in a run of their own.", counter.name)
        }
        None => "System calls are not counted: perf and strace are missing or may not.".to_owned(),
    });
    hand_in(&page(&runs, settings, remarks), &csv(&runs), settings, begun)
}

/// One poller below one number of connections; its system calls per request if there is
/// somebody to count them.
fn measure(
    poller: &'static str,
    size: usize,
    counter: Option<&Counter>,
    settings: &Settings,
    folder: &Path,
    stop: &Stop,
) -> Result<(Sample, Option<f64>), End> {
    let mut servers = Servers::new(folder, &settings.root);
    let arguments =
        ["--quiet".to_owned(), "--idle-timeout=3600s".to_owned(), format!("--poller={poller}")];
    let server = servers.start("async_server", 0, &arguments, stop)?;
    let system = System {
        name: poller,
        role: Role::Server,
        address: server.address,
        pids: vec![server.pid()],
        can: |_| true,
    };
    let active = size.min(ACTIVE);
    let case = Case { connections: active, ..CASES[0] };
    let load = Load { length: settings.length, idle: 0, wrk: None, ab: None };
    let _idle = Idle::open(system.address, size - active, stop)?;
    load.active(&case, &system, WARMUP, stop)?;
    let sample = load.active(&case, &system, settings.length, stop)?;
    let mut work = || load.active(&case, &system, COUNTED, stop);
    let calls = match counter {
        Some(counter) => counter.per_request(&system.pids, folder, stop, &mut work)?,
        None => None,
    };
    Ok((sample, calls))
}

/// The median of one figure of all rounds.
fn middle(
    runs: &[Run],
    poller: &str,
    size: usize,
    of: impl Fn(&Run) -> Option<f64>,
) -> Option<f64> {
    let here = runs.iter().filter(|r| r.poller == poller && r.size == size);
    Some(Spread::of(here.filter_map(of))?.median)
}

fn page(runs: &[Run], settings: &Settings, remarks: Vec<String>) -> Page {
    let method = format!(
        "{} Medians of {} rounds of {} s. `async_server` with each poller, all in turn; {ACTIVE} connections at most have a request for \
         31 bytes under way, the others have had one and say nothing more. CPU: user and system time of the server.",
        circumstances(&settings.command),
        settings.rounds,
        settings.length.as_secs_f64(),
    );
    let rate = |r: &Run| Some(r.sample.rate);
    let cpu = |r: &Run| r.sample.cpu;
    Page {
        name: "pollers",
        title: "Who is ready? scan, poll and epoll",
        method,
        parts: vec![Part { heading: "Pollers", rows: rows(runs), sentences: remarks }],
        charts: vec![
            ("pollers-rate", chart(runs, "Requests per second", "requests/s (log scale)", &rate)),
            ("pollers-cpu", chart(runs, "CPU time per request", "µs (log scale)", &cpu)),
        ],
    }
}

fn sizes(runs: &[Run]) -> Vec<usize> {
    let mut sizes: Vec<usize> = runs.iter().map(|run| run.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn rows(runs: &[Run]) -> Vec<Vec<String>> {
    let heading =
        ["Connections", "Poller", "Requests/s", "p99 ms", "CPU µs/request", "System calls/request"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    for size in sizes(runs) {
        for kind in Kind::ALL {
            let poller = kind.name();
            let of = |pick: fn(&Run) -> Option<f64>| shown(middle(runs, poller, size, pick));
            rows.push(vec![
                number(size as f64).trim_end_matches(".00").trim_end_matches(".0").to_owned(),
                poller.to_owned(),
                of(|r| Some(r.sample.rate)),
                of(|r| r.sample.p99),
                of(|r| r.sample.cpu),
                of(|r| r.calls),
            ]);
        }
    }
    rows
}

fn chart(
    runs: &[Run],
    title: &str,
    y_label: &'static str,
    of: &dyn Fn(&Run) -> Option<f64>,
) -> Chart {
    let sizes = sizes(runs);
    let series: Vec<Series> = Kind::ALL
        .iter()
        .map(|kind| {
            let points = sizes.iter().filter_map(|size| {
                let value = middle(runs, kind.name(), *size, of)?;
                Some(Point::at(*size as f64, value))
            });
            Series { name: kind.name(), points: points.collect() }
        })
        .collect();
    let values = series.iter().flat_map(|s| &s.points).map(|p| p.y);
    let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
    let across: Vec<f64> = sizes.iter().map(|size| *size as f64).collect();
    Chart {
        title: title.to_owned(),
        x_label: "open connections (log scale)",
        y_label,
        x: Scale::at(&across),
        y: Scale::log(low, high),
        shape: Shape::Line,
        series,
    }
}

fn csv(runs: &[Run]) -> String {
    let mut text = String::from(
        "connections,poller,round,requests_per_second,p99_ms,cpu_us_per_request,system_calls_per_request,bad\n",
    );
    let plain = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.3}"));
    for run in runs {
        let _ = writeln!(
            text,
            "{},{},{},{:.1},{},{},{},{}",
            run.size,
            run.poller,
            run.round,
            run.sample.rate,
            plain(run.sample.p99),
            plain(run.sample.cpu),
            plain(run.calls),
            run.sample.bad
        );
    }
    text
}
