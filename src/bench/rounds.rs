//! Several targets and levels in turn, several times: A B, B A, A B, so that whatever disturbs
//! the machine for a while disturbs all of them, and none is always the first.
//!
//! Entry points: [`measure`], [`pairs`]. Note: `notes/bench.md`.

use super::plan::Plan;
use super::stats::{Spread, median_run};
use super::verdict::Pair;
use super::{Outcome, Status, attempt};
use crate::cli::shutdown::Stop;
use std::time::Duration;

/// All runs of one target at one level, a run for each round; at least one.
#[derive(Debug)]
pub struct Cell {
    runs: Vec<Outcome>,
}

impl Cell {
    /// The runs, by round.
    pub fn runs(&self) -> &[Outcome] {
        &self.runs
    }

    /// What each run was asked to do.
    pub fn plan(&self) -> &Plan {
        &self.runs[0].plan
    }

    /// The run with the median rate: all its figures belong together.
    pub fn median(&self) -> &Outcome {
        median_run(&self.runs, Outcome::rate)
    }

    /// One figure of each run, by round.
    pub fn samples(&self, figure: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }

    /// The lowest, the median and the highest of a figure.
    pub fn spread(&self, figure: impl Fn(&Outcome) -> f64) -> Spread {
        Spread::of(self.samples(figure)).unwrap_or_default()
    }

    /// The sum over all runs, so that no failure hides behind a median.
    pub fn sum(&self, of: fn(&Outcome) -> u64) -> u64 {
        self.runs.iter().map(of).sum()
    }
}

/// What was measured: a cell for each target at each level, in the order of the plans.
#[derive(Debug, Default)]
pub struct Measurement {
    /// A plan that never ran has none.
    pub cells: Vec<Cell>,
    /// Why it ended before its time: a target refused, or a run broke.
    pub broken: Option<String>,
}

impl Measurement {
    /// The cells; the error says why there are not all of them, or which run had no good answer.
    pub fn whole(self) -> Result<Vec<Cell>, String> {
        self.failure().map_or(Ok(self.cells), Err)
    }

    /// See [`Measurement::whole`].
    pub fn failure(&self) -> Option<String> {
        let runs = || self.cells.iter().flat_map(Cell::runs);
        self.broken.clone().or_else(|| runs().find_map(Outcome::failure))
    }
}

/// A run of a round.
#[derive(Debug)]
pub struct Turn<'a> {
    /// From 1; 0 for the warm-up.
    pub round: usize,
    /// Of how many.
    pub rounds: usize,
    /// Which of the plans.
    pub plan: &'a Plan,
    /// How far it is.
    pub state: State<'a>,
}

/// How far a run is.
#[derive(Debug)]
pub enum State<'a> {
    /// Under way.
    Running(Status),
    /// Ended.
    Ended(&'a Outcome),
}

/// Runs each plan in turn, `rounds` times, after `warmup` for each. On stop, and when a run
/// breaks, it returns what there is.
pub fn measure(
    plans: &[Plan],
    rounds: usize,
    warmup: Duration,
    stop: &Stop,
    progress: &mut dyn FnMut(&Turn),
) -> Measurement {
    let mut turn = |round: usize, plan: &Plan| -> Result<Outcome, String> {
        let outcome = attempt(plan, stop, &mut |status| {
            let state = State::Running(status);
            progress(&Turn { round, rounds, plan, state });
        })?;
        let state = State::Ended(&outcome);
        progress(&Turn { round, rounds, plan, state });
        Ok(outcome)
    };
    let mut broken = None;
    for plan in plans.iter().filter(|_| !warmup.is_zero()) {
        let mut plan = plan.clone();
        plan.time_limit = Some(warmup);
        plan.requests = u64::MAX;
        plan.rows = None;
        plan.verbosity = 0;
        if broken.is_none() {
            broken = turn(0, &plan).map_or_else(Some, |outcome| outcome.tally.broken);
        }
    }
    let mut runs: Vec<Vec<Outcome>> = plans.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for place in order(plans, round) {
            if stop.is_raised() || broken.is_some() {
                break;
            }
            match turn(round, &plans[place]) {
                Ok(outcome) => {
                    broken = outcome.tally.broken.clone();
                    runs[place].push(outcome);
                }
                Err(why) => broken = Some(why),
            }
        }
    }
    let ran = runs.into_iter().filter(|runs| !runs.is_empty());
    Measurement { cells: ran.map(|runs| Cell { runs }).collect(), broken }
}

/// The order in which a round runs the plans: level by level; within a level each round begins
/// with the target after the one that the last round began with.
fn order(plans: &[Plan], round: usize) -> Vec<usize> {
    let mut order = Vec::new();
    for level in plans.chunk_by(is_same_level) {
        let mut places: Vec<usize> = (order.len()..order.len() + level.len()).collect();
        places.rotate_left((round - 1) % level.len());
        order.extend(places);
    }
    order
}

fn is_same_level(a: &Plan, b: &Plan) -> bool {
    a.concurrency == b.concurrency && a.rate == b.rate
}

/// Each two targets at the same level, to be judged: by their rates; where a schedule fixes
/// these, by the 99th percentile of the response time.
pub fn pairs(cells: &[Cell]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, a) in cells.iter().enumerate() {
        let others = cells[i + 1..].iter();
        for b in others.filter(|b| is_same_level(a.plan(), b.plan())) {
            let names = [a, b].map(|cell| cell.plan().target.name.clone());
            pairs.push(Pair { names, samples: [compared(a), compared(b)], ..pair_at(a.plan()) });
        }
    }
    pairs
}

/// The figure by which a cell is compared.
pub fn compared(cell: &Cell) -> Vec<f64> {
    match cell.plan().rate {
        Some(_) => cell.samples(Outcome::response_p99),
        None => cell.samples(Outcome::rate),
    }
}

/// A pair at this plan's level, still without names and samples.
pub fn pair_at(plan: &Plan) -> Pair {
    Pair {
        place: plan.level(),
        low_is_good: if plan.rate.is_some() { "response time (p99)" } else { "" },
        ..Pair::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_target_and_keeps_the_levels_apart() {
        let plan = |(name, concurrency)| Plan { concurrency, ..Plan::new(name).expect("valid") };
        let plans = [("a", 1), ("b", 1), ("c", 1), ("a", 9), ("b", 9), ("c", 9)].map(plan);
        assert_eq!(order(&plans, 1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(&plans, 2), [1, 2, 0, 4, 5, 3]);
        assert_eq!(order(&plans, 3), [2, 0, 1, 5, 3, 4]);
        assert_eq!(order(&plans, 4), order(&plans, 1));
    }
}
