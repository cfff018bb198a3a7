//! Blocking sockets with an end to each wait: the listener and one client's stream.
//!
//! Knows no requests. Entry points: [`accept`], [`Socket`]. Note: `notes/thread_server.md`.

use crate::cli::limits::LINGER;
use crate::cli::shutdown::TICK;
use crate::net::{Filled, listener};
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The next newcomer, if one comes within `patience` and can be taken. accept(2) has no timeout,
/// so poll(2) waits on the non-blocking listener.
pub fn accept(listener: &TcpListener, patience: Duration) -> Option<(TcpStream, SocketAddr)> {
    listener::wait_for_client(listener, patience);
    match listener::accept(listener) {
        Ok(newcomer) => newcomer.filter(|(stream, _)| stream.set_nonblocking(false).is_ok()),
        Err(_) => {
            thread::sleep(TICK); // the system is short of something
            None
        }
    }
}

/// Bytes read at once, and the most that a buffer keeps while its thread waits.
pub const BUFFER: usize = 4 * 1024;

pub struct Socket<'a> {
    stream: &'a TcpStream,
    patience: Duration, // the read timeout, set only when it changes
    /// The bytes of a read, on the stack of the client's thread, until they are added to the input.
    buffer: [u8; BUFFER],
}

impl Socket<'_> {
    /// A stream whose writes fail when the client does not read on for that long.
    pub fn new(stream: &TcpStream, write_timeout: Duration) -> io::Result<Socket<'_>> {
        stream.set_write_timeout(Some(write_timeout))?;
        // An answer leaves in one write: to wait for more to send only delays it.
        stream.set_nodelay(true)?;
        Ok(Socket { stream, patience: Duration::ZERO, buffer: [0; BUFFER] })
    }

    /// Reads once, behind what is in `input`. `Nothing`: no byte came within `patience`.
    pub fn read(&mut self, input: &mut Vec<u8>, patience: Duration) -> io::Result<Filled> {
        // Zero would mean "for ever" to the kernel.
        let patience = patience.max(Duration::from_millis(1));
        if self.patience != patience {
            self.stream.set_read_timeout(Some(patience))?;
            self.patience = patience;
        }
        loop {
            return match self.stream.read(&mut self.buffer) {
                Ok(0) => Ok(Filled::End),
                Ok(n) => {
                    input.extend_from_slice(&self.buffer[..n]);
                    Ok(Filled::Bytes)
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(Filled::Nothing),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
        }
    }

    /// After the last answer. A client that may still be sending (`linger`) gets time to read it:
    /// closed on it at once, the connection would be reset, and the reset would overtake the answer.
    pub fn close(mut self, linger: bool) -> io::Result<()> {
        if linger {
            self.stream.shutdown(Shutdown::Write)?;
            let (begun, mut left) = (Instant::now(), LINGER);
            while !left.is_zero() && self.read(&mut Vec::new(), left)? == Filled::Bytes {
                left = LINGER.saturating_sub(begun.elapsed());
            }
        }
        Ok(())
    }
}
