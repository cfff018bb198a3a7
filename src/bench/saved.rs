//! A measurement for programs: CSV, and JSON that `--against` reads again.
//!
//! Entry points: [`csv`], [`json`], [`Saved::read`]. Note: `notes/bench.md`.

use super::plan::{Target, cores};
use super::rounds::Cell;
use super::stats::PERCENTILES;
use super::table::{Column, Table};
use super::verdict::Pair;
use super::{Outcome, Plan};
use crate::cli::{self, Result, quoted};
use crate::net::clock;
use std::fmt::Display;
use std::path::Path;
use std::str::Chars;
use std::time::Duration;

/// Where figures come from, so that they can be read later: name and text of each thing.
pub(crate) type Origin = [(&'static str, String); 5];

/// This program on this machine now, with these rounds.
pub(crate) fn origin(rounds: usize, warmup: Duration) -> Origin {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    let method = format!(
        "{rounds} rounds, all targets and levels in turn, each round with another target first; \
             warm-up {} ms; rows: the median run; verdicts: signed-rank test on the pairs of a round, Holm's correction",
        warmup.as_millis()
    );
    [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("date", now()),
        ("command", format!("progjar {}", words.join(" "))),
        ("method", method),
        ("machine", machine()),
    ]
}

pub(crate) fn now() -> String {
    cli::date(clock::unix_time().as_secs())
}

/// The CPU, how many cores of it we may use, and the kernel.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let cpu = cpu.unwrap_or("unknown CPU").trim_matches([' ', '\t', ':']);
    let (cores, os, release) = (cores(), std::env::consts::OS, read("/proc/sys/kernel/osrelease"));
    format!("{cpu}, {cores} cores, {os} {}", release.trim())
}

fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { "null".to_owned() }
}

/// A value that JSON writes so, for a cell of a table.
fn plain(json: &str) -> String {
    match json.strip_prefix('"') {
        Some(rest) => string(&mut rest.chars()).unwrap_or_default(),
        None => json.replace("null", ""),
    }
}

/// What a run comes to, with its names in JSON and CSV; NaN: it has none.
const FIGURES: [Column<Outcome, f64>; 22] = [
    ("complete", |o| o.tally.done as f64),
    ("failed", |o| o.tally.failed.all() as f64),
    ("failed_connect", |o| o.tally.failed.0[0] as f64),
    ("failed_receive", |o| o.tally.failed.0[1] as f64),
    ("failed_length", |o| o.tally.failed.0[2] as f64),
    ("failed_exceptions", |o| o.tally.failed.0[3] as f64),
    ("timed_out", |o| o.tally.timed_out as f64),
    ("unanswered", |o| o.tally.unanswered as f64),
    ("retried", |o| o.tally.retried as f64),
    ("non_2xx", |o| o.tally.non_2xx as f64),
    ("keep_alive", |o| o.tally.keep_alive as f64),
    ("document_length", |o| o.tally.document.unwrap_or(0) as f64),
    ("total_transferred", |o| o.tally.transferred as f64),
    ("html_transferred", |o| o.tally.html as f64),
    ("seconds", |o| o.wall.as_secs_f64()),
    ("requests_per_second", Outcome::rate),
    ("time_per_request_ms", Outcome::time_per_request),
    ("kbytes_per_second", Outcome::transfer_rate),
    ("client_cpu_share", |o| o.client_share().unwrap_or(f64::NAN)),
    ("cpu_us_per_request", |o| o.cpu_per_request().unwrap_or(f64::NAN)),
    ("mean_ms", |o| o.tally.total.mean() / 1e6),
    ("stddev_ms", |o| o.tally.total.deviation() / 1e6),
];

/// A name, and its value as JSON.
type Member = (String, String);

fn figures(outcome: &Outcome) -> impl Iterator<Item = Member> {
    let times = [("", &outcome.tally.total), ("response_", &outcome.tally.response)];
    let quantiles = times.into_iter().flat_map(|(of, times)| {
        PERCENTILES.map(|(name, q)| (format!("{of}{name}_ms"), number(times.quantile_ms(q))))
    });
    FIGURES.iter().map(|(name, of)| ((*name).to_owned(), number(of(outcome)))).chain(quantiles)
}

fn texts(origin: &Origin) -> impl Iterator<Item = Member> {
    origin.iter().map(|(name, text)| ((*name).to_owned(), quoted(text)))
}

/// What a cell is about, and how far its rounds are apart.
fn about(cell: &Cell) -> [Member; 10] {
    let (plan, spread) = (cell.plan(), cell.spread(Outcome::rate));
    [
        ("target", quoted(&plan.target.name)),
        ("url", quoted(&plan.target.url())),
        ("server_software", quoted(&cell.median().tally.software)),
        ("concurrency", number(plan.concurrency as f64)),
        ("rate_asked", number(plan.rate.unwrap_or(f64::NAN))),
        ("threads", number(plan.threads as f64)),
        ("rounds", number(cell.runs.len() as f64)),
        ("median_requests_per_second", number(spread.median)),
        ("lowest_requests_per_second", number(spread.lowest)),
        ("highest_requests_per_second", number(spread.highest)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// A line per target and level: the median run, and the lowest and highest rate of all rounds.
pub(crate) fn csv(cells: &[Cell], origin: &Origin) -> String {
    let mut table = Table::default();
    for cell in cells {
        let members = about(cell).into_iter().chain(figures(cell.median())).chain(texts(origin));
        let (heading, row) = members.map(|(name, json)| (name, plain(&json))).unzip();
        if table.rows.is_empty() {
            table.rows.push(heading);
        }
        table.rows.push(row);
    }
    table.csv()
}

/// An object: where it comes from, and `cells` with an object per target and level; `runs` holds
/// every run's figures, with `histogram` (from ns, width ns, requests) of the service times.
pub(crate) fn json(cells: &[Cell], origin: &Origin) -> String {
    let run = |run: &Outcome| {
        let buckets = run.tally.total.buckets();
        let histogram = list(buckets.map(|(low, width, n)| format!("[{low},{width},{n}]")));
        object(figures(run), "histogram", histogram)
    };
    let cell = |cell: &Cell| object(about(cell), "runs", list(cell.runs.iter().map(run)));
    object(texts(origin), "cells", list(cells.iter().map(cell))) + "\n"
}

/// An object of these members and a last one, which is JSON already.
fn object(members: impl IntoIterator<Item = Member>, last: &str, json: String) -> String {
    let members = members.into_iter().map(|(name, value)| format!("\"{name}\":{value},"));
    format!("{{{}\"{last}\":{json}}}", members.collect::<String>())
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

#[derive(Debug)]
pub struct Saved {
    date: String,
    /// As much of each cell's plan as its row is about; by round the figure by which cells are compared.
    cells: Vec<(Plan, Vec<f64>)>,
}

impl Saved {
    /// Reads what `bench --json` wrote. The error is one line.
    pub(super) fn read(path: &Path) -> Result<Saved> {
        let wrong = |what: &dyn Display| format!("--against '{}': {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
        Saved::of(&text).ok_or_else(|| wrong(&"this is not what bench --json writes"))
    }

    fn of(text: &str) -> Option<Saved> {
        let mut saved = Saved { date: String::new(), cells: Vec::new() };
        for (name, value) in members(text)? {
            let number = || value.parse::<f64>().ok();
            match (name.as_str(), saved.cells.last_mut()) {
                ("date", None) => saved.date = value,
                ("target", _) => {
                    let target = Target { name: value, ..Target::default() };
                    saved.cells.push((Plan { target, ..Plan::default() }, Vec::new()));
                }
                ("concurrency", Some((plan, _))) => plan.concurrency = value.parse().ok()?,
                ("rate_asked", Some((plan, _))) => plan.rate = number(),
                ("requests_per_second", Some((Plan { rate: None, .. }, samples)))
                | ("response_p99_ms", Some((Plan { rate: Some(_), .. }, samples))) => {
                    samples.push(number()?);
                }
                _ => {}
            }
        }
        let is_whole = saved.cells.iter().all(|(_, samples)| !samples.is_empty());
        Some(saved).filter(|saved| is_whole && !saved.cells.is_empty())
    }

    /// Each cell beside the saved one of the same target and level, or a sentence if there is none.
    /// Where both measured one target only, it may have another name.
    pub(super) fn pairs<'a>(&'a self, cells: &'a [Cell]) -> impl Iterator<Item = Result<Pair>> {
        let first = &self.cells[0].0.target.name;
        let lone = self.cells.iter().all(|(old, _)| old.target.name == *first)
            && cells.iter().all(|cell| cell.name() == cells[0].name());
        cells.iter().map(move |cell| {
            let is_same = |(old, _): &&(Plan, Vec<f64>)| {
                old.is_same_level(cell.plan()) && (lone || old.target.name == cell.name())
            };
            let (name, level) = (cell.name(), cell.plan().level());
            let none = || format!("{level}: the saved run has no {name} at this level");
            let (old, samples) = self.cells.iter().find(is_same).ok_or_else(none)?;
            let then = format!("{} of {}", old.target.name, self.date);
            Ok(cell.compared_with([format!("{name} now"), then], samples.clone()))
        })
    }
}

/// The names of our JSON that have a text or a number, in order, whatever holds them; None if it
/// is cut short. The order is enough: a cell's members follow its `target`.
fn members(json: &str) -> Option<Vec<(String, String)>> {
    let (mut members, mut depth) = (Vec::new(), 0_usize);
    let (mut name, mut value) = (String::new(), String::new());
    let mut chars = json.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => value = string(&mut chars)?,
            ':' => name = std::mem::take(&mut value),
            '[' | '{' => depth += 1,
            ',' | ']' | '}' => {
                members.push((std::mem::take(&mut name), std::mem::take(&mut value)));
                depth = depth.checked_sub(usize::from(c != ','))?;
            }
            c if c.is_whitespace() => {}
            c => value.push(c),
        }
        if depth == 0 {
            return chars.next().is_none().then_some(members);
        }
    }
    None
}

/// The rest of a string as [`quoted`] writes it.
fn string(chars: &mut Chars) -> Option<String> {
    let mut text = String::new();
    loop {
        text.push(match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                escaped => escaped,
            },
            plain => plain,
        });
    }
}
