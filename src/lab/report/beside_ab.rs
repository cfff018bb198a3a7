//! ab's figures beside ours: the table, and whether the two disagree by more than the noise.
//!
//! Entry points: [`table`], [`remarks`]. Note: `notes/README.md`.

use super::words::{in_order, level, spread};
use super::{AbCell, Findings};
use crate::bench::rounds::{CHANCE, tell_apart};
use crate::bench::stats::{Spread, chance_of_no_difference, median_by};

/// With fewer rounds even a complete separation is likely enough by chance.
const ENOUGH: usize = 4;

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
            let median = median_by(&ab.runs, |run| run.rate);
            rows.push(vec![
                system.short.to_owned(),
                level(cell).to_string(),
                spread(cell.spread()),
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

/// Where ab and we disagree by more than the noise, and what one should know of it.
pub fn remarks(findings: &Findings) -> Vec<String> {
    if findings.ab.is_empty() {
        return Vec::new();
    }
    if findings.rounds < ENOUGH {
        return vec![format!(
            "{ENOUGH} rounds or more would show whether progjar bench and ab agree; these are {}.",
            findings.rounds
        )];
    }
    let mut sentences = vec![String::new()];
    let mut agreed = 0;
    for system in in_order(findings) {
        for (cell, ab) in findings.beside_ab(system) {
            let (ours, theirs) = (cell.rates(), rates(ab));
            if chance_of_no_difference(&ours, &theirs) > CHANCE {
                agreed += 1;
                continue;
            }
            let says = tell_apart(("measured by progjar bench it", &ours), ("by ab", &theirs));
            sentences.push(format!("{}, c = {}: {says}", system.title, level(cell)));
        }
    }
    sentences[0] = format!(
        "progjar bench and ab agree within the noise in {agreed} of {} rows{}",
        findings.ab.len(),
        match sentences.len() {
            1 => ".",
            _ => "; elsewhere the load generator itself is part of what is measured:",
        }
    );
    sentences
}
