//! Where the figures of a results block come from: the command, the moment, the machine.
//!
//! Entry point: [`circumstances`]. Note: `notes/README.md`.

use crate::net::clock;
use std::process::Command;
use std::thread;

/// Cores that we may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The present moment, as reports write it.
pub(crate) fn now() -> String {
    crate::cli::date(clock::unix_time().as_secs())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(text).filter(|text| output.status.success() && !text.is_empty())
}

/// The compiler, where it is installed.
pub(crate) fn compiler() -> Option<String> {
    output("rustc", &["--version"])
}

/// Where that which this command finds out now comes from, in a line.
pub(crate) fn circumstances(command: &str) -> String {
    let (date, cores) = (now(), cores());
    let kernel = output("uname", &["-srm"]).unwrap_or_else(|| std::env::consts::OS.to_owned());
    let compiler = compiler().map_or_else(String::new, |rustc| format!(" Compiler: {rustc}."));
    format!("Command: `{command}`. Date: {date}. Cores: {cores}. Kernel: {kernel}.{compiler}")
}
