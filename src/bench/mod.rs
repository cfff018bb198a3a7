//! The instrument: loads a web server with client threads and says what it saw, in ab's words.
//!
//! It imports neither `http` nor `site`: an instrument that shares a parser with the thing it
//! measures shares its faults. Entry points: [`main`] for the command line, [`run`] for one
//! run, [`rounds::measure`] for a comparison. Note: `notes/bench.md`.

// what to do: the URL, the bytes of a request, how many of them
pub mod plan;
// ab's options, and ours
pub mod options;
// where a response ends
pub mod reader;
// one thread: many connections, one poller
mod client;
// what is counted
pub mod tally;
// times in bounded memory, medians
pub mod stats;
// do two systems differ?
pub mod verdict;
// ab's -g
pub mod rows;
// several targets, levels and rates in turn
pub mod rounds;
// what one sees while it runs
mod progress;
// ab's report
pub mod report;
// the assignment's table, the load curve, any table
pub mod table;
// CSV, JSON, --against
pub(crate) mod saved;
// the CPU time of processes
pub mod cpu;

pub use options::{Options, TOPIC};
pub use plan::Plan;
pub use tally::Outcome;

use crate::cli::args::{Failure, Given};
use crate::cli::shutdown::{Stop, TICK};
use crate::net::sys;
use client::Shared;
use cpu::Cpu;
use options::Format;
use plan::Target;
use progress::Progress;
use rows::RowFile;
use saved::Origin;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tally::Tally;

/// Descriptors beside those of the connections: standard streams, pollers, files.
const OTHER_DESCRIPTORS: u64 = 16;
/// How long to try each address of a name that has several.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);

/// A run under way, ten times a second: since when, and the requests that ended, and ended badly.
#[derive(Debug)]
pub(crate) struct Status {
    elapsed: Duration,
    done: u64,
    failed: u64,
}

/// Runs the plan, to its end or until `stop`. The error is one line: the target refuses, or
/// something broke and the plan does not say to go on.
pub fn run(plan: &Plan, stop: &Stop) -> Result<Outcome, String> {
    let mut outcome = attempt(plan, stop, &mut |_| {})?;
    outcome.tally.broken.take().map_or(Ok(outcome), Err)
}

/// The same, but a run that breaks is an outcome too, as far as it came.
fn attempt(plan: &Plan, stop: &Stop, progress: &mut dyn FnMut(Status)) -> Result<Outcome, String> {
    let address = resolve(&plan.target)?;
    let threads = plan.threads.clamp(1, plan.concurrency);
    check_descriptors(plan.concurrency, threads)?;
    let rows = plan.rows.as_deref().map(RowFile::create).transpose()?;
    let shared = Shared {
        plan,
        address,
        stop,
        rows: rows.as_ref(),
        request: plan.request(),
        epoch: Instant::now(),
        document: AtomicU64::new(client::UNKNOWN),
        reached: AtomicBool::default(),
        aborted: AtomicBool::default(),
        done: AtomicU64::default(),
        failed: AtomicU64::default(),
    };
    let before = Cpu::of(&plan.processes).filter(|_| !plan.processes.is_empty());
    let results = thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for index in 0..threads {
            let (sender, shared) = (sender.clone(), &shared);
            // The receiver lives until all have ended: sending cannot fail.
            scope.spawn(move || drop(sender.send(client::run(shared, index, threads))));
        }
        drop(sender);
        watch(&results, &shared, progress)
    });
    let tallies = results.into_iter().collect::<Result<Vec<Tally>, String>>()?;
    let tally = tallies.into_iter().reduce(Tally::merged).unwrap_or_default();
    Ok(Outcome {
        plan: Plan { threads, ..plan.clone() },
        wall: tally.span.map_or(Duration::ZERO, |(begun, last)| last - begun),
        interrupted: stop.is_raised(),
        document_length: match shared.document.into_inner() {
            client::UNKNOWN => 0,
            length => length,
        },
        tally,
        cpu: before.and_then(|before| Some(Cpu::of(&plan.processes)?.since(&before))),
    })
}

/// Waits for the threads, and lets `progress` see how they fare.
fn watch(
    results: &mpsc::Receiver<Result<Tally, String>>,
    shared: &Shared,
    progress: &mut dyn FnMut(Status),
) -> Vec<Result<Tally, String>> {
    let mut ended = Vec::new();
    loop {
        let result = results.recv_timeout(TICK);
        let (done, failed) = (shared.done.load(Relaxed), shared.failed.load(Relaxed));
        progress(Status { elapsed: shared.epoch.elapsed(), done, failed });
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
    Err(format!("cannot connect to {}: {last}; is the server running?", target.authority()))
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
        print(&format!("progjar bench {}, ab's options and report\n", env!("CARGO_PKG_VERSION")));
        return Ok(());
    }
    let mut options = Options::of(given).map_err(Failure::Usage)?;
    let work = |e: String| Failure::CannotWork(format!("bench: {e}"));
    if options.format == Format::Text {
        print(&report::opening(&options));
    }
    if options.auto {
        options.plans = rounds::load_curve(&options.plans, stop).map_err(work)?;
    }
    let mut progress = Progress::new(&options);
    let (plans, count) = (&options.plans, options.rounds);
    let show = &mut |turn: &rounds::Turn| progress.show(turn);
    let measured = rounds::measure(plans, count, options.warmup, stop, show);
    progress.end();
    let cells = &measured.cells;
    if !cells.is_empty() {
        print(&text_of(cells, &options));
    }
    if let (Some(path), Some(cell)) = (&options.percentages, cells.first()) {
        let text = report::percentages(cell.median());
        std::fs::write(path, text)
            .map_err(|e| work(format!("cannot write '{}': {e}", path.display())))?;
    }
    measured.failure().map_or(Ok(()), |e| Err(work(e)))
}

fn text_of(cells: &[rounds::Cell], options: &Options) -> String {
    let old_pairs = options.against.iter().flat_map(|old| old.pairs(cells));
    let pairs = rounds::pairs(cells).into_iter().chain(old_pairs);
    let origin = || Origin::here(options.rounds, options.warmup);
    match options.format {
        Format::Table => table::tables(cells, pairs.collect()),
        Format::Csv => saved::csv(cells, &origin()),
        Format::Json => saved::json(cells, &origin()),
        Format::Text => cells.iter().map(|c| report::ab_text(c.median(), options.parts)).collect(),
    }
}

/// A reader of our output that went away (`| head`) is no fault of ours.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
