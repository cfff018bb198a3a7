//! Other programs: found on the PATH, run, waited for with a deadline, ended on Ctrl-C.
//!
//! Note: `notes/README.md`.

use super::End;
use crate::cli::shutdown::Stop;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a wait for another process naps between two looks.
const NAP: Duration = Duration::from_millis(5);

/// Naps, unless the stop flag is raised.
pub fn pause(stop: &Stop) -> Result<(), End> {
    if stop.is_raised() {
        return Err(End::Stopped);
    }
    thread::sleep(NAP);
    Ok(())
}

/// Where the first of the names that is installed lies.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().find_map(|name| {
        let places = folders.iter().map(|folder| folder.join(name));
        places.into_iter().find(|place| place.is_file())
    })
}

/// Runs the command to its end; its standard output. The error says how it failed.
/// What it prints must fit a pipe (64 KiB).
pub fn output(command: &mut Command, deadline: Duration, stop: &Stop) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("cannot run {name}: {e}"))?;
    wait(&mut child, &name, deadline, stop)?;
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(text)
}

/// Waits for the child's end; kills it when its time is over or the stop flag is raised.
pub fn wait(child: &mut Child, name: &str, deadline: Duration, stop: &Stop) -> Result<(), String> {
    let until = Instant::now() + deadline;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{name} failed: {status}")),
            Err(e) => return Err(format!("{name}: {e}")),
            Ok(None) => {}
        }
        let late = Instant::now() > until;
        if late || pause(stop).is_err() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(match late {
                true => format!("{name} took longer than {} s", deadline.as_secs()),
                false => format!("{name} was stopped"),
            });
        }
    }
}

/// Closes the standard input of a program that ends for that reason, and waits until it has;
/// what has not at the deadline is killed.
pub fn end(child: &mut Child, deadline: Instant) {
    drop(child.stdin.take());
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        // The stop flag may be what brought us here: it ends no nap.
        thread::sleep(NAP);
    }
    let _ = child.kill();
    let _ = child.wait();
}
