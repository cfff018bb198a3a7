//! Other programs: found, run to their end, or kept running until their guard is dropped.
//!
//! A kept program ends with us however we end, even when we are killed: it, or a shell above it,
//! reads a pipe that only we hold, and ends when the pipe closes. Knows no server.
//! Entry points: [`output`], [`Process`]. Note: `notes/README.md`.

use crate::cli::args::Failure;
use crate::cli::shutdown::{Stop, UNTIL_EOF};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a wait for another process naps between two looks.
const NAP: Duration = Duration::from_millis(5);
/// How long a kept program may take to end: longer than our servers give their clients.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// A line of progress. A reader that went away (`| head`) is no reason to stop.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The end of a topic that starts others. Ctrl-C is no failure: what has been stopped is said, and
/// whatever broke meanwhile broke for that reason.
pub(crate) fn end(
    topic: &str,
    stopped: &str,
    done: Result<(), String>,
    stop: &Stop,
) -> Result<(), Failure> {
    if done.is_err() && stop.is_raised() {
        say(&format!("{topic}: stopped before the end; {stopped} has been stopped"));
        return Ok(());
    }
    done.map_err(|sentence| Failure::CannotWork(format!("{topic}: {sentence}")))
}

/// Naps, unless the stop flag is raised.
pub(crate) fn pause(stop: &Stop) -> Result<(), String> {
    if stop.is_raised() {
        return Err("stopped".to_owned());
    }
    thread::sleep(NAP);
    Ok(())
}

/// Where the first of the names that is installed lies. On Debian servers lie outside a user's PATH.
pub(crate) fn installed(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(elsewhere).collect();
    let places = |name: &&str| folders.iter().map(|f| f.join(name)).find(|place| place.is_file());
    names.iter().find_map(places)
}

/// Runs the command to its end, at most so long; its standard output, which must fit a pipe
/// (64 KiB). The error says how it failed.
pub(crate) fn output(
    command: &mut Command,
    patience: Duration,
    stop: &Stop,
) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("cannot run {name}: {e}"))?;
    let until = Instant::now() + patience;
    let why = loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break None,
            Ok(Some(status)) => break Some(format!("failed: {status}")),
            Err(e) => break Some(e.to_string()),
            Ok(None) if Instant::now() > until => {
                break Some(format!("took longer than {} s", patience.as_secs()));
            }
            Ok(None) if pause(stop).is_err() => break Some("was stopped".to_owned()),
            Ok(None) => {}
        }
    };
    if let Some(why) = why {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{name} {why}"));
    }
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(text)
}

/// A program of ours, which ends with its standard input.
pub(crate) fn ours(program: &Path, topic: &str) -> Command {
    let mut command = Command::new(program);
    command.args([UNTIL_EOF, topic]);
    command
}

/// `$0` is the signal that the program takes as a request to end; it is repeated, since nginx
/// loses one that comes while it starts.
const SHELL: &str = "\"$@\" </dev/null &
child=$!
read -r _
kill -\"$0\" $child 2>/dev/null
(while sleep 0.5 && kill -\"$0\" $child; do :; done) 2>/dev/null &
again=$!
wait $child
kill $again";

/// Another's program below a shell, which sends it that signal (TERM, INT) when its standard
/// input ends.
pub(crate) fn guarded<A: AsRef<OsStr>>(program: &Path, arguments: &[A], signal: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SHELL, signal]).arg(program).args(arguments);
    // Ctrl-C on the terminal is not for the shell: it would end without its work done.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

/// A program that runs; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command of [`ours`] or a [`guarded`] one; what it prints goes to the log.
    pub fn start(mut command: Command, log: &Path) -> Result<Process, String> {
        let output = File::create(log)
            .and_then(|output| Ok((output.try_clone()?, output)))
            .map_err(|e| format!("cannot write the log '{}': {e}", log.display()))?;
        command.stdin(Stdio::piped()).stderr(output.0).stdout(output.1);
        let child = command.spawn();
        let child = child.map_err(|e| format!("cannot start {:?}: {e}", command.get_program()))?;
        Ok(Process { child, log: log.to_owned() })
    }

    /// Ours, or the shell's, from which the program descends.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself. A guarded program's shell has not: it waits for us.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// The whole lines that it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.log)
    }

    /// Asks it to end.
    pub fn close(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Process {
    /// Waits until it has ended, and kills what does not.
    fn drop(&mut self) {
        self.close();
        let deadline = Instant::now() + END_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            // The stop flag may be what brought us here: it ends no nap.
            thread::sleep(NAP);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole lines of a log: one without its end is still being written.
pub(crate) fn lines(log: &Path) -> Vec<String> {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}
