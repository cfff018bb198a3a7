//! Which charts there are: the load curve; requests per second and median latency against
//! concurrency; latency percentiles at the highest level.
//!
//! Entry points: [`parts`], [`requests`]. Note: `notes/README.md`.

use super::measure::LEVELS;
use super::report::{Findings, ORDER};
use crate::bench::Outcome;
use crate::bench::rounds::Cell;
use crate::bench::stats::Histogram;
use crate::bench::table::Table;
use crate::lab::chart::{Chart, Point, Series, extent};
use crate::lab::page::{Part, number};
use crate::lab::scale::Scale;

/// Up to this percentile there are enough samples in all rounds together.
const SHARES: [f64; 11] = [0.1, 0.25, 0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999];

/// All figures, each with what is to be said of it.
pub(super) fn parts(findings: &Findings) -> Vec<Part> {
    let (rounds, level) = (findings.rounds, LEVELS[LEVELS.len() - 1]);
    let samples = number((findings.requests * rounds as u64) as f64);
    vec![
        Part::heading(3, "Load curve"),
        Part::Charts(vec![("load-curve", load_curve(findings))]),
        Part::text(format!(
            "What a user waits for: {level} clients together send so many requests each second, whatever the servers do, and a request's response time \
             begins when it was due. Where a line turns up, the system cannot keep up, and requests queue. One run for each point."
        )),
        Part::Table(curve_table(findings)),
        Part::heading(3, "Concurrency"),
        Part::Charts(vec![("requests", requests(findings)), ("latency", latency(findings))]),
        Part::text(format!(
            "Requests per second, and the median latency of a request, at each concurrency level. Markers: the median of \
             {rounds} rounds; bars: the lowest and the highest round. Systems are drawn a little aside of each \
             other so that bars do not hide bars."
        )),
        Part::heading(3, "Latency percentiles"),
        Part::Charts(vec![("percentiles-100", percentiles(findings, level))]),
        Part::text(format!(
            "The time within which a share of the requests was answered, all {rounds} rounds together ({samples} requests per \
             line; from connect to last byte, closed loop). The scale across stretches towards 100 %, where the slow requests are."
        )),
    ]
}

/// A series per system, with its points in the order of the cells.
fn series<'a>(
    cells: impl Fn(&'static str) -> Vec<&'a Cell>,
    point: impl Fn(&Cell) -> Point,
) -> Vec<Series> {
    let series = ORDER.map(|title| Series {
        name: if title.contains('+') { "Async + LB" } else { title },
        points: cells(title).into_iter().map(&point).collect(),
    });
    series.into()
}

fn against_concurrency(findings: &Findings, figure: impl Fn(&Outcome) -> f64) -> Vec<Series> {
    let point = |cell: &Cell| Point { x: cell.plan().concurrency as f64, y: cell.spread(&figure) };
    series(|title| findings.cells_of(title).collect(), point)
}

fn at_levels() -> Scale {
    Scale::at(&LEVELS.map(|level| level as f64))
}

/// Requests per second, which README shows.
pub(super) fn requests(findings: &Findings) -> Chart {
    let highest = extent(&against_concurrency(findings, Outcome::rate)).1;
    // Long numbers would not fit beside the axis.
    let (unit, y_label) = match highest {
        10_000.0.. => (1000.0, "thousand requests/s"),
        _ => (1.0, "requests/s"),
    };
    Chart {
        title: "Requests per second".to_owned(),
        x_label: "concurrency level (log scale)",
        y_label,
        x: at_levels(),
        y: Scale::from_zero(highest / unit),
        has_lines: true,
        series: against_concurrency(findings, |run| run.rate() / unit),
    }
}

fn latency(findings: &Findings) -> Chart {
    let series = against_concurrency(findings, |run| ms(&run.tally.total, 0.5));
    let (low, high) = extent(&series);
    Chart {
        title: "Median latency".to_owned(),
        x_label: "concurrency level (log scale)",
        y_label: "ms (log scale)",
        x: at_levels(),
        y: Scale::log(low, high),
        has_lines: true,
        series,
    }
}

fn percentiles(findings: &Findings, level: usize) -> Chart {
    // Each step to the right leaves a tenth as many requests above.
    let stretched = |share: f64| -(1.0 - share).log10();
    let series: Vec<Series> = ORDER
        .map(|title| {
            let mut times = Histogram::default();
            for cell in findings.cells_of(title).filter(|c| c.plan().concurrency == level) {
                cell.runs().iter().for_each(|run| times.merge(&run.tally.total));
            }
            let points = SHARES.map(|share| Point::at(stretched(share), ms(&times, share)));
            let name = if title.contains('+') { "Async + LB" } else { title };
            Series { name, points: points.into() }
        })
        .into();
    let ticks =
        [(0.1, "10"), (0.5, "50"), (0.75, "75"), (0.9, "90"), (0.99, "99"), (0.999, "99.9")];
    let ticks = ticks.map(|(share, name)| (stretched(share), name.to_owned()));
    let (low, high) = extent(&series);
    Chart {
        title: format!("Concurrency level {level}"),
        x_label: "requests answered within the time (%)",
        y_label: "ms (log scale)",
        x: Scale::named(-0.05, 3.1, ticks.to_vec()),
        y: Scale::log(low, high),
        has_lines: true,
        series,
    }
}

fn load_curve(findings: &Findings) -> Chart {
    let rate = |cell: &Cell| cell.plan().rate.unwrap_or_default();
    let series = series(
        |title| findings.curve_of(title).collect(),
        |cell| Point::at(rate(cell), cell.median().response_p99()),
    );
    let (low, high) = extent(&series);
    let rates = findings.measured.curve.iter().map(rate);
    Chart {
        title: "Response time under a given load: 99 of 100 requests".to_owned(),
        x_label: "requests per second asked for",
        y_label: "ms (log scale)",
        x: Scale::from_zero(rates.fold(0.0, f64::max)),
        y: Scale::log(low, high),
        has_lines: true,
        series,
    }
}

/// A row per rate; for each system what it answered, and the times of the chart.
fn curve_table(findings: &Findings) -> Table {
    let mut table = Table::new(&["Requests/s asked"]);
    for title in ORDER {
        table.rows[0].extend([format!("{title}: answered"), "p99 (ms)".to_owned()]);
        for (i, cell) in findings.curve_of(title).enumerate() {
            if table.rows.len() == i + 1 {
                table.rows.push(vec![number(cell.plan().rate.unwrap_or_default())]);
            }
            let run = cell.median();
            table.rows[i + 1].extend([number(run.rate()), number(run.response_p99())]);
        }
    }
    table
}

fn ms(times: &Histogram, share: f64) -> f64 {
    times.quantile(share) as f64 / 1e6
}
