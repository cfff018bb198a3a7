//! What `all` hands in: report.md in the assignment's order, report.html with charts, and
//! results.csv and results.json for other programs.
//!
//! Every number comes from [`Findings`]; nothing is measured here, and the core never imports
//! this. Entry points: [`write()`], [`tables`], [`block`]. Note: `notes/README.md`.

// the machine that was measured on
mod machine;
// what the tables, and the sentences below them, say
pub(crate) mod words;
// ab's figures beside ours
mod beside_ab;
// an axis and its ticks
pub(crate) mod scale;
// lines, markers, a legend: one chart
pub(crate) mod chart;
// which charts there are
mod figures;
// report.md
mod markdown;
// report.html
pub(crate) mod html;

pub use machine::Machine;
pub use words::{block, circumstances, now, number, tables};

use crate::bench::rounds::Cell;
use crate::bench::saved::{self, Origin};
use chart::Chart;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A system that was measured.
#[derive(Debug)]
pub struct System {
    /// The heading of its table.
    pub title: &'static str,
    /// Its name where there is little room.
    pub short: &'static str,
    /// Where its requests went.
    pub url: String,
}

/// A server that was started.
#[derive(Debug)]
pub struct Started {
    /// What it is.
    pub topic: &'static str,
    /// What one types to start it.
    pub command: String,
    /// The first lines of its log.
    pub log: Vec<String>,
}

/// A run as ab reports it.
#[derive(Debug, Clone)]
pub struct AbRun {
    /// In which round it was made, from 1.
    pub round: usize,
    /// Time taken for tests.
    pub seconds: f64,
    /// Complete requests.
    pub complete: u64,
    /// Failed requests.
    pub failed: u64,
    /// Non-2xx responses.
    pub non_2xx: u64,
    /// Total transferred.
    pub transferred: u64,
    /// Requests per second.
    pub rate: f64,
    /// Time per request, in milliseconds.
    pub time_per_request: f64,
    /// Transfer rate, in Kbytes per second.
    pub kbytes: f64,
}

/// All runs of ab against one system at one level; at least one.
#[derive(Debug)]
pub struct AbCell {
    /// The system.
    pub url: String,
    /// The level.
    pub concurrency: usize,
    /// In the order in which they were made.
    pub runs: Vec<AbRun>,
}

/// All that a run of `all` found out.
#[derive(Debug)]
pub struct Findings {
    /// When.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// Requests per run.
    pub requests: u64,
    /// Runs of each system at each level.
    pub rounds: usize,
    /// Load before the first round.
    pub warmup: Duration,
    /// The servers.
    pub started: Vec<Started>,
    /// What the page shows, fetched and compared.
    pub fetched: Vec<String>,
    /// The same in the log of lb.
    pub rotation: Vec<String>,
    /// The page as PNG, or why there is no picture.
    pub screenshot: Result<Vec<u8>, String>,
    /// In the order of the tables.
    pub systems: Vec<System>,
    /// One per system and level.
    pub cells: Vec<Cell>,
    /// The same by ab; empty without ab.
    pub ab: Vec<AbCell>,
    /// ab's version.
    pub ab_version: Option<String>,
}

impl Findings {
    /// The levels of one system, in order.
    fn cells_of(&self, system: &System) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.plan().target.url() == system.url)
    }

    /// The same, each with ab's runs, where there are any.
    fn beside_ab(&self, system: &System) -> impl Iterator<Item = (&Cell, &AbCell)> {
        self.cells_of(system).filter_map(|cell| {
            let plan = cell.plan();
            let is_same =
                |ab: &&AbCell| ab.url == plan.target.url() && ab.concurrency == plan.concurrency;
            Some((cell, self.ab.iter().find(is_same)?))
        })
    }

    /// What makes the tables worth less than they look: one sentence, if there is any.
    pub fn trouble(&self) -> Option<String> {
        let sum = |of: fn(&crate::bench::Outcome) -> u64| {
            self.cells.iter().map(|cell| cell.sum(of)).sum::<u64>()
        };
        let (failed, non_2xx) = (sum(|o| o.tally.failed.all()), sum(|o| o.tally.non_2xx));
        (failed + non_2xx > 0).then(|| {
            let done = sum(|o| o.tally.done);
            format!(
                "of {done} requests {failed} failed and {non_2xx} were answered with another status than 2xx; the report says where"
            )
        })
    }
}

/// Writes a file into the folder.
pub(crate) fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(|e| format!("cannot write '{}': {e}", path.display()))
}

/// Writes each chart into a file of its name.
pub(crate) fn put_charts<'a, N: fmt::Display + 'a>(
    folder: &Path,
    charts: impl IntoIterator<Item = &'a (N, Chart)>,
) -> Result<(), String> {
    for (name, chart) in charts {
        put(folder, &format!("{name}.svg"), chart.standalone().as_bytes())?;
    }
    Ok(())
}

/// Writes the first chart, which README shows, into the folder.
pub fn write_chart(findings: &Findings, folder: &Path) -> Result<(), String> {
    let figures = figures::all(findings);
    put_charts(folder, figures.iter().flat_map(|f| &f.charts).take(1))
}

/// Writes all files into the folder.
pub fn write(findings: &Findings, folder: &Path) -> Result<(), String> {
    let put = |name: &str, bytes: &[u8]| put(folder, name, bytes);
    let origin = Origin::here(findings.rounds, findings.warmup);
    let cells = &findings.cells;
    put("results.csv", saved::csv(cells, &origin).as_bytes())?;
    put("results.json", saved::json(cells, &origin).as_bytes())?;
    let figures = figures::all(findings);
    put_charts(folder, figures.iter().flat_map(|f| &f.charts))?;
    match &findings.screenshot {
        Ok(picture) => put("page.png", picture)?,
        // Not that of an earlier run.
        Err(_) => drop(fs::remove_file(folder.join("page.png"))),
    }
    put("report.md", markdown::report(findings, &figures).as_bytes())?;
    put("report.html", html::report(findings, &figures).as_bytes())
}
