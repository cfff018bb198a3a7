//! What processes use beside CPU time, from `/proc`: memory, descriptors, and who descends from whom.
//!
//! On a system without `/proc` there is nothing to say, and the columns stay empty.

use crate::bench::cpu::{numbers_in, stat};
use std::fs;

pub use crate::bench::cpu::Cpu;

/// A size from `/proc/PID/status`, in bytes.
fn parse_status(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = line.trim_start_matches(':').split_whitespace().next()?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

/// The process and all that descend from it.
pub fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        numbers_in("/proc").into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
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
    fn sizes_are_read() {
        let status = "Name:\tx\nVmRSS:\t    3612 kB\nRssAnon:\t     100 kB\n";
        assert_eq!(parse_status(status, "RssAnon"), Some(102_400));
        assert_eq!(parse_status(status, "VmRSS"), Some(3612 * 1024));
        assert_eq!(parse_status(status, "VmSwap"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_itself() {
        let me = [std::process::id()];
        assert!(family(me[0]).contains(&me[0]));
        assert!(memory(&me).is_some_and(|bytes| bytes > 4096));
        assert!(descriptors(&me) >= 3);
    }
}
