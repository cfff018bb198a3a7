//! Which charts there are: the load curve, requests per second against concurrency, latency
//! percentiles at the highest level.
//!
//! Entry points: [`parts`], [`requests`]. Note: `notes/README.md`.

use super::measure::LEVELS;
use super::report::{Findings, ORDER, heading};
use crate::bench::Outcome;
use crate::bench::rounds::Cell;
use crate::bench::stats::Histogram;
use crate::bench::table;
use crate::lab::chart::{Chart, Point, Scale, Series};
use crate::lab::page::{Part, number};

/// Up to this percentile there are enough samples in all rounds together.
const SHARES: [f64; 11] = [0.1, 0.25, 0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999];

/// All charts, what is to be said of them, and the load curve as tables.
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
    let mut parts =
        vec![Part::heading(2, "Grafik"), Part::Charts(charts), Part::List(captions.into())];
    for title in ORDER {
        parts.push(Part::heading(3, format!("Load curve: {}", heading(title))));
        parts.push(Part::Table(table::table(findings.curve_of(title))));
    }
    parts
}

/// A chart with a line for each system.
fn chart(
    title: impl Into<String>,
    [x_label, y_label]: [&'static str; 2],
    x: Scale,
    from_zero: bool,
    points: impl Fn(&'static str) -> Vec<Point>,
) -> Chart {
    let short = |title: &str| title.replace("Load Balancer", "LB");
    let series = ORDER.map(|title| Series { name: short(title), points: points(title) });
    let (title, series) = (title.into(), series.into());
    Chart { title, x_label, y_label, x, from_zero, has_lines: true, series }
}

/// README shows it, too.
pub(super) fn requests(findings: &Findings) -> Chart {
    let labels = ["concurrency level (log scale)", "thousand requests/s"];
    let x = Scale::at(&LEVELS.map(|level| level as f64));
    chart("Requests per second", labels, x, true, |title| {
        let rates = |cell: &Cell| cell.spread(|run| run.rate() / 1000.0);
        let cells = findings.cells_of(title);
        cells.map(|c| Point { x: c.plan().concurrency as f64, y: rates(c) }).collect()
    })
}

fn percentiles(findings: &Findings, level: usize) -> Chart {
    // Each step to the right leaves a tenth as many requests above.
    let stretched = |share: f64| -(1.0 - share).log10();
    let ticks =
        [(0.1, "10"), (0.5, "50"), (0.75, "75"), (0.9, "90"), (0.99, "99"), (0.999, "99.9")];
    let ticks = ticks.map(|(share, name)| (stretched(share), name.to_owned()));
    let x = Scale::named(-0.05, 3.1, ticks.to_vec());
    let labels = ["requests answered within the time (%)", "ms (log scale)"];
    chart(format!("Latency at concurrency level {level}"), labels, x, false, |title| {
        let mut times = Histogram::default();
        for cell in findings.cells_of(title).filter(|c| c.plan().concurrency == level) {
            cell.runs().iter().for_each(|run| times.merge(&run.tally.total));
        }
        SHARES.map(|share| Point::at(stretched(share), times.quantile_ms(share))).into()
    })
}

fn load_curve(findings: &Findings, share: f64, title: &str) -> Chart {
    let rate = |cell: &Cell| cell.plan().rate.unwrap_or_default() / 1000.0;
    let time = |run: &Outcome| run.tally.response.quantile_ms(share);
    let highest = findings.measured.curve.iter().map(rate).fold(0.0, f64::max);
    let labels = ["thousand requests/s that are due", "response time, ms (log scale)"];
    chart(title, labels, Scale::from_zero(highest), false, |title| {
        let point = |c: &Cell| Point::at(rate(c), c.spread(time).median);
        findings.curve_of(title).map(point).collect()
    })
}
