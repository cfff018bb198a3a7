//! Step 6: the three systems at the assignment's four levels, in turn, round after round, with a
//! run of ab after each of ours where ab is installed; then the load curve.
//!
//! Entry point: [`run`]. Note: `notes/README.md`.

use super::ab::{Ab, AbRun};
use crate::bench::rounds::{Cell, Turn, measure};
use crate::bench::{Outcome, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::Fleet;
use crate::lab::process::say;
use std::time::Duration;

/// The assignment's concurrency levels.
pub(super) const LEVELS: [usize; 4] = [1, 10, 50, 100];
/// What is measured: the topic, and the title of its table.
pub(super) const SYSTEMS: [(&str, &str); 3] =
    [("lb", "Async + Load Balancer"), ("async_server", "Async"), ("thread_server", "Thread")];
/// How each target is loaded before the first round.
pub(super) const WARMUP: Duration = Duration::from_millis(200);
/// The assignment's -s: nothing is given up early.
const ANSWER_PATIENCE: Duration = Duration::from_secs(99_999);
/// The load curve's rates, as parts of the highest rate of a closed loop: where it is flat, where
/// it bends, and beyond.
const PARTS: [f64; 8] = [0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.1];
/// How often each of its points is measured; how long, for each round of the test, and at most.
const CURVE_ROUNDS: usize = 3;
const POINT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(150));

/// What the test brought.
pub(super) struct Measured {
    /// A cell per system and level.
    pub cells: Vec<Cell>,
    pub ab_version: Option<String>,
    /// ab's runs of each cell, by round.
    ab: Vec<Vec<Option<AbRun>>>,
    /// A cell per system and rate.
    pub curve: Vec<Cell>,
}

impl Measured {
    pub fn ab_runs(&self, cell: &Cell) -> &[Option<AbRun>] {
        let place = self.cells.iter().position(|c| std::ptr::eq(c, cell));
        place.and_then(|place| self.ab.get(place)).map_or(&[], Vec::as_slice)
    }
}

/// Measures lb, one async_server, and thread_server.
pub(super) fn run(
    fleet: &Fleet,
    requests: u64,
    rounds: usize,
    stop: &Stop,
) -> Result<Measured, String> {
    let mut plans = Vec::new();
    for concurrency in LEVELS {
        for (topic, title) in SYSTEMS {
            // bench -n … -c … -k -r -s 99999
            let mut plan = Plan::new(&format!("http://{}/", fleet.one(topic)?.address))?;
            plan.target.name = title.to_owned();
            plan.timeout = ANSWER_PATIENCE;
            plans.push(Plan { requests, concurrency, keep_alive: true, go_on: true, ..plan });
        }
    }
    let ab = Ab::find(stop);
    if ab.is_none() {
        say("      ab is not installed (apt install apache2-utils): our figures stand alone");
    }
    let mut runs: Vec<Vec<Option<AbRun>>> = plans.iter().map(|_| Vec::new()).collect();
    let mut rates = Vec::new();
    let watch = &mut |turn: &Turn| {
        let place = plans.iter().position(|plan| std::ptr::eq(plan, turn.plan));
        let (Some(place), 1..) = (place, turn.round) else {
            return;
        };
        if let Some(ab) = ab.as_ref().filter(|_| !stop.is_raised()) {
            runs[place].push(ab.run(turn.plan, stop));
        }
        rates.push((place, turn.outcome.rate()));
        if rates.len() == plans.len() {
            say(&line(turn, &plans, &mut rates));
        }
    };
    let cells = measure(&plans, rounds, WARMUP, stop, watch).whole()?;
    let scheduled = scheduled(&plans, &cells, POINT.1.min(POINT.0 * rounds as u32));
    if !stop.is_raised() {
        let systems = SYSTEMS.len();
        say(&format!("      load curve: {} rates, {systems} systems in turn", PARTS.len()));
    }
    let curve = measure(&scheduled, CURVE_ROUNDS, Duration::ZERO, stop, &mut |_| {}).whole()?;
    if stop.is_raised() {
        return Err("stopped".to_owned());
    }
    Ok(Measured { cells, ab_version: ab.map(|ab| ab.version), ab: runs, curve })
}

/// A line for the round: the rates at each level, in the order of the systems.
fn line(turn: &Turn, plans: &[Plan], rates: &mut Vec<(usize, f64)>) -> String {
    let mut text = format!("      round {}/{}:", turn.round, turn.rounds);
    rates.sort_by_key(|(place, _)| *place);
    for (place, rate) in rates.drain(..) {
        if place % SYSTEMS.len() == 0 {
            text += &format!("  c={}:", plans[place].concurrency);
        }
        text += &format!(" {rate:.0}");
    }
    text
}

/// The plans of the load curve: all systems at the highest level, at the same rates.
fn scheduled(plans: &[Plan], cells: &[Cell], point: Duration) -> Vec<Plan> {
    let rates = cells.iter().map(|cell| cell.spread(Outcome::rate).median);
    let highest = rates.fold(1.0, f64::max);
    let mut scheduled = Vec::new();
    for part in PARTS {
        // To two digits: a rate that one can type.
        let unit = 10_f64.powf((part * highest).max(1.0).log10().floor() - 1.0).max(1.0);
        let rate = (part * highest / unit).round().max(1.0) * unit;
        for plan in &plans[plans.len() - SYSTEMS.len()..] {
            let open = Plan { time_limit: Some(point), requests: u64::MAX, ..plan.clone() };
            scheduled.push(open.at_rate(rate));
        }
    }
    scheduled
}
