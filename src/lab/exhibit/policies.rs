//! One backend of four is ten times slower, and each policy has its turn in front of them.
//!
//! Note: `notes/lb.md`.

use super::{Exhibit, Stage, bar, row};
use crate::bench::report::ms;
use crate::bench::rounds::measure;
use crate::bench::table::Table;
use crate::bench::{Outcome, Plan};
use crate::lab::fleet::{Server, get};
use crate::lab::page::number;
use std::time::Duration;

pub(super) const EXHIBIT: Exhibit = Exhibit {
    name: "policies",
    title: "one backend is ten times slower: who notices?",
    does: "\
Four async_servers. Three take 1 ms for each answer, the fourth takes 10 ms (--delay). In
front of them stand three load balancers, one for each policy, and 16 clients on keep-alive
connections measure them in turn, several rounds. Look at the slow backend's share first.",
    play,
    means: "\
Round robin is fair to the backends: each has a quarter of the requests. So every client
stands before the slow one at every fourth request, and since it stands there ten times as
long, that is where most clients are most of the time. The others have little to do.
least-connections knows nothing of milliseconds. It only sees that the slow one is still
busy with what it has, and gives the next request to somebody else. Two random looks are
nearly as good. The price is in the share: where requests pile up, few new ones go, so the
slow backend does less. If it is slow because it is ill, that is what you want.",
};

const POLICIES: [&str; 3] = ["round-robin", "least-connections", "two-choices"];
const DELAYS: [&str; 4] = ["1ms", "1ms", "1ms", "10ms"];
const CLIENTS: usize = 16;
const WARMUP: Duration = Duration::from_millis(200);

fn play(stage: &Stage) -> Result<String, String> {
    let (_fleet, balancers) = stage.balance(DELAYS, "--policy", &POLICIES)?;
    let plan = |(name, lb): (&&str, &Server)| stage.load(lb, name, CLIENTS);
    let plans: Vec<Plan> = POLICIES.iter().zip(&balancers).map(plan).collect::<Result<_, _>>()?;
    let cells = measure(&plans, stage.pick(5, 2), WARMUP, stage.stop, &mut |_| {}).whole()?;
    let heading =
        ["policy", "slow one's share", "others' shares", "requests/s", "p50 (ms)", "p99 (ms)"];
    let mut table = Table::new(&heading);
    let mut rates = Vec::new();
    for ((policy, lb), cell) in POLICIES.into_iter().zip(&balancers).zip(&cells) {
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
