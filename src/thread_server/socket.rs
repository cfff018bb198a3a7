//! Blocking sockets with an end to each wait: the listener and one client's stream.
//!
//! Knows no requests. Entry points: [`Door`], [`Socket`]. Note: `notes/thread_server.md`.

use crate::cli::limits::LINGER;
use crate::cli::shutdown::TICK;
use crate::net::listener::accept;
use crate::net::output::Output;
use crate::net::poller::{Event, Interest, Kind, Poller};
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Where newcomers arrive. A poller waits for them, since accept has no timeout, and nobody could
/// tell one that waits for ever to stop.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    poller: Poller,
    events: Vec<Event>,
}

impl Door {
    /// Opens it.
    pub fn new(listener: TcpListener) -> io::Result<Door> {
        listener.set_nonblocking(true)?;
        let mut poller = Kind::BEST.poller()?;
        poller.add(&listener, 0, Interest::READ)?;
        Ok(Door { listener, poller, events: Vec::new() })
    }

    /// The next newcomer, waiting a moment for one.
    pub fn wait(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        self.poller.wait(&mut self.events, Some(TICK))?;
        Ok(self.accept())
    }

    /// The next newcomer, if one is there and can be taken.
    pub fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        match accept(&self.listener) {
            Ok(newcomer) => newcomer.filter(|(stream, _)| stream.set_nonblocking(false).is_ok()),
            // The newcomer waits until the shortage is over, and so does the server.
            Err(_) => {
                thread::sleep(TICK);
                None
            }
        }
    }
}

/// Bytes read at once.
const BUFFER: usize = 4 * 1024;

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Bytes.
    Bytes,
    /// Nothing in time.
    TooLate,
    /// The client will send no more.
    End,
}

/// A client's stream.
#[derive(Debug)]
pub struct Socket<'a> {
    stream: &'a TcpStream,
    /// The read timeout, set only when it changes.
    patience: Option<Duration>,
}

impl Socket<'_> {
    /// A stream whose writes fail when the client does not read on for that long.
    pub fn new(stream: &TcpStream, write_timeout: Duration) -> io::Result<Socket<'_>> {
        stream.set_write_timeout(Some(write_timeout))?;
        // An answer leaves in one write: to wait for more to send only delays it.
        stream.set_nodelay(true)?;
        Ok(Socket { stream, patience: None })
    }

    /// Reads once, behind what is in `input`.
    pub fn read(&mut self, input: &mut Vec<u8>, patience: Duration) -> io::Result<Received> {
        // Zero would mean "for ever" to the kernel.
        let patience = Some(patience.max(Duration::from_millis(1)));
        if self.patience != patience {
            self.stream.set_read_timeout(patience)?;
            self.patience = patience;
        }
        // On the stack: thousands of threads wait here, and large blocks of the heap, with small ones
        // between them, would stay with the process when all have ended.
        let mut buffer = [0; BUFFER];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(0) => Ok(Received::End),
                Ok(n) => {
                    input.extend_from_slice(&buffer[..n]);
                    Ok(Received::Bytes)
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(Received::TooLate),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
        }
    }

    /// Writes all of it.
    pub fn write(&mut self, output: &mut Output) -> io::Result<()> {
        output.write_to(&mut self.stream)
    }

    /// After the last answer. A client that may still be sending (`linger`) gets time to read it:
    /// closed on it at once, the connection would be reset, and the reset would overtake the answer.
    pub fn close(mut self, linger: bool) -> io::Result<()> {
        if !linger {
            return Ok(());
        }
        self.stream.shutdown(Shutdown::Write)?;
        let give_up = Instant::now() + LINGER;
        let mut thrown_away = Vec::new();
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let received = self.read(&mut thrown_away, left)?;
            if received != Received::Bytes || left.is_zero() {
                return Ok(());
            }
            thrown_away.clear();
        }
    }
}
