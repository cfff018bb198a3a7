//! Step 6: the three systems at the assignment's four levels, in turn, round after round, with a
//! run of ab after each of ours where ab is installed; then the load curve.
//!
//! Entry point: [`run`]. Note: `notes/README.md`.

use super::ab::{Ab, AbRun};
use crate::bench::rounds::{Cell, State, Turn, measure};
use crate::bench::{Outcome, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::Fleet;
use crate::lab::process::say;
use std::io::{IsTerminal, Write};
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
/// One point of the curve: so long for each round of the test, and at most so long.
const POINT: (Duration, Duration) = (Duration::from_millis(27), Duration::from_millis(400));

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
    let mut watch = Watch {
        plans: &plans,
        runs: plans.iter().map(|_| Vec::new()).collect(),
        ab,
        is_terminal: std::io::stdout().is_terminal(),
        rates: Vec::new(),
    };
    let cells = measure(&plans, rounds, WARMUP, stop, &mut |turn| watch.see(turn, stop)).whole()?;
    let point = POINT.1.min(POINT.0 * rounds as u32);
    let scheduled = scheduled(&plans, &cells, point);
    if !stop.is_raised() {
        say(&format!("      load curve: {} rates for each system", PARTS.len()));
    }
    let show = &mut |turn: &Turn| watch.draw(turn);
    let curve = measure(&scheduled, 1, Duration::ZERO, stop, show).whole()?;
    watch.clear();
    if stop.is_raised() {
        return Err("stopped".to_owned());
    }
    let (ab, version) = (watch.runs, watch.ab.map(|ab| ab.version));
    Ok(Measured { cells, ab_version: version, ab, curve })
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
            let open =
                Plan { time_limit: Some(point), requests: u64::MAX, rows: None, ..plan.clone() };
            scheduled.push(open.at_rate(rate));
        }
    }
    scheduled
}

/// Looks on while the rounds go by: says so, and runs ab after each run.
struct Watch<'a> {
    plans: &'a [Plan],
    ab: Option<Ab>,
    /// ab's, for each plan.
    runs: Vec<Vec<Option<AbRun>>>,
    is_terminal: bool,
    /// The rates of the round so far, with the place of each plan.
    rates: Vec<(usize, f64)>,
}

impl Watch<'_> {
    fn see(&mut self, turn: &Turn, stop: &Stop) {
        let State::Ended(outcome) = turn.state else {
            return self.draw(turn);
        };
        let place = self.plans.iter().position(|plan| std::ptr::eq(plan, turn.plan));
        let Some(place) = place.filter(|_| turn.round > 0) else { return };
        if let Some(ab) = self.ab.as_ref().filter(|_| !stop.is_raised()) {
            self.runs[place].push(ab.run(turn.plan, stop));
        }
        self.rates.push((place, outcome.rate()));
        if self.rates.len() == self.plans.len() {
            self.clear();
            say(&self.line(turn));
        }
    }

    /// A line for the round: the rates at each level, in the order of the systems.
    fn line(&mut self, turn: &Turn) -> String {
        let mut text = format!("      round {}/{}:", turn.round, turn.rounds);
        self.rates.sort_by_key(|(place, _)| *place);
        for (place, rate) in self.rates.drain(..) {
            if place % SYSTEMS.len() == 0 {
                text.push_str(&format!("  c={}:", self.plans[place].concurrency));
            }
            text.push_str(&format!(" {rate:.0}"));
        }
        text
    }

    /// On a terminal, what is being done at this moment.
    fn draw(&self, turn: &Turn) {
        let what = match turn.round {
            0 => "warming up".to_owned(),
            round => format!("round {round}/{}", turn.rounds),
        };
        let (name, level) = (&turn.plan.target.name, turn.plan.level());
        self.write(&format!("\r\x1b[K      {what}: {name}, {level}"));
    }

    fn clear(&self) {
        self.write("\r\x1b[K");
    }

    fn write(&self, text: &str) {
        if self.is_terminal {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "{text}").and_then(|()| out.flush());
        }
    }
}
