//! `progjar exhibit NAME`: experiments, each played and explained: the ways to get a wrong
//! table, and what the load balancer's policies and pipelining do, and what it costs.
//!
//! Every exhibit starts its own servers, small and faulty on purpose where that is the point,
//! and ends them. Entry point: [`main`]. Notes: `notes/wrong-table.md`, `notes/lb.md`.

// a thread per connection, as small as can be
mod server;
// a thread that never ends
mod spin;
// 404 in a table without a column for it; a rate from a port where nothing listens
mod counts;
// a stall that hides from those who wait for it; the same run twelve times
mod times;
// one slow backend, three policies; many requests, one write; with and without the load balancer
mod balancing;

use super::fleet::{Fleet, Server};
use super::notes::{self, circumstances};
use super::process::{end, say};
use crate::bench::Plan;
use crate::cli::Result;
use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use std::path::Path;
use std::time::Duration;

/// `progjar exhibit`
pub const TOPIC: Topic = Topic {
    name: "exhibit",
    summary: "experiments, explained: ways to get a wrong table, policies, pipelining, cost",
    operand: "NAME",
    operand_default: "",
    flags: &[&[
        flag("--quick", "", "", "less of everything, for a first look"),
        flag("--notes", "DIR", "", "also refresh DIR/*.md's results blocks"),
    ]],
    more: "NAME is spin, not-found, dead-port, omission, noise, policies, pipeline, cost, or all;\n\
        without NAME they are listed. Each takes less than half a minute, on free ports. Ctrl-C stops everything.",
};

struct Exhibit {
    name: &'static str,
    title: &'static str,
    /// What will happen.
    does: &'static str,
    /// Lets it happen; what came of it, as lines for a terminal.
    play: fn(&Stage) -> Result<String>,
    /// What to learn from it, and the note that tells more.
    means: &'static str,
    note: &'static str,
}

struct Stage<'a> {
    quick: bool,
    stop: &'a Stop,
}

const EXHIBITS: [Exhibit; 8] = [
    spin::SPIN,
    counts::NOT_FOUND,
    counts::DEAD_PORT,
    times::OMISSION,
    times::NOISE,
    balancing::POLICIES,
    balancing::PIPELINE,
    balancing::COST,
];

impl Stage<'_> {
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Four async_servers with these delays; before them a load balancer per value of the option.
    fn balance(
        &self,
        delays: [&str; 4],
        option: &str,
        values: &[&str],
    ) -> Result<(Fleet, Vec<Server>)> {
        let mut fleet = Fleet::in_scratch(self.stop)?;
        let mut backends = Vec::new();
        for delay in delays {
            let options = ["--quiet", "--delay", delay];
            let server = fleet.start("async_server", 0, &options)?;
            backends.push(format!("--backend={}", server.address));
        }
        let start = |value: &&str| {
            let options = ["--quiet", option, value].map(str::to_owned);
            fleet.start("lb", 0, &[&options[..], &backends].concat())
        };
        let balancers = values.iter().map(start).collect::<Result<_, _>>()?;
        Ok((fleet, balancers))
    }

    /// So many clients on keep-alive connections for a second, or less.
    fn load(&self, server: &Server, name: &str, clients: usize) -> Result<Plan> {
        let plan = Plan::new(&format!("{name}=http://{}/", server.address))?;
        let time_limit = Some(Duration::from_millis(self.pick(1000, 300)));
        Ok(Plan { requests: u64::MAX, time_limit, concurrency: clients, keep_alive: true, ..plan })
    }
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    EXHIBITS.iter().map(|exhibit| exhibit.name)
}

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let Some(name) = given.operands.first() else {
        say("usage: progjar exhibit NAME\n");
        EXHIBITS.iter().for_each(|one| say(&format!("  {:<10} {}", one.name, one.title)));
        say("  all        one after the other");
        return Ok(());
    };
    let is_meant = |one: &&Exhibit| name == "all" || name == one.name;
    let chosen: Vec<&Exhibit> = EXHIBITS.iter().filter(is_meant).collect();
    if chosen.is_empty() {
        let known = names().collect::<Vec<_>>().join(", ");
        let sentence = format!("there is no exhibit '{name}'; there are {known}, and all");
        return Err(Failure::Usage(format!("exhibit: {sentence}")));
    }
    let stage = Stage { quick: given.has("--quick"), stop };
    let shown = show(&chosen, &stage, given.text("--notes").map(Path::new));
    end("exhibit", shown, stop)
}

/// Of each what it does, the result, what it means: each is said when it is known.
fn show(chosen: &[&Exhibit], stage: &Stage, folder: Option<&Path>) -> Result<()> {
    folder.map_or(Ok(()), notes::check)?;
    let mut blocks = Vec::new();
    for Exhibit { name, title, does, play, means, note } in chosen {
        say(&format!("== {name}: {title}\n\n{does}\n"));
        let result = play(stage).map_err(|e| format!("{name}: {e}"))?;
        if stage.stop.is_raised() {
            return Err("stopped".to_owned());
        }
        result.lines().for_each(|line| say(format!("  {line}").trim_end()));
        say(&format!("\n{means}\nMore: notes/{note}.md\n"));
        let command = format!("./run.sh exhibit {name}{}", stage.pick("", " --quick"));
        let origin = circumstances(&command);
        let block = format!("{origin}\n\n```text\n{}\n```\n", result.trim_end());
        blocks.push((format!("exhibit-{name}"), block));
    }
    let Some(folder) = folder else { return Ok(()) };
    let of = |name: &str| blocks.iter().find(|(n, _)| n == name).map(|(_, block)| block.clone());
    notes::refresh(folder, &of, &[])
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A bar as long as `value` is, measured against `most`, which gets forty signs.
fn bar(value: f64, most: f64) -> String {
    let length = value / most.max(f64::MIN_POSITIVE) * 40.0;
    "#".repeat(length.round() as usize)
}
