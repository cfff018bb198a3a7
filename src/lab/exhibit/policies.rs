//! One backend of four is ten times slower, and each policy has its turn in front of them.
//!
//! Note: `notes/lb.md`.

use super::fleet::Fleet;
use super::text::{bar, columns, row};
use super::{Exhibit, Played, Size};
use crate::bench::Outcome as Run;
use crate::bench::Plan;
use crate::bench::report::ms;
use crate::bench::rounds::{Cell, measure};
use crate::bench::stats::Spread;
use crate::cli::shutdown::Stop;
use crate::lab::report::number;
use std::fmt::Write;
use std::time::Duration;

pub const EXHIBIT: Exhibit = Exhibit {
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

/// What came of a policy.
struct Outcome {
    policy: &'static str,
    rates: Spread,
    /// By backend; the slow one is the last.
    shares: Vec<f64>,
}

fn play(size: Size, stop: &Stop) -> Result<Played, String> {
    let mut fleet = Fleet::start(&DELAYS, stop)?;
    let (mut lbs, mut plans) = (Vec::new(), Vec::new());
    for policy in POLICIES {
        let lb = fleet.add_lb("--policy", policy, stop)?;
        let mut plan = Plan::new(&lb.url())?;
        plan.requests = u64::MAX;
        plan.time_limit = Some(size.of(Duration::from_secs(1), Duration::from_millis(300)));
        plan.concurrency = CLIENTS;
        plan.keep_alive = true;
        lbs.push(lb);
        plans.push(plan);
    }
    let cells = measure(&plans, size.of(5, 2), WARMUP, stop, &mut |_| {}).whole()?;
    let mut table = vec![row([
        "policy",
        "slow one's share",
        "others' shares",
        "requests/s",
        "p50 (ms)",
        "p99 (ms)",
    ])];
    let mut outcomes = Vec::new();
    for ((policy, lb), cell) in POLICIES.into_iter().zip(&lbs).zip(&cells) {
        let outcome = Outcome { policy, rates: cell.spread(Run::rate), shares: lb.shares()? };
        table.push(cells_of(&outcome, cell));
        outcomes.push(outcome);
    }
    let most = outcomes.iter().map(|o| o.rates.median).fold(0.0, f64::max);
    let mut text = columns(&table) + "\nRequests per second:\n";
    for o in &outcomes {
        let _ = writeln!(text, "{:<18} {}", o.policy, bar(o.rates.median, most));
    }
    Ok(Played { text, picture: Some(("policies.svg", draw(&outcomes))) })
}

fn cells_of(outcome: &Outcome, cell: &Cell) -> Vec<String> {
    let percent = |share: &f64| format!("{:.0} %", share * 100.0);
    let (slow, others) = match outcome.shares.split_last() {
        Some((slow, others)) => (percent(slow), others.iter().map(percent).collect()),
        None => Default::default(),
    };
    let others: Vec<String> = others;
    let times = &cell.median().tally.total;
    let time = |q| ms(times.quantile(q) as f64);
    vec![
        outcome.policy.to_owned(),
        slow,
        others.join(" "),
        number(outcome.rates.median),
        time(0.5),
        time(0.99),
    ]
}

const STYLE: &str = "text{font:13px system-ui,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif;fill:#1f2328}\
    .m{fill:#59636e;font-size:12px}.b{font-weight:600}.end{text-anchor:end}\
    .bg{fill:#fff;stroke:#d1d9e0}.fast{fill:#0072b2}.slow{fill:#d55e00}.cut{stroke:#fff}.span{stroke:#1f2328;stroke-width:1.5}\
    @media (prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.bg{fill:#0d1117;stroke:#3d444d}\
    .fast{fill:#56b4e9}.slow{fill:#e69f00}.cut{stroke:#0d1117}.span{stroke:#e6edf3}}";

/// Left the rates, right who served; a row for each policy.
fn draw(outcomes: &[Outcome]) -> String {
    let height = 76 + 44 * outcomes.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" width=\"760\" height=\"{height}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">Three policies when one of four backends is ten times slower</title>\n\
         <desc id=\"d\">For each policy the requests per second, median with lowest and highest round, and each backend's share of the requests.</desc>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"bg\" x=\"0.5\" y=\"0.5\" width=\"759\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"b\" x=\"150\" y=\"30\">requests per second</text>\n\
         <text class=\"b\" x=\"490\" y=\"30\">who served them</text>\n",
        height - 1
    );
    let highest = outcomes.iter().map(|o| o.rates.highest);
    let most = highest.fold(1.0, f64::max);
    let x = |rate: f64| 150.0 + rate / most * 220.0;
    // Writing into a String cannot fail.
    for (i, o) in outcomes.iter().enumerate() {
        let y = 46 + 44 * i;
        let middle = y + 14;
        let _ = writeln!(
            svg,
            "<text class=\"end\" x=\"138\" y=\"{}\">{}</text>\n\
             <rect class=\"fast\" x=\"150\" y=\"{y}\" width=\"{:.1}\" height=\"28\"/>\n\
             <path class=\"span\" d=\"M{:.1} {middle}H{:.1}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            y + 19,
            o.policy,
            x(o.rates.median) - 150.0,
            x(o.rates.lowest),
            x(o.rates.highest),
            x(o.rates.highest) + 8.0,
            y + 19,
            number(o.rates.median)
        );
        let mut left = 490.0;
        for (number, share) in o.shares.iter().enumerate() {
            let class = match number + 1 == o.shares.len() {
                true => "slow",
                false => "fast",
            };
            let width = share * 200.0;
            let _ = writeln!(
                svg,
                "<rect class=\"{class} cut\" x=\"{left:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"28\"/>"
            );
            left += width;
        }
        if let Some(slow) = o.shares.last() {
            let _ = writeln!(svg, "<text x=\"698\" y=\"{}\">{:.0} %</text>", y + 19, slow * 100.0);
        }
    }
    let below = height - 16;
    let _ = writeln!(
        svg,
        "<text class=\"m\" x=\"150\" y=\"{below}\">median, and lowest to highest round</text>\n\
         <text class=\"m\" x=\"490\" y=\"{below}\">orange: the slow one, with its share</text>\n</svg>"
    );
    svg
}
