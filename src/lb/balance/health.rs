//! Active checks: one thread per backend asks it `GET /` again and again, with blocking calls,
//! since one question a second is no work for an event loop.
//!
//! Each probe has a connection of its own. A kept one would hold a thread of a backend that has
//! one per client, and its end would tell little: if a backend has died, the next request is
//! refused, and another backend gets it. Entry point: [`watch`]. Note: `notes/lb.md`.

use super::backends::Backend;
use crate::cli::shutdown::{Stop, TICK};
use crate::http::{Limits, response};
use crate::lb::Shared;
use crate::lb::retry::Fault;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Probes a backend until the stop flag is raised: once in each interval while it is well.
pub fn watch(shared: &Shared, backend_id: usize, interval: Duration, stop: &Stop) {
    let (backends, interval) = (&shared.backends, interval.max(Duration::from_millis(10)));
    // Two probes that stay without an answer, and the wait before them, take less than three
    // intervals. No probe waits longer than a request.
    let timeout = (interval * 3 / 4).max(Duration::from_millis(100)).min(shared.response_timeout);
    let mut was_silent = false;
    while !stop.is_raised() {
        let begun = Instant::now();
        let answer = probe(&backends.list[backend_id], begun + timeout);
        let is_silent = matches!(answer, Err(Fault::ConnectTimeout | Fault::ResponseTimeout));
        let failed = |why: &dyn Display, refuses| {
            backends.eject(backend_id, why, refuses, None);
            // While it is down it is asked more often, so that it serves again soon.
            interval / 4
        };
        let pause = match answer {
            Ok(200..=399) => {
                backends.succeeded(backend_id, true, Instant::now());
                interval
            }
            // A busy machine may keep a healthy backend silent for a moment, so after one silence
            // it is asked again at once.
            _ if is_silent && !was_silent => Duration::ZERO,
            Ok(status) => failed(&format_args!("answered a probe with status {status}"), true),
            Err(fault) => failed(&fault, !is_silent),
        };
        was_silent = is_silent;
        let left = || (begun + pause).saturating_duration_since(Instant::now());
        while !stop.is_raised() && !left().is_zero() {
            thread::sleep(left().min(TICK));
        }
    }
}

/// Asks once; the status of the answer, if its head comes before the deadline.
fn probe(backend: &Backend, deadline: Instant) -> Result<u16, Fault> {
    let mut stream = connect(backend, deadline)?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: progjar-lb-check\r\nConnection: close\r\n\r\n",
        backend.name
    );
    let timeout = stream.set_write_timeout(Some(left(deadline)?));
    timeout.and_then(|()| stream.write_all(request.as_bytes())).map_err(fault)?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let parsed = response::parse(&bytes, &Limits::DEFAULT, false).map_err(Fault::BadAnswer)?;
        if let Some((head, _)) = parsed {
            return Ok(head.status);
        }
        let timeout = stream.set_read_timeout(Some(left(deadline)?));
        match timeout.and_then(|()| stream.read(&mut piece)) {
            Ok(0) => return Err(Fault::Closed),
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(error)),
        }
    }
}

/// A connection to the first of the addresses that does not refuse.
fn connect(backend: &Backend, deadline: Instant) -> Result<TcpStream, Fault> {
    for address in &backend.addresses {
        match TcpStream::connect_timeout(address, left(deadline)?) {
            // See `upstreams::is_connected`: a socket may have connected to itself.
            Ok(stream) if stream.local_addr().ok() == Some(*address) => {}
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(Fault::ConnectTimeout),
            Err(_) => {}
        }
    }
    Err(Fault::Refused)
}

/// The time until the deadline.
fn left(deadline: Instant) -> Result<Duration, Fault> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Fault::ResponseTimeout) } else { Ok(left) }
}

fn fault(error: io::Error) -> Fault {
    match error.kind() {
        // A blocking read that took too long is "would block" on Unix, "timed out" on Windows.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Fault::ResponseTimeout,
        _ => Fault::Closed,
    }
}
