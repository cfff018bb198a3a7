//! The same runs by ab, where it is installed: its figures beside ours, and pairs to be judged.
//!
//! Entry points: [`run`], [`table`], [`pairs`]. Note: `notes/README.md`.

use super::measure::{Measured, SYSTEMS};
use super::report::Findings;
use crate::bench::rounds::Cell;
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use crate::bench::verdict::Pair;
use crate::bench::{Outcome, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::page::spread;
use crate::lab::process::output;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A run that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run as ab reports it: its rate, and how many requests failed.
pub(super) type AbRun = [f64; 2];

/// The same run by the program `ab`; None if it did not end well or is not understood.
pub(super) fn run(ab: &Path, plan: &Plan, stop: &Stop) -> Option<AbRun> {
    let same = format!("-q {} {}", same(plan), plan.target.url());
    read(&output(Command::new(ab).args(same.split(' ')), PATIENCE, stop).ok()?)
}

/// The options that ab and bench have in common for this plan.
pub(super) fn same(plan: &Plan) -> String {
    format!("-n {} -c {} -r -k -s 99999", plan.requests, plan.concurrency)
}

fn read(text: &str) -> Option<AbRun> {
    let field = |label: &str| -> Option<f64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    Some([field("Requests per second:")?, field("Failed requests:")?])
}

/// Each of our cells with ab's runs, by round, where there are any; in the order of the tables.
fn beside(findings: &Findings) -> impl Iterator<Item = (&Cell, &Vec<Option<AbRun>>)> {
    let Measured { cells, ab, .. } = &findings.measured;
    SYSTEMS.iter().flat_map(move |(_, title)| {
        let both = cells.iter().zip(ab).filter(move |(cell, _)| cell.name() == *title);
        both.filter(|(_, runs)| runs.iter().any(Option::is_some))
    })
}

pub(super) fn table(findings: &Findings) -> Table {
    let cells = ["System", "Level", "progjar bench (requests/s)", "ab (requests/s)", "ab: failed"];
    let mut table = Table::new(&cells);
    for (cell, runs) in beside(findings) {
        let figures = |place: usize| runs.iter().flatten().map(move |run| run[place]);
        let rates = Spread::of(figures(0)).unwrap_or_default();
        let plan = cell.plan();
        let mut row = vec![plan.target.name.clone(), plan.concurrency.to_string()];
        row.extend([cell.spread(Outcome::rate), rates].map(spread));
        row.push(figures(1).sum::<f64>().to_string());
        table.rows.push(row);
    }
    table
}

/// Ours and ab's of each row, in the rounds in which ab had one too.
pub(super) fn pairs(findings: &Findings) -> Vec<Pair> {
    let pair = |(cell, runs): (&Cell, &Vec<Option<AbRun>>)| {
        let both = cell.runs.iter().zip(runs);
        let rates = both.filter_map(|(ours, ab)| Some((ours.rate(), ab.as_ref()?[0])));
        let (ours, theirs) = rates.unzip();
        Pair {
            place: format!("{}, {}", cell.plan().target.name, cell.plan().level()),
            names: ["progjar bench", "ab"].map(str::to_owned),
            samples: [ours, theirs],
            ..Pair::default()
        }
    };
    beside(findings).map(pair).collect()
}
