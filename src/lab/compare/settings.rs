//! What `compare` was asked for: options, the folder for its traces, how far descriptors reach.
//!
//! Entry point: [`Settings::of`].

use crate::assignment::say;
use crate::cli::args::Given;
use crate::net::sys;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Descriptors of a process beside those of its idle connections.
pub const OTHER_DESCRIPTORS: u64 = 700;

/// What the command line says.
#[derive(Debug)]
pub struct Settings {
    pub rounds: usize,
    pub length: Duration,
    pub only: Vec<String>,
    pub idle: usize,
    pub report: PathBuf,
    pub root: PathBuf,
    pub notes: Option<PathBuf>,
    /// The patches that take tricks out, and the programs that they make.
    pub patches: PathBuf,
    pub without: PathBuf,
    /// To repeat it.
    pub command: String,
}

impl Settings {
    /// Reads the options.
    pub fn of(given: &Given) -> Result<Settings, String> {
        let path = |name| PathBuf::from(given.text(name).unwrap_or_default());
        let rounds = given.number("--rounds", 1..=1000)?.unwrap_or(1) as usize;
        let length = given.duration("--seconds")?.unwrap_or_default();
        if length < Duration::from_millis(50) {
            return Err("compare: --seconds: give at least 0.05".to_owned());
        }
        let what = match given.operand()? {
            "servers" => String::new(),
            what => format!(" {what}"),
        };
        let seconds = length.as_secs_f64();
        let only = given.all("--only").map(|case| format!(" --only {case}"));
        let only: String = only.collect();
        Ok(Settings {
            rounds,
            length,
            only: given.all("--only").map(str::to_owned).collect(),
            idle: given.number("--idle", 1..=1_000_000)?.unwrap_or(1) as usize,
            report: path("--report"),
            root: path("--root"),
            notes: given.text("--notes").map(PathBuf::from),
            patches: path("--patches"),
            without: path("--without"),
            command: format!("./run.sh compare{what} --rounds {rounds} --seconds {seconds}{only}"),
        })
    }

    /// Checks that `--only` names what there is.
    pub fn check_only(&self, known: &[String]) -> Result<(), String> {
        match self.only.iter().find(|name| !known.contains(name)) {
            Some(name) => Err(format!(
                "compare: there is no case '{name}'; the cases are {}",
                known.join(", ")
            )),
            None => Ok(()),
        }
    }

    /// Whether this case is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// The folder for configurations and logs, inside the report's; its absolute path.
pub fn traces_folder(settings: &Settings) -> Result<PathBuf, String> {
    let folder = settings.report.join("compare");
    let wrong = |e| format!("cannot write in '{}': {e}; see --report", folder.display());
    fs::create_dir_all(&folder).map_err(wrong)?;
    fs::canonicalize(&folder).map_err(wrong)
}

/// As many idle connections as a process may hold that needs `each` descriptors for one; fewer
/// than wanted is said.
pub fn reachable_idle(
    wanted: usize,
    each: u64,
    missing: &mut Vec<String>,
) -> Result<usize, String> {
    let limit = sys::raise_descriptor_limit()
        .map_err(|e| format!("cannot ask for the descriptor limit: {e}"))?;
    let most = (limit.saturating_sub(OTHER_DESCRIPTORS) / each.max(1)).max(1) as usize;
    if most < wanted {
        let what =
            format!("only {most} idle connections: the descriptor limit is {limit} (ulimit -Hn)");
        say(&what);
        missing.push(what);
    }
    Ok(wanted.min(most))
}
