//! One write for many requests, measured: the load balancer with and without `--pipeline`.
//!
//! Note: `notes/lb.md`.

use super::fleet::{Fleet, Lb};
use super::text::{columns, row};
use super::{Exhibit, Played, Size};
use crate::bench::stats::Spread;
use crate::bench::verdict::between;
use crate::bench::{self, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::compare::usage::Cpu;
use crate::lab::report::number;
use std::time::Duration;

pub const EXHIBIT: Exhibit = Exhibit {
    name: "pipeline",
    title: "many requests, one write: what lb --pipeline gains",
    does: "\
Four async_servers and two load balancers in front of them: one sends each request by
itself, the other one (--pipeline 32) sends the requests of one wake-up that go to the same
backend in one write. 64 clients on keep-alive connections measure them in turn, round after
round. For each round we ask the system how much CPU time the load balancer has used, and
how much the backends.",
    play,
    means: "\
A system call costs more than all that the load balancer does with a request. Where many
requests travel together, one write and one read stand for all of them, on both sides: that
is why the backends save too. The gain in requests per second depends on who else needs the
cores; here the clients share the machine. The CPU time per request is the steadier figure.
With one client at a time there would be no gain: a wake-up brings one request.",
};

const DEPTHS: [&str; 2] = ["1", "32"];
const CLIENTS: usize = 64;
const WARMUP: Duration = Duration::from_millis(200);

/// The rounds of a load balancer.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    /// CPU time per request in µs: of the load balancer, of the backends.
    lb: Vec<f64>,
    backends: Vec<f64>,
}

fn play(size: Size, stop: &Stop) -> Result<Played, String> {
    let mut fleet = Fleet::start(&["0"; 4], stop)?;
    let mut lbs = Vec::new();
    for depth in DEPTHS {
        let lb = fleet.add_lb("--pipeline", depth, stop)?;
        lbs.push((lb, Rounds::default()));
        load(lb, WARMUP, stop)?;
    }
    let backends = fleet.backends();
    let length = size.of(Duration::from_secs(1), Duration::from_millis(300));
    for _ in 0..size.of(8, 6) {
        for (lb, rounds) in &mut lbs {
            if !stop.is_raised() {
                round(*lb, &backends, length, rounds, stop)?;
            }
        }
    }
    let headings = ["", "requests/s", "", "µs per request", ""];
    let below = ["--pipeline", "median", "lowest to highest", "lb", "backends"];
    let mut table = vec![row(headings), row(below)];
    for (depth, (_, rounds)) in DEPTHS.into_iter().zip(&lbs) {
        table.push(line(depth, rounds));
    }
    let named = |i: usize| (DEPTHS[i], lbs[i].1.rates.as_slice());
    let verdict = between(named(0), named(1));
    Ok((columns(&table) + &format!("\nbench: {verdict}\n")).into())
}

fn load(lb: Lb, length: Duration, stop: &Stop) -> Result<bench::Outcome, String> {
    let mut plan = Plan::new(&lb.url())?;
    plan.requests = u64::MAX;
    plan.time_limit = Some(length);
    plan.concurrency = CLIENTS;
    plan.keep_alive = true;
    bench::run(&plan, stop)
}

fn round(
    lb: Lb,
    backends: &[u32],
    length: Duration,
    rounds: &mut Rounds,
    stop: &Stop,
) -> Result<(), String> {
    let look = || Some((Cpu::of(&[lb.pid])?, Cpu::of(backends)?));
    let before = look();
    let outcome = load(lb, length, stop)?;
    rounds.rates.push(outcome.rate());
    if let (Some(before), Some(after)) = (before, look()) {
        let requests = (outcome.succeeded() as f64).max(1.0);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / requests;
        rounds.lb.push(each(after.0.since(&before.0)));
        rounds.backends.push(each(after.1.since(&before.1)));
    }
    Ok(())
}

fn line(depth: &str, rounds: &Rounds) -> Vec<String> {
    let spread = |values: &[f64]| Spread::of(values.iter().copied());
    let rates = spread(&rounds.rates);
    let ends = rates.map(|r| format!("{} to {}", number(r.lowest), number(r.highest)));
    let shown = |figure: Option<String>| figure.unwrap_or_else(|| "?".to_owned());
    let time = |times: &[f64]| shown(spread(times).map(|s| format!("{:.1}", s.median)));
    vec![
        depth.to_owned(),
        shown(rates.map(|r| number(r.median))),
        ends.unwrap_or_default(),
        time(&rounds.lb),
        time(&rounds.backends),
    ]
}
