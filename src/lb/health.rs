//! Active checks: one thread per backend asks it `GET /` again and again, with blocking reads,
//! since one question a second is no work for an event loop.
//!
//! Entry point: [`watch`]. Note: `notes/lb.md`.

use super::backends::Backends;
use super::exchange::Fault;
use crate::http::Limits;
use crate::http::response;
use crate::shutdown::{Stop, TICK};
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
    while !stop.is_raised() {
        let begun = Instant::now();
        let next = match probe(backend.address, &backend.name, check.timeout) {
            Ok(()) => {
                backends.probe_succeeded(number);
                begun + check.interval
            }
            Err(why) => {
                backends.probe_failed(number, &why);
                // Sooner than usual: it is missed.
                begun + check.interval / 4
            }
        };
        while !stop.is_raised() {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(TICK));
        }
    }
}

/// Asks once. The error says what was wrong, as the end of a sentence.
fn probe(address: SocketAddr, name: &str, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&address, timeout).map_err(|e| match e.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Fault::ConnectTimeout.to_string(),
        _ => Fault::Refused.to_string(),
    })?;
    // See `upstreams::is_connected`: a socket may have connected to itself.
    if stream.local_addr().ok() == Some(address) {
        return Err(Fault::Refused.to_string());
    }
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {name}\r\nUser-Agent: progjar-lb-check\r\nConnection: close\r\n\r\n"
    );
    let mut bytes = Vec::new();
    let status = (|| -> io::Result<Result<u16, Fault>> {
        stream.set_write_timeout(Some(timeout))?;
        stream.write_all(request.as_bytes())?;
        loop {
            match response::parse(&bytes, &Limits::DEFAULT, false) {
                Ok(Some((head, _))) => return Ok(Ok(head.status)),
                Ok(None) => {}
                Err(error) => return Ok(Err(Fault::BadAnswer(error))),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut piece = [0; 1024];
            match stream.read(&mut piece)? {
                _ if left.is_zero() => return Err(ErrorKind::TimedOut.into()),
                0 => return Ok(Err(Fault::Closed)),
                n => bytes.extend_from_slice(&piece[..n]),
            }
        }
    })();
    match status {
        Ok(Ok(200..=399)) => Ok(()),
        Ok(Ok(status)) => Err(format!("answered a probe with status {status}")),
        Ok(Err(fault)) => Err(fault.to_string()),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(Fault::ResponseTimeout.to_string())
        }
        Err(_) => Err(Fault::Closed.to_string()),
    }
}
