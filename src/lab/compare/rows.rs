//! What was measured, row by row: medians and ratios as a table, every figure as CSV.
//!
//! Knows no process. Entry points: [`table`], [`csv`], [`Row::pair`].

use super::measure::Case;
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use crate::bench::verdict::Pair;
use crate::lab::page::{number, number_or_dash};

/// What a measurement finds out, in the order of the CSV; rates and costs are those of good answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Figure {
    Rate,
    P99,
    Cpu,
    Kernel,
    MegaBytes,
    Preempted,
    Calls,
    IdleMemory,
    /// Requests that failed or had another status than 2xx.
    Bad,
}
use Figure::{Bad, Calls, Cpu, IdleMemory, Kernel, MegaBytes, P99, Preempted, Rate};

const COLUMNS: [&str; 13] = [
    "case",
    "system",
    "round",
    "idle_connections",
    "requests_per_second",
    "p99_ms",
    "cpu_us_per_request",
    "percent_in_the_kernel",
    "megabytes_per_second",
    "preempted_per_1000_requests",
    "system_calls_per_request",
    "bytes_per_idle_connection",
    "bad",
];

/// A value for each [`Figure`]; None: it could not be found out.
pub(super) type Measurement = [Option<f64>; 9];

/// What was measured of a system in a case.
pub(super) struct Row {
    pub case: Case,
    pub system: String,
    pub rounds: Vec<Measurement>,
}

impl Row {
    pub fn values(&self, figure: Figure) -> impl Iterator<Item = f64> {
        self.rounds.iter().filter_map(move |round| round[figure as usize])
    }

    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.values(figure))
    }

    pub fn median(&self, figure: Figure) -> Option<f64> {
        Some(self.spread(figure)?.median)
    }

    /// A figure of both in the rounds in which both have it.
    fn both(&self, other: &Row, figure: Figure) -> [Vec<f64>; 2] {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let both = rounds.filter_map(|(a, b)| a[figure as usize].zip(b[figure as usize]));
        let (mine, theirs) = both.unzip();
        [mine, theirs]
    }

    /// A figure divided by the other's, round by round.
    pub fn ratio(&self, other: &Row, figure: Figure) -> Option<Spread> {
        let [mine, theirs] = self.both(other, figure);
        Spread::of(mine.iter().zip(theirs).map(|(a, b)| a / b.max(f64::MIN_POSITIVE)))
    }

    /// To be judged by a figure; its name where it is one that should be low.
    pub fn pair(&self, other: &Row, figure: Figure, low_is_good: &'static str) -> Pair {
        let names = [self, other].map(|row| row.system.clone());
        let place = self.case.name.to_owned();
        Pair { place, names, samples: self.both(other, figure), low_is_good }
    }
}

/// The rows of each case.
pub(super) fn by_case(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.case.name == b.case.name)
}

/// Medians; ratios to the system that `reference` chooses among the rows of a case.
pub(super) fn table<'a>(
    first: [&str; 2],
    rows: &'a [Row],
    reference: impl Fn(&'a [Row], &str) -> Option<&'a Row>,
) -> Table {
    let mut table = Table::new(&[
        first[0],
        first[1],
        "Requests/s (lowest–highest)",
        "p99 ms",
        "CPU µs/request",
        "in the kernel (%)",
        "MB/s",
        "Rate ratio",
        "CPU ratio",
        "Bad",
        "Preempted per 1,000 requests",
        "System calls/request",
        "Bytes per idle connection",
    ]);
    for (case, row) in by_case(rows).flat_map(|case| case.iter().map(move |row| (case, row))) {
        let rates = row.spread(Rate).unwrap_or_default();
        let [median, lowest, highest] = [rates.median, rates.lowest, rates.highest].map(number);
        let of = |figure| number_or_dash(row.median(figure));
        let ratio = |figure| {
            let ratio = reference(case, &row.system).and_then(|other| row.ratio(other, figure));
            ratio.map_or_else(|| "–".to_owned(), |spread| format!("{:.2}", spread.median))
        };
        let mut cells = vec![row.case.title.to_owned(), row.system.clone()];
        cells.push(format!("{median} ({lowest}–{highest})"));
        cells.extend([P99, Cpu, Kernel, MegaBytes].map(of));
        cells.extend([Rate, Cpu].map(ratio));
        cells.push(row.values(Bad).sum::<f64>().to_string());
        cells.extend([Preempted, Calls].map(of));
        // A server that keeps memory for the next time asks for none in the rounds after the first.
        cells.push(number_or_dash(row.spread(IdleMemory).map(|spread| spread.highest)));
        table.rows.push(cells);
    }
    table
}

/// Every measurement.
pub(super) fn csv(rows: &[Row]) -> String {
    let mut table = Table::new(&COLUMNS);
    for row in rows {
        for (round, measurement) in (1..).zip(&row.rounds).filter(|(_, m)| m[0].is_some()) {
            let mut cells = vec![row.case.name.to_owned(), row.system.clone()];
            cells.extend([round, row.case.idle].map(|n| n.to_string()));
            cells.extend(measurement.map(|f| f.map_or_else(String::new, |f| format!("{f:.3}"))));
            table.rows.push(cells);
        }
    }
    table.csv()
}
