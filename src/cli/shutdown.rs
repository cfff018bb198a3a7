//! The one stop flag: Ctrl-C and SIGTERM raise it, everyone who waits asks it.
//!
//! A `Stop` can be cloned and handed to threads; a test makes its own and needs no signal.
//! Note: `notes/thread_server.md`.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long anything waits before it asks the flag again: short enough that a stop seems
/// instant, long enough that ten wake-ups a second cost nothing.
pub const TICK: Duration = Duration::from_millis(100);

/// The word in front of a topic that makes it stop when its standard input ends:
/// `progjar until_eof lb 44444`. For a program that starts another: the pipe to its child closes
/// however it ends, even when it is killed, so that no child outlives it.
pub const UNTIL_EOF: &str = "until_eof";

/// Raised once, never lowered.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A flag that Ctrl-C and SIGTERM raise. The second signal ends the process at once, with
    /// exit code 1: whatever was in flight is lost, as its sender wished. Call it once.
    pub fn on_signals() -> Result<Stop, String> {
        let stop = Stop::new();
        let flag = stop.clone();
        ctrlc::set_handler(move || {
            if flag.0.swap(true, Ordering::SeqCst) {
                std::process::exit(1);
            }
        })
        .map_err(|e| format!("cannot listen for Ctrl-C: {e}"))?;
        Ok(stop)
    }

    /// Raises the flag when `input` ends or breaks; what comes before its end is thrown away.
    pub fn raise_at_eof(&self, mut input: impl Read + Send + 'static) -> Result<(), String> {
        let stop = self.clone();
        let wait = move || {
            let _ = io::copy(&mut input, &mut io::sink());
            stop.raise();
        };
        let thread = thread::Builder::new().name("until eof".to_owned());
        thread.spawn(wait).map(drop).map_err(|e| format!("cannot start a thread: {e}"))
    }

    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
