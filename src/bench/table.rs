//! Many runs in a table: the assignment's, or with a schedule the load curve; below it what the
//! table does not show, and which targets differ.
//!
//! Entry points: [`tables`], [`table`], [`Table`] for any rows. Note: `notes/bench.md`.

use super::Outcome;
use super::rounds::Cell;
use super::stats::Spread;
use super::verdict::{self, Pair};

/// Rows of cells, the first of them the heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// All of the same length.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Only the heading yet.
    pub fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// For a terminal: columns aligned to the right.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let line = |row: &Vec<String>| {
            let cells = row.iter().enumerate().map(|(i, cell)| format!("{cell:>w$}", w = width(i)));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    /// For a note or a report, in the assignment's spelling: the rule is as wide as the heading.
    pub fn markdown(&self) -> String {
        let Some((heading, rows)) = self.rows.split_first() else { return String::new() };
        let rule = heading.iter().map(|cell| format!(":{}:", "-".repeat(cell.chars().count())));
        let rule = rule.collect::<Vec<_>>().join("|");
        let rows: String = rows.iter().map(|row| format!("|{}|\n", row.join("|"))).collect();
        format!("| {} |\n|{rule}|\n{rows}", heading.join(" | "))
    }

    /// RFC 4180: cells with a comma, a quote or a line end stand in quotes.
    pub fn csv(&self) -> String {
        let cell = |cell: &String| match cell.contains([',', '"', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        };
        let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
        self.rows.iter().map(line).collect()
    }
}

/// A column: its heading, and what stands there for a run, or for all runs of a row.
pub(super) type Column<T, V> = (&'static str, fn(&T) -> V);

/// The assignment's eight columns.
pub const COLUMNS: [Column<Outcome, String>; 8] = [
    ("Concurrency level", |o| o.plan.concurrency.to_string()),
    ("Time taken for test (seconds)", |o| format!("{:.3}", o.wall.as_secs_f64())),
    ("Complete request", |o| o.tally.done.to_string()),
    ("Failed request", |o| o.tally.failed.all().to_string()),
    ("Total transferred (bytes)", |o| o.tally.transferred.to_string()),
    ("Request per second", |o| format!("{:.2}", o.rate())),
    ("Time per request (ms)", |o| format!("{:.3}", o.time_per_request())),
    ("Transfer rate (Kbytes/sec)", |o| format!("{:.2}", o.transfer_rate())),
];

/// Those of the load curve: medians of all rounds, response times from when a request was due.
const CURVE: [Column<Cell, String>; 7] = [
    ("Concurrency level", |c| c.plan().concurrency.to_string()),
    ("Requests/s asked", |c| c.plan().rate.unwrap_or_default().to_string()),
    ("Answered", |c| format!("{:.0}", c.spread(Outcome::rate).median)),
    ("Short (%)", |c| format!("{:.0}", 100.0 * c.spread(|o| o.shortfall().unwrap_or(0.0)).median)),
    ("Response p50 (ms)", |c| c.response(0.5)),
    ("p99 (ms)", |c| c.response(0.99)),
    ("Unanswered", |c| c.sum(|o| o.tally.unanswered).to_string()),
];

pub(crate) fn row(outcome: &Outcome) -> Vec<String> {
    COLUMNS.iter().map(|(_, of)| of(outcome)).collect()
}

/// The assignment's table, with a row for each median run; or, on a schedule, the load curve.
pub(crate) fn table<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Table {
    let cells: Vec<&Cell> = cells.into_iter().collect();
    let mut table = match cells.iter().any(|cell| cell.plan().rate.is_some()) {
        true => Table::new(&CURVE.map(|(heading, _)| heading)),
        false => Table::new(&COLUMNS.map(|(heading, _)| heading)),
    };
    let with_cpu = cells.iter().any(|cell| !cell.plan().processes.is_empty());
    table.rows[0].extend(with_cpu.then(|| "CPU (µs/request)".to_owned()));
    for cell in cells {
        let mut row = match cell.plan().rate {
            Some(_) => CURVE.iter().map(|(_, of)| of(cell)).collect(),
            None => row(cell.median()),
        };
        row.extend(with_cpu.then(|| cell.cpu_time()));
        table.rows.push(row);
    }
    table
}

/// A table per target, with what it does not show below it; then the verdicts on these pairs, and
/// of what there was nothing to judge beside.
pub(super) fn tables(cells: &[Cell], pairs: Vec<Pair>, alone: Vec<String>) -> String {
    // The first level has each target once.
    let targets = cells.iter().filter(|cell| cell.plan().is_same_level(cells[0].plan()));
    let parts = targets.map(|target| {
        let of_name = || cells.iter().filter(|cell| cell.name() == target.name());
        let (title, table) = (target.name(), table(of_name()).markdown());
        format!("### {title}\n\n{table}{}", list(of_name().flat_map(remarks).collect()))
    });
    let verdicts = verdict::sentences(&verdict::judge(pairs));
    parts.collect::<Vec<_>>().join("\n") + &list([verdicts, alone].concat())
}

fn list(sentences: Vec<String>) -> String {
    match sentences[..] {
        [] => String::new(),
        _ => format!("\n- {}\n", sentences.join("\n- ")),
    }
}

/// What the row of a cell does not show.
pub(crate) fn remarks(cell: &Cell) -> Vec<String> {
    let (runs, Spread { lowest, highest, .. }) = (&cell.runs, cell.spread(Outcome::rate));
    let rounds = runs.len();
    let [done, failed, late, non_2xx, unanswered, retried] = [
        |o: &Outcome| o.tally.done,
        |o: &Outcome| o.tally.failed.all(),
        |o: &Outcome| o.tally.timed_out,
        |o: &Outcome| o.tally.non_2xx,
        |o: &Outcome| o.tally.unanswered,
        |o: &Outcome| o.tally.retried,
    ]
    .map(|count| cell.sum(count));
    let first = runs.iter().find_map(|o| o.tally.reason.as_deref()).unwrap_or_default();
    let late = if late > 0 { format!("; {late} timed out") } else { String::new() };
    let remarks = [
        (rounds > 1 && cell.plan().rate.is_none()).then(|| format!("{lowest:.0} to {highest:.0} requests/s in {rounds} rounds; the row is the median run.")),
        (failed > 0).then(|| format!("**{failed} of {done} requests failed** and are in no rate (first: {first}{late}).")),
        (non_2xx > 0).then(|| format!("**Non-2xx responses: {non_2xx}** of {done}.")),
        (unanswered > 0).then(|| format!("**{unanswered} requests had no answer when the run ended**; they count with the time they waited.")),
        (retried > 0).then(|| format!("{retried} requests were sent again, since the server had closed the connection.")),
        cell.median().client_limit(),
    ];
    let level = cell.plan().level();
    remarks.into_iter().flatten().map(|remark| format!("{level}: {remark}")).collect()
}
