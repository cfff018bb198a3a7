//! Which charts there are: requests per second and median latency against concurrency,
//! latency percentiles, and histograms, the last two with a chart per level.
//!
//! Entry point: [`all`]. Note: `notes/README.md`.

use super::chart::{Chart, Point, Series, Shape};
use super::scale::Scale;
use super::words::{cell, in_order, levels, number};
use super::{Findings, System};
use crate::bench::Outcome;
use crate::bench::rounds::Cell;
use crate::bench::stats::{Histogram, RELATIVE_ERROR, Spread};

/// Some charts with what is to be said of them.
#[derive(Debug)]
pub struct Figure {
    /// A heading.
    pub title: &'static str,
    /// What one sees, and how it was made.
    pub caption: String,
    /// Each with the name of its file.
    pub charts: Vec<(String, Chart)>,
}

/// Up to this percentile there are enough samples in all rounds together.
const SHARES: [f64; 11] = [0.1, 0.25, 0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999];
/// Bins of a histogram per doubling of the time.
const PER_DOUBLING: f64 = 6.0;

/// All figures.
pub fn all(findings: &Findings) -> Vec<Figure> {
    let rounds = findings.rounds;
    let levels = levels(findings);
    let samples = number((findings.requests * rounds as u64) as f64);
    let per_level = |name: &str, draw: &dyn Fn(usize) -> Chart| -> Vec<(String, Chart)> {
        let charts = levels.iter();
        charts.map(|level| (format!("{name}-{level}"), draw(*level))).collect()
    };
    vec![
        Figure {
            title: "Concurrency",
            caption: format!(
                "Requests per second, and the median latency of a request, at each concurrency level. Markers: the median of \
                 {rounds} rounds; bars: the lowest and the highest round. Systems are drawn a little aside of each \
                 other so that bars do not hide bars."
            ),
            charts: vec![
                ("requests".to_owned(), requests_chart(findings, &levels)),
                ("latency".to_owned(), latency_chart(findings, &levels)),
            ],
        },
        Figure {
            title: "Latency percentiles",
            caption: format!(
                "The time within which a share of the requests was answered, all {rounds} rounds together ({samples} requests per \
                 line; from connect to last byte, closed loop). The scale across stretches towards 100 %, where the slow requests are."
            ),
            charts: per_level("percentiles", &|level| percentile_chart(findings, level)),
        },
        Figure {
            title: "Latency histogram",
            caption: format!(
                "How the same requests are distributed, {PER_DOUBLING} bins per doubling of the time; each line adds up to 100 %, with the slowest few, which lie beyond the right edge. \
                 Times are within {:.1} % of what was measured.",
                RELATIVE_ERROR * 100.0
            ),
            charts: per_level("histogram", &|level| histogram_chart(findings, level)),
        },
    ]
}

/// A series per system.
fn series(findings: &Findings, points: impl Fn(&System) -> Vec<Point>) -> Vec<Series> {
    let systems = in_order(findings).into_iter();
    let series = systems.map(|system| Series { name: system.short, points: points(system) });
    series.collect()
}

fn greatest(series: &[Series]) -> f64 {
    let points = series.iter().flat_map(|s| &s.points);
    points.map(|p| p.span.map_or(p.y, |(_, high)| high.max(p.y))).fold(0.0, f64::max)
}

fn against_concurrency(
    findings: &Findings,
    levels: &[usize],
    of: impl Fn(&Cell) -> Vec<f64>,
) -> Vec<Series> {
    series(findings, |system| {
        let points = levels.iter().filter_map(|level| {
            let values = of(cell(findings, system, *level)?);
            Some(Point::over(*level as f64, Spread::of(values)?))
        });
        points.collect()
    })
}

fn at_levels(levels: &[usize]) -> Scale {
    Scale::at(&levels.iter().map(|l| *l as f64).collect::<Vec<_>>())
}

fn requests_chart(findings: &Findings, levels: &[usize]) -> Chart {
    let mut series = against_concurrency(findings, levels, |cell| cell.samples(Outcome::rate));
    let mut y_label = "requests/s";
    // Long numbers would not fit beside the axis.
    if greatest(&series) >= 10_000.0 {
        y_label = "thousand requests/s";
        for point in series.iter_mut().flat_map(|s| &mut s.points) {
            point.y /= 1000.0;
            point.span = point.span.map(|(low, high)| (low / 1000.0, high / 1000.0));
        }
    }
    Chart {
        title: "Requests per second".to_owned(),
        x_label: "concurrency level (log scale)",
        y_label,
        x: at_levels(levels),
        y: Scale::from_zero(greatest(&series)),
        shape: Shape::Line,
        series,
    }
}

fn latency_chart(findings: &Findings, levels: &[usize]) -> Chart {
    let series = against_concurrency(findings, levels, |cell| {
        let runs = cell.runs().iter();
        runs.map(|run| ms(run.tally.total.quantile(0.5))).collect()
    });
    let points = series.iter().flat_map(|s| &s.points);
    let least = points.filter_map(|p| Some(p.span?.0));
    Chart {
        title: "Median latency".to_owned(),
        x_label: "concurrency level (log scale)",
        y_label: "ms (log scale)",
        x: at_levels(levels),
        y: Scale::log(least.fold(f64::INFINITY, f64::min), greatest(&series)),
        shape: Shape::Line,
        series,
    }
}

/// The times of all rounds together.
fn times(cell: &Cell) -> Histogram {
    let mut all = Histogram::default();
    for run in cell.runs() {
        all.merge(&run.tally.total);
    }
    all
}

fn percentile_chart(findings: &Findings, level: usize) -> Chart {
    // Each step to the right leaves a tenth as many requests above.
    let stretched = |share: f64| -(1.0 - share).log10();
    let series = series(findings, |system| {
        let times = cell(findings, system, level).map(times).unwrap_or_default();
        let points =
            SHARES.iter().map(|share| Point::at(stretched(*share), ms(times.quantile(*share))));
        points.collect()
    });
    let ticks =
        [(0.1, "10"), (0.5, "50"), (0.75, "75"), (0.9, "90"), (0.99, "99"), (0.999, "99.9")];
    let ticks = ticks.map(|(share, name)| (stretched(share), name.to_owned()));
    let points = series.iter().flat_map(|s| &s.points);
    let least = points.map(|p| p.y).fold(f64::INFINITY, f64::min);
    Chart {
        title: format!("Concurrency level {level}"),
        x_label: "requests answered within the time (%)",
        y_label: "ms (log scale)",
        x: Scale::named(-0.05, 3.1, ticks.to_vec()),
        y: Scale::log(least, greatest(&series)),
        shape: Shape::Line,
        series,
    }
}

fn histogram_chart(findings: &Findings, level: usize) -> Chart {
    let all: Vec<(&System, Histogram)> = in_order(findings)
        .into_iter()
        .filter_map(|system| Some((system, times(cell(findings, system, level)?))))
        .collect();
    // The slowest few would leave no room for the others; the percentiles show them.
    let ends = |q: f64| all.iter().map(move |(_, times)| ms(times.quantile(q)));
    let low = ends(0.0).fold(f64::INFINITY, f64::min);
    let high = ends(0.997).fold(0.0, f64::max);
    let x = Scale::log(low, high);
    let series: Vec<Series> = all
        .iter()
        .map(|(system, times)| Series { name: system.short, points: bins(times) })
        .collect();
    Chart {
        title: format!("Concurrency level {level}"),
        x_label: "ms (log scale)",
        y_label: "share of requests per bin (%)",
        x,
        y: Scale::from_zero(greatest(&series)),
        shape: Shape::Steps,
        series,
    }
}

/// The beginning of each bin in ms, and its share of the samples in percent.
fn bins(times: &Histogram) -> Vec<Point> {
    let mut bins: Vec<(i32, u64)> = Vec::new();
    for (low, width, count) in times.buckets() {
        let middle = ms(low) + ms(width) / 2.0;
        let bin = (middle.max(1e-6).log2() * PER_DOUBLING).floor() as i32;
        match bins.last_mut() {
            Some((last, sum)) if *last == bin => *sum += count,
            _ => bins.push((bin, count)),
        }
    }
    let beginning = |bin: i32| (f64::from(bin) / PER_DOUBLING).exp2();
    let mut points = Vec::new();
    for (i, (bin, count)) in bins.iter().enumerate() {
        let share = 100.0 * *count as f64 / times.count() as f64;
        points.push(Point::at(beginning(*bin), share));
        // An empty bin behind it ends it.
        if bins.get(i + 1).is_none_or(|(next, _)| *next != bin + 1) {
            points.push(Point::at(beginning(bin + 1), 0.0));
        }
    }
    points
}

fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
