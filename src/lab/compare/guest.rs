//! Programs that are not ours: nginx, HAProxy, perf, strace. Each runs below a shell that ends
//! it when the pipe from us closes, so that none outlives us, however we end.
//!
//! Entry points: [`Guest::start`], [`free_port`].

use crate::assignment::End;
use crate::assignment::page::exchange;
use crate::assignment::program::{self, pause};
use crate::cli::shutdown::Stop;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// A program under guard; dropping it ends it.
#[derive(Debug)]
pub struct Guest {
    name: String,
    shell: Child,
    log: PathBuf,
}

impl Guest {
    /// Starts it; what it prints goes to the log. The signal (TERM, INT) is how it is ended.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        signal: &str,
        log: &Path,
    ) -> Result<Guest, String> {
        let name = program.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let wrong = |e| format!("cannot start {name}: {e}");
        let output = File::create(log).map_err(wrong)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", SHELL, signal])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stderr(output.try_clone().map_err(wrong)?)
            .stdout(output);
        // Ctrl-C on the terminal is not for the shell: it would end without its work done.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let shell = command.spawn().map_err(wrong)?;
        Ok(Guest { shell, log: log.to_owned(), name })
    }

    /// The shell's; the program descends from it.
    pub fn pid(&self) -> u32 {
        self.shell.id()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it answers a request there.
    pub fn wait_until_it_answers(&self, address: SocketAddr, stop: &Stop) -> Result<(), End> {
        let deadline = Instant::now() + PATIENCE;
        while !exchange(address, "").is_ok_and(|answer| !answer.is_empty()) {
            let printed = self.printed();
            // nginx's word and HAProxy's for an error that ends them.
            let last_words = ["[emerg]", "[ALERT]", "not found"];
            let fatal = last_words.iter().any(|word| printed.contains(word));
            if fatal || Instant::now() > deadline {
                let why = printed.lines().next().unwrap_or("it said nothing");
                return Err(End::Failed(format!("{} did not start: {why}", self.name)));
            }
            pause(stop)?;
        }
        Ok(())
    }

    /// Asks it to end and waits until it has.
    pub fn end(&mut self) {
        program::end(&mut self.shell, Instant::now() + PATIENCE);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that nobody uses. Somebody may take it before its program does; then that program
/// says so and the command ends.
pub fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|e| format!("cannot find a free port: {e}"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::lab::compare::usage::family;

    #[test]
    fn a_guest_and_its_children_end_with_its_guard() {
        let log = std::env::temp_dir().join(format!("progjar-guest-{}.log", std::process::id()));
        let sh = Path::new("/bin/sh");
        let mut guest =
            Guest::start(sh, &["-c", "echo here; exec sleep 600"], "TERM", &log).expect("starts");
        let deadline = Instant::now() + PATIENCE;
        while !guest.printed().contains("here") {
            assert!(Instant::now() < deadline, "it never started");
            let _ = pause(&Stop::new());
        }
        let pids = family(guest.pid());
        assert_eq!(pids.len(), 2, "the shell and the program");
        guest.end();
        for pid in pids {
            assert!(!Path::new(&format!("/proc/{pid}")).exists());
        }
        let _ = fs::remove_file(&log);
    }
}
