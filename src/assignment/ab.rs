//! The same runs by ab, where it is installed: its figures beside ours, and whether the two
//! disagree by more than the noise.
//!
//! Entry points: [`Ab::run`], [`table`]. Note: `notes/README.md`.

use super::report::{Findings, spread};
use crate::bench::rounds::Cell;
use crate::bench::stats::{Spread, median_run};
use crate::bench::table::Table;
use crate::bench::verdict::{self, Pair, Verdict};
use crate::bench::{Outcome, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::process::{installed, output};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A run that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program.
pub(super) struct Ab {
    program: PathBuf,
    pub version: String,
}

/// A run as ab reports it.
#[derive(Debug, Clone)]
pub(super) struct AbRun {
    seconds: f64,
    complete: u64,
    failed: u64,
    non_2xx: u64,
    transferred: u64,
    rate: f64,
    /// In milliseconds.
    time_per_request: f64,
    kbytes: f64,
}

impl Ab {
    pub fn find(stop: &Stop) -> Option<Ab> {
        let program = installed(&["ab"])?;
        let text = output(Command::new(&program).arg("-V"), PATIENCE, stop).ok()?;
        let version = text.split_once("Version ")?.1.split_whitespace().next()?.to_owned();
        Some(Ab { program, version })
    }

    /// The same run; None if ab did not end well or is not understood.
    pub fn run(&self, plan: &Plan, stop: &Stop) -> Option<AbRun> {
        let mut command = Command::new(&self.program);
        command
            .args(["-q", "-r", "-k", "-s", "99999"])
            .args(["-n", &plan.requests.to_string()])
            .args(["-c", &plan.concurrency.to_string()])
            .arg(plan.target.url());
        read(&output(&mut command, PATIENCE, stop).ok()?)
    }
}

fn read(text: &str) -> Option<AbRun> {
    let field = |label: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(label))?;
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(AbRun {
        seconds: field("Time taken for tests:")?,
        complete: field("Complete requests:")? as u64,
        failed: field("Failed requests:")? as u64,
        non_2xx: field("Non-2xx responses:").unwrap_or(0.0) as u64,
        transferred: field("Total transferred:")? as u64,
        rate: field("Requests per second:")?,
        time_per_request: field("Time per request:")?,
        kbytes: field("Transfer rate:")?,
    })
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
    let mut table = Table::new(&[
        "System",
        "Level",
        "progjar bench (requests/s)",
        "ab (requests/s)",
        "ab: seconds",
        "complete",
        "failed",
        "non-2xx",
        "bytes",
        "ms per request",
        "Kbytes/s",
    ]);
    for (cell, runs) in beside(findings) {
        let runs: Vec<&AbRun> = runs.iter().flatten().collect();
        let median = median_run(&runs, |run| run.rate);
        table.rows.push(vec![
            cell.plan().target.name.clone(),
            cell.plan().concurrency.to_string(),
            spread(cell.spread(Outcome::rate)),
            spread(Spread::of(runs.iter().map(|run| run.rate)).unwrap_or_default()),
            format!("{:.3}", median.seconds),
            median.complete.to_string(),
            median.failed.to_string(),
            median.non_2xx.to_string(),
            median.transferred.to_string(),
            format!("{:.3}", median.time_per_request),
            format!("{:.2}", median.kbytes),
        ]);
    }
    table
}

/// Ours and ab's of each row, in the rounds in which ab had one too.
pub(super) fn pairs(findings: &Findings) -> Vec<Pair> {
    let pair = |(cell, runs): (&Cell, &[Option<AbRun>])| {
        let both = cell.runs().iter().zip(runs);
        let rates = both.filter_map(|(ours, ab)| Some((ours.rate(), ab.as_ref()?.rate)));
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

/// Where ab and we disagree by more than the noise, and what one should know of it.
pub(super) fn remarks(verdicts: Vec<Verdict>) -> Vec<String> {
    if verdicts.is_empty() || verdict::too_few(&verdicts).is_some() {
        return verdict::too_few(&verdicts).into_iter().collect();
    }
    let rows = verdicts.len();
    let apart: Vec<Verdict> = verdicts.into_iter().filter(Verdict::is_different).collect();
    let agreed = rows - apart.len();
    let end = match apart.len() {
        0 => ".",
        _ => "; elsewhere the load generator itself is part of what is measured:",
    };
    let first =
        format!("progjar bench and ab cannot be told apart in {agreed} of {rows} rows{end}");
    [first].into_iter().chain(verdict::sentences(&apart)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abs_report_is_read_field_by_field() {
        let text = "Concurrency Level:      10\n\
            Time taken for tests:   0.041 seconds\n\
            Complete requests:      1000\n\
            Failed requests:        3\n   (Connect: 0, Receive: 0, Length: 3, Exceptions: 0)\n\
            Non-2xx responses:      7\n\
            Total transferred:      252000 bytes\n\
            Requests per second:    24267.13 [#/sec] (mean)\n\
            Time per request:       4.121 [ms] (mean)\n\
            Time per request:       0.041 [ms] (mean, across all concurrent requests)\n\
            Transfer rate:          5971.99 [Kbytes/sec] received\n";
        let run = read(text).expect("whole");
        assert_eq!((run.complete, run.failed, run.non_2xx), (1000, 3, 7));
        assert_eq!((run.seconds, run.rate), (0.041, 24267.13));
        assert_eq!((run.time_per_request, run.kbytes), (4.121, 5971.99));
        assert_eq!(run.transferred, 252_000);
        assert!(read("ab: apr_socket_connect(): Connection refused").is_none());
    }
}
