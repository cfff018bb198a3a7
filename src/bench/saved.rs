//! A measurement for programs: CSV, and JSON that `--against` reads again.
//!
//! Entry points: [`csv`], [`json`], [`Saved::read`]. Note: `notes/bench.md`.

use super::Outcome;
use super::json::Json;
use super::rounds::{Cell, compared, pair_at};
use super::stats::{Histogram, PERCENTILES};
use super::table::Table;
use super::verdict::Pair;
use crate::cli;
use crate::net::clock;
use std::path::Path;
use std::time::Duration;

/// Where figures come from, so that they can be read later.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Name and text of each thing that is known.
    pub facts: Vec<(&'static str, String)>,
}

impl Origin {
    /// This program on this machine now, with these rounds.
    pub fn here(rounds: usize, warmup: Duration) -> Origin {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let words: Vec<String> =
            std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let method = format!(
            "{rounds} rounds, all targets and levels in turn, each round with another target first; \
             warm-up {} ms; rows: the median run; verdicts: signed-rank test on the pairs of a round, Holm's correction",
            warmup.as_millis()
        );
        let machine = format!(
            "{}, {cores} cores, {} {}",
            cpu.unwrap_or("unknown CPU").trim_matches([' ', '\t', ':']),
            std::env::consts::OS,
            read("/proc/sys/kernel/osrelease").trim()
        );
        let facts = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("date", cli::date(clock::unix_time().as_secs())),
            ("command", format!("progjar {}", words.join(" "))),
            ("method", method),
            ("machine", machine),
        ];
        Origin { facts }
    }
}

/// Name and value of each figure of a run; NaN: there is none.
fn figures(outcome: &Outcome) -> Vec<(String, f64)> {
    let tally = &outcome.tally;
    let [connect, receive, length, exceptions] = tally.failed.0;
    let counts = [
        ("complete", tally.done),
        ("failed", tally.failed.all()),
        ("failed_connect", connect),
        ("failed_receive", receive),
        ("failed_length", length),
        ("failed_exceptions", exceptions),
        ("timed_out", tally.timed_out),
        ("unanswered", tally.unanswered),
        ("retried", tally.retried),
        ("non_2xx", tally.non_2xx),
        ("keep_alive", tally.keep_alive),
        ("document_length", outcome.document_length),
        ("total_transferred", tally.transferred),
        ("html_transferred", tally.html),
    ];
    let nothing = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let others = [
        ("seconds", outcome.wall.as_secs_f64()),
        ("requests_per_second", outcome.rate()),
        ("time_per_request_ms", outcome.time_per_request()),
        ("kbytes_per_second", outcome.transfer_rate()),
        ("client_cpu_share", nothing(outcome.client_share())),
        ("cpu_us_per_request", nothing(outcome.cpu_per_request())),
        ("mean_ms", tally.total.mean() / 1e6),
        ("stddev_ms", tally.total.deviation() / 1e6),
    ];
    let mut figures: Vec<(String, f64)> =
        counts.map(|(name, count)| (name.to_owned(), count as f64)).to_vec();
    figures.extend(others.map(|(name, value)| (name.to_owned(), value)));
    figures.extend(percentiles("", &tally.total));
    figures.extend(percentiles("response_", &tally.response));
    figures
}

/// NaN without a sample.
fn percentiles(prefix: &str, times: &Histogram) -> [(String, f64); 5] {
    PERCENTILES.map(|(name, q)| {
        let ms = times.quantile(q) as f64 / 1e6;
        let known = times.count() > 0;
        (format!("{prefix}{name}_ms"), if known { ms } else { f64::NAN })
    })
}

/// A line per target and level: the median run, and the lowest and highest rate of all rounds.
pub fn csv(cells: &[Cell], origin: &Origin) -> String {
    let mut table = Table::default();
    for cell in cells {
        let (plan, spread) = (cell.plan(), cell.spread(Outcome::rate));
        let number = |value: f64| match value {
            value if value.is_nan() => String::new(),
            value => format!("{}", (value * 1e4).round() / 1e4),
        };
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
        row.extend(origin.facts.iter().cloned());
        if table.rows.is_empty() {
            table.rows.push(row.iter().map(|(name, _)| (*name).to_owned()).collect());
        }
        table.rows.push(row.into_iter().map(|(_, value)| value).collect());
    }
    table.csv()
}

/// An object: where it comes from, and `cells` with an object per target and level; `runs` holds
/// every run's figures, with `histogram` (from ns, width ns, requests) of the service times.
pub fn json(cells: &[Cell], origin: &Origin) -> String {
    let facts = origin.facts.iter();
    let mut members: Vec<(&str, Json)> =
        facts.map(|(name, text)| (*name, Json::from(text))).collect();
    members.push(("cells", Json::List(cells.iter().map(cell_of).collect())));
    format!("{}\n", Json::object(members))
}

fn cell_of(cell: &Cell) -> Json {
    let (plan, spread) = (cell.plan(), cell.spread(Outcome::rate));
    Json::object([
        ("target", Json::from(&plan.target.name)),
        ("url", Json::from(&plan.target.url())),
        ("server_software", Json::from(&cell.median().tally.software)),
        ("concurrency", Json::Number(plan.concurrency as f64)),
        ("rate_asked", Json::Number(plan.rate.unwrap_or(f64::NAN))),
        ("keep_alive", Json::Bool(plan.keep_alive)),
        ("threads", Json::Number(plan.threads as f64)),
        ("median_requests_per_second", Json::Number(spread.median)),
        ("lowest_requests_per_second", Json::Number(spread.lowest)),
        ("highest_requests_per_second", Json::Number(spread.highest)),
        ("runs", Json::List(cell.runs().iter().map(run_of).collect())),
    ])
}

fn run_of(outcome: &Outcome) -> Json {
    let figures = figures(outcome);
    let mut members: Vec<(&str, Json)> =
        figures.iter().map(|(name, value)| (name.as_str(), Json::Number(*value))).collect();
    let buckets = outcome.tally.total.buckets().map(|(low, width, n)| {
        Json::List([low, width, n].map(|n| Json::Number(n as f64)).to_vec())
    });
    members.push(("histogram", Json::List(buckets.collect())));
    Json::object(members)
}

/// What `--against` compares with.
#[derive(Debug)]
pub struct Saved {
    date: String,
    cells: Vec<SavedCell>,
}

#[derive(Debug)]
struct SavedCell {
    name: String,
    concurrency: f64,
    rate: Option<f64>,
    /// By round: the figure by which cells are compared.
    samples: Vec<f64>,
}

impl Saved {
    /// Reads what `bench --json` wrote. The error is one line.
    pub fn read(path: &Path) -> Result<Saved, String> {
        let wrong =
            |what: &dyn std::fmt::Display| format!("--against '{}': {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
        Saved::of(&text).ok_or_else(|| wrong(&"this is not what bench --json writes"))
    }

    fn of(text: &str) -> Option<Saved> {
        let json = Json::parse(text)?;
        let cell = |cell: &Json| {
            let rate = cell.get("rate_asked")?.number();
            let figure = match rate {
                Some(_) => "response_p99_ms",
                None => "requests_per_second",
            };
            let runs = cell.get("runs")?.list()?.iter();
            Some(SavedCell {
                name: cell.get("target")?.text()?.to_owned(),
                concurrency: cell.get("concurrency")?.number()?,
                rate,
                samples: runs.map(|run| run.get(figure)?.number()).collect::<Option<_>>()?,
            })
        };
        Some(Saved {
            date: json.get("date")?.text()?.to_owned(),
            cells: json.get("cells")?.list()?.iter().map(cell).collect::<Option<_>>()?,
        })
    }

    /// Each cell beside the saved one of the same target and level. Where both measured one target
    /// only, it may have another name.
    pub fn pairs(&self, cells: &[Cell]) -> Vec<Pair> {
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
            Some(Pair {
                names: [format!("{} now", plan.target.name), then],
                samples: [compared(cell), old.samples.clone()],
                ..pair_at(plan)
            })
        };
        cells.iter().filter_map(pair).collect()
    }
}
