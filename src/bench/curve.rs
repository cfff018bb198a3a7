//! `--rate auto`: which rates a load curve is measured at. Entry point: [`plans`]. Note:
//! `notes/bench.md`.

use super::plan::Plan;
use super::{Outcome, run};
use crate::cli::shutdown::Stop;
use std::time::Duration;

/// How long a target is loaded to see what it can do.
const PROBE: Duration = Duration::from_millis(500);
/// Of the highest rate of a closed loop: where the curve is flat, where it bends, and beyond.
const PARTS: [f64; 9] = [0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1];

/// For each level the rates that are parts of what the best target does there in a closed loop.
pub fn plans(plans: &[Plan], stop: &Stop) -> Result<Vec<Plan>, String> {
    let mut scheduled = Vec::new();
    for level in plans.chunk_by(|a, b| a.concurrency == b.concurrency) {
        let mut highest: f64 = 0.0;
        for plan in level {
            let probe =
                Plan { time_limit: Some(PROBE), requests: u64::MAX, rows: None, ..plan.clone() };
            let outcome = run(&probe, stop)?;
            if let Some(why) = outcome.failure() {
                return Err(why);
            }
            highest = highest.max(Outcome::rate(&outcome));
        }
        for part in PARTS {
            let rate = rounded(part * highest);
            scheduled.extend(level.iter().map(|plan| plan.at_rate(rate)));
        }
    }
    Ok(scheduled)
}

/// To two digits: a rate that one can type.
fn rounded(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.max(1.0).log10().floor() - 1.0).max(1.0);
    ((rate / unit).round() * unit).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn a_rate_has_two_digits() {
        for (rate, shown) in [(0.0, 1.0), (7.6, 8.0), (123.0, 120.0), (98_765.0, 99_000.0)] {
            assert_eq!(rounded(rate), shown);
        }
    }
}
