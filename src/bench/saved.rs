//! A measurement for programs: CSV, and JSON that `--against` reads again.
//!
//! Entry points: [`csv`], [`json`], [`Saved::read`]. Note: `notes/bench.md`.

use super::Outcome;
use super::rounds::{Cell, compared, pair_at};
use super::stats::PERCENTILES;
use super::table::Table;
use super::verdict::Pair;
use crate::cli;
use crate::net::clock;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

/// Where figures come from, so that they can be read later: name and text of each thing.
pub(crate) struct Origin(pub(crate) Vec<(&'static str, String)>);

impl Origin {
    /// This program on this machine now, with these rounds.
    pub(crate) fn here(rounds: usize, warmup: Duration) -> Origin {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu = cpu.unwrap_or("unknown CPU").trim_matches([' ', '\t', ':']);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (os, release) = (std::env::consts::OS, read("/proc/sys/kernel/osrelease"));
        let words = std::env::args_os().skip(1);
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let method = format!(
            "{rounds} rounds, all targets and levels in turn, each round with another target first; \
             warm-up {} ms; rows: the median run; verdicts: signed-rank test on the pairs of a round, Holm's correction",
            warmup.as_millis()
        );
        Origin(vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("date", cli::date(clock::unix_time().as_secs())),
            ("command", format!("progjar {}", words.join(" "))),
            ("method", method),
            ("machine", format!("{cpu}, {cores} cores, {os} {}", release.trim())),
        ])
    }
}

/// The name of a figure, and how a run has it; NaN: it has none.
type Figure = (&'static str, fn(&Outcome) -> f64);

const FIGURES: [Figure; 22] = [
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
    ("document_length", |o| o.document_length as f64),
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

fn figures(outcome: &Outcome) -> Vec<(String, f64)> {
    let figures = FIGURES.iter().map(|(name, of)| ((*name).to_owned(), of(outcome)));
    let mut figures: Vec<(String, f64)> = figures.collect();
    for (prefix, times) in [("", &outcome.tally.total), ("response_", &outcome.tally.response)] {
        figures.extend(PERCENTILES.iter().map(|(name, q)| {
            let ms = if times.count() > 0 { times.quantile_ms(*q) } else { f64::NAN };
            (format!("{prefix}{name}_ms"), ms)
        }));
    }
    figures
}

/// A line per target and level: the median run, and the lowest and highest rate of all rounds.
pub(crate) fn csv(cells: &[Cell], origin: &Origin) -> String {
    let number = |value: f64| match value {
        value if value.is_nan() => String::new(),
        value => format!("{}", (value * 1e4).round() / 1e4),
    };
    let mut table = Table::default();
    for cell in cells {
        let (plan, spread) = (cell.plan(), cell.spread(Outcome::rate));
        let mut row = vec![
            ("target", plan.target.name.clone()),
            ("url", plan.target.url()),
            ("concurrency", plan.concurrency.to_string()),
            ("rate_asked", plan.rate.map_or_else(String::new, number)),
            ("rounds", cell.runs().len().to_string()),
            ("lowest_requests_per_second", number(spread.lowest)),
            ("highest_requests_per_second", number(spread.highest)),
        ];
        let figures = figures(cell.median());
        row.extend(figures.iter().map(|(name, value)| (name.as_str(), number(*value))));
        row.extend(origin.0.iter().cloned());
        if table.rows.is_empty() {
            table.rows.push(row.iter().map(|(name, _)| (*name).to_owned()).collect());
        }
        table.rows.push(row.into_iter().map(|(_, value)| value).collect());
    }
    table.csv()
}

/// An object: where it comes from, and `cells` with an object per target and level; `runs` holds
/// every run's figures, with `histogram` (from ns, width ns, requests) of the service times.
pub(crate) fn json(cells: &[Cell], origin: &Origin) -> String {
    let mut members: Vec<(&str, String)> =
        origin.0.iter().map(|(name, text)| (*name, quoted(text))).collect();
    members.push(("cells", list(cells.iter().map(json_of_cell))));
    object(members) + "\n"
}

fn json_of_cell(cell: &Cell) -> String {
    let (plan, spread) = (cell.plan(), cell.spread(Outcome::rate));
    object([
        ("target", quoted(&plan.target.name)),
        ("url", quoted(&plan.target.url())),
        ("server_software", quoted(&cell.median().tally.software)),
        ("concurrency", plan.concurrency.to_string()),
        ("rate_asked", number(plan.rate.unwrap_or(f64::NAN))),
        ("keep_alive", plan.keep_alive.to_string()),
        ("threads", plan.threads.to_string()),
        ("median_requests_per_second", number(spread.median)),
        ("lowest_requests_per_second", number(spread.lowest)),
        ("highest_requests_per_second", number(spread.highest)),
        ("runs", list(cell.runs().iter().map(json_of_run))),
    ])
}

fn json_of_run(outcome: &Outcome) -> String {
    let figures = figures(outcome);
    let buckets = outcome.tally.total.buckets().map(|(low, width, n)| list([low, width, n]));
    let members = figures.iter().map(|(name, value)| (name.as_str(), number(*value)));
    object(members.chain([("histogram", list(buckets))]))
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn list(values: impl IntoIterator<Item = impl Display>) -> String {
    let values = values.into_iter().map(|value| value.to_string());
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { "null".to_owned() }
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// What `--against` compares with.
#[derive(Debug)]
pub struct Saved {
    date: String,
    cells: Vec<SavedCell>,
}

#[derive(Debug, Default)]
struct SavedCell {
    name: String,
    concurrency: f64,
    rate: Option<f64>,
    /// By round: the figure by which cells are compared.
    samples: Vec<f64>,
}

impl Saved {
    /// Reads what `bench --json` wrote. The error is one line.
    pub(crate) fn read(path: &Path) -> Result<Saved, String> {
        let wrong = |what: &dyn Display| format!("--against '{}': {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
        Saved::of(&text).ok_or_else(|| wrong(&"this is not what bench --json writes"))
    }

    fn of(text: &str) -> Option<Saved> {
        let (mut date, mut cells) = (None, Vec::<SavedCell>::new());
        for (name, value) in members(text)? {
            let number = || value.parse::<f64>().ok();
            match (name.as_str(), cells.last_mut()) {
                ("date", None) => date = Some(value),
                ("target", _) => cells.push(SavedCell { name: value, ..SavedCell::default() }),
                ("concurrency", Some(cell)) => cell.concurrency = number()?,
                ("rate_asked", Some(cell)) => cell.rate = number(),
                ("requests_per_second", Some(cell)) if cell.rate.is_none() => {
                    cell.samples.push(number()?);
                }
                ("response_p99_ms", Some(cell)) if cell.rate.is_some() => {
                    cell.samples.push(number()?);
                }
                _ => {}
            }
        }
        let whole = !cells.is_empty() && cells.iter().all(|cell| !cell.samples.is_empty());
        Some(Saved { date: date.filter(|_| whole)?, cells })
    }

    /// Each cell beside the saved one of the same target and level. Where both measured one target
    /// only, it may have another name.
    pub(crate) fn pairs(&self, cells: &[Cell]) -> Vec<Pair> {
        let lone = self.cells.iter().all(|cell| cell.name == self.cells[0].name)
            && cells.iter().all(|c| c.plan().target.name == cells[0].plan().target.name);
        let pair = |cell: &Cell| {
            let plan = cell.plan();
            let old = self.cells.iter().find(|old| {
                (lone || old.name == plan.target.name)
                    && old.concurrency == plan.concurrency as f64
                    && old.rate == plan.rate
            })?;
            let then = format!("{} of {}", old.name, self.date);
            let names = [format!("{} now", plan.target.name), then];
            Some(pair_at(plan, names, [compared(cell), old.samples.clone()]))
        };
        cells.iter().filter_map(pair).collect()
    }
}

/// The names of our JSON that have a text or a number, in order, whatever holds them; None if it
/// is cut short. The order is enough: a cell's members follow its `target`.
fn members(json: &str) -> Option<Vec<(String, String)>> {
    let (mut members, mut name, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut rest = json.trim_start().strip_prefix('{')?;
    loop {
        rest = rest.trim_start();
        let end = rest.find(['"', ',', ':', '[', ']', '{', '}'])?;
        let (plain, after) = rest.split_at(end);
        if !plain.is_empty() {
            members.push((std::mem::take(&mut name), plain.trim_end().to_owned()));
        }
        rest = &after[1..];
        match after.as_bytes()[0] {
            b'"' => {
                let text = string(&mut rest)?;
                match rest.trim_start().starts_with(':') {
                    true => name = text,
                    false => members.push((std::mem::take(&mut name), text)),
                }
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 0 => return rest.trim().is_empty().then_some(members),
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
}

/// The rest of a string as [`quoted`] writes it.
fn string(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.chars();
    loop {
        text.push(match chars.next()? {
            '"' => break,
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                escaped => escaped,
            },
            plain => plain,
        });
    }
    *rest = chars.as_str();
    Some(text)
}
