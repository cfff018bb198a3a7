//! System calls, counted from outside by perf.
//!
//! Entry point: [`count_calls`].

use crate::cli::shutdown::Stop;
use crate::lab::process::{Process, guarded, pause};
use crate::lab::usage::family;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long perf may take until it counts.
const PATIENCE: Duration = Duration::from_secs(5);
const EVENT: &str = "raw_syscalls:sys_enter";

/// The calls of all these processes while `work` is done. None: perf may not count here.
pub(super) fn count_calls(
    perf: &Path,
    pids: &[u32],
    folder: &Path,
    stop: &Stop,
    work: &mut dyn FnMut() -> Result<(), String>,
) -> Result<Option<u64>, String> {
    let counts = folder.join("perf.txt");
    let _ = fs::remove_file(&counts);
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let (file, pids) = (counts.display().to_string(), pids.join(","));
    let arguments = ["stat", "-x,", "-e", EVENT, "-o", &file, "-p", &pids];
    let mut counting = Process::start(guarded(perf, &arguments, "INT"), &folder.join("perf.log"))?;
    let deadline = Instant::now() + PATIENCE;
    while !is_counting(&counting) {
        if counting.has_ended() || Instant::now() > deadline {
            return Ok(None);
        }
        pause(stop)?;
    }
    work()?;
    drop(counting);
    Ok(read(&fs::read_to_string(&counts).unwrap_or_default()))
}

/// perf holds a descriptor for each thread that it counts.
fn is_counting(perf: &Process) -> bool {
    family(perf.pid()).iter().any(|pid| {
        let folder = fs::read_dir(format!("/proc/{pid}/fd"));
        let files = folder.into_iter().flatten().flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| target.to_string_lossy().contains("perf_event"))
    })
}

/// `12345,,raw_syscalls:sys_enter,…`
fn read(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn perfs_counts_are_read() {
        let perf = "# started on Mon\n\n12345,,raw_syscalls:sys_enter,99,100.00,,\n";
        assert_eq!(super::read(perf), Some(12345));
        assert_eq!(super::read("<not counted>,,raw_syscalls:sys_enter,0,0,,"), None);
    }
}
