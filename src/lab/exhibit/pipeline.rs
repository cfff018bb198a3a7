//! One write for many requests, measured: the load balancer with and without `--pipeline`.
//!
//! Note: `notes/lb.md`.

use super::{Exhibit, Stage, load, row};
use crate::bench::cpu::Cpu;
use crate::bench::rounds::{Turn, measure};
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use crate::bench::verdict::between;
use crate::bench::{Outcome, Plan};
use crate::lab::page::number;
use std::time::Duration;

pub(super) const EXHIBIT: Exhibit = Exhibit {
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

fn play(stage: &mut Stage) -> Result<String, String> {
    let (fleet, balancers) = stage.balance(["0"; 4], "--pipeline", &DEPTHS)?;
    let backends = fleet.all().iter().filter(|server| server.topic == "async_server");
    let backends: Vec<u32> = backends.map(|server| server.pid).collect();
    let length = stage.pick(Duration::from_secs(1), Duration::from_millis(300));
    let mut plans = Vec::new();
    for (depth, lb) in DEPTHS.iter().zip(&balancers) {
        plans.push(Plan { processes: vec![lb.pid], ..load(lb, depth, CLIENTS, length)? });
    }
    // The backends' CPU time per request in µs, of each plan by round; bench knows that of the lb.
    let mut times = [Vec::new(), Vec::new()];
    let mut before = Cpu::of(&backends);
    let look = &mut |turn: &Turn| {
        let now = Cpu::of(&backends);
        let place = plans.iter().position(|plan| std::ptr::eq(plan, turn.plan));
        if let (Some(place), Some(now), Some(then)) = (place, &now, &before) {
            let used = now.since(then).as_secs_f64() * 1e6;
            times[place].push(used / (turn.outcome.succeeded() as f64).max(1.0));
        }
        before = now;
    };
    let cells = measure(&plans, stage.pick(8, 6), WARMUP, stage.stop, look).whole()?;
    let mut rows = vec![
        row(["", "requests/s", "", "µs per request", ""]),
        row(["--pipeline", "median", "lowest to highest", "lb", "backends"]),
    ];
    let time = |times: Vec<f64>| {
        Spread::of(times).map_or_else(|| "?".to_owned(), |s| format!("{:.1}", s.median))
    };
    for ((depth, cell), backends) in DEPTHS.iter().zip(&cells).zip(times) {
        let rates = cell.spread(Outcome::rate);
        let [median, low, high] = [rates.median, rates.lowest, rates.highest].map(number);
        let lb = cell.runs().iter().filter_map(Outcome::cpu_per_request).collect();
        let range = format!("{low} to {high}");
        rows.push(row([depth, &median, &range, &time(lb), &time(backends)]));
    }
    let [one, many] = &cells[..] else { return Ok(String::new()) };
    let (one, many) = (one.samples(Outcome::rate), many.samples(Outcome::rate));
    let verdict = between((DEPTHS[0], &one), (DEPTHS[1], &many));
    Ok(format!("{}\nbench: {verdict}\n", Table { rows }.text()))
}
