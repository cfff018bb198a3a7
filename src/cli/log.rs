//! The log: lines from any thread to stdout, whole and in order, without waiting for stdout.
//!
//! Each server hands its lines to a thread that writes them to stdout. If stdout cannot keep up
//! (a terminal that was paused), the lines that wait become too many, and then lines are dropped
//! and counted: a server that waits for its log is not serving. Note: `notes/lb.md`.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// Bytes that may wait for stdout.
const MOST: usize = 8 * 1024 * 1024;
/// Lines are gathered this long before they are written: a write per line would cost more than
/// the answer that it reports.
const GATHER: Duration = Duration::from_millis(5);
/// How long the end of the program waits for stdout.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Where lines go. Clones share one thread.
#[derive(Debug, Clone)]
pub struct Log(Option<(Sender<Vec<u8>>, Arc<Counts>)>);

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    dropped_lines: AtomicUsize,
}

/// Ends the log when it is dropped, after the last line has been written.
pub struct Writer {
    lines: Sender<Vec<u8>>,
    thread: Receiver<()>, // breaks off when the thread ends
}

impl Log {
    /// A log to stdout, and its writer, which the caller holds while it serves. A quiet log
    /// takes no lines and has no writer.
    pub fn start(quiet: bool) -> Result<(Log, Option<Writer>), String> {
        if quiet {
            return Ok((Log(None), None));
        }
        let ((lines, received), (running, thread)) = (channel(), channel());
        let counts = Arc::new(Counts::default());
        let for_thread = Arc::clone(&counts);
        let write = move || {
            write_lines(&received, &for_thread);
            drop(running);
        };
        let started = thread::Builder::new().name("log".to_owned()).spawn(write);
        started.map_err(|e| format!("cannot start the log's thread: {e}"))?;
        Ok((Log(Some((lines.clone(), counts))), Some(Writer { lines, thread })))
    }

    pub fn is_quiet(&self) -> bool {
        self.0.is_none()
    }

    /// Adds whole lines and empties `lines`.
    pub fn add(&self, lines: &mut Vec<u8>) {
        if let Some((sender, counts)) = &self.0
            && !lines.is_empty()
        {
            if counts.waiting_bytes.load(Relaxed) + lines.len() <= MOST {
                counts.waiting_bytes.fetch_add(lines.len(), Relaxed);
                // The thread ends after all others: there is nobody to read what this could lose.
                let _ = sender.send(std::mem::take(lines));
            } else {
                let dropped = lines.iter().filter(|&&b| b == b'\n').count();
                counts.dropped_lines.fetch_add(dropped, Relaxed);
            }
        }
        lines.clear();
    }
}

/// Writes what comes, until [`Writer::drop`] sends empty lines.
fn write_lines(received: &Receiver<Vec<u8>>, counts: &Counts) {
    let (mut goes_on, mut stdout_works) = (true, true);
    while goes_on && let Ok(mut lines) = received.recv() {
        goes_on = !lines.is_empty();
        if goes_on {
            thread::sleep(GATHER);
        }
        for more in received.try_iter() {
            goes_on &= !more.is_empty();
            lines.extend_from_slice(&more);
        }
        counts.waiting_bytes.fetch_sub(lines.len(), Relaxed);
        let dropped = counts.dropped_lines.swap(0, Relaxed);
        if dropped > 0 {
            let _ = writeln!(lines, "log: {dropped} lines dropped, stdout is too slow");
        }
        if stdout_works {
            // If nobody reads stdout any more, the server goes on without a log.
            let mut stdout = io::stdout().lock();
            stdout_works = stdout.write_all(&lines).and_then(|()| stdout.flush()).is_ok();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.lines.send(Vec::new());
        let _ = self.thread.recv_timeout(LAST_WAIT);
    }
}
