//! A stall that hides from the clients that wait for it.
//!
//! Note: `notes/bench.md`.

use super::server::{Server, answer};
use super::{Exhibit, Stage, row};
use crate::bench::report::ms;
use crate::bench::stats::{Histogram, PERCENTILES};
use crate::bench::table::Table;
use crate::bench::{self, Outcome, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::page::number;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const EXHIBIT: Exhibit = Exhibit {
    name: "omission",
    title: "a server that stalls for a second, and a test that does not notice",
    does: "\
A fast server does nothing for one second in the middle of the test. Four clients measure it
twice. Closed loop, as ab and wrk do it: each client sends its next request when it has the
answer to the last. On a schedule (bench --rate 200): 200 requests are due each second,
whatever the server does. Service time runs from when a request was sent; response time
from when it was due.",
    play,
    means: "\
In the closed loop the four clients wait through the stall with one request each: four slow
answers among thousands, and not even the 99th percentile shows them. But users do not wait
for one another. In that second 200 of them would have come, and all would have waited: the
schedule keeps their times, and response time counts them. Service time in the same run
hides the stall again, since a request that cannot be sent yet is not yet late. This is
called coordinated omission: server and test agree to leave out the bad second. If you
want to know what users feel, give a rate, and read the response time.",
};

const CLIENTS: usize = 4;
const RATE: f64 = 200.0;
const STALL: Duration = Duration::from_secs(1);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";

fn play(stage: &Stage) -> Result<String, String> {
    // How long it runs before the stall, and after.
    let margin = Duration::from_secs_f64(stage.pick(1.0, 0.5));
    let length = STALL + margin * 2;
    let due = (RATE * length.as_secs_f64()) as u64;
    let closed = measure(margin, stage.stop, u64::MAX, |plan| plan.time_limit = Some(length))?;
    let scheduled = measure(margin, stage.stop, due, |plan| plan.rate = Some(RATE))?;
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

/// A run against a server of its own, which stalls once, `margin` after its first request.
fn measure(
    margin: Duration,
    stop: &Stop,
    requests: u64,
    set: impl Fn(&mut Plan),
) -> Result<Outcome, String> {
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
    let mut plan = Plan { keep_alive: true, ..server.plan(requests, CLIENTS)? };
    set(&mut plan);
    bench::run(&plan, stop)
}
