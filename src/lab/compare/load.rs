//! One measurement: a system under the load of a case, by bench, wrk or ab, with the CPU time
//! that its processes took meanwhile.
//!
//! Entry point: [`Load::run`].

use super::cases::{Case, Driver};
use super::idle::Idle;
use super::lineup::System;
use super::usage::{self, Cpu};
use crate::assignment::End;
use crate::assignment::program;
use crate::bench::{self, Plan};
use crate::cli::shutdown::Stop;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A foreign driver may take so much longer than it was told.
const SLACK: Duration = Duration::from_secs(20);
/// ab sets memory aside for each request that it might make.
const AB_REQUESTS: &str = "2000000";

/// What was seen. None: it could not be found out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Good answers.
    pub good: f64,
    /// The same per second.
    pub rate: f64,
    /// In milliseconds.
    pub p99: Option<f64>,
    /// Microseconds per good answer, user and system, all processes.
    pub cpu: Option<f64>,
    /// Which part of it in the kernel.
    pub kernel: Option<f64>,
    /// Bytes of bodies per second.
    pub bytes: Option<f64>,
    /// Requests that failed or had another status than 2xx.
    pub bad: u64,
    /// The rate before the idle connections came.
    pub alone: Option<f64>,
    /// How many came.
    pub idle: usize,
    /// Bytes of memory that each of them took.
    pub idle_memory: Option<f64>,
}

/// What a driver says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    good: f64,
    rate: f64,
    p99: Option<f64>,
    bytes: Option<f64>,
    bad: u64,
}

/// How all measurements are made.
#[derive(Debug)]
pub struct Load {
    /// Of one measurement.
    pub length: Duration,
    /// Idle connections beside the active ones.
    pub idle: usize,
    pub wrk: Option<PathBuf>,
    pub ab: Option<PathBuf>,
}

impl Load {
    /// Whether the case's driver is there.
    pub fn can(&self, case: &Case) -> bool {
        match case.driver {
            Driver::Bench => true,
            Driver::Wrk => self.wrk.is_some(),
            Driver::Ab => self.ab.is_some(),
        }
    }

    /// Measures once.
    pub fn run(&self, case: &Case, system: &System, stop: &Stop) -> Result<Sample, End> {
        if !case.idle {
            return self.active(case, system, self.length, stop);
        }
        let alone = self.active(case, system, self.length, stop)?.rate;
        let memory = usage::memory(&system.pids);
        let idle = Idle::open(system.address, self.idle, stop)?;
        let grown = usage::memory(&system.pids)
            .zip(memory)
            .map(|(now, then)| now.saturating_sub(then) as f64);
        let sample = self.active(case, system, self.length, stop)?;
        idle.close(&system.pids, stop)?;
        Ok(Sample {
            alone: Some(alone),
            idle: self.idle,
            idle_memory: grown.map(|bytes| bytes / self.idle as f64),
            ..sample
        })
    }

    /// The active connections alone.
    pub fn active(
        &self,
        case: &Case,
        system: &System,
        length: Duration,
        stop: &Stop,
    ) -> Result<Sample, End> {
        let url = format!("http://{}{}", system.address, case.path);
        let before = Cpu::of(&system.pids);
        let said = match case.driver {
            Driver::Bench => by_bench(case, &url, length, stop),
            Driver::Wrk => self.by_wrk(case, &url, length, stop),
            Driver::Ab => self.by_ab(case, &url, length, stop),
        };
        let after = Cpu::of(&system.pids);
        if stop.is_raised() {
            return Err(End::Stopped);
        }
        let said = said.map_err(|e| format!("{}: {e}", system.name))?;
        if said.good < 1.0 {
            return Err(End::Failed(format!("{}: {url}: no good answer", system.name)));
        }
        let span = after.as_ref().zip(before.as_ref());
        let taken = span.map(|(now, then)| now.since(then));
        Ok(Sample {
            good: said.good,
            rate: said.rate,
            p99: said.p99,
            cpu: taken.map(|taken| taken.as_secs_f64() * 1e6 / said.good),
            kernel: span.and_then(|(now, then)| now.kernel_share_since(then)),
            bytes: said.bytes,
            bad: said.bad,
            ..Sample::default()
        })
    }

    fn by_wrk(
        &self,
        case: &Case,
        url: &str,
        length: Duration,
        stop: &Stop,
    ) -> Result<Said, String> {
        let Some(wrk) = &self.wrk else {
            return Err("wrk is not installed".to_owned());
        };
        // It takes whole seconds only.
        let seconds = length.as_secs_f64().ceil().max(1.0);
        let mut command = Command::new(wrk);
        command
            .args(["--latency", "-t", &case.connections.min(2).to_string()])
            .args(["-c", &case.connections.to_string()])
            .args(["-d", &format!("{seconds}s"), url]);
        read_wrk(&program::output(&mut command, length + SLACK, stop)?)
            .ok_or_else(|| "wrk said something that is not understood".to_owned())
    }

    fn by_ab(&self, case: &Case, url: &str, length: Duration, stop: &Stop) -> Result<Said, String> {
        let Some(ab) = &self.ab else {
            return Err("ab is not installed".to_owned());
        };
        let seconds = length.as_secs_f64().ceil().max(1.0);
        let mut command = Command::new(ab);
        command
            .args(["-q", "-r", "-t", &seconds.to_string(), "-n", AB_REQUESTS])
            .args(["-c", &case.connections.to_string()])
            .args(case.keep_alive.then_some("-k"))
            .arg(url);
        read_ab(&program::output(&mut command, length + SLACK, stop)?)
            .ok_or_else(|| "ab said something that is not understood".to_owned())
    }
}

fn by_bench(case: &Case, url: &str, length: Duration, stop: &Stop) -> Result<Said, String> {
    let mut plan = Plan::new(url)?;
    plan.requests = u64::MAX;
    plan.concurrency = case.connections;
    plan.time_limit = Some(length);
    plan.keep_alive = case.keep_alive;
    plan.go_on = true;
    let outcome = bench::run(&plan, stop)?;
    let good = outcome.good() as f64;
    let seconds = outcome.wall.as_secs_f64().max(1e-9);
    Ok(Said {
        good,
        rate: good / seconds,
        p99: Some(outcome.tally.total.quantile(0.99) as f64 / 1e6),
        bytes: Some(outcome.tally.html as f64 / seconds),
        bad: outcome.tally.done - outcome.good(),
    })
}

/// The number behind a label at the beginning of a line.
fn number(text: &str, label: &str) -> Option<f64> {
    let value = text.lines().find_map(|l| l.trim_start().strip_prefix(label))?;
    value.split_whitespace().next()?.parse().ok()
}

/// wrk counts answers with another status as good ones, and names them below.
fn read_wrk(text: &str) -> Option<Said> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let all: f64 = line.split_whitespace().next()?.parse().ok()?;
    let other = number(text, "Non-2xx or 3xx responses:").unwrap_or(0.0);
    let errors =
        text.lines().find_map(|l| l.trim_start().strip_prefix("Socket errors:")).map(|rest| {
            let words = rest.split([' ', ',']);
            words.filter_map(|word| word.parse::<u64>().ok()).sum()
        });
    let rate = number(text, "Requests/sec:")?;
    let p99 = text.lines().find_map(|l| l.trim_start().strip_prefix("99%"));
    Some(Said {
        good: all - other,
        rate: rate * (all - other) / all.max(1.0),
        p99: p99.and_then(|p| milliseconds(p.trim())),
        bytes: None,
        bad: errors.unwrap_or(0) + other as u64,
    })
}

/// `812.00us`, `1.23ms`, `1.05s`
fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

fn read_ab(text: &str) -> Option<Said> {
    let complete = number(text, "Complete requests:")?;
    let failed = number(text, "Failed requests:")?;
    let other = number(text, "Non-2xx responses:").unwrap_or(0.0);
    let seconds = number(text, "Time taken for tests:")?;
    let good = (complete - failed - other).max(0.0);
    Some(Said {
        good,
        rate: good / seconds.max(1e-9),
        p99: number(text, "99%"),
        bytes: None,
        bad: (failed + other) as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_report_is_read() {
        let text = "Running 2s test @ http://127.0.0.1:1/\n  2 threads and 64 connections\n\
            \x20 Latency Distribution\n     50%  535.00us\n     99%    1.25ms\n\
            \x20 100 requests in 2.00s, 20.00MB read\n\
            \x20 Socket errors: connect 0, read 3, write 0, timeout 1\n\
            \x20 Non-2xx or 3xx responses: 20\nRequests/sec:     50.00\nTransfer/sec:     12.62MB\n";
        let said = read_wrk(text).expect("whole");
        assert_eq!((said.good, said.rate, said.bad), (80.0, 40.0, 24));
        assert_eq!(said.p99, Some(1.25));
        assert_eq!(read_wrk("unable to connect"), None);
        assert_eq!(milliseconds("500.00us"), Some(0.5));
        assert_eq!(milliseconds("2.00s"), Some(2000.0));
        assert_eq!(milliseconds("fast"), None);
    }

    #[test]
    fn abs_report_is_read() {
        let text = "Time taken for tests:   2.000 seconds\nComplete requests:      1000\n\
            Failed requests:        100\nNon-2xx responses:      100\n  98%      4\n  99%      7\n";
        let said = read_ab(text).expect("whole");
        assert_eq!((said.good, said.rate, said.bad), (800.0, 400.0, 200));
        assert_eq!(said.p99, Some(7.0));
        assert_eq!(read_ab(""), None);
    }
}
