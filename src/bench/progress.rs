//! What one sees while it runs: on a terminal one live line, elsewhere ab's lines. All of it
//! goes to stderr. Entry point: [`Progress::show`]. Note: `notes/bench.md`.

use super::Status;
use super::options::{Format, Options};
use super::rounds::{State, Turn};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A run that ends sooner needs no line.
const PATIENCE: Duration = Duration::from_secs(1);
/// ab's: with fewer requests, no lines.
const WORTH_LINES: u64 = 150;

/// Where progress goes, and what has been said.
pub(super) struct Progress {
    quiet: bool,
    terminal: bool,
    /// Several runs: a line for each, not ab's.
    many: bool,
    drawn: bool,
    said: u64,
}

impl Progress {
    pub(super) fn new(options: &Options) -> Progress {
        Progress {
            quiet: options.quiet,
            terminal: std::io::stderr().is_terminal(),
            many: options.plans.len() > 1 || options.rounds > 1 || options.format == Format::Table,
            drawn: false,
            said: 0,
        }
    }

    pub(super) fn show(&mut self, turn: &Turn) {
        let Turn { round, rounds, plan, state } = turn;
        match state {
            _ if self.quiet => {}
            State::Running(status) if self.terminal => self.draw(turn, status),
            _ if self.terminal || *round == 0 => {}
            State::Running(status) if !self.many => self.count(plan.requests, status.done),
            State::Running(_) => {}
            State::Ended(outcome) if self.many => {
                let (name, level, rate) = (&plan.target.name, plan.level(), outcome.rate());
                eprintln!("round {round}/{rounds}: {name}, {level}: {rate:.2} requests/s");
            }
            State::Ended(outcome) if plan.requests > WORTH_LINES => {
                eprintln!("Finished {} requests", outcome.tally.done);
            }
            State::Ended(_) => {}
        }
    }

    /// ab's lines: one for each tenth of the requests, but at least a hundred.
    fn count(&mut self, requests: u64, done: u64) {
        let step = (requests / 10).max(100);
        while requests > WORTH_LINES && self.said + step <= done {
            self.said += step;
            eprintln!("Completed {} requests", self.said);
        }
    }

    fn draw(&mut self, turn: &Turn, status: &Status) {
        if status.elapsed < PATIENCE && !self.drawn {
            return;
        }
        let (plan, elapsed) = (turn.plan, status.elapsed.as_secs_f64());
        let by_count = status.done as f64 / plan.requests as f64;
        let by_time = plan.time_limit.map_or(0.0, |limit| elapsed / limit.as_secs_f64());
        let place = match turn.round {
            0 => "warm-up: ".to_owned(),
            n if self.many => format!("{n}/{} {}: ", turn.rounds, plan.target.name),
            _ => String::new(),
        };
        let failed = match status.failed {
            0 => String::new(),
            n => format!(", {n} failed"),
        };
        let (level, percent) = (plan.level(), 100.0 * by_count.max(by_time).min(1.0));
        let rate = status.done as f64 / elapsed.max(1e-9);
        let line = format!("{place}{level}, {percent:.0} %, {rate:.0} requests/s{failed}");
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        self.drawn = true;
    }

    /// Takes the live line away.
    pub(super) fn end(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
