//! The log: lines from any thread to stdout, whole and in order, without waiting for stdout.
//!
//! Whoever serves appends its lines to a buffer in memory; one thread empties the buffer into
//! stdout. If stdout cannot keep up (a terminal that was paused), the buffer fills, and then
//! lines are dropped and counted: a server that waits for its log is not serving.
//! Note: `notes/lb.md`.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes that may wait for stdout.
const MOST: usize = 8 * 1024 * 1024;
/// Of the buffer, kept for the next lines.
const SPARE: usize = 256 * 1024;
/// Lines are gathered this long before they are written: a write per line would cost more than
/// the answer that it reports.
const GATHER: Duration = Duration::from_millis(5);
/// How long the end of the program waits for stdout.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Where lines go. Clones share one buffer.
#[derive(Debug, Clone)]
pub struct Log(Option<Arc<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    dropped: usize,
    ended: bool,
    all_written: bool,
}

/// Ends the log when it is dropped, after the last line has been written.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    _thread: JoinHandle<()>,
}

impl Log {
    /// A log to stdout, and its writer, which the caller holds while it serves. A quiet log
    /// takes no lines and has no writer.
    pub fn start(quiet: bool) -> Result<(Log, Option<Writer>), String> {
        if quiet {
            return Ok((Log(None), None));
        }
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || for_thread.write_lines())
            .map_err(|e| format!("cannot start the log's thread: {e}"))?;
        let writer = Writer { shared: Arc::clone(&shared), _thread: thread };
        Ok((Log(Some(shared)), Some(writer)))
    }

    /// Whether nobody wants lines.
    pub fn is_quiet(&self) -> bool {
        self.0.is_none()
    }

    /// Adds whole lines and empties `lines`.
    pub fn add(&self, lines: &mut Vec<u8>) {
        if let Some(shared) = &self.0
            && !lines.is_empty()
        {
            shared.add(lines);
        }
        lines.clear();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, lines: &[u8]) {
        let mut buffer = self.lock();
        if buffer.lines.len() + lines.len() > MOST {
            buffer.dropped += lines.iter().filter(|&&b| b == b'\n').count();
            return;
        }
        let was_empty = buffer.lines.is_empty();
        buffer.lines.extend_from_slice(lines);
        drop(buffer);
        if was_empty {
            self.changed.notify_all();
        }
    }

    fn write_lines(&self) {
        let mut lines = Vec::new();
        let mut stdout_works = true;
        loop {
            let mut buffer = self.lock();
            while buffer.lines.is_empty() && !buffer.ended {
                buffer = self.changed.wait(buffer).unwrap_or_else(PoisonError::into_inner);
            }
            if !buffer.ended {
                let (guard, _) = self
                    .changed
                    .wait_timeout_while(buffer, GATHER, |b| !b.ended)
                    .unwrap_or_else(PoisonError::into_inner);
                buffer = guard;
            }
            let ended = buffer.ended && buffer.lines.is_empty();
            std::mem::swap(&mut lines, &mut buffer.lines);
            if buffer.dropped > 0 {
                let dropped = std::mem::take(&mut buffer.dropped);
                let _ = writeln!(lines, "log: {dropped} lines dropped, stdout is too slow");
            }
            drop(buffer);
            if stdout_works {
                // Nobody reads stdout any more: serve on, without a log.
                let mut stdout = io::stdout().lock();
                stdout_works = stdout.write_all(&lines).and_then(|()| stdout.flush()).is_ok();
            }
            lines.clear();
            lines.shrink_to(SPARE);
            if ended {
                break;
            }
        }
        self.lock().all_written = true;
        self.changed.notify_all();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut buffer = self.shared.lock();
        buffer.ended = true;
        self.shared.changed.notify_all();
        let give_up = Instant::now() + LAST_WAIT;
        while !buffer.all_written {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(buffer, left);
            buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
