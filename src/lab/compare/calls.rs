//! System calls per request, counted from outside by perf, or by strace, which slows the
//! counted program down so much that more sockets are ready at each of its looks.
//!
//! Entry point: [`Counter::per_request`].

use super::guest::Guest;
use super::lineup::installed;
use super::load::Sample;
use super::usage::family;
use crate::assignment::End;
use crate::assignment::program::pause;
use crate::cli::shutdown::Stop;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the counter may take until it counts.
const PATIENCE: Duration = Duration::from_secs(5);
const PERF_EVENT: &str = "raw_syscalls:sys_enter";

/// What counts.
#[derive(Debug, Clone)]
pub struct Counter {
    /// As the report calls it.
    pub name: &'static str,
    program: PathBuf,
}

impl Counter {
    /// The better first; empty if none is installed.
    pub fn all() -> Vec<Counter> {
        let names = ["perf", "strace"].into_iter();
        let found = names.filter_map(|name| {
            let program = installed(name)?;
            Some(Counter { name, program })
        });
        found.collect()
    }

    /// The calls of all these processes while `work` is done, per good answer. None: it may not
    /// count here.
    pub fn per_request(
        &self,
        pids: &[u32],
        folder: &Path,
        stop: &Stop,
        work: &mut dyn FnMut() -> Result<Sample, End>,
    ) -> Result<Option<f64>, End> {
        let output = folder.join(format!("{}.txt", self.name));
        let _ = fs::remove_file(&output);
        let log = folder.join(format!("{}.log", self.name));
        let mut counting = self.start(pids, &output, &log)?;
        let deadline = Instant::now() + PATIENCE;
        while !self.is_attached(&counting, pids) {
            let has_ended = !counting.printed().is_empty() && family(counting.pid()).len() < 2;
            if has_ended || Instant::now() > deadline {
                return Ok(None);
            }
            pause(stop)?;
        }
        let sample = work()?;
        counting.end();
        let text = fs::read_to_string(&output).unwrap_or_default();
        let calls = match self.name {
            "perf" => read_perf(&text),
            _ => read_strace(&text),
        };
        Ok(calls.map(|calls| calls as f64 / sample.good.max(1.0)))
    }

    fn start(&self, pids: &[u32], output: &Path, log: &Path) -> Result<Guest, String> {
        let list: Vec<String> = pids.iter().map(u32::to_string).collect();
        let output = output.display().to_string();
        let mut arguments: Vec<&str> = match self.name {
            "perf" => vec!["stat", "-x,", "-e", PERF_EVENT, "-o", &output],
            _ => vec!["-c", "-f", "-o", &output],
        };
        let joined = list.join(",");
        arguments.extend(["-p", &joined]);
        let signal = if self.name == "perf" { "INT" } else { "TERM" };
        let guest = Guest::start(&self.program, &arguments, signal, log)?;
        Ok(guest)
    }

    fn is_attached(&self, counting: &Guest, pids: &[u32]) -> bool {
        if self.name == "perf" {
            return family(counting.pid()).iter().any(|pid| {
                let folder = fs::read_dir(format!("/proc/{pid}/fd"));
                let files = folder.into_iter().flatten().flatten();
                let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
                targets.any(|target| target.to_string_lossy().contains("perf_event"))
            });
        }
        pids.iter().all(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let tracer = status.lines().find_map(|l| l.strip_prefix("TracerPid:"));
            tracer.is_some_and(|pid| pid.trim() != "0")
        })
    }
}

/// `12345,,raw_syscalls:sys_enter,…`
fn read_perf(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(PERF_EVENT))?;
    line.split(',').next()?.parse().ok()
}

/// `100.00  0.123456  5  12345  12 total`: the fourth column.
fn read_strace(text: &str) -> Option<u64> {
    let line = text.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counters_are_read() {
        let perf = "# started on Mon\n\n12345,,raw_syscalls:sys_enter,99,100.00,,\n";
        assert_eq!(read_perf(perf), Some(12345));
        assert_eq!(read_perf("<not counted>,,raw_syscalls:sys_enter,0,0,,"), None);
        let strace = "% time seconds usecs/call calls errors syscall\n------\n\
            50.00 0.1 5 100 2 read\n100.00 0.123456 5 12345 12 total\n";
        assert_eq!(read_strace(strace), Some(12345));
        assert_eq!(read_strace(""), None);
    }
}
