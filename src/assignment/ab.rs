//! The same runs by ab, where it is installed: its figures beside ours, and pairs to be judged.
//!
//! Entry points: [`Ab::run`], [`table`], [`pairs`]. Note: `notes/README.md`.

use super::report::Findings;
use crate::bench::rounds::Cell;
use crate::bench::stats::{Spread, median_run};
use crate::bench::table::Table;
use crate::bench::verdict::Pair;
use crate::bench::{Outcome, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::page::spread;
use crate::lab::process::{installed, output};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A run that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program.
pub(super) struct Ab(PathBuf);

/// A figure of ab's report: its label, and the heading of its column.
const FIELDS: [(&str, &str); 5] = [
    ("Requests per second:", "ab (requests/s)"),
    ("Complete requests:", "ab: complete"),
    ("Failed requests:", "failed"),
    ("Non-2xx responses:", "non-2xx"),
    ("Total transferred:", "bytes"),
];

/// A run as ab reports it: the rate first.
pub(super) type AbRun = [f64; FIELDS.len()];

impl Ab {
    pub fn find() -> Option<Ab> {
        installed("ab").map(Ab)
    }

    /// The same run; None if ab did not end well or is not understood.
    pub fn run(&self, plan: &Plan, stop: &Stop) -> Option<AbRun> {
        let same = format!("-q {} {}", same(plan), plan.target.url());
        let mut command = Command::new(&self.0);
        read(&output(command.args(same.split(' ')), PATIENCE, stop).ok()?)
    }
}

/// The options that ab and bench have in common for this plan.
pub(super) fn same(plan: &Plan) -> String {
    format!("-n {} -c {} -r -k -s 99999", plan.requests, plan.concurrency)
}

fn read(text: &str) -> Option<AbRun> {
    let mut run = AbRun::default();
    for (value, (label, _)) in run.iter_mut().zip(FIELDS) {
        let rest = text.lines().find_map(|line| line.strip_prefix(label));
        *value = match rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok()) {
            // ab is silent where there are none.
            None if label == "Non-2xx responses:" => 0.0,
            value => value?,
        };
    }
    Some(run)
}

/// Each of our cells with ab's runs, by round, where there are any; in the order of the tables.
fn beside(findings: &Findings) -> impl Iterator<Item = (&Cell, &[Option<AbRun>])> {
    findings.in_order().filter_map(|cell| {
        let runs = findings.measured.ab_runs(cell);
        runs.iter().any(Option::is_some).then_some((cell, runs))
    })
}

/// ab's figures beside ours.
pub(super) fn table(findings: &Findings) -> Table {
    let mut table = Table::new(&["System", "Level", "progjar bench (requests/s)"]);
    table.rows[0].extend(FIELDS.map(|(_, heading)| heading.to_owned()));
    for (cell, runs) in beside(findings) {
        let runs: Vec<&AbRun> = runs.iter().flatten().collect();
        let rates = Spread::of(runs.iter().map(|run| run[0])).unwrap_or_default();
        let plan = cell.plan();
        let mut row = vec![plan.target.name.clone(), plan.concurrency.to_string()];
        row.extend([cell.spread(Outcome::rate), rates].map(spread));
        row.extend(median_run(&runs, |run| run[0])[1..].iter().map(f64::to_string));
        table.rows.push(row);
    }
    table
}

/// Ours and ab's of each row, in the rounds in which ab had one too.
pub(super) fn pairs(findings: &Findings) -> Vec<Pair> {
    let pair = |(cell, runs): (&Cell, &[Option<AbRun>])| {
        let both = cell.runs().iter().zip(runs);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abs_report_is_read_field_by_field() {
        let text = "Concurrency Level:      10\n\
            Complete requests:      1000\n\
            Failed requests:        3\n   (Connect: 0, Receive: 0, Length: 3, Exceptions: 0)\n\
            Non-2xx responses:      7\n\
            Total transferred:      252000 bytes\n\
            Requests per second:    24267.13 [#/sec] (mean)\n";
        assert_eq!(read(text).expect("whole"), [24267.13, 1000.0, 3.0, 7.0, 252_000.0]);
        assert!(read("ab: apr_socket_connect(): Connection refused").is_none());
    }
}
