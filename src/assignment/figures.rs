//! Which charts there are: the load curve, requests per second against concurrency, latency
//! percentiles at the highest level.
//!
//! Entry points: [`parts`], [`requests`]. Note: `notes/README.md`.

use super::measure::LEVELS;
use super::report::{Findings, ORDER};
use crate::bench::Outcome;
use crate::bench::rounds::Cell;
use crate::bench::stats::Histogram;
use crate::lab::chart::{Chart, Point, Series, extent};
use crate::lab::page::{Part, number};
use crate::lab::scale::Scale;

/// Up to this percentile there are enough samples in all rounds together.
const SHARES: [f64; 11] = [0.1, 0.25, 0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999];

/// All charts, and what is to be said of them.
pub(super) fn parts(findings: &Findings) -> Vec<Part> {
    let (rounds, level) = (findings.rounds, LEVELS[LEVELS.len() - 1]);
    let samples = number((findings.requests * rounds as u64) as f64);
    let charts = vec![
        ("load-curve", load_curve(findings, 0.99, "Load curve: p99 of the response time")),
        ("load-curve-median", load_curve(findings, 0.5, "Load curve: median response time")),
        ("requests", requests(findings)),
        ("percentiles-100", percentiles(findings, level)),
    ];
    let captions = [
        format!(
            "Load curve: {level} clients together send so many requests each second, whatever the servers do. A request's response time begins when it \
             was due, so it is what a user waits for. Where a line turns up, the system cannot keep up, and requests queue."
        ),
        format!(
            "Requests per second, closed loop: each client sends its next request when it has the answer to the last. Markers: the median of {rounds} \
             rounds; bars: the lowest and the highest round, a little aside of each other so that none hides another."
        ),
        format!(
            "Concurrency level {level}: the time within which a share of the requests was answered, all {rounds} rounds together ({samples} requests per \
             line; from connect to last byte, closed loop). The scale across stretches towards 100 %, where the slow requests are."
        ),
    ];
    vec![Part::heading(2, "Grafik"), Part::Charts(charts), Part::List(captions.into())]
}

/// A chart with a line for each system.
fn chart(
    title: impl Into<String>,
    labels: [&'static str; 2],
    x: Scale,
    y: impl Fn((f64, f64)) -> Scale,
    points: impl Fn(&'static str) -> Vec<Point>,
) -> Chart {
    let short = |title: &str| title.replace("Load Balancer", "LB");
    let series = ORDER.map(|title| Series { name: short(title), points: points(title) });
    let [x_label, y_label] = labels;
    let y = y(extent(&series));
    Chart { title: title.into(), x_label, y_label, x, y, has_lines: true, series: series.into() }
}

fn log((low, high): (f64, f64)) -> Scale {
    Scale::log(low, high)
}

/// README shows it, too.
pub(super) fn requests(findings: &Findings) -> Chart {
    chart(
        "Requests per second",
        ["concurrency level (log scale)", "thousand requests/s"],
        Scale::at(&LEVELS.map(|level| level as f64)),
        |(_, highest)| Scale::from_zero(highest),
        |title| {
            let rates = |cell: &Cell| cell.spread(|run| run.rate() / 1000.0);
            let cells = findings.cells_of(title);
            cells.map(|c| Point { x: c.plan().concurrency as f64, y: rates(c) }).collect()
        },
    )
}

fn percentiles(findings: &Findings, level: usize) -> Chart {
    // Each step to the right leaves a tenth as many requests above.
    let stretched = |share: f64| -(1.0 - share).log10();
    let ticks =
        [(0.1, "10"), (0.5, "50"), (0.75, "75"), (0.9, "90"), (0.99, "99"), (0.999, "99.9")];
    let ticks = ticks.map(|(share, name)| (stretched(share), name.to_owned()));
    chart(
        format!("Latency at concurrency level {level}"),
        ["requests answered within the time (%)", "ms (log scale)"],
        Scale::named(-0.05, 3.1, ticks.to_vec()),
        log,
        |title| {
            let mut times = Histogram::default();
            for cell in findings.cells_of(title).filter(|c| c.plan().concurrency == level) {
                cell.runs().iter().for_each(|run| times.merge(&run.tally.total));
            }
            SHARES.map(|share| Point::at(stretched(share), ms(&times, share))).into()
        },
    )
}

fn load_curve(findings: &Findings, share: f64, title: &str) -> Chart {
    let rate = |cell: &Cell| cell.plan().rate.unwrap_or_default() / 1000.0;
    let time = |run: &Outcome| ms(&run.tally.response, share);
    let highest = findings.measured.curve.iter().map(rate).fold(0.0, f64::max);
    chart(
        title,
        ["thousand requests/s that are due", "response time, ms (log scale)"],
        Scale::from_zero(highest),
        log,
        |title| {
            let times = |cell: &Cell| cell.spread(time).median;
            findings.curve_of(title).map(|c| Point::at(rate(c), times(c))).collect()
        },
    )
}

fn ms(times: &Histogram, share: f64) -> f64 {
    times.quantile(share) as f64 / 1e6
}
