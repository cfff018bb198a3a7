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
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process that started it.
    pub(crate) parent: u32,
    /// Time of all threads, also of those that have ended: in the program, and in the kernel.
    ticks: [u64; 2],
}

/// The name in brackets may hold blanks and brackets: what counts begins behind the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat { parent: number(1)?.try_into().ok()?, ticks: [number(11)?, number(12)?] })
}

/// The first number of a `schedstat`: nanoseconds on a CPU. A kernel may be built without.
fn schedstat(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// The numbers among the names in a folder of `/proc`.
pub(crate) fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// `/proc/PID/stat`.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU time up to a moment.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    /// Nanoseconds of each thread that lives.
    threads: BTreeMap<u32, u64>,
    /// Of all threads, also those that have ended, but only in ticks: in the programs, and in
    /// the kernel.
    ticks: [u64; 2],
    processes: u32,
}

impl Cpu {
    /// Of all these processes until now; None if one of them cannot be read.
    pub(crate) fn of(pids: &[u32]) -> Option<Cpu> {
        let mut cpu = Cpu { processes: pids.len() as u32, ..Cpu::default() };
        for pid in pids {
            let [user, system] = stat(*pid)?.ticks;
            cpu.ticks[0] += user;
            cpu.ticks[1] += system;
            // A thread may end while we look.
            let times = numbers_in(&format!("/proc/{pid}/task")).into_iter().filter_map(|thread| {
                Some((thread, schedstat(&format!("/proc/{pid}/task/{thread}/schedstat"))?))
            });
            cpu.threads.extend(times);
        }
        Some(cpu)
    }

    /// The time since then: by the nanosecond as long as the threads that live now and then
    /// account for all of it. If some came and went in between, by the tick.
    pub(crate) fn since(&self, then: &Cpu) -> Duration {
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
    pub(crate) fn kernel_share_since(&self, then: &Cpu) -> Option<f64> {
        let [user, system] = self.ticks_since(then).map(|ticks| ticks as f64);
        (user + system > 0.0).then(|| system / (user + system))
    }

    fn ticks_since(&self, then: &Cpu) -> [u64; 2] {
        [0, 1].map(|i| self.ticks[i].saturating_sub(then.ticks[i]))
    }
}

/// CPU time of the calling thread until now.
pub(super) fn of_this_thread() -> Option<Duration> {
    schedstat("/proc/thread-self/schedstat").map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_program_is_called() {
        let rest = "S 41 42 42 0 -1 4194560 2112 0 0 0 123 45 6 7 20 0 3 0 445534 5677056 257";
        for name in ["nginx", "a b", "evil) R 1 2", ""] {
            let stat = parse_stat(&format!("4711 ({name}) {rest}\n"));
            assert_eq!(stat, Some(Stat { parent: 41, ticks: [123, 45] }), "{name}");
        }
        for broken in ["", "4711 (nginx", "4711 (nginx) S 41", "1 (x) S y 2 3"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn threads_that_came_and_went_are_counted_in_ticks() {
        let cpu = |threads: &[(u32, u64)], ticks: u64| Cpu {
            threads: threads.iter().copied().collect(),
            ticks: [ticks / 4, ticks - ticks / 4],
            processes: 1,
        };
        let then = cpu(&[(1, 1_000), (2, 500)], 10);
        for (now, ticks, expected) in [
            (&[(1, 3_000), (2, 700)][..], 11, Duration::from_nanos(2_200)),
            (&[(1, 3_000), (3, 9)], 14, Duration::from_millis(40)),
            (&[(1, 3_000), (2, 700)], 60, Duration::from_millis(500)),
            (&[], 14, Duration::from_millis(40)),
        ] {
            assert_eq!(cpu(now, ticks).since(&then), expected, "{now:?}");
        }
        let (none, some) = (cpu(&[], 0), cpu(&[], 40));
        assert_eq!(none.kernel_share_since(&none), None);
        assert_eq!(some.kernel_share_since(&none), Some(0.75));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_and_a_thread_know_their_time() {
        let then = Cpu::of(&[std::process::id()]).expect("readable");
        assert!(then.since(&then).is_zero());
        assert!(of_this_thread().is_some_and(|time| !time.is_zero()));
    }
}
