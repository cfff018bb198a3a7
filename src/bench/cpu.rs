//! The CPU time of processes, from `/proc`.
//!
//! On a system without `/proc` there is nothing to say. Entry points: [`Cpu::of`] before and
//! after, [`of_this_thread`]. Note: `notes/bench.md`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The kernel counts CPU time for `/proc/PID/stat` in ticks; USER_HZ is 100 on every Linux that
/// Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// What one line of `/proc/PID/stat` says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process that started it.
    pub parent: u32,
    /// Time of all threads, also of those that have ended: in the program,
    user: u64,
    /// and in the kernel on its behalf.
    system: u64,
}

/// The name in brackets may hold blanks and brackets: what counts begins behind the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let mut times = fields.skip(9).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(Stat { parent, user, system })
}

/// The first number of a `schedstat`: nanoseconds on a CPU.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The numbers among the names in a folder of `/proc`.
pub(crate) fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.collect()
}

/// `/proc/PID/stat`.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU time up to a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Nanoseconds of each thread that lives.
    threads: BTreeMap<u32, u64>,
    /// Of all threads, also those that have ended, but only in ticks: in the programs,
    user: u64,
    /// and in the kernel.
    system: u64,
    /// How many processes these are.
    processes: u32,
}

impl Cpu {
    /// Of all these processes until now; None if one of them cannot be read.
    pub fn of(pids: &[u32]) -> Option<Cpu> {
        let mut cpu = Cpu { processes: pids.len() as u32, ..Cpu::default() };
        for pid in pids {
            let stat = stat(*pid)?;
            cpu.user += stat.user;
            cpu.system += stat.system;
            for thread in numbers_in(&format!("/proc/{pid}/task")) {
                let path = format!("/proc/{pid}/task/{thread}/schedstat");
                // A kernel may be built without; a thread may end while we look.
                let time = fs::read_to_string(path).ok();
                if let Some(time) = time.and_then(|text| parse_schedstat(&text)) {
                    cpu.threads.insert(thread, time);
                }
            }
        }
        Some(cpu)
    }

    /// The time since then: by the nanosecond as long as the threads that live now and then
    /// account for all of it. If some came and went in between, by the tick.
    pub fn since(&self, then: &Cpu) -> Duration {
        let sum = |cpu: &Cpu| cpu.threads.values().sum::<u64>();
        let fine = Duration::from_nanos(sum(self).saturating_sub(sum(then)));
        let ticks = (self.user + self.system).saturating_sub(then.user + then.system);
        let coarse = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        let is_same = self.threads.keys().eq(then.threads.keys());
        // User and system time are cut off to whole ticks, at both ends.
        let grain = TICK * 2 * self.processes;
        match is_same && fine + grain >= coarse {
            true => fine,
            false => coarse,
        }
    }

    /// Which part of the time since then passed in the kernel.
    pub fn kernel_share_since(&self, then: &Cpu) -> Option<f64> {
        let user = self.user.saturating_sub(then.user) as f64;
        let system = self.system.saturating_sub(then.system) as f64;
        (user + system > 0.0).then(|| system / (user + system))
    }
}

/// CPU time of the calling thread until now.
pub fn of_this_thread() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    parse_schedstat(&text).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_program_is_called() {
        let rest = "S 41 42 42 0 -1 4194560 2112 0 0 0 123 45 6 7 20 0 3 0 445534 5677056 257";
        for name in ["nginx", "a b", "evil) R 1 2", ""] {
            let stat = parse_stat(&format!("4711 ({name}) {rest}\n"));
            let expected = Stat { parent: 41, user: 123, system: 45 };
            assert_eq!(stat, Some(expected), "{name}");
        }
        for broken in ["", "4711 (nginx", "4711 (nginx) S 41", "1 (x) S y 2 3"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn threads_that_came_and_went_are_counted_in_ticks() {
        let cpu = |threads: &[(u32, u64)], ticks: u64| Cpu {
            threads: threads.iter().copied().collect(),
            user: ticks / 4,
            system: ticks - ticks / 4,
            processes: 1,
        };
        let then = cpu(&[(1, 1_000), (2, 500)], 10);
        let same = cpu(&[(1, 3_000), (2, 700)], 11);
        assert_eq!(same.since(&then), Duration::from_nanos(2_200));
        let other = cpu(&[(1, 3_000), (3, 9)], 14);
        assert_eq!(other.since(&then), Duration::from_millis(40));
        let gone_again = cpu(&[(1, 3_000), (2, 700)], 60);
        assert_eq!(gone_again.since(&then), Duration::from_millis(500));
        let without = cpu(&[], 14);
        assert_eq!(without.since(&cpu(&[], 10)), Duration::from_millis(40));
        assert_eq!(without.kernel_share_since(&without), None);
        assert_eq!(cpu(&[], 40).kernel_share_since(&cpu(&[], 0)), Some(0.75));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_and_a_thread_know_their_time() {
        assert_eq!(parse_schedstat("77491306 1022211109 2065\n"), Some(77_491_306));
        assert_eq!(parse_schedstat(""), None);
        let then = Cpu::of(&[std::process::id()]).expect("readable");
        assert!(then.since(&then).is_zero());
        assert!(of_this_thread().is_some_and(|time| !time.is_zero()));
    }
}
