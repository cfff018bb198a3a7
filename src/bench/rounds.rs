//! Several targets and levels in turn, several times: A B, B A, A B, so that whatever disturbs
//! the machine for a while disturbs all of them, and none is always the first.
//!
//! Entry points: [`measure`], [`pairs`], [`load_curve`]. Note: `notes/bench.md`.

use super::plan::Plan;
use super::stats::{Spread, median_run};
use super::verdict::Pair;
use super::{Outcome, attempt, run};
use crate::cli::shutdown::Stop;
use std::time::Duration;

/// All runs of one target at one level, by round; at least one.
#[derive(Debug)]
pub struct Cell {
    pub(crate) runs: Vec<Outcome>,
}

impl Cell {
    pub(crate) fn plan(&self) -> &Plan {
        &self.runs[0].plan
    }

    pub(crate) fn name(&self) -> &str {
        &self.plan().target.name
    }

    /// The run with the median rate: all its figures belong together.
    pub(crate) fn median(&self) -> &Outcome {
        median_run(&self.runs, Outcome::rate)
    }

    pub(crate) fn samples(&self, figure: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }

    pub(crate) fn spread(&self, figure: impl Fn(&Outcome) -> f64) -> Spread {
        Spread::of(self.samples(figure)).unwrap_or_default()
    }

    /// For a table: this quantile of the response time, in ms.
    pub(super) fn response(&self, q: f64) -> String {
        format!("{:.3}", self.spread(|o| o.tally.response.quantile_ms(q)).median)
    }

    /// For a table: the median CPU time per request of --cpu's processes, in µs.
    pub(crate) fn cpu_time(&self) -> String {
        let times: Option<Vec<f64>> = self.runs.iter().map(Outcome::cpu_per_request).collect();
        let time = times.and_then(Spread::of).map(|cpu| format!("{:.1}", cpu.median));
        time.unwrap_or("?".to_owned())
    }

    /// The sum over all runs, so that no failure hides behind a median.
    pub(crate) fn sum(&self, of: fn(&Outcome) -> u64) -> u64 {
        self.runs.iter().map(of).sum()
    }

    /// To be judged: the rate; where a schedule fixes it, the 99th percentile of the response time.
    pub(super) fn compared_with(&self, names: [String; 2], theirs: Vec<f64>) -> Pair {
        let low_is_good = if self.plan().rate.is_some() { "response time (p99)" } else { "" };
        let samples = [self.compared(), theirs];
        Pair { place: self.plan().level(), names, samples, low_is_good }
    }

    fn compared(&self) -> Vec<f64> {
        match self.plan().rate {
            Some(_) => self.samples(|o| o.tally.response.quantile(0.99) as f64 / 1e6),
            None => self.samples(Outcome::rate),
        }
    }
}

/// What was measured: a cell for each plan that ran, in their order.
#[derive(Debug)]
pub struct Measurement {
    pub(crate) cells: Vec<Cell>,
    /// Why it ended before its time: a target refused, or a run broke.
    pub(crate) broken: Option<String>,
}

impl Measurement {
    /// The cells; the error says why there are not all of them, or which run had no good answer.
    pub(crate) fn whole(self) -> Result<Vec<Cell>, String> {
        self.failure().map_or(Ok(self.cells), Err)
    }

    pub(super) fn failure(&self) -> Option<String> {
        let runs = || self.cells.iter().flat_map(|cell| &cell.runs);
        self.broken.clone().or_else(|| runs().find_map(Outcome::failure))
    }
}

/// A run of a round, at its end.
#[derive(Debug)]
pub struct Turn<'a> {
    /// From 1; 0 for the warm-up.
    pub round: usize,
    pub(crate) rounds: usize,
    pub(crate) plan: &'a Plan,
    pub(crate) outcome: &'a Outcome,
}

/// Runs each plan in turn, `rounds` times, after a warm-up, until stop or until a run breaks.
pub(crate) fn measure(
    plans: &[Plan],
    rounds: usize,
    warmup: Duration,
    stop: &Stop,
    progress: &mut dyn FnMut(&Turn),
) -> Measurement {
    let mut runs: Vec<Vec<Outcome>> = plans.iter().map(|_| Vec::new()).collect();
    let mut broken = None;
    let first = usize::from(warmup.is_zero());
    for (round, place) in (first..=rounds).flat_map(|round| order(plans, round)) {
        if stop.is_raised() || broken.is_some() {
            break;
        }
        let warming = (round == 0).then(|| plans[place].for_time(warmup));
        let plan = warming.as_ref().unwrap_or(&plans[place]);
        match attempt(plan, stop) {
            Ok(outcome) => {
                broken.clone_from(&outcome.tally.broken);
                progress(&Turn { round, rounds, plan, outcome: &outcome });
                runs[place].extend((round > 0).then_some(outcome));
            }
            Err(why) => broken = Some(why),
        }
    }
    let ran = runs.into_iter().filter(|runs| !runs.is_empty());
    Measurement { cells: ran.map(|runs| Cell { runs }).collect(), broken }
}

/// A round, and the places of the plans in the order in which it runs them: level by level;
/// within a level each round begins with the target after the one that the last began with.
pub fn order(plans: &[Plan], round: usize) -> Vec<(usize, usize)> {
    let mut order = Vec::new();
    for level in plans.chunk_by(Plan::is_same_level) {
        let (first, count) = (order.len(), level.len());
        let begin = round.saturating_sub(1);
        order.extend((0..count).map(|i| (round, first + (begin + i) % count)));
    }
    order
}

/// Each two targets at the same level, to be judged.
pub(crate) fn pairs(cells: &[Cell]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, a) in cells.iter().enumerate() {
        let others = cells[i + 1..].iter().filter(|b| a.plan().is_same_level(b.plan()));
        let names = |b: &Cell| [a, b].map(|cell| cell.name().to_owned());
        pairs.extend(others.map(|b| a.compared_with(names(b), b.compared())));
    }
    pairs
}

/// How long others that compare load each target first, so that none is the only cold one.
pub(crate) const WARMUP: Duration = Duration::from_millis(200);
/// How long `--rate auto` loads a target to see what it can do.
const PROBE: Duration = Duration::from_millis(500);
/// The points of its curve, as parts of a closed loop's rate: where it is flat, bends, and beyond.
const PARTS: [f64; 9] = [0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1];

/// `--rate auto`: for each level, parts of the rate of the best target in a closed loop.
pub(crate) fn load_curve(plans: &[Plan], stop: &Stop) -> Result<Vec<Plan>, String> {
    let mut scheduled = Vec::new();
    for level in plans.chunk_by(Plan::is_same_level) {
        let (mut highest, mut failure) = (0.0_f64, None);
        for plan in level {
            let outcome = run(&plan.for_time(PROBE), stop)?;
            highest = highest.max(outcome.rate());
            failure = failure.or(outcome.failure());
        }
        if let Some(why) = failure.filter(|_| highest == 0.0) {
            return Err(why);
        }
        for rate in PARTS.map(|part| two_digits(part * highest)) {
            scheduled.extend(level.iter().map(|plan| plan.at_rate(rate)));
        }
    }
    Ok(scheduled)
}

/// A rate that one can type.
pub fn two_digits(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.max(1.0).log10().floor() - 1.0).max(1.0);
    ((rate / unit).round() * unit).max(1.0)
}
