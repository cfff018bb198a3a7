//! What one sees while it runs: on a terminal one live line, elsewhere ab's lines. All of it
//! goes to stderr. Entry point: [`Progress::show`]. Note: `notes/bench.md`.

use super::options::{Format, Options};
use super::rounds::Turn;
use super::tally::Timeline;
use super::{Glance, Outcome, Plan, report};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A run that ends sooner needs no line.
const PATIENCE: Duration = Duration::from_secs(1);
/// ab's: with fewer requests, no lines.
const WORTH_LINES: u64 = 150;
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: usize = 30;

/// Where progress goes, and what has been said.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    terminal: bool,
    colour: bool,
    /// Several runs: a line for each, not ab's.
    many: bool,
    drawn: bool,
    said: u64,
}

impl Progress {
    /// For a run with these options.
    pub fn new(options: &Options) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress {
            quiet: options.quiet,
            terminal,
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            many: options.plans.len() > 1 || options.rounds > 1 || options.format == Format::Table,
            drawn: false,
            said: 0,
        }
    }

    /// Shows how the run fares.
    pub fn show(&mut self, turn: &Turn) {
        if self.quiet {
            return;
        }
        let measured = turn.round > 0;
        match (turn.glance, turn.outcome) {
            (Some(glance), _) if self.terminal => self.draw(turn, glance),
            (Some(glance), _) if measured && !self.many => self.count(turn, glance),
            (_, Some(outcome)) if measured && !self.terminal => self.finished(turn, outcome),
            _ => {}
        }
    }

    fn finished(&self, turn: &Turn, outcome: &Outcome) {
        let plan = &outcome.plan;
        if self.many {
            eprintln!(
                "round {}/{}: {} -c {}: {:.2} requests/s",
                turn.round,
                turn.rounds,
                plan.target.url(),
                plan.concurrency,
                outcome.rate()
            );
        } else if plan.requests > WORTH_LINES {
            eprintln!("Finished {} requests", outcome.tally.done);
        }
    }

    /// ab's lines: one for each tenth of the requests, but at least a hundred.
    fn count(&mut self, turn: &Turn, glance: &Glance) {
        let requests = turn.plan.requests;
        let step = (requests / 10).max(100);
        while requests > WORTH_LINES && self.said + step <= glance.done {
            self.said += step;
            eprintln!("Completed {} requests", self.said);
        }
    }

    fn draw(&mut self, turn: &Turn, glance: &Glance) {
        if glance.elapsed >= PATIENCE || self.drawn {
            let place = match turn.round {
                0 => "warm-up ".to_owned(),
                n if self.many => format!("{n}/{} {} ", turn.rounds, turn.plan.target.authority()),
                _ => String::new(),
            };
            let line = line(turn.plan, glance, self.colour);
            let _ = write!(std::io::stderr(), "\r\x1b[K{place}{line}");
            self.drawn = true;
        }
    }

    /// Takes the live line away.
    pub fn end(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(plan: &Plan, glance: &Glance, colour: bool) -> String {
    let by_count = glance.done as f64 / plan.requests as f64;
    let by_time = plan.time_limit.map_or(0.0, |limit| {
        glance.elapsed.as_secs_f64() / limit.as_secs_f64()
    });
    let (sparks, rate) = sparkline(glance.timeline, glance.elapsed);
    let failed = match glance.failed {
        0 => String::new(),
        n => format!("  {n} failed"),
    };
    let (on, off) = if colour {
        ("\x1b[36m", "\x1b[0m")
    } else {
        ("", "")
    };
    format!(
        "-c {} {:3.0} %  {on}{sparks}{off} {rate:.0}/s  p99 {} ms{failed}",
        plan.concurrency,
        100.0 * by_count.max(by_time).min(1.0),
        report::ms(glance.p99.as_nanos() as f64),
    )
}

/// The latest whole intervals as bars, and the rate of the last.
fn sparkline(timeline: &Timeline, elapsed: Duration) -> (String, f64) {
    let whole = (elapsed.as_nanos() / timeline.every.as_nanos().max(1)) as usize;
    let counts = &timeline.counts[..whole.min(timeline.counts.len())];
    let shown = &counts[counts.len().saturating_sub(WIDTH)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let bar = |n: &u64| SPARKS[(n * (SPARKS.len() as u64 - 1)).div_ceil(most) as usize];
    let last = shown.last().copied().unwrap_or(0);
    (
        shown.iter().map(bar).collect(),
        last as f64 / timeline.every.as_secs_f64(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_whole_intervals_against_the_highest() {
        let mut timeline = Timeline::new(Duration::from_millis(100));
        for (at, n) in [(0, 0), (100, 35), (200, 70), (300, 3)] {
            timeline.add(Duration::from_millis(at), n);
        }
        let (sparks, rate) = sparkline(&timeline, Duration::from_millis(300));
        assert_eq!((sparks.as_str(), rate), ("▁▅█", 700.0));
    }
}
