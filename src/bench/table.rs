//! Many runs in a table: the assignment's, or with a schedule the load curve; below it what the
//! table does not show, and which targets differ.
//!
//! Entry points: [`tables`], [`table`], [`Table`] for any rows. Note: `notes/bench.md`.

use super::Outcome;
use super::rounds::Cell;
use super::verdict::{self, Pair};
use std::fmt::Write;

/// Rows of cells, the first of them the heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// All of the same length.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet.
    pub fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// For a terminal: columns aligned to the right.
    pub fn text(&self) -> String {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells.map(|(cell, &w)| format!("{cell:>w$}")).collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// For a note or a report, in the assignment's own spelling: the rule below the heading is
    /// as wide as its words.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            if i > 0 {
                let _ = writeln!(text, "|{}|", row.join("|"));
                continue;
            }
            let rule = row.iter().map(|cell| format!(":{}:", "-".repeat(cell.chars().count())));
            let rule: Vec<String> = rule.collect();
            let _ = writeln!(text, "| {} |\n|{}|", row.join(" | "), rule.join("|"));
        }
        text
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

/// The assignment's eight columns.
pub const COLUMNS: [&str; 8] = [
    "Concurrency level",
    "Time taken for test (seconds)",
    "Complete request",
    "Failed request",
    "Total transferred (bytes)",
    "Request per second",
    "Time per request (ms)",
    "Transfer rate (Kbytes/sec)",
];

/// Those of the load curve: response times count from when a request was due.
const CURVE: [&str; 7] = [
    "Concurrency level",
    "Requests/s asked",
    "Answered",
    "Short (%)",
    "Response p50 (ms)",
    "p99 (ms)",
    "Unanswered",
];

/// The table of these cells: the assignment's, with a row for the median run; or, on a schedule,
/// the load curve, with medians of all rounds.
pub fn table<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Table {
    let cells: Vec<&Cell> = cells.into_iter().collect();
    let scheduled = cells.iter().any(|cell| cell.plan().rate.is_some());
    let with_cpu = cells.iter().any(|cell| !cell.plan().processes.is_empty());
    let mut table = Table::new(if scheduled { &CURVE } else { &COLUMNS });
    table.rows.extend(cells.iter().map(|cell| match scheduled {
        true => point(cell),
        false => row(cell.median()),
    }));
    if with_cpu {
        table.rows[0].push("CPU (µs/request)".to_owned());
        for (cell, row) in cells.iter().zip(&mut table.rows[1..]) {
            let cpu = cell.runs().iter().all(|run| run.cpu.is_some());
            let median = cell.spread(|run| run.cpu_per_request().unwrap_or_default()).median;
            row.push(if cpu { format!("{median:.1}") } else { "?".to_owned() });
        }
    }
    table
}

/// One row of the assignment's table.
pub fn row(outcome: &Outcome) -> Vec<String> {
    let tally = &outcome.tally;
    vec![
        outcome.plan.concurrency.to_string(),
        format!("{:.3}", outcome.wall.as_secs_f64()),
        tally.done.to_string(),
        tally.failed.all().to_string(),
        tally.transferred.to_string(),
        format!("{:.2}", outcome.rate()),
        format!("{:.3}", outcome.time_per_request()),
        format!("{:.2}", outcome.transfer_rate()),
    ]
}

/// One row of the load curve.
fn point(cell: &Cell) -> Vec<String> {
    let median = |figure: &dyn Fn(&Outcome) -> f64| cell.spread(figure).median;
    let ms = |q: f64| median(&|run| run.tally.response.quantile(q) as f64 / 1e6);
    vec![
        cell.plan().concurrency.to_string(),
        format!("{}", cell.plan().rate.unwrap_or_default()),
        format!("{:.0}", median(&Outcome::rate)),
        format!("{:.0}", 100.0 * median(&|run| run.shortfall().unwrap_or_default())),
        format!("{:.3}", ms(0.5)),
        format!("{:.3}", ms(0.99)),
        cell.sum(|run| run.tally.unanswered).to_string(),
    ]
}

/// A table per target, with what it does not show below it; then the verdicts on these pairs.
pub fn tables(cells: &[Cell], pairs: Vec<Pair>) -> String {
    let mut text = String::new();
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        let name = cell.plan().target.name.as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        let of_name = || cells.iter().filter(|cell| cell.plan().target.name == name);
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{gap}### {name}\n\n{}", table(of_name()).markdown());
        let below: Vec<String> = of_name().flat_map(remarks).collect();
        list(&mut text, &below);
    }
    list(&mut text, &verdict::sentences(&verdict::judge(pairs)));
    text
}

fn list(text: &mut String, sentences: &[String]) {
    if !sentences.is_empty() {
        let _ = write!(text, "\n- {}\n", sentences.join("\n- "));
    }
}

/// What the row of a cell does not show.
pub fn remarks(cell: &Cell) -> Vec<String> {
    let (sum, runs) = (|of: fn(&Outcome) -> u64| cell.sum(of), cell.runs());
    let mut remarks = Vec::new();
    if runs.len() > 1 && cell.plan().rate.is_none() {
        let (spread, rounds) = (cell.spread(Outcome::rate), runs.len());
        remarks.push(format!(
            "{:.0} to {:.0} requests/s in {rounds} rounds; the row is the median run.",
            spread.lowest, spread.highest
        ));
    }
    let done = sum(|o| o.tally.done);
    let failed = sum(|o| o.tally.failed.all());
    if failed > 0 {
        let reason = runs.iter().find_map(|o| o.tally.reason.as_deref());
        let timed_out = match sum(|o| o.tally.timed_out) {
            0 => String::new(),
            n => format!("; {n} timed out"),
        };
        remarks.push(format!(
            "**{failed} of {done} requests failed** and are in no rate (first: {}{timed_out}).",
            reason.unwrap_or_default()
        ));
    }
    let non_2xx = sum(|o| o.tally.non_2xx);
    if non_2xx > 0 {
        remarks.push(format!("**Non-2xx responses: {non_2xx}** of {done}."));
    }
    let unanswered = sum(|o| o.tally.unanswered);
    if unanswered > 0 {
        remarks.push(format!(
            "**{unanswered} requests had no answer when the run ended**; they count with the time they waited."
        ));
    }
    let retried = sum(|o| o.tally.retried);
    if retried > 0 {
        remarks.push(format!(
            "{retried} requests were sent again, since the server had closed the connection."
        ));
    }
    if let Some(limited) = cell.median().client_limit() {
        remarks.push(limited);
    }
    let level = cell.plan().level();
    remarks.into_iter().map(|remark| format!("{level}: {remark}")).collect()
}
