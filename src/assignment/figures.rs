//! Which charts there are: the load curve, and requests per second against concurrency.
//!
//! Entry points: [`parts`], [`requests`]. Note: `notes/README.md`.

use super::measure::LEVELS;
use super::report::{Findings, ORDER, heading};
use crate::bench::Outcome;
use crate::bench::rounds::Cell;
use crate::bench::table;
use crate::lab::chart::{Chart, Point, Scale, Series};
use crate::lab::page::Part;

/// All charts, what is to be said of them, and the load curve as tables.
pub(super) fn parts(findings: &Findings) -> Vec<Part> {
    let (rounds, level) = (findings.rounds, LEVELS[LEVELS.len() - 1]);
    let charts = vec![
        ("load-curve", load_curve(findings, 0.99, "Load curve: p99 of the response time")),
        ("load-curve-median", load_curve(findings, 0.5, "Load curve: median response time")),
        ("requests", requests(findings)),
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
    title: &str,
    [x_label, y_label]: [&'static str; 2],
    x: Scale,
    from_zero: bool,
    points: impl Fn(&'static str) -> Vec<Point>,
) -> Chart {
    let short = |title: &str| title.replace("Load Balancer", "LB");
    let series = ORDER.map(|title| Series { name: short(title), points: points(title) });
    let (title, series) = (title.to_owned(), series.into());
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
