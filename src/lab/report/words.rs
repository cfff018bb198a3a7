//! What the tables and the sentences below them say, for Markdown, HTML, terminal and notes.
//!
//! Entry points: [`tables`], [`block`]. Note: `notes/README.md`.

use super::{Findings, Machine, System, beside_ab};
use crate::bench::Outcome;
use crate::bench::rounds::Cell;
use crate::bench::rounds::pairs;
use crate::bench::stats::Spread;
use crate::bench::table::{self, Table};
use crate::bench::verdict::{self, Verdict};
use crate::cli;
use crate::net::clock;
use std::fmt::Write;

/// A number as people write it: 23,999, 151, 9.87, 0.042.
pub fn number(value: f64) -> String {
    let whole = value.abs().round() as u64;
    match value.abs() {
        1000.0.. => {
            let digits = whole.to_string();
            let mut text = String::new();
            for (i, digit) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The heading of a system's table.
pub fn heading(system: &System) -> String {
    match system.title {
        "Async" => "Async (satu async_server, tanpa load balancer)".to_owned(),
        title => title.to_owned(),
    }
}

/// One system's table, with exactly the assignment's columns; each row is the median run.
pub fn table(findings: &Findings, system: &System) -> Table {
    table::table(findings.cells_of(system))
}

/// All tables, and what the evidence says, for the terminal.
pub fn tables(findings: &Findings) -> String {
    let mut text = String::new();
    for system in in_order(findings) {
        let table = table(findings, system).markdown();
        let _ = write!(text, "### {}\n\n{table}\n", heading(system));
    }
    for sentence in comparisons(findings) {
        let _ = writeln!(text, "- {sentence}");
    }
    for sentence in beside_ab::remarks(findings) {
        let _ = writeln!(text, "- {sentence}");
    }
    text
}

/// The assignment's two tables first, then the one that it does not ask for.
pub fn in_order(findings: &Findings) -> Vec<&System> {
    let mut systems: Vec<&System> = findings.systems.iter().collect();
    systems.sort_by_key(|system| system.title == "Async");
    systems
}

/// How much the rates of the rounds differ: a row per level, a cell per system.
pub fn spread_table(findings: &Findings) -> Vec<Vec<String>> {
    let mut rows = vec![vec!["Concurrency level".to_owned()]];
    let systems = in_order(findings);
    rows[0].extend(systems.iter().map(|s| s.title.to_owned()));
    for level in levels(findings) {
        let mut row = vec![level.to_string()];
        for system in &systems {
            let cell = cell(findings, system, level);
            row.push(cell.map_or_else(String::new, |cell| spread(cell.spread(Outcome::rate))));
        }
        rows.push(row);
    }
    rows
}

/// The median of all rounds, the lowest and the highest.
pub fn spread(of: Spread) -> String {
    let [median, lowest, highest] = [of.median, of.lowest, of.highest].map(number);
    format!("{median} ({lowest}–{highest})")
}

/// The levels, in order.
pub fn levels(findings: &Findings) -> Vec<usize> {
    let mut levels: Vec<usize> = findings.cells.iter().map(level).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

/// A cell's level.
pub fn level(cell: &Cell) -> usize {
    cell.plan().concurrency
}

/// The cell of a system at a level.
pub fn cell<'a>(findings: &'a Findings, system: &System, at: usize) -> Option<&'a Cell> {
    findings.cells_of(system).find(|cell| level(cell) == at)
}

/// The verdicts of the report, corrected together: on each two systems at each level, and then
/// on each row of ours beside ab's.
pub fn verdicts(findings: &Findings) -> (Vec<Verdict>, Vec<Verdict>) {
    let mut pairs = pairs(&findings.cells);
    let systems = pairs.len();
    pairs.extend(beside_ab::pairs(findings));
    let mut verdicts = verdict::judge(pairs);
    let beside = verdicts.split_off(systems);
    (verdicts, beside)
}

/// For each level and each two systems, whether the evidence tells them apart.
pub fn comparisons(findings: &Findings) -> Vec<String> {
    verdict::sentences(&verdicts(findings).0)
}

/// The commands that repeat a system's row: bench, and ab.
pub fn commands(findings: &Findings, system: &System, level: usize) -> (String, String) {
    let requests = findings.requests;
    let same = format!("-n {requests} -c {level} -r -k -s 99999");
    (
        format!(
            "./run.sh bench {same} --rounds {} --warmup {}ms {}",
            findings.rounds,
            findings.warmup.as_millis(),
            system.url
        ),
        format!("ab {same} {}", system.url),
    )
}

/// How the numbers came about, in a sentence.
pub fn method(findings: &Findings) -> String {
    format!(
        "Each row is the median of {} runs of {} requests each. All systems and levels were run in turn, \
         round after round, after a warm-up of {} ms each, so that a disturbance meets all alike. Clients and servers \
         share one machine ({} cores) and its loopback interface; all servers wrote their logs. \
         A failed request is in no rate.",
        findings.rounds,
        number(findings.requests as f64),
        findings.warmup.as_millis(),
        findings.machine.cores,
    )
}

/// Where a results block comes from, in a line.
fn origin(command: &str, date: &str, machine: &Machine) -> String {
    let compiler = match &machine.rustc {
        Some(rustc) => format!(" Compiler: {rustc}."),
        None => String::new(),
    };
    format!(
        "Command: `{command}`. Date: {date}. Cores: {}. Kernel: {}.{compiler}",
        machine.cores, machine.kernel
    )
}

/// The present moment, as reports write it.
pub fn now() -> String {
    cli::date(clock::unix_time().as_secs())
}

/// Where that which this command finds out now comes from.
pub fn circumstances(command: &str) -> String {
    origin(command, &now(), &Machine::look())
}

/// The results block of that name for the notes; None for what this run does not measure.
pub fn block(findings: &Findings, name: &str) -> Option<String> {
    let title = match name {
        "lb" => "Async + Load Balancer",
        "async_server" => "Async",
        "thread_server" => "Thread",
        "bench" => "",
        _ => return None,
    };
    let mut text = format!(
        "{}\n\
         Rounds: {} of {} requests per row; shown is the median run, then the lowest and highest rate.\n\n",
        origin("./run.sh notes", &findings.date, &findings.machine),
        findings.rounds,
        findings.requests,
    );
    if name == "bench" {
        text.push_str(&markdown_table(&beside_ab::table(findings)));
        for sentence in beside_ab::remarks(findings) {
            let _ = write!(text, "\n{sentence}\n");
        }
        if findings.ab.is_empty() {
            text.push_str("\nab was not installed.\n");
        }
    }
    if let Some(system) = findings.systems.iter().find(|s| s.title == title) {
        text.push_str(&table(findings, system).markdown());
        text.push('\n');
        for cell in findings.cells_of(system) {
            let spread = cell.spread(Outcome::rate);
            let _ = writeln!(
                text,
                "- c = {}: {} to {} requests/s; non-2xx in all rounds: {}",
                level(cell),
                number(spread.lowest),
                number(spread.highest),
                cell.sum(|o| o.tally.non_2xx)
            );
        }
    }
    Some(text)
}

/// Rows, the first of them the heading, as Markdown.
pub fn markdown_table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "|{}|", row.join("|"));
        if i == 0 {
            let _ = writeln!(text, "|{}", ":-:|".repeat(row.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (value, text) in [
            (0.0421, "0.042"),
            (9.876, "9.88"),
            (42.04, "42.0"),
            (151.3, "151"),
            (23_999.3, "23,999"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
