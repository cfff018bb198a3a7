//! Step 6: the three systems at the assignment's four levels, in turn, round after round; after
//! each of our runs one of ab's, where ab is installed.
//!
//! Entry point: [`run`]. Note: `notes/README.md`.

use super::{End, program, say};
use crate::bench::Plan;
use crate::bench::rounds::{Cell, State, Turn, measure};
use crate::cli::shutdown::Stop;
use crate::lab::report::{AbCell, AbRun, System};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The assignment's concurrency levels.
pub const LEVELS: [usize; 4] = [1, 10, 50, 100];
/// The assignment's -s: nothing is given up early.
const ANSWER_PATIENCE: Duration = Duration::from_secs(99_999);
/// A run of ab that takes longer is given up.
const AB_PATIENCE: Duration = Duration::from_secs(60);

/// What the test brought.
pub struct Measurement {
    /// The three systems, in the order of the tables.
    pub systems: Vec<System>,
    /// A cell per system and level.
    pub cells: Vec<Cell>,
    /// ab's figures of the same; empty without ab.
    pub ab: Vec<AbCell>,
    /// As ab says itself.
    pub ab_version: Option<String>,
}

/// Measures the URLs of lb, of one async_server, and of thread_server.
pub fn run(
    urls: [String; 3],
    requests: u64,
    count: usize,
    warmup: Duration,
    stop: &Stop,
) -> Result<Measurement, End> {
    let [lb, alone, threads] = urls;
    let system = |title, short, url: String| System { title, short, url };
    let systems = vec![
        system("Async + Load Balancer", "Async + LB", lb),
        system("Async", "Async", alone),
        system("Thread", "Thread", threads),
    ];
    let mut plans = Vec::new();
    for level in LEVELS {
        for system in &systems {
            plans.push(plan(system, level, requests)?);
        }
    }
    let ab = program::find(&["ab"]);
    if ab.is_none() {
        say("      ab is not installed (apt install apache2-utils): our figures stand alone");
    }
    let mut watch = Watch {
        ab_version: ab.as_deref().and_then(|ab| version(ab, stop)),
        ab,
        cells: Vec::new(),
        terminal: std::io::stdout().is_terminal(),
        rates: Vec::new(),
    };
    let measured = measure(&plans, count, warmup, stop, &mut |turn| {
        watch.see(turn, &plans, stop);
    });
    watch.clear();
    if stop.is_raised() {
        return Err(End::Stopped);
    }
    let cells = measured.whole()?;
    Ok(Measurement { systems, cells, ab: watch.cells, ab_version: watch.ab_version })
}

/// `bench -n … -c … -k -r -s 99999`
fn plan(system: &System, level: usize, requests: u64) -> Result<Plan, String> {
    let mut plan = Plan::new(&system.url)?;
    plan.target.name = system.title.to_owned();
    plan.requests = requests;
    plan.concurrency = level;
    plan.timeout = ANSWER_PATIENCE;
    plan.keep_alive = true;
    plan.go_on = true;
    Ok(plan)
}

/// Looks on while the rounds go by: says so, and runs ab after each run.
struct Watch {
    ab: Option<PathBuf>,
    ab_version: Option<String>,
    cells: Vec<AbCell>,
    terminal: bool,
    /// The rates of the round so far, with the place of each plan.
    rates: Vec<(usize, f64)>,
}

impl Watch {
    fn see(&mut self, turn: &Turn, plans: &[Plan], stop: &Stop) {
        let State::Ended(outcome) = turn.state else {
            return self.draw(turn);
        };
        if turn.round == 0 {
            return;
        }
        if let Some(ab) = self.ab.clone()
            && !stop.is_raised()
            && let Some(run) = run_ab(&ab, turn.plan, turn.round, stop)
        {
            self.keep(turn.plan, run);
        }
        let place = plans.iter().position(|plan| std::ptr::eq(plan, turn.plan));
        self.rates.extend(place.map(|place| (place, outcome.rate())));
        if self.rates.len() == plans.len() {
            self.clear();
            say(&self.line(turn, plans));
        }
    }

    fn keep(&mut self, plan: &Plan, run: AbRun) {
        let url = plan.target.url();
        let same = |cell: &&mut AbCell| cell.url == url && cell.concurrency == plan.concurrency;
        match self.cells.iter_mut().find(same) {
            Some(cell) => cell.runs.push(run),
            None => self.cells.push(AbCell { url, concurrency: plan.concurrency, runs: vec![run] }),
        }
    }

    /// A line for the round: the rates at each level, in the order of the systems.
    fn line(&mut self, turn: &Turn, plans: &[Plan]) -> String {
        let mut text = format!("      round {}/{}:", turn.round, turn.rounds);
        let mut level = 0;
        self.rates.sort_by_key(|(place, _)| *place);
        for (place, rate) in self.rates.drain(..) {
            if level != plans[place].concurrency {
                level = plans[place].concurrency;
                text.push_str(&format!("  c={level}:"));
            }
            text.push_str(&format!(" {rate:.0}"));
        }
        text
    }

    /// On a terminal, what is being done at this moment.
    fn draw(&self, turn: &Turn) {
        if self.terminal {
            let what = match turn.round {
                0 => "warming up".to_owned(),
                round => format!("round {round}/{}", turn.rounds),
            };
            let (url, level) = (turn.plan.target.url(), turn.plan.concurrency);
            let mut out = std::io::stdout().lock();
            let _ =
                write!(out, "\r\x1b[K      {what}: {url} at {level}").and_then(|()| out.flush());
        }
    }

    fn clear(&self) {
        if self.terminal {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
        }
    }
}

fn version(ab: &Path, stop: &Stop) -> Option<String> {
    let text = program::output(Command::new(ab).arg("-V"), AB_PATIENCE, stop).ok()?;
    let words = text.split_once("Version ")?.1;
    Some(words.split_whitespace().next()?.to_owned())
}

/// The same run by ab; None if ab did not end well or is not understood.
fn run_ab(ab: &Path, plan: &Plan, round: usize, stop: &Stop) -> Option<AbRun> {
    let mut command = Command::new(ab);
    command
        .args(["-q", "-r", "-k", "-s", "99999"])
        .args(["-n", &plan.requests.to_string()])
        .args(["-c", &plan.concurrency.to_string()])
        .arg(plan.target.url());
    let text = program::output(&mut command, AB_PATIENCE, stop).ok()?;
    read_ab(&text, round)
}

fn read_ab(text: &str, round: usize) -> Option<AbRun> {
    let field = |label: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(label))?;
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(AbRun {
        round,
        seconds: field("Time taken for tests:")?,
        complete: field("Complete requests:")? as u64,
        failed: field("Failed requests:")? as u64,
        non_2xx: field("Non-2xx responses:").unwrap_or(0.0) as u64,
        transferred: field("Total transferred:")? as u64,
        rate: field("Requests per second:")?,
        time_per_request: field("Time per request:")?,
        kbytes: field("Transfer rate:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abs_report_is_read_field_by_field() {
        let text = "Concurrency Level:      10\n\
            Time taken for tests:   0.041 seconds\n\
            Complete requests:      1000\n\
            Failed requests:        3\n   (Connect: 0, Receive: 0, Length: 3, Exceptions: 0)\n\
            Non-2xx responses:      7\n\
            Total transferred:      252000 bytes\n\
            Requests per second:    24267.13 [#/sec] (mean)\n\
            Time per request:       4.121 [ms] (mean)\n\
            Time per request:       0.041 [ms] (mean, across all concurrent requests)\n\
            Transfer rate:          5971.99 [Kbytes/sec] received\n";
        let run = read_ab(text, 3).expect("whole");
        assert_eq!((run.complete, run.failed, run.non_2xx), (1000, 3, 7));
        assert_eq!((run.seconds, run.rate), (0.041, 24267.13));
        assert_eq!((run.time_per_request, run.kbytes), (4.121, 5971.99));
        assert_eq!(run.transferred, 252_000);
        assert!(read_ab("ab: apr_socket_connect(): Connection refused", 1).is_none());
    }
}
