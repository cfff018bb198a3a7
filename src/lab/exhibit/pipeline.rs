//! One write for many requests, measured: the load balancer with and without `--pipeline`.
//!
//! Note: `notes/lb.md`.

use super::{Exhibit, Stage, row};
use crate::bench::cpu::Cpu;
use crate::bench::rounds::{State, Turn, measure};
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

fn play(stage: &Stage) -> Result<String, String> {
    let (fleet, balancers) = stage.balance(["0"; 4], "--pipeline", &DEPTHS)?;
    let backends = fleet.all().iter().filter(|server| server.topic == "async_server");
    let backends: Vec<u32> = backends.map(|server| server.pid).collect();
    let mut plans = Vec::new();
    for (depth, lb) in DEPTHS.iter().zip(&balancers) {
        plans.push(Plan { processes: vec![lb.pid], ..stage.load(lb, depth, CLIENTS)? });
    }
    // The backends' CPU time per request in µs, of each plan by round; bench knows that of the lb.
    let mut times = [Vec::new(), Vec::new()];
    let mut before = Cpu::of(&backends);
    let look = &mut |turn: &Turn| {
        let State::Ended(outcome) = turn.state else { return };
        let now = Cpu::of(&backends);
        let place = plans.iter().position(|plan| std::ptr::eq(plan, turn.plan));
        if let (Some(place), Some(now), Some(then)) = (place, &now, &before) {
            let used = now.since(then).as_secs_f64() * 1e6;
            times[place].push(used / (outcome.succeeded() as f64).max(1.0));
        }
        before = now;
    };
    let cells = measure(&plans, stage.pick(8, 6), WARMUP, stage.stop, look).whole()?;
    let mut rows = vec![
        row(["", "requests/s", "", "µs per request", ""]),
        row(["--pipeline", "median", "lowest to highest", "lb", "backends"]),
    ];
    let median = |times: Vec<f64>| {
        Spread::of(times).map_or_else(|| "?".to_owned(), |s| format!("{:.1}", s.median))
    };
    for ((depth, cell), backends) in DEPTHS.iter().zip(&cells).zip(times) {
        let Spread { lowest, median: middle, highest } = cell.spread(Outcome::rate);
        let range = format!("{} to {}", number(lowest), number(highest));
        let lb = cell.runs().iter().filter_map(Outcome::cpu_per_request).collect();
        rows.push(row([depth, &number(middle), &range, &median(lb), &median(backends)]));
    }
    let rates: Vec<Vec<f64>> = cells.iter().map(|cell| cell.samples(Outcome::rate)).collect();
    let [one, many] = &rates[..] else { return Ok(String::new()) };
    let verdict = between((DEPTHS[0], one), (DEPTHS[1], many));
    Ok(format!("{}\nbench: {verdict}\n", Table { rows }.text()))
}
