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
// the client threads: each with many connections and one poller
mod client;
// connections that say nothing
mod idle;
// what is counted
pub mod tally;
// times in bounded memory, medians
pub mod stats;
// do two systems differ?
pub mod verdict;
// several targets, levels and rates in turn
pub mod rounds;
// ab's report, and ab's files of -g and -e
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
use crate::cli::shutdown::Stop;
use crate::net::sys;
use options::Format;
use plan::Target;
use rounds::{Cell, Turn};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;
use tally::Tally;

/// Descriptors beside those of the connections: standard streams, pollers, files.
const OTHER_DESCRIPTORS: u64 = 16;
/// How long to try each address of a name that has several.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the plan, until `stop` at most. The error is one line: the target refuses, or the run broke.
pub fn run(plan: &Plan, stop: &Stop) -> Result<Outcome, String> {
    let mut outcome = attempt(plan, stop)?;
    outcome.tally.broken.take().map_or(Ok(outcome), Err)
}

/// The same, but a run that breaks is an outcome too, as far as it came.
fn attempt(plan: &Plan, stop: &Stop) -> Result<Outcome, String> {
    let connections = plan.concurrency + plan.idle;
    let threads = plan.threads.clamp(1, plan.concurrency);
    let limit = sys::raise_descriptor_limit()
        .map_err(|e| format!("cannot ask for the descriptor limit: {e}"))?;
    if (connections + threads) as u64 + OTHER_DESCRIPTORS > limit {
        return Err(format!(
            "{connections} connections need more open descriptors than the limit of {limit} allows: \
             choose a lower -c or --idle, or raise the hard limit (ulimit -Hn)"
        ));
    }
    let (address, plan) = (resolve(&plan.target)?, Plan { threads, ..plan.clone() });
    match idle::beside(&plan, address, stop, || client::run(plan.clone(), address, stop)) {
        Ok((outcome, idle_memory)) => Ok(Outcome { idle_memory, ..outcome? }),
        // Whatever is compared with it is worth its time all the same.
        Err(why) => {
            let (wall, tally) = (Duration::ZERO, Tally { reason: Some(why), ..Tally::default() });
            Ok(Outcome { plan, wall, tally, cpu: None, idle_memory: None, interrupted: false })
        }
    }
}

/// The target's address. Only a name with several addresses is tried out: a lone probe would
/// be one connection more than the run was asked to make.
fn resolve(target: &Target) -> Result<SocketAddr, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("cannot find the host '{}': {e}", target.host);
    let found = (target.host.as_str(), target.port).to_socket_addrs().map_err(|e| wrong(&e))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let answers = |address: &&SocketAddr| {
        addresses.len() == 1 || TcpStream::connect_timeout(address, ADDRESS_PATIENCE).is_ok()
    };
    let address = addresses.iter().find(answers).or(addresses.first());
    address.copied().ok_or_else(|| wrong(&"it has no address"))
}

/// `progjar bench`: the report goes to stdout, progress to stderr.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    if given.has("-h") || given.has("-V") {
        let version =
            concat!("progjar bench ", env!("CARGO_PKG_VERSION"), ", ab's options and report\n");
        print(&if given.has("-h") { TOPIC.help() } else { version.to_owned() });
        return Ok(());
    }
    let mut options = Options::of(given).map_err(Failure::Usage)?;
    let work = |e: String| Failure::CannotWork(format!("bench: {e}"));
    if options.format == Format::Text {
        print(&report::opening(&options.plans[0]));
    }
    if options.auto {
        options.plans = rounds::load_curve(&options.plans, stop).map_err(work)?;
    }
    let (plans, rounds) = (&options.plans, options.rounds);
    let measured = rounds::measure(plans, rounds, options.warmup, stop, &mut |turn| {
        let Turn { round, rounds, plan, outcome } = turn;
        if *round > 0 && (plans.len() > 1 || *rounds > 1) && !given.has("-q") {
            let (name, level, rate) = (&plan.target.name, plan.level(), outcome.rate());
            eprintln!("round {round}/{rounds}: {name}, {level}: {rate:.2} requests/s");
        }
    });
    if let Some(first) = measured.cells.first() {
        print(&text_of(&measured.cells, &options));
        if let Some(path) = given.text("-e") {
            let wrong = |e| work(format!("cannot write '{path}': {e}"));
            std::fs::write(path, report::percentages(first.median())).map_err(wrong)?;
        }
    }
    measured.failure().map_or(Ok(()), |e| Err(work(e)))
}

fn text_of(cells: &[Cell], options: &Options) -> String {
    let origin = || saved::origin(options.rounds, options.warmup);
    match options.format {
        Format::Table => {
            let (mut pairs, mut alone) = (rounds::pairs(cells), Vec::new());
            for pair in options.against.iter().flat_map(|old| old.pairs(cells)) {
                pair.map_or_else(|why| alone.push(why), |pair| pairs.push(pair));
            }
            table::tables(cells, pairs, alone)
        }
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
