//! What time hides: a stall that the clients who wait for it do not see, and the noise of the
//! same run twelve times.
//!
//! Notes: `notes/bench.md`, `notes/wrong-table.md`.

use super::server::{LAST, Server, answer};
use super::{Exhibit, Stage, bar, row};
use crate::bench::report::ms;
use crate::bench::rounds;
use crate::bench::stats::{Histogram, PERCENTILES, Spread};
use crate::bench::table::Table;
use crate::bench::verdict::between;
use crate::bench::{self, Outcome, Plan};
use crate::cli::Result;
use crate::cli::shutdown::Stop;
use crate::lab::page::number;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const OMISSION: Exhibit = Exhibit {
    name: "omission",
    title: "a server that stalls for a second, and a test that does not notice",
    does: "\
A fast server does nothing for one second in the middle of the test. Four clients measure it
twice. Closed loop, as ab and wrk do it: each client sends its next request when it has the
answer to the last. On a schedule (bench --rate 200): 200 requests are due each second,
whatever the server does. Service time runs from when a request was sent; response time
from when it was due.",
    play: omission,
    means: "\
In the closed loop the four clients wait through the stall with one request each: four slow
answers among thousands, and not even the 99th percentile shows them. But 200 users would
have come in that second, and all would have waited: response time counts them. This is
called coordinated omission. If you want to know what users feel, give a rate.",
    note: "bench",
};

const CLIENTS: usize = 4;
const RATE: f64 = 200.0;
const STALL: Duration = Duration::from_secs(1);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";

fn omission(stage: &Stage) -> Result<String> {
    // How long it runs before the stall, and after.
    let margin = Duration::from_secs_f64(stage.pick(1.0, 0.5));
    let length = STALL + margin * 2;
    let due = (RATE * length.as_secs_f64()) as u64;
    let closed = stalled(margin, stage.stop, u64::MAX, |plan| plan.time_limit = Some(length))?;
    let scheduled = stalled(margin, stage.stop, due, |plan| plan.rate = Some(RATE))?;
    let columns = [&closed.tally.total, &scheduled.tally.total, &scheduled.tally.response];
    let mut rows = vec![
        row(["", "closed loop", "schedule:", "schedule:"]),
        row(["ms", "", "service", "response"]),
    ];
    let mut add = |name: &str, of: &dyn Fn(&Histogram) -> String| {
        rows.push([vec![name.to_owned()], columns.map(of).to_vec()].concat());
    };
    for (name, q) in PERCENTILES {
        add(name, &|times| ms(times.quantile(q) as f64));
    }
    add("requests", &|times| number(times.count() as f64));
    add("over 100 ms", &|times| {
        let slow = times.buckets().filter(|(low, _, _)| *low > 100_000_000);
        slow.map(|(_, _, count)| count).sum::<u64>().to_string()
    });
    Ok(Table { rows }.text())
}

/// `n` requests to a server of its own, which stalls once, `margin` after its first request.
fn stalled(margin: Duration, stop: &Stop, n: u64, set: impl Fn(&mut Plan)) -> Result<Outcome> {
    let first_request = OnceLock::new();
    let server = Server::start(move |stream, stop| {
        answer(stream, ANSWER, || {
            let elapsed = first_request.get_or_init(Instant::now).elapsed();
            if elapsed > margin {
                thread::sleep((margin + STALL).saturating_sub(elapsed));
            }
            !stop.is_raised()
        });
    })?;
    let mut plan = Plan { keep_alive: true, ..server.plan(n, CLIENTS)? };
    set(&mut plan);
    bench::run(&plan, stop)
}

pub(super) const NOISE: Exhibit = Exhibit {
    name: "noise",
    title: "the same run twelve times",
    does: "\
One server, twelve runs of 1,000 requests, 10 at a time: twelve times exactly the same. Then
we pretend that there were two servers. \"Odd\" made the runs 1, 3, 5, 7, 9, 11 and \"even\"
the runs 2, 4, 6, 8, 10, 12, and bench is asked which is faster.",
    play: noise,
    means: "\
Nothing was changed, and yet no two runs agree. One run of A divided by one of B measures this
noise. So: several runs, in turn (A B A B), the median with the lowest and the highest, and a
difference only when chance alone would hardly make it. \"Cannot be told apart\" is the right
answer here; about one time in twenty chance gives the other: that is what p = 0.05 means.",
    note: "wrong-table",
};

const RUNS: usize = 12;

fn noise(stage: &Stage) -> Result<String> {
    let server = Server::start(|stream, _| answer(stream, LAST, || false))?;
    let plan = server.plan(stage.pick(1000, 200), 10)?;
    let cells = rounds::measure(&[plan], RUNS, rounds::WARMUP, stage.stop, &mut |_| {}).whole()?;
    let Some(cell) = cells.first() else {
        return Ok(String::new()); // stopped before the first run
    };
    let rates = cell.samples(Outcome::rate);
    let Spread { lowest, median, highest } = cell.spread(Outcome::rate);
    let [low, middle, high] = [lowest, median, highest].map(number);
    let spread = (highest - lowest) / median.max(f64::MIN_POSITIVE) * 100.0;
    let (apart, time) = (highest / lowest.max(f64::MIN_POSITIVE), cell.median().wall.as_secs_f64());
    let run = |(i, rate): (usize, &f64)| {
        let bar = bar(*rate, highest);
        format!("run {:>2}  {:>7} requests/s  {bar}\n", i + 1, number(*rate))
    };
    let runs: String = rates.iter().enumerate().map(run).collect();
    let half = |first| -> Vec<f64> { rates.iter().skip(first).step_by(2).copied().collect() };
    Ok(format!(
        "{runs}\nlowest {low}, median {middle}, highest {high} requests/s: a spread of {spread:.0} % of the median\n\
         the median run took {time:.3} s\n\n\
         the best run against the worst: \"{apart:.2} times as fast\", as itself\nbench: {}\n",
        between(("odd", &half(0)), ("even", &half(1)))
    ))
}
