//! The instrument: loads a web server with client threads and says what it saw, in ab's words.
//!
//! It imports neither `http` nor `site`: an instrument that shares a parser with the thing it
//! measures shares its faults. Entry points: [`main`] for the command line, [`run`] for one
//! run, [`rounds::rounds`] for a comparison. Note: `notes/bench.md`.

// what to do: the URL, the bytes of a request, how many of them
pub mod plan;
// ab's options, and ours
pub mod options;
// where a response's head ends, and what it says
mod head;
// where a response ends
pub mod reader;
// one thread: many connections, one poller
mod client;
// what is counted
pub mod tally;
// times in bounded memory; are two sets of rates different?
pub mod stats;
// ab's -g
mod rows;
// several targets and levels in turn
pub mod rounds;
// what one sees while it runs
mod progress;
// ab's report
pub mod report;
// the assignment's table, CSV, JSON
pub mod table;

pub use options::{Options, TOPIC};
pub use plan::Plan;
pub use tally::Outcome;

use crate::cli::args::{Failure, Given};
use crate::cli::shutdown::{Stop, TICK};
use crate::net::sys;
use client::{Pulse, Share, Shared};
use options::Format;
use plan::Target;
use progress::Progress;
use rows::RowFile;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tally::{Tally, Timeline};

/// Descriptors beside those of the connections: standard streams, pollers, files.
const OTHER_DESCRIPTORS: u64 = 16;
/// How long to try each address of a name that has several.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);

/// A run under way, ten times a second.
#[derive(Debug)]
pub struct Glance<'a> {
    /// Since when.
    pub elapsed: Duration,
    /// Requests that ended.
    pub done: u64,
    /// Those that ended badly.
    pub failed: u64,
    /// The slowest thread's, of the last half second.
    pub p99: Duration,
    /// Requests per interval so far.
    pub timeline: &'a Timeline,
}

/// Runs the plan, to its end or until `stop`. The error is one line: the target refuses, or
/// something broke and the plan does not say to go on.
pub fn run(plan: &Plan, stop: &Stop, progress: &mut dyn FnMut(&Glance)) -> Result<Outcome, String> {
    let address = resolve(&plan.target)?;
    let threads = plan.threads.clamp(1, plan.concurrency);
    check_descriptors(plan.concurrency, threads)?;
    let rows = plan.rows.as_deref().map(RowFile::create).transpose()?;
    let shared = Shared {
        plan,
        request: plan.request(),
        address,
        stop,
        epoch: Instant::now(),
        document: AtomicU64::new(client::UNKNOWN),
        reached: AtomicBool::new(false),
        aborted: AtomicBool::new(false),
        rows: rows.as_ref(),
    };
    let pulses: Vec<Pulse> = (0..threads).map(|_| Pulse::default()).collect();
    let mut timeline = Timeline::new(TICK);
    let results = thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for (index, pulse) in pulses.iter().enumerate() {
            let (sender, shared) = (sender.clone(), &shared);
            let share = share(plan, index, threads);
            scope.spawn(move || {
                // The receiver lives until all have ended: sending cannot fail.
                let _ = sender.send(client::run(shared, share, pulse));
            });
        }
        drop(sender);
        watch(&results, &shared, &pulses, &mut timeline, progress)
    });
    let tallies = results
        .into_iter()
        .collect::<Result<Vec<Tally>, String>>()?;
    let tally = tallies.into_iter().reduce(Tally::merged);
    let tally = tally.unwrap_or_else(|| Tally::new(shared.epoch));
    let document = shared.document.load(Relaxed);
    Ok(Outcome {
        plan: Plan {
            threads,
            ..plan.clone()
        },
        wall: tally.last - tally.begun,
        interrupted: stop.is_raised(),
        document_length: match document {
            client::UNKNOWN => 0,
            length => length,
        },
        tally,
        timeline,
    })
}

/// Each thread has its part of the requests and of the connections, and shares nothing.
fn share(plan: &Plan, index: usize, of: usize) -> Share {
    let part = |whole: u64| {
        let (index, of) = (index as u64, of as u64);
        whole / of + u64::from(index < whole % of)
    };
    Share {
        index,
        of,
        requests: part(plan.requests),
        connections: part(plan.concurrency as u64) as usize,
    }
}

/// Waits for the threads, and lets `progress` see how they fare.
fn watch(
    results: &mpsc::Receiver<Result<Tally, String>>,
    shared: &Shared,
    pulses: &[Pulse],
    timeline: &mut Timeline,
    progress: &mut dyn FnMut(&Glance),
) -> Vec<Result<Tally, String>> {
    let mut ended = Vec::new();
    let mut known = 0;
    loop {
        let result = results.recv_timeout(TICK);
        let sum = |of: fn(&Pulse) -> &AtomicU64| pulses.iter().map(|p| of(p).load(Relaxed)).sum();
        let elapsed = shared.epoch.elapsed();
        let done: u64 = sum(|p| &p.done);
        timeline.add(elapsed, done - known);
        known = done;
        progress(&Glance {
            elapsed,
            done,
            failed: sum(|p| &p.failed),
            p99: pulses
                .iter()
                .map(|p| Duration::from_nanos(p.p99.load(Relaxed)))
                .max()
                .unwrap_or_default(),
            timeline,
        });
        match result {
            Ok(result) => ended.push(result),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return ended,
        }
    }
}

/// The target's address. Only a name with several addresses is tried out: a lone probe would
/// be one connection more than the run was asked to make.
fn resolve(target: &Target) -> Result<SocketAddr, String> {
    let addresses: Vec<SocketAddr> = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|e| format!("cannot find the host '{}': {e}", target.host))?
        .collect();
    if let [address] = addresses[..] {
        return Ok(address);
    }
    let mut last = std::io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, ADDRESS_PATIENCE) {
            Ok(_) => return Ok(address),
            Err(e) => last = e,
        }
    }
    Err(format!(
        "cannot connect to {}: {last}; is the server running?",
        target.authority()
    ))
}

fn check_descriptors(connections: usize, threads: usize) -> Result<(), String> {
    let needed = connections as u64 + threads as u64 + OTHER_DESCRIPTORS;
    let limit = sys::raise_descriptor_limit()
        .map_err(|e| format!("cannot ask for the descriptor limit: {e}"))?;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "-c {connections} needs {needed} open descriptors and the limit is {limit}: \
         choose a lower -c, or raise the hard limit (ulimit -Hn)"
    ))
}

/// `progjar bench`: the report goes to stdout, progress to stderr.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    if given.has("-h") {
        print(&TOPIC.help());
        return Ok(());
    }
    if given.has("-V") {
        print(&format!(
            "progjar bench {}, ab's options and report\n",
            env!("CARGO_PKG_VERSION")
        ));
        return Ok(());
    }
    let options = Options::of(given).map_err(Failure::Usage)?;
    let work = |e: String| Failure::CannotWork(format!("bench: {e}"));
    if matches!(options.format, Format::Text | Format::Html) {
        print(&report::opening(&options));
    }
    let mut progress = Progress::new(&options);
    let (plans, count) = (&options.plans, options.rounds);
    let show = &mut |turn: &rounds::Turn| progress.show(turn);
    let cells = rounds::rounds(plans, count, options.warmup, stop, show);
    progress.end();
    let cells = cells.map_err(work)?;
    print(&match options.format {
        Format::Table => table::tables(&cells),
        Format::Csv => table::csv(&cells),
        Format::Json => table::json(&cells),
        Format::Text => cells
            .iter()
            .map(|c| report::ab_text(c.median(), &options.look))
            .collect(),
        Format::Html => cells.iter().map(|c| report::ab_html(c.median())).collect(),
    });
    for cell in &cells {
        if let Some(path) = &options.percentages {
            let text = report::percentages(cell.median());
            std::fs::write(path, text)
                .map_err(|e| work(format!("cannot write '{}': {e}", path.display())))?;
        }
    }
    let mut runs = cells.iter().flat_map(rounds::Cell::runs);
    runs.find_map(fruitless).map_or(Ok(()), |e| Err(work(e)))
}

/// A run without a single good answer is an error, not a rate.
pub fn fruitless(outcome: &Outcome) -> Option<String> {
    if outcome.succeeded() > 0 || outcome.interrupted {
        return None;
    }
    let why = outcome
        .tally
        .reason
        .as_deref()
        .unwrap_or("no answer came in time");
    Some(format!(
        "{}: no request succeeded; the first failed with {why}",
        outcome.target().url()
    ))
}

/// A reader of our output that went away (`| head`) is no fault of ours.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
