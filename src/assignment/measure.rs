//! Step 6: the three systems at the assignment's four levels, in turn, round after round, with a
//! run of ab after each of ours where ab is installed; then the load curve.
//!
//! Entry point: [`run`]. Note: `notes/README.md`.

use super::ab::{self, AbRun};
use crate::bench::Plan;
use crate::bench::rounds::{Cell, Turn, WARMUP, load_curve, measure};
use crate::cli::Result;
use crate::cli::shutdown::Stop;
use crate::lab::fleet::Fleet;
use crate::lab::process::{installed, say};
use std::time::Duration;

/// The assignment's concurrency levels.
pub(super) const LEVELS: [usize; 4] = [1, 10, 50, 100];
/// What is measured: the topic, and the title of its table; last what the assignment does not ask for.
pub(super) const SYSTEMS: [(&str, &str); 3] =
    [("lb", "Async + Load Balancer"), ("thread_server", "Thread"), ("async_server", "Async")];
/// The assignment's -s: nothing is given up early.
const ANSWER_PATIENCE: Duration = Duration::from_secs(99_999);
/// How often each point of the load curve is measured; how long, for each round of the test, and at most.
const CURVE_ROUNDS: usize = 3;
const POINT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(150));

pub(super) struct Measured {
    /// A cell per system and level.
    pub cells: Vec<Cell>,
    /// ab's runs of each cell, by round; empty without ab.
    pub ab: Vec<Vec<Option<AbRun>>>,
    /// A cell per system and rate.
    pub curve: Vec<Cell>,
}

pub(super) fn run(fleet: &Fleet, requests: u64, rounds: usize, stop: &Stop) -> Result<Measured> {
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
    let program = installed("ab");
    if program.is_none() {
        say("      ab is not installed (apt install apache2-utils): our figures stand alone");
    }
    let mut runs: Vec<Vec<Option<AbRun>>> = plans.iter().map(|_| Vec::new()).collect();
    let watch = &mut |turn: &Turn| {
        let place = plans.iter().position(|plan| std::ptr::eq(plan, turn.plan));
        let (Some(place), 1..) = (place, turn.round) else { return };
        if let Some(program) = program.as_ref().filter(|_| !stop.is_raised()) {
            runs[place].push(ab::run(program, turn.plan, stop));
        }
        if place == 0 {
            say(&format!("      round {}/{}", turn.round, turn.rounds));
        }
    };
    let cells = measure(&plans, rounds, WARMUP, stop, watch).whole()?;
    // At the highest level, at rates that are parts of what the best of them does there.
    let point = POINT.1.min(POINT.0 * rounds as u32);
    let mut busiest = plans[plans.len() - SYSTEMS.len()..].to_vec();
    for plan in &mut busiest {
        (plan.time_limit, plan.requests) = (Some(point), u64::MAX);
    }
    say("      load curve: at ever higher rates, all systems in turn");
    let scheduled = load_curve(&busiest, stop)?;
    let curve = measure(&scheduled, CURVE_ROUNDS, Duration::ZERO, stop, &mut |_| {});
    // Also where no request was answered in time: on a schedule that is a result.
    if let Some(why) = curve.broken {
        return Err(why);
    }
    if stop.is_raised() {
        return Err("stopped".to_owned());
    }
    Ok(Measured { cells, ab: runs, curve: curve.cells })
}
