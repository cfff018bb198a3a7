//! Several targets and levels in turn, several times: A B A B, so that whatever disturbs the
//! machine for a while disturbs all of them. Entry point: [`rounds`]. Note: `notes/bench.md`.

use super::plan::Plan;
use super::stats::{Spread, chance_of_no_difference, median_by};
use super::{Glance, Outcome, run};
use crate::cli::shutdown::Stop;
use std::time::Duration;

/// Two sets of rates that differ by chance less often than this count as different.
pub const CHANCE: f64 = 0.05;

/// All runs of one plan; at least one.
#[derive(Debug)]
pub struct Cell {
    runs: Vec<Outcome>,
}

impl Cell {
    /// The runs, in the order in which they were made.
    pub fn runs(&self) -> &[Outcome] {
        &self.runs
    }

    /// The run with the median rate: all its figures belong together.
    pub fn median(&self) -> &Outcome {
        median_by(&self.runs, Outcome::rate)
    }

    /// Requests per second of each run.
    pub fn rates(&self) -> Vec<f64> {
        self.runs.iter().map(Outcome::rate).collect()
    }

    /// The lowest, the median and the highest of the rates.
    pub fn spread(&self) -> Spread {
        Spread::of(self.rates()).unwrap_or_default()
    }

    /// The sum over all runs, so that no failure hides behind a median.
    pub fn sum(&self, of: fn(&Outcome) -> u64) -> u64 {
        self.runs.iter().map(of).sum()
    }
}

/// A run of a round, under way or just ended.
#[derive(Debug)]
pub struct Turn<'a> {
    /// From 1; 0 for the warm-up.
    pub round: usize,
    /// Of how many.
    pub rounds: usize,
    /// Which of the plans.
    pub plan: &'a Plan,
    /// Under way.
    pub glance: Option<&'a Glance<'a>>,
    /// Ended.
    pub outcome: Option<&'a Outcome>,
}

/// Runs each plan in turn, `rounds` times, after `warmup` for each. On stop it returns what
/// there is; a plan that never ran has no cell. The error is that of the run that failed.
pub fn rounds(
    plans: &[Plan],
    rounds: usize,
    warmup: Duration,
    stop: &Stop,
    progress: &mut dyn FnMut(&Turn),
) -> Result<Vec<Cell>, String> {
    let mut turn = |round: usize, plan: &Plan| -> Result<Outcome, String> {
        let turn = Turn {
            round,
            rounds,
            plan,
            glance: None,
            outcome: None,
        };
        let outcome = run(plan, stop, &mut |glance| {
            progress(&Turn {
                glance: Some(glance),
                ..turn
            });
        })?;
        progress(&Turn {
            outcome: Some(&outcome),
            ..turn
        });
        Ok(outcome)
    };
    for plan in plans.iter().filter(|_| !warmup.is_zero()) {
        let mut plan = plan.clone();
        plan.time_limit = Some(warmup);
        plan.requests = u64::MAX;
        plan.rows = None;
        plan.verbosity = 0;
        turn(0, &plan)?;
    }
    let mut cells: Vec<Vec<Outcome>> = plans.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (plan, cell) in plans.iter().zip(&mut cells) {
            if !stop.is_raised() {
                cell.push(turn(round, plan)?);
            }
        }
    }
    let ran = cells.into_iter().filter(|runs| !runs.is_empty());
    Ok(ran.map(|runs| Cell { runs }).collect())
}

/// What the evidence says about two sets of rates, each with its name, in a sentence.
pub fn tell_apart(a: (&str, &[f64]), b: (&str, &[f64])) -> String {
    let median = |rates: &[f64]| Spread::of(rates.iter().copied()).map_or(0.0, |s| s.median);
    let (fast, slow) = if median(a.1) >= median(b.1) {
        (a, b)
    } else {
        (b, a)
    };
    let count = fast.1.len().min(slow.1.len());
    // With so few rounds even a complete separation is likely enough by chance.
    let best_case = 2.0 / binomial(2 * count, count);
    if best_case > CHANCE {
        return format!(
            "{} and {} cannot be told apart: {count} round{} too few (4 can be enough).",
            fast.0,
            slow.0,
            if count == 1 { " is" } else { "s are" }
        );
    }
    let p = chance_of_no_difference(fast.1, slow.1);
    if p > CHANCE {
        return format!(
            "{} and {} cannot be told apart on {count} rounds: by chance alone rates differ so much in {:.0} % of cases.",
            fast.0,
            slow.0,
            p * 100.0
        );
    }
    let p = match p {
        ..0.001 => "p < 0.001".to_owned(),
        p => format!("p = {p:.3}"),
    };
    format!(
        "{} is {:.2} times as fast as {} ({count} rounds, {p}).",
        fast.0,
        median(fast.1) / median(slow.1).max(f64::MIN_POSITIVE),
        slow.0
    )
}

fn binomial(n: usize, k: usize) -> f64 {
    (1..=k).map(|i| (n - k + i) as f64 / i as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_enough_rounds_and_a_clear_difference() {
        let fast = [200.0, 210.0, 205.0, 208.0, 202.0];
        let slow = [100.0, 110.0, 105.0, 108.0, 102.0];
        let clear = tell_apart(("a", &slow), ("b", &fast));
        assert!(
            clear.starts_with("b is 1.95 times as fast as a (5 rounds, p = 0.008)"),
            "{clear}"
        );
        let same = tell_apart(("a", &slow), ("b", &slow));
        assert!(same.contains("cannot be told apart on 5 rounds"), "{same}");
        let few = tell_apart(("a", &slow[..3]), ("b", &fast[..3]));
        assert!(few.contains("3 rounds are too few"), "{few}");
        assert!(tell_apart(("a", &slow[..4]), ("b", &fast[..4])).contains("times as fast"));
    }
}
