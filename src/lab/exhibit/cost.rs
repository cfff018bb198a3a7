//! What a load balancer adds to each request, and what keep-alive saves: one client, with and
//! without each.
//!
//! Note: `notes/lb.md`.

use super::{Exhibit, Stage, row};
use crate::bench::rounds::measure;
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use crate::bench::verdict::{Pair, judge, sentences};
use crate::bench::{Outcome, Plan};
use std::time::Duration;

pub(super) const COST: Exhibit = Exhibit {
    name: "cost",
    title: "what the lb costs, and what keep-alive saves",
    does: "\
Four async_servers and a load balancer in front of them. One client asks one server directly,
and then asks through the load balancer; each once on one connection (keep-alive), and once
with a new connection for each request. So there are four ways, measured in turn, round
after round. CPU time is that of all servers on the way.",
    play,
    means: "\
Through the load balancer each request is read and written twice as often, and each answer
too. That is the price, and there is no load at which it is not paid. A new connection costs
three packets before the first byte and some at the end; on loopback they cost CPU time, on
a network they cost a round trip as well. The load balancer keeps its own connections to the
backends in either case: only the client's connection is new.",
    note: "lb",
};

const WARMUP: Duration = Duration::from_millis(200);
const WAYS: [&str; 4] = [
    "server, one connection",
    "server, new connections",
    "lb, one connection",
    "lb, new connections",
];

fn play(stage: &Stage) -> Result<String, String> {
    let (fleet, _) = stage.balance(["0"; 4], "--policy", &["round-robin"])?;
    let (backend, lb) = (fleet.one("async_server")?, fleet.one("lb")?);
    let all = fleet.all().iter().map(|server| server.pid).collect::<Vec<_>>();
    let mut plans: Vec<Plan> = Vec::new();
    for (name, keep_alive) in WAYS.into_iter().zip([true, false].into_iter().cycle()) {
        let direct = name.starts_with("server");
        let (server, processes) =
            if direct { (backend, vec![backend.pid]) } else { (lb, all.clone()) };
        plans.push(Plan { keep_alive, processes, ..stage.load(server, name, 1)? });
    }
    let cells = measure(&plans, stage.pick(12, 7), WARMUP, stage.stop, &mut |_| {}).whole()?;
    let mut table = Table::new(&["", "ms per request", "lowest to highest", "CPU µs per request"]);
    for (name, cell) in WAYS.iter().zip(&cells) {
        let Spread { median, lowest, highest } = cell.spread(Outcome::time_per_request);
        let cpu = Spread::of(cell.runs().iter().filter_map(Outcome::cpu_per_request));
        let cpu = cpu.map_or_else(|| "?".to_owned(), |spread| format!("{:.1}", spread.median));
        table.rows.push(row([
            name,
            &format!("{median:.3}"),
            &format!("{lowest:.3} to {highest:.3}"),
            &cpu,
        ]));
    }
    let pair = |ways: [usize; 2]| Pair {
        names: ways.map(|way| WAYS[way].to_owned()),
        samples: ways.map(|way| cells[way].samples(Outcome::rate)),
        ..Pair::default()
    };
    let verdicts = sentences(&judge(vec![pair([0, 2]), pair([0, 1]), pair([2, 3])]));
    Ok(format!("{}\n{}\n", table.text(), verdicts.join("\n")))
}
