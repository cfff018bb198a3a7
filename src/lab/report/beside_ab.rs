//! ab's figures beside ours: the table, and whether the two disagree by more than the noise.
//!
//! Entry points: [`table`], [`remarks`]. Note: `notes/README.md`.

use super::words::{in_order, level, spread, verdicts};
use super::{AbCell, Findings};
use crate::bench::Outcome;
use crate::bench::rounds::Cell;
use crate::bench::stats::{Spread, median_run};
use crate::bench::verdict::{Pair, Verdict, sentences, too_few};

/// ab's figures beside ours: system, level, ours, ab's, failed and non-2xx by ab.
pub fn table(findings: &Findings) -> Vec<Vec<String>> {
    let heads = [
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
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for system in in_order(findings) {
        for (cell, ab) in findings.beside_ab(system) {
            let median = median_run(&ab.runs, |run| run.rate);
            rows.push(vec![
                system.short.to_owned(),
                level(cell).to_string(),
                spread(cell.spread(Outcome::rate)),
                spread(Spread::of(rates(ab)).unwrap_or_default()),
                format!("{:.3}", median.seconds),
                median.complete.to_string(),
                median.failed.to_string(),
                median.non_2xx.to_string(),
                median.transferred.to_string(),
                format!("{:.3}", median.time_per_request),
                format!("{:.2}", median.kbytes),
            ]);
        }
    }
    rows
}

fn rates(ab: &AbCell) -> Vec<f64> {
    ab.runs.iter().map(|run| run.rate).collect()
}

/// Ours and ab's of each row, run in the same rounds.
pub fn pairs(findings: &Findings) -> Vec<Pair> {
    let rows = in_order(findings).into_iter().flat_map(|system| {
        let rows = findings.beside_ab(system);
        rows.map(move |(cell, ab)| Pair {
            place: format!("{}, c = {}", system.title, level(cell)),
            names: ["progjar bench", "ab"].map(str::to_owned),
            samples: [ours(cell, ab), rates(ab)],
            ..Pair::default()
        })
    });
    rows.collect()
}

/// Our rates in the rounds in which ab had one too.
fn ours(cell: &Cell, ab: &AbCell) -> Vec<f64> {
    let runs = ab.runs.iter().filter_map(|run| cell.runs().get(run.round - 1));
    runs.map(Outcome::rate).collect()
}

/// Where ab and we disagree by more than the noise, and what one should know of it.
pub fn remarks(findings: &Findings) -> Vec<String> {
    let all = verdicts(findings).1;
    if all.is_empty() || too_few(&all).is_some() {
        return too_few(&all).into_iter().collect();
    }
    let rows = all.len();
    let apart: Vec<Verdict> = all.into_iter().filter(Verdict::is_different).collect();
    let agreed = rows - apart.len();
    let mut said = vec![format!(
        "progjar bench and ab cannot be told apart in {agreed} of {rows} rows{}",
        match apart.len() {
            0 => ".",
            _ => "; elsewhere the load generator itself is part of what is measured:",
        }
    )];
    said.extend(sentences(&apart));
    said
}
