//! The same run twelve times.
//!
//! Note: `notes/wrong-table.md`.

use super::server::{Server, answer};
use super::{Exhibit, Stage, bar};
use crate::bench::Outcome;
use crate::bench::rounds::measure;
use crate::bench::stats::Spread;
use crate::bench::verdict::between;
use crate::lab::page::number;
use std::time::Duration;

pub(super) const EXHIBIT: Exhibit = Exhibit {
    name: "noise",
    title: "the same run twelve times",
    does: "\
One server, twelve runs of 1,000 requests, 10 at a time: twelve times exactly the same. Then
we pretend that there were two servers. \"Odd\" made the runs 1, 3, 5, 7, 9, 11 and \"even\"
the runs 2, 4, 6, 8, 10, 12, and bench is asked which is faster.",
    play,
    means: "\
Nothing was changed, and yet no two runs agree: other programs run, caches are warm or cold,
the scheduler decides otherwise. 1,000 requests take a fraction of a second, so one hiccup is
a large part of a run. One run of A divided by one of B measures this noise.
So: several runs, in turn (A B A B), the median with the lowest and the highest, and a
difference only when chance alone would hardly make it. \"Cannot be told apart\" is the right
answer here. About one time in twenty the two halves will differ by chance all the same:
that is what p = 0.05 means.",
};

const RUNS: usize = 12;
/// So that the first run is not the only cold one.
const WARMUP: Duration = Duration::from_millis(200);

const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn play(stage: &Stage) -> Result<String, String> {
    let server = Server::start(|stream, _| answer(stream, ANSWER, || false))?;
    let plan = server.plan(stage.pick(1000, 200), 10)?;
    let cells = measure(&[plan], RUNS, WARMUP, stage.stop, &mut |_| {}).whole()?;
    let Some(cell) = cells.first() else {
        return Ok(String::new()); // stopped before the first run
    };
    let rates = cell.samples(Outcome::rate);
    let Spread { lowest, median, highest } = cell.spread(Outcome::rate);
    let run = |(i, rate): (usize, &f64)| {
        let bar = bar(*rate, highest);
        format!("run {:>2}  {:>7} requests/s  {bar}\n", i + 1, number(*rate))
    };
    let runs: String = rates.iter().enumerate().map(run).collect();
    let half = |first| -> Vec<f64> { rates.iter().skip(first).step_by(2).copied().collect() };
    Ok(format!(
        "{runs}\nlowest {}, median {}, highest {} requests/s: a spread of {:.0} % of the median\n\
         the median run took {:.3} s\n\n\
         the best run against the worst: \"{:.2} times as fast\", as itself\nbench: {}\n",
        number(lowest),
        number(median),
        number(highest),
        (highest - lowest) / median.max(f64::MIN_POSITIVE) * 100.0,
        cell.median().wall.as_secs_f64(),
        highest / lowest.max(f64::MIN_POSITIVE),
        between(("odd", &half(0)), ("even", &half(1)))
    ))
}
