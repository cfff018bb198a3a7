//! What processes use, from `/proc`: CPU time, memory, descriptors, and who descends from whom.
//!
//! On a system without `/proc` there is nothing to say, and the columns stay empty.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The kernel counts CPU time for `/proc/PID/stat` in ticks; USER_HZ is 100 on every Linux that
/// Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// What one line of `/proc/PID/stat` says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
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
    Some(Stat {
        parent,
        user,
        system,
    })
}

/// The first number of a `schedstat`: nanoseconds on a CPU.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// A size from `/proc/PID/status`, in bytes.
fn parse_status(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = line.trim_start_matches(':').split_whitespace().next()?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.collect()
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The process and all that descend from it.
pub fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers_in("/proc")
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut family = vec![root];
    let mut known = 0;
    while known < family.len() {
        let parent = family[known];
        let children = parents.iter().filter(|(_, p)| *p == parent);
        family.extend(children.map(|(pid, _)| *pid));
        known += 1;
    }
    family
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
        let mut cpu = Cpu {
            processes: pids.len() as u32,
            ..Cpu::default()
        };
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

/// Bytes of memory that belong to these processes alone: no program text, no file contents.
pub fn memory(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        parse_status(&text, "RssAnon").or_else(|| parse_status(&text, "VmRSS"))
    };
    pids.iter().map(of).sum()
}

/// Open descriptors of all these processes.
pub fn descriptors(pids: &[u32]) -> usize {
    let of = |pid: &u32| numbers_in(&format!("/proc/{pid}/fd")).len();
    pids.iter().map(of).sum()
}

/// Whether we are root: nginx's workers would else give that up, and could not read our files.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_program_is_called() {
        let rest = "S 41 42 42 0 -1 4194560 2112 0 0 0 123 45 6 7 20 0 3 0 445534 5677056 257";
        for name in ["nginx", "a b", "evil) R 1 2", ""] {
            let stat = parse_stat(&format!("4711 ({name}) {rest}\n"));
            let expected = Stat {
                parent: 41,
                user: 123,
                system: 45,
            };
            assert_eq!(stat, Some(expected), "{name}");
        }
        for broken in ["", "4711 (nginx", "4711 (nginx) S 41", "1 (x) S y 2 3"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn times_and_sizes_are_read() {
        assert_eq!(
            parse_schedstat("77491306 1022211109 2065\n"),
            Some(77_491_306)
        );
        assert_eq!(parse_schedstat(""), None);
        let status = "Name:\tx\nVmRSS:\t    3612 kB\nRssAnon:\t     100 kB\n";
        assert_eq!(parse_status(status, "RssAnon"), Some(102_400));
        assert_eq!(parse_status(status, "VmRSS"), Some(3612 * 1024));
        assert_eq!(parse_status(status, "VmSwap"), None);
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
    fn a_process_knows_itself() {
        let me = [std::process::id()];
        assert!(family(me[0]).contains(&me[0]));
        assert!(memory(&me).is_some_and(|bytes| bytes > 4096));
        assert!(descriptors(&me) >= 3);
        let then = Cpu::of(&me).expect("readable");
        assert!(then.since(&then).is_zero());
    }
}
