//! Many runs at a glance: the assignment's Markdown table, CSV, JSON.
//!
//! Entry points: [`tables`], [`csv`], [`json`]. Note: `notes/bench.md`.

use super::Outcome;
use super::rounds::{Cell, tell_apart};
use super::stats::{Histogram, PERCENTILES};
use std::fmt::Write;

/// The heading of the assignment's table, exactly its eight columns.
pub const HEADING: &str = "| Concurrency level | Time taken for test (seconds) | Complete request | Failed request | \
     Total transferred (bytes) | Request per second | Time per request (ms) | Transfer rate (Kbytes/sec) |\n\
     |:-----------------:|:-----------------------------:|:----------------:|:--------------:|\
     :-------------------------:|:------------------:|:---------------------:|:--------------------------:|\n";

/// The table of these cells; each row is the median run.
pub fn table<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> String {
    let rows = cells.into_iter().map(|cell| row(cell.median()));
    HEADING.to_owned() + &rows.collect::<String>()
}

/// One row of it.
pub fn row(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    format!(
        "|{}|{:.3}|{}|{}|{}|{:.2}|{:.3}|{:.2}|\n",
        outcome.plan.concurrency,
        outcome.wall.as_secs_f64(),
        tally.done,
        tally.failed.all(),
        tally.transferred,
        outcome.rate(),
        outcome.time_per_request(),
        outcome.transfer_rate()
    )
}

/// A table per target, with what it does not show below it; then which targets differ.
pub fn tables(cells: &[Cell]) -> String {
    let mut text = String::new();
    let mut targets: Vec<String> = Vec::new();
    for cell in cells {
        let url = cell.median().target().url();
        if !targets.contains(&url) {
            targets.push(url);
        }
    }
    for url in &targets {
        let rows: Vec<&Cell> = cells
            .iter()
            .filter(|c| c.median().target().url() == *url)
            .collect();
        let gap = if text.is_empty() { "" } else { "\n" };
        let table = table(rows.iter().copied());
        let _ = write!(text, "{gap}### {url}\n\n{table}");
        let below: String = rows.iter().map(|cell| remarks(cell)).collect();
        if !below.is_empty() {
            let _ = write!(text, "\n{below}");
        }
    }
    let all: Vec<&Cell> = cells.iter().collect();
    let between = comparisons(&all, &|cell| cell.median().target().url());
    if !between.is_empty() {
        let _ = write!(text, "\n- {}\n", between.join("\n- "));
    }
    text
}

/// A sentence for each two targets at the same level, called by their names.
pub fn comparisons(cells: &[&Cell], name: &dyn Fn(&Cell) -> String) -> Vec<String> {
    let mut sentences = Vec::new();
    for (i, a) in cells.iter().enumerate() {
        for b in &cells[i + 1..] {
            let (left, right) = (a.median(), b.median());
            let level = left.plan.concurrency;
            if level == right.plan.concurrency && left.target() != right.target() {
                let says = tell_apart((&name(a), &a.rates()), (&name(b), &b.rates()));
                sentences.push(format!("c = {level}: {says}"));
            }
        }
    }
    sentences
}

/// What the row of a cell does not show.
fn remarks(cell: &Cell) -> String {
    let mut text = String::new();
    let level = cell.median().plan.concurrency;
    let done = cell.sum(|o| o.tally.done);
    if cell.runs().len() > 1 {
        let spread = cell.spread();
        let _ = writeln!(
            text,
            "- c = {level}: {:.0} to {:.0} requests/s in {} rounds; the row is the median run.",
            spread.lowest,
            spread.highest,
            cell.runs().len()
        );
    }
    let failed = cell.sum(|o| o.tally.failed.all());
    if failed > 0 {
        let reason = cell
            .runs()
            .iter()
            .find_map(|o| o.tally.reason.as_deref())
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "- c = {level}: **{failed} of {done} requests failed** and are in no rate (first: {reason})."
        );
    }
    let non_2xx = cell.sum(|o| o.tally.non_2xx);
    if non_2xx > 0 {
        let _ = writeln!(
            text,
            "- c = {level}: **Non-2xx responses: {non_2xx}** of {done}."
        );
    }
    text
}

/// Name and value of each figure of a run, for the formats that programs read.
fn figures(outcome: &Outcome) -> Vec<(String, String)> {
    let tally = &outcome.tally;
    let [connect, receive, length, exceptions] = tally.failed.0;
    let (per_request, kbytes) = (outcome.time_per_request(), outcome.transfer_rate());
    let figures = [
        ("seconds", format!("{:.6}", outcome.wall.as_secs_f64())),
        ("complete", tally.done.to_string()),
        ("failed", tally.failed.all().to_string()),
        ("failed_connect", connect.to_string()),
        ("failed_receive", receive.to_string()),
        ("failed_length", length.to_string()),
        ("failed_exceptions", exceptions.to_string()),
        ("non_2xx", tally.non_2xx.to_string()),
        ("keep_alive", tally.keep_alive.to_string()),
        ("document_length", outcome.document_length.to_string()),
        ("total_transferred", tally.transferred.to_string()),
        ("html_transferred", tally.html.to_string()),
        ("requests_per_second", format!("{:.2}", outcome.rate())),
        ("time_per_request_ms", format!("{per_request:.4}")),
        ("kbytes_per_second", format!("{kbytes:.2}")),
        ("mean_ms", ms(tally.total.mean())),
        ("stddev_ms", ms(tally.total.deviation())),
    ];
    let mut figures = figures
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
    figures.extend(percentiles("", &tally.total));
    figures
}

fn percentiles(prefix: &str, times: &Histogram) -> [(String, String); 5] {
    PERCENTILES.map(|(name, q)| {
        let value = ms(times.quantile(q) as f64);
        (format!("{prefix}{name}_ms"), value)
    })
}

fn ms(nanos: f64) -> String {
    format!("{:.4}", nanos / 1e6)
}

/// A line per target and level: the median run, and the lowest and highest rate of all rounds.
pub fn csv(cells: &[Cell]) -> String {
    let mut text = String::new();
    for cell in cells {
        let outcome = cell.median();
        let figures = figures(outcome);
        if text.is_empty() {
            text.push_str(
                "url,concurrency,rounds,lowest_requests_per_second,highest_requests_per_second",
            );
            for (name, _) in &figures {
                let _ = write!(text, ",{name}");
            }
            text.push('\n');
        }
        let spread = cell.spread();
        let _ = write!(
            text,
            "\"{}\",{},{},{:.2},{:.2}",
            outcome.target().url().replace('"', "\"\""),
            outcome.plan.concurrency,
            cell.runs().len(),
            spread.lowest,
            spread.highest
        );
        for (_, value) in &figures {
            let _ = write!(text, ",{value}");
        }
        text.push('\n');
    }
    text
}

/// An array with an object per target and level; `runs` holds every run's figures, with
/// `per_interval` (requests that ended in each) and `histogram` (from ns, width ns, requests).
pub fn json(cells: &[Cell]) -> String {
    let cells: Vec<String> = cells.iter().map(json_cell).collect();
    format!("[\n{}\n]\n", cells.join(",\n"))
}

fn json_cell(cell: &Cell) -> String {
    let outcome = cell.median();
    let spread = cell.spread();
    let runs: Vec<String> = cell.runs().iter().map(json_run).collect();
    format!(
        "{{\"url\":{},\"server_software\":{},\"concurrency\":{},\"keep_alive\":{},\"threads\":{},\
         \"median_requests_per_second\":{:.2},\"lowest_requests_per_second\":{:.2},\
         \"highest_requests_per_second\":{:.2},\"runs\":[\n{}\n]}}",
        quoted(&outcome.target().url()),
        quoted(&outcome.tally.software),
        outcome.plan.concurrency,
        outcome.plan.keep_alive,
        outcome.plan.threads,
        spread.median,
        spread.lowest,
        spread.highest,
        runs.join(",\n")
    )
}

fn json_run(outcome: &Outcome) -> String {
    let mut figures = figures(outcome);
    let response = &outcome.tally.response;
    if response.count() > 0 {
        figures.extend(percentiles("response_", response));
    }
    let mut text = String::from("{");
    for (name, value) in figures {
        let _ = write!(text, "\"{name}\":{value},");
    }
    let counts: Vec<String> = outcome.timeline.counts.iter().map(u64::to_string).collect();
    let histogram = outcome
        .tally
        .total
        .buckets()
        .map(|(low, width, n)| format!("[{low},{width},{n}]"));
    let _ = write!(
        text,
        "\"interval_seconds\":{},\"per_interval\":[{}],\"histogram\":[{}]}}",
        outcome.timeline.every.as_secs_f64(),
        counts.join(","),
        histogram.collect::<Vec<_>>().join(",")
    );
    text
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_is_the_assignments() {
        let columns = "| Concurrency level | Time taken for test (seconds) | Complete request | Failed request | Total transferred (bytes) | Request per second | Time per request (ms) | Transfer rate (Kbytes/sec) |";
        let rule = "|:-----------------:|:-----------------------------:|:----------------:|:--------------:|:-------------------------:|:------------------:|:---------------------:|:--------------------------:|";
        assert_eq!(HEADING, format!("{columns}\n{rule}\n"));
    }

    #[test]
    fn text_of_a_server_cannot_break_out_of_json() {
        assert_eq!(quoted("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\u000a\\u0001é\"");
    }
}
