//! What processes use, from `/proc`: CPU time, the times that they were preempted, memory,
//! descriptors; and who descends from whom. Without `/proc` there is nothing to say.
//!
//! Entry points: [`Usage::of`] before and after, [`family`].

use crate::bench::cpu::{Cpu, numbers_in, stat};
use std::fs;

/// Up to a moment.
pub(super) struct Usage {
    pub cpu: Option<Cpu>,
    /// How often the threads that now live lost a core that they still wanted.
    pub preempted: Option<u64>,
}

impl Usage {
    pub fn of(pids: &[u32]) -> Usage {
        let threads = |pid: &u32| {
            let folder = format!("/proc/{pid}/task");
            let threads = numbers_in(&folder).into_iter();
            threads.filter_map(move |thread| {
                field(&format!("{folder}/{thread}/status"), "nonvoluntary_ctxt_switches:")
            })
        };
        let counts = pids.iter().map(|pid| threads(pid).reduce(|a, b| a + b));
        Usage { cpu: Cpu::of(pids), preempted: counts.sum() }
    }
}

/// The first number behind a label of a `status` file.
fn field(path: &str, label: &str) -> Option<u64> {
    let status = fs::read_to_string(path).ok()?;
    let rest = status.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The process and all that descend from it.
pub(super) fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        numbers_in("/proc").into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
    let mut family = vec![root];
    let mut known = 0;
    while known < family.len() {
        let parent = family[known];
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        known += 1;
    }
    family
}

/// Bytes of memory that belong to these processes alone: no program text, no file contents.
pub(super) fn memory(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| field(&format!("/proc/{pid}/status"), "RssAnon:").map(|kib| kib * 1024);
    pids.iter().map(of).sum()
}

/// Open descriptors of all these processes.
pub(super) fn descriptors(pids: &[u32]) -> usize {
    pids.iter().map(|pid| numbers_in(&format!("/proc/{pid}/fd")).len()).sum()
}

/// Whether we are root: nginx's workers would else give that up, and could not read our files.
pub(super) fn is_root() -> bool {
    field("/proc/self/status", "Uid:") == Some(0)
}
