//! Active checks: one thread per backend asks it `GET /` again and again, with blocking reads,
//! since one question a second is no work for an event loop.
//!
//! Between two questions the thread waits in a read on the connection it keeps: a backend that
//! dies ends that read, so its end is known at once and not only at the next question.
//! Entry point: [`watch`]. Note: `notes/lb.md`.

use super::backends::Backends;
use super::retry::Fault;
use crate::cli::shutdown::{Stop, TICK};
use crate::http::Limits;
use crate::http::framing::Body;
use crate::http::response;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How a probe is done.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// From the start of one probe to the start of the next, while the backend is well.
    pub interval: Duration,
    /// For the connection and the head of the answer together.
    pub timeout: Duration,
}

/// Probes the backend until the stop flag is raised.
pub fn watch(backends: &Backends, number: usize, check: Check, stop: &Stop) {
    let backend = backends.get(number);
    let mut kept = None;
    let mut was_silent = false;
    while !stop.is_raised() {
        let begun = Instant::now();
        let answer = probe(&mut kept, &backend.addresses, &backend.name, check.timeout);
        let pause = match answer {
            Ok(()) => {
                was_silent = false;
                backends.probe_succeeded(number, Instant::now());
                check.interval
            }
            // A busy machine may keep anyone silent for a moment: it is asked once more, at once.
            Err(why) if why.is_silence() && !was_silent => {
                was_silent = true;
                Duration::ZERO
            }
            Err(why) => {
                backends.probe_failed(number, &why, !why.is_silence());
                // Sooner than usual: it is missed.
                check.interval / 4
            }
        };
        rest(&mut kept, begun + pause, begun + check.interval / 4, stop);
    }
}

/// Waits until `next`, or until the kept connection ends, but then at least until `soonest`.
fn rest(kept: &mut Option<TcpStream>, next: Instant, soonest: Instant, stop: &Stop) {
    let mut until = next;
    while !stop.is_raised() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let slice = left.min(TICK).max(Duration::from_millis(1));
        let ended = match kept {
            None => {
                thread::sleep(slice);
                false
            }
            Some(stream) => {
                let read =
                    stream.set_read_timeout(Some(slice)).and_then(|()| stream.read(&mut [0]));
                !read.is_err_and(|e| is_timeout(&e) || e.kind() == ErrorKind::Interrupted)
            }
        };
        if ended {
            *kept = None;
            until = soonest;
        }
    }
}

/// What a probe found wrong; shown as the end of a sentence.
enum Unwell {
    Fault(Fault),
    Status(u16),
}

impl Unwell {
    fn is_silence(&self) -> bool {
        let silences = [Fault::ConnectTimeout, Fault::ResponseTimeout];
        matches!(self, Unwell::Fault(fault) if silences.contains(fault))
    }
}

impl std::fmt::Display for Unwell {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Unwell::Fault(fault) => fault.fmt(f),
            Unwell::Status(status) => write!(f, "answered a probe with status {status}"),
        }
    }
}

/// Asks once, on the kept connection or a new one.
fn probe(
    kept: &mut Option<TcpStream>,
    addresses: &[SocketAddr],
    name: &str,
    timeout: Duration,
) -> Result<(), Unwell> {
    let deadline = Instant::now() + timeout;
    if let Some(mut stream) = kept.take()
        && let Ok(Answer { status: 200..=399, keep_alive }) = ask(&mut stream, name, deadline)
    {
        *kept = keep_alive.then_some(stream);
        return Ok(());
    }
    // What was wrong may have been the old connection.
    let mut stream = connect(addresses, deadline).map_err(Unwell::Fault)?;
    match ask(&mut stream, name, deadline) {
        Ok(Answer { status: 200..=399, keep_alive }) => {
            *kept = keep_alive.then_some(stream);
            Ok(())
        }
        Ok(Answer { status, .. }) => Err(Unwell::Status(status)),
        Err(fault) => Err(Unwell::Fault(fault)),
    }
}

/// A connection to the first of the addresses that does not refuse.
fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Fault> {
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::ResponseTimeout);
        }
        match TcpStream::connect_timeout(address, left) {
            // See `upstreams::is_connected`: a socket may have connected to itself.
            Ok(stream) if stream.local_addr().ok() == Some(*address) => {}
            Ok(stream) => return Ok(stream),
            Err(error) if is_timeout(&error) => return Err(Fault::ConnectTimeout),
            Err(_) => {}
        }
    }
    Err(Fault::Refused)
}

struct Answer {
    status: u16,
    keep_alive: bool,
}

/// Sends the question and reads the whole answer.
fn ask(stream: &mut TcpStream, name: &str, deadline: Instant) -> Result<Answer, Fault> {
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nUser-Agent: progjar-lb-check\r\n\r\n");
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let sent =
        stream.set_write_timeout(Some(left)).and_then(|()| stream.write_all(request.as_bytes()));
    sent.map_err(fault)?;
    let mut bytes = Vec::new();
    let (answer, mut content) = loop {
        let parsed = response::parse(&bytes, &Limits::DEFAULT, false).map_err(Fault::BadAnswer)?;
        if let Some((head, used)) = parsed {
            let answer = Answer { status: head.status, keep_alive: head.keep_alive };
            let content = Body::new(head.framing);
            bytes.drain(..used);
            break (answer, content);
        }
        read_more(stream, &mut bytes, deadline)?;
    };
    // Only a whole answer leaves the connection fit for the next question.
    while answer.keep_alive && !content.is_done() {
        let (used, _) = content.read(&bytes).map_err(Fault::BadAnswer)?;
        bytes.drain(..used);
        if used == 0 {
            read_more(stream, &mut bytes, deadline)?;
        }
    }
    let keep_alive = answer.keep_alive && bytes.is_empty();
    Ok(Answer { keep_alive, ..answer })
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<(), Fault> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Fault::ResponseTimeout);
    }
    let mut piece = [0; 1024];
    let wait = left.max(Duration::from_millis(1));
    let read = stream.set_read_timeout(Some(wait)).and_then(|()| stream.read(&mut piece));
    match read.map_err(fault)? {
        0 => Err(Fault::Closed),
        n => {
            bytes.extend_from_slice(&piece[..n]);
            Ok(())
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    // A blocking read that took too long is "would block" on Unix, "timed out" on Windows.
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn fault(error: io::Error) -> Fault {
    if is_timeout(&error) { Fault::ResponseTimeout } else { Fault::Closed }
}
