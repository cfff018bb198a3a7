//! What processes use beside CPU time, from `/proc`: memory, descriptors, the times that they were
//! preempted; and who descends from whom. On a system without `/proc` there is nothing to say.
//!
//! Note: `notes/fast.md`.

use crate::bench::cpu::{numbers_in, stat};
use std::fs;

/// The first number behind a label of `/proc/PID/status`.
fn field(status: &str, label: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The process and all that descend from it.
pub(crate) fn family(root: u32) -> Vec<u32> {
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
pub(crate) fn memory(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        field(&text, "RssAnon").or_else(|| field(&text, "VmRSS")).map(|kib| kib * 1024)
    };
    pids.iter().map(of).sum()
}

/// Open descriptors of all these processes.
pub(crate) fn descriptors(pids: &[u32]) -> usize {
    pids.iter().map(|pid| numbers_in(&format!("/proc/{pid}/fd")).len()).sum()
}

/// How often the threads that now live lost a core that they still wanted.
pub(crate) fn preemptions(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| {
        let threads = numbers_in(&format!("/proc/{pid}/task")).into_iter();
        let status = |thread| fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok();
        let counts = threads.filter_map(|t| field(&status(t)?, "nonvoluntary_ctxt_switches"));
        counts.reduce(|a, b| a + b)
    };
    pids.iter().map(of).sum()
}

/// Whether we are root: nginx's workers would else give that up, and could not read our files.
pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}
