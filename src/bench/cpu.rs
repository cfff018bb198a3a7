//! The CPU time of processes, from `/proc`.
//!
//! On a system without `/proc` there is nothing to say. Entry points: [`Cpu::of`] before and
//! after, [`of_this_thread`]. Its tables of cases: `tests/instrument.rs`. Note: `notes/bench.md`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// `/proc/PID/stat` counts CPU time in ticks; USER_HZ is 100 on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// What one line of `/proc/PID/stat` says that matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process that started it.
    pub parent: u32,
    /// Time of all threads, also of those that have ended: in the program, and in the kernel.
    pub ticks: [u64; 2],
}

/// The name in brackets may hold blanks and brackets: what counts begins behind the last one.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat { parent: number(1)?.try_into().ok()?, ticks: [number(11)?, number(12)?] })
}

/// The first number of a `schedstat`: nanoseconds on a CPU. A kernel may be built without.
fn schedstat(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// The first number behind a label of such a file as `/proc/PID/status`.
pub(crate) fn number_behind(label: &str, path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The numbers among the names in a folder of `/proc`.
pub(crate) fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU time up to a moment.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    /// Nanoseconds of each thread that lives.
    pub threads: BTreeMap<u32, u64>,
    /// Of all threads, also those that have ended, in ticks: in the programs, and in the kernel.
    pub ticks: [u64; 2],
    /// How often a thread that lives lost a core that it still wanted.
    pub preempted: u64,
    /// How many these are.
    pub processes: u32,
}

impl Cpu {
    /// Of all these processes until now; None if one of them cannot be read.
    pub fn of(pids: &[u32]) -> Option<Cpu> {
        let mut cpu = Cpu { processes: pids.len() as u32, ..Cpu::default() };
        for pid in pids {
            let [user, system] = stat(*pid)?.ticks;
            cpu.ticks[0] += user;
            cpu.ticks[1] += system;
            // A thread may end while we look.
            for thread in numbers_in(&format!("/proc/{pid}/task")) {
                let file = |name| format!("/proc/{pid}/task/{thread}/{name}");
                cpu.threads.extend(schedstat(&file("schedstat")).map(|time| (thread, time)));
                let lost = number_behind("nonvoluntary_ctxt_switches:", &file("status"));
                cpu.preempted += lost.unwrap_or(0);
            }
        }
        Some(cpu)
    }

    /// The time since then: by the nanosecond as long as the threads that live now and then
    /// account for all of it. If some came and went in between, by the tick.
    pub fn since(&self, then: &Cpu) -> Duration {
        let sum = |cpu: &Cpu| cpu.threads.values().sum::<u64>();
        let fine = Duration::from_nanos(sum(self).saturating_sub(sum(then)));
        let ticks = self.ticks_since(then).iter().sum::<u64>();
        let coarse = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        let is_same = self.threads.keys().eq(then.threads.keys());
        // User and system time are cut off to whole ticks, at both ends.
        let grain = TICK * 2 * self.processes;
        if is_same && fine + grain >= coarse { fine } else { coarse }
    }

    /// Which part of the time since then passed in the kernel.
    pub fn kernel_share_since(&self, then: &Cpu) -> Option<f64> {
        let [user, system] = self.ticks_since(then).map(|ticks| ticks as f64);
        (user + system > 0.0).then(|| system / (user + system))
    }

    fn ticks_since(&self, then: &Cpu) -> [u64; 2] {
        [0, 1].map(|i| self.ticks[i].saturating_sub(then.ticks[i]))
    }
}

/// CPU time of the calling thread until now.
pub fn of_this_thread() -> Option<Duration> {
    schedstat("/proc/thread-self/schedstat").map(Duration::from_nanos)
}
