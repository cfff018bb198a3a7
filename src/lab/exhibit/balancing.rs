//! The load balancer, measured: its policies where one backend of four is ten times slower; many
//! requests in one write; what it costs, and what keep-alive saves.
//!
//! Note: `notes/lb.md`.

use super::{Exhibit, Stage, bar, row};
use crate::bench::cpu::Cpu;
use crate::bench::report::ms;
use crate::bench::rounds::{Turn, WARMUP, measure, pairs};
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use crate::bench::verdict::{Pair, judge, sentences};
use crate::bench::{Outcome, Plan};
use crate::lab::fleet::{Server, get};
use crate::lab::page::number;

pub(super) const POLICIES: Exhibit = Exhibit {
    name: "policies",
    title: "one backend is ten times slower: who notices?",
    does: "\
Four async_servers. Three take 1 ms for each answer, the fourth takes 10 ms (--delay). In
front of them stand three load balancers, one for each policy, and 16 clients on keep-alive
connections measure them in turn, several rounds. Look at the slow backend's share first.",
    play: policies,
    means: "\
Round robin gives each backend a quarter of the requests. The slow one keeps its clients ten
times as long, so that is where most clients are most of the time. least-connections knows
nothing of milliseconds. It only sees that the slow one is still busy, and gives the next
request to another one. Two random looks are nearly as good.",
    note: "lb",
};

const NAMES: [&str; 3] = ["round-robin", "least-connections", "two-choices"];
const DELAYS: [&str; 4] = ["1ms", "1ms", "1ms", "10ms"];

fn policies(stage: &Stage) -> Result<String, String> {
    let (_fleet, balancers) = stage.balance(DELAYS, "--policy", &NAMES)?;
    let plan = |(name, lb): (&&str, &Server)| stage.load(lb, name, 16);
    let plans: Vec<Plan> = NAMES.iter().zip(&balancers).map(plan).collect::<Result<_, _>>()?;
    let cells = measure(&plans, stage.pick(5, 2), WARMUP, stage.stop, &mut |_| {}).whole()?;
    let heading =
        ["policy", "slow one's share", "others' shares", "requests/s", "p50 (ms)", "p99 (ms)"];
    let mut table = Table::new(&heading);
    let mut rates = Vec::new();
    for ((policy, lb), cell) in NAMES.into_iter().zip(&balancers).zip(&cells) {
        let shares = shares(lb)?;
        let (slow, others) = shares.split_last().ok_or("lb tells no shares")?;
        let (rate, times) = (cell.spread(Outcome::rate).median, &cell.median().tally.total);
        let [p50, p99] = [0.5, 0.99].map(|q| ms(times.quantile(q) as f64));
        table.rows.push(row([policy, slow, &others.join(" "), &number(rate), &p50, &p99]));
        rates.push((policy, rate));
    }
    let most = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let bar = |(policy, rate): &(&str, f64)| format!("{policy:<18} {}\n", bar(*rate, most));
    let bars: String = rates.iter().map(bar).collect();
    Ok(format!("{}\nRequests per second:\n{bars}", table.text()))
}

/// Each backend's share of the answers, as the load balancer's status page tells it.
fn shares(lb: &Server) -> Result<Vec<String>, String> {
    let wrong = |e| format!("http://{}/: {e}", lb.address);
    let answer = get(lb.address, "lb-status.json").map_err(wrong)?;
    let json = String::from_utf8_lossy(&answer);
    let numbers = json.split("\"share\":").skip(1).filter_map(|text| text.split(',').next());
    let shares = numbers.filter_map(|number| number.parse::<f64>().ok());
    Ok(shares.map(|share| format!("{:.0} %", share * 100.0)).collect())
}

pub(super) const PIPELINE: Exhibit = Exhibit {
    name: "pipeline",
    title: "many requests, one write: what lb --pipeline gains",
    does: "\
Four async_servers and two load balancers in front of them: one sends each request by
itself, the other one (--pipeline 32) sends the requests of one wake-up that go to the same
backend in one write. 64 clients on keep-alive connections measure them in turn, round after
round. For each round we ask the system how much CPU time the load balancer has used, and
how much the backends.",
    play: pipeline,
    means: "\
A system call costs more than all that the load balancer does with a request. Where many
requests travel together, one write and one read stand for all of them, on both sides: that
is why the backends save too. Requests per second depend on who else needs the cores; the
CPU time per request is the steadier figure. With one client at a time there is no gain.",
    note: "lb",
};

const DEPTHS: [&str; 2] = ["1", "32"];

fn pipeline(stage: &Stage) -> Result<String, String> {
    let (fleet, balancers) = stage.balance(["0"; 4], "--pipeline", &DEPTHS)?;
    let backends = fleet.servers.iter().filter(|server| server.topic == "async_server");
    let backends: Vec<u32> = backends.map(|server| server.pid).collect();
    let mut plans = Vec::new();
    for (depth, lb) in DEPTHS.iter().zip(&balancers) {
        plans.push(Plan { processes: vec![lb.pid], ..stage.load(lb, depth, 64)? });
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
    let heading = [
        "--pipeline",
        "requests/s",
        "lowest to highest",
        "lb (µs/request)",
        "backends (µs/request)",
    ];
    let mut table = Table::new(&heading);
    for ((depth, cell), backends) in DEPTHS.iter().zip(&cells).zip(times) {
        let Spread { lowest, median: middle, highest } = cell.spread(Outcome::rate);
        let range = format!("{} to {}", number(lowest), number(highest));
        let backends =
            Spread::of(backends).map_or("?".to_owned(), |cpu| format!("{:.1}", cpu.median));
        table.rows.push(row([depth, &number(middle), &range, &cell.cpu_time(), &backends]));
    }
    let verdict = sentences(&judge(pairs(&cells))).concat();
    Ok(format!("{}\nbench: {verdict}\n", table.text()))
}

pub(super) const COST: Exhibit = Exhibit {
    name: "cost",
    title: "what the lb costs, and what keep-alive saves",
    does: "\
Four async_servers and a load balancer in front of them. One client asks one server directly,
and then asks through the load balancer; each once on one connection (keep-alive), and once
with a new connection for each request. So there are four ways, measured in turn, round
after round. CPU time is that of all servers on the way.",
    play: cost,
    means: "\
Through the load balancer each request is read and written twice as often, and each answer
too. That is the price, and there is no load at which it is not paid. A new connection costs
three packets before the first byte and some at the end; on loopback they cost CPU time, on
a network they cost a round trip as well. The load balancer keeps its own connections to the
backends in either case: only the client's connection is new.",
    note: "lb",
};

const WAYS: [&str; 4] = [
    "server, one connection",
    "server, new connections",
    "lb, one connection",
    "lb, new connections",
];

fn cost(stage: &Stage) -> Result<String, String> {
    let (fleet, _) = stage.balance(["0"; 4], "--policy", &["round-robin"])?;
    let (backend, lb) = (fleet.one("async_server")?, fleet.one("lb")?);
    let all = fleet.servers.iter().map(|server| server.pid).collect::<Vec<_>>();
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
        let (median, range) = (format!("{median:.3}"), format!("{lowest:.3} to {highest:.3}"));
        table.rows.push(row([name, &median, &range, &cell.cpu_time()]));
    }
    let pair = |ways: [usize; 2]| Pair {
        names: ways.map(|way| WAYS[way].to_owned()),
        samples: ways.map(|way| cells[way].samples(Outcome::rate)),
        ..Pair::default()
    };
    let verdicts = sentences(&judge(vec![pair([0, 2]), pair([0, 1]), pair([2, 3])]));
    Ok(format!("{}\n{}\n", table.text(), verdicts.join("\n")))
}
