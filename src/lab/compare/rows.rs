//! What was measured, row by row: medians and ratios as a table and as charts.
//!
//! Knows no process. Entry points: [`table`], [`chart`], [`Row::pair`].

use super::measure::Case;
use crate::bench::Outcome;
use crate::bench::cpu::Cpu;
use crate::bench::rounds::Cell;
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use crate::bench::verdict::Pair;
use crate::lab::chart::{Chart, Scale, Series};
use crate::lab::page::{number, spread};

/// What a run finds out; rates and costs are those of good answers. NaN: it could not be found out.
pub(super) type Figure = fn(&Outcome) -> f64;
pub(super) const RATE: Figure = |o| o.per_second(o.tally.good as f64);
const P99: Figure = |o| o.tally.total.quantile_ms(0.99);
pub(super) const CPU: Figure =
    |o| used(o, |then, now| now.since(then).as_secs_f64() * 1e6) / o.tally.good as f64;
const KERNEL: Figure =
    |o| 100.0 * used(o, |then, now| now.kernel_share_since(then).unwrap_or(f64::NAN));
const PREEMPTED: Figure = |o| match &*o.plan.target.name {
    // A thread that ends takes its count with it.
    "thread_server" => f64::NAN,
    _ => {
        used(o, |then, now| 1e3 * now.preempted.saturating_sub(then.preempted) as f64)
            / o.tally.good as f64
    }
};
const IDLE_MEMORY: Figure = |o| o.idle_memory.unwrap_or(f64::NAN);
/// Requests that failed or had another status than 2xx.
const BAD: Figure = |o| (o.tally.done - o.tally.good) as f64;

fn used(outcome: &Outcome, figure: fn(&Cpu, &Cpu) -> f64) -> f64 {
    outcome.cpu.as_ref().map_or(f64::NAN, |[then, now]| figure(then, now))
}

pub(super) struct Row {
    pub case: Case,
    pub cell: Cell,
}

impl Row {
    pub fn values(&self, figure: Figure) -> impl Iterator<Item = f64> {
        self.by_round(figure).flatten()
    }

    /// Where there was a good answer, and the figure could be found out.
    fn by_round(&self, figure: Figure) -> impl Iterator<Item = Option<f64>> {
        let of = move |o: &Outcome| Some(figure(o)).filter(|v| v.is_finite() && o.tally.good > 0);
        self.cell.runs.iter().map(of)
    }

    pub fn median(&self, figure: Figure) -> Option<f64> {
        Some(Spread::of(self.values(figure))?.median)
    }

    /// To be judged, in the rounds in which both have the figure; its name if it should be low.
    pub fn pair(&self, other: &Row, figure: Figure, low_is_good: &'static str) -> Pair {
        let rounds = self.by_round(figure).zip(other.by_round(figure));
        let (mine, theirs) = rounds.filter_map(|(a, b)| a.zip(b)).unzip();
        let names = [self, other].map(|row| row.cell.name().to_owned());
        Pair { place: self.case.name.clone(), names, samples: [mine, theirs], low_is_good }
    }

    /// A figure divided by the other's, round by round.
    pub fn ratio(&self, other: &Row, figure: Figure) -> Option<Spread> {
        let [mine, theirs] = self.pair(other, figure, "").samples;
        Spread::of(mine.iter().zip(theirs).map(|(a, b)| a / b.max(f64::MIN_POSITIVE)))
    }
}

pub(super) fn by_case(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.case.name == b.case.name)
}

/// Among the rows of a case the one to which the ratios of this system are.
pub(super) type Reference = for<'r> fn(&'r [Row], &str) -> Option<&'r Row>;

/// Medians; ratios to the system that `reference` chooses among the rows of a case.
pub(super) fn table(first: [&str; 2], rows: &[Row], reference: Reference) -> Table {
    let mut table = Table::new(&[
        first[0],
        first[1],
        "Requests/s (lowest–highest)",
        "p99 ms",
        "CPU µs/request",
        "in the kernel (%)",
        "Rate ratio",
        "CPU ratio",
        "Bad",
        "Preempted per 1,000 requests",
        "Bytes per idle connection",
    ]);
    let or_dash = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    for (case, row) in by_case(rows).flat_map(|case| case.iter().map(move |row| (case, row))) {
        let ratio = |figure| {
            let ratio = reference(case, row.cell.name()).and_then(|other| row.ratio(other, figure));
            ratio.map_or_else(|| "–".to_owned(), |spread| format!("{:.2}", spread.median))
        };
        let mut cells = vec![row.case.title.clone(), row.cell.name().to_owned()];
        cells.push(spread(Spread::of(row.values(RATE)).unwrap_or_default()));
        cells.extend([P99, CPU, KERNEL].map(|figure| or_dash(row.median(figure))));
        cells.extend([RATE, CPU].map(ratio));
        cells.push(row.values(BAD).sum::<f64>().to_string());
        cells.push(or_dash(row.median(PREEMPTED)));
        // A server that keeps memory for the next time asks for none in the rounds after the first.
        cells.push(or_dash(row.values(IDLE_MEMORY).reduce(f64::max)));
        table.rows.push(cells);
    }
    table
}

/// A figure of these systems in all cases.
pub(super) fn chart(
    title: &str,
    labels: [&'static str; 2],
    rows: &[Row],
    systems: &[&str],
    value: &dyn Fn(&[Row], &Row) -> Option<Spread>,
) -> Chart {
    let cases = || (0..).zip(by_case(rows)).map(|(x, case)| (f64::from(x), case));
    let point = |system: &str, (x, case): (f64, &[Row])| {
        let row = case.iter().find(|row| row.cell.name() == system)?;
        Some((x, value(case, row)?))
    };
    let series = systems.iter().map(|system| Series {
        // What stands behind a load balancer is said elsewhere; the legend is narrow.
        name: system.split(" + ").next().unwrap_or(system).replace("lb --pipeline 32", "pipeline"),
        points: cases().filter_map(|case| point(system, case)).collect(),
    });
    let [x_label, y_label] = labels;
    // Names of cases have no order; numbers of connections do.
    let has_lines = x_label != "case";
    let names = by_case(rows).map(|case| case[0].case.name.replace("keep-alive", "keep"));
    let (title, x, series) = (title.to_owned(), Scale::places(names), series.collect());
    Chart { title, x_label, y_label, x, from_zero: !has_lines, has_lines, series }
}
