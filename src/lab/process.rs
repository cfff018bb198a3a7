//! Other programs: found, run to their end; what a topic that runs them says.
//!
//! Knows no server: those are kept running by [`super::fleet`]. Entry point: [`output`].
//! Note: `notes/README.md`.

use crate::cli::Result;
use crate::cli::args::Failure;
use crate::cli::shutdown::Stop;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a wait for another process naps between two looks.
pub(super) const NAP: Duration = Duration::from_millis(5);

/// A line of progress. A reader that went away (`| head`) is no reason to stop.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The end of a topic that starts others. What breaks after Ctrl-C broke for that reason.
pub(crate) fn end(topic: &str, done: Result<()>, stop: &Stop) -> Result<(), Failure> {
    if done.is_err() && stop.is_raised() {
        say(&format!("{topic}: stopped before the end; every server has been stopped"));
        return Ok(());
    }
    done.map_err(|sentence| Failure::CannotWork(format!("{topic}: {sentence}")))
}

/// Naps, unless the stop flag is raised.
pub(crate) fn pause(stop: &Stop) -> Result<()> {
    if stop.is_raised() {
        return Err("stopped".to_owned());
    }
    std::thread::sleep(NAP);
    Ok(())
}

/// Where a program lies, if it is installed. On Debian servers lie outside a user's PATH.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(elsewhere).map(|f| f.join(name));
    places.find(|place| place.is_file())
}

/// Runs it to its end, at most so long. Gives its output, which must fit a pipe (64 KiB).
pub(crate) fn output(command: &mut Command, patience: Duration, stop: &Stop) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let wrong = |what: &str| format!("{name}: {what}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| wrong(&format!("cannot run it: {e}")))?;
    let until = Instant::now() + patience;
    let status = loop {
        match child.try_wait().map_err(|e| wrong(&e.to_string()))? {
            Some(status) => break status,
            None if Instant::now() < until && pause(stop).is_ok() => {}
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(wrong(&format!("stopped, after {} s at most", patience.as_secs())));
            }
        }
    };
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text).map_err(|e| wrong(&e.to_string()))?;
    }
    if status.success() { Ok(text) } else { Err(wrong(&status.to_string())) }
}

/// The whole lines of a log: one without its end is still being written.
pub(crate) fn lines(log: &Path) -> Vec<String> {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}
