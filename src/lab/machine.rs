//! Where figures come from: the machine, the moment, the command. What cannot be found out is left
//! out.
//!
//! Entry points: [`facts`], [`circumstances`]. Note: `notes/README.md`.

use crate::net::clock;
use std::fs;
use std::process::Command;
use std::thread;

/// Cores that we may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The present moment, as reports write it.
pub(crate) fn now() -> String {
    clock::text(clock::unix_time().as_secs())
}

/// The first line of a file below /proc with that name, without it.
fn line(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map(|(_, value)| value.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(text).filter(|text| output.status.success() && !text.is_empty())
}

fn kernel() -> String {
    output("uname", &["-srm"]).unwrap_or_else(|| std::env::consts::OS.to_owned())
}

/// Name and value of each thing that is known.
pub(crate) fn facts() -> Vec<String> {
    let cpu = line("/proc/cpuinfo", "model name")
        .or_else(|| output("sysctl", &["-n", "machdep.cpu.brand_string"]));
    let facts = [
        ("CPU", cpu),
        ("Cores", Some(cores().to_string())),
        ("Memory", line("/proc/meminfo", "MemTotal")),
        ("Kernel", Some(kernel())),
        ("Programs", Some(format!("progjar {}", env!("CARGO_PKG_VERSION")))),
        ("Compiler", output("rustc", &["--version"])),
    ];
    facts.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?))).collect()
}

/// Where that which this command finds out now comes from, in a line.
pub(crate) fn circumstances(command: &str) -> String {
    let rustc = output("rustc", &["--version"]);
    let compiler = rustc.map_or_else(String::new, |rustc| format!(" Compiler: {rustc}."));
    format!(
        "Command: `{command}`. Date: {}. Cores: {}. Kernel: {}.{compiler}",
        now(),
        cores(),
        kernel()
    )
}
