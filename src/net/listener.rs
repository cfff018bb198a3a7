//! How all servers come to their clients: a listening socket, its one line on stdout, and
//! accepting without ever failing: what is short (descriptors, places) is waited for.
//!
//! Entry points: [`bind`], [`announce`], [`Acceptor`]. Note: `notes/thread_server.md`.

use crate::net::poller::{Poller, Token};
use crate::net::ports;
use crate::net::sys::{self, is_shortage};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Once;
use std::time::{Duration, Instant};

/// How many newcomers the kernel keeps for us while we are busy. With the usual 128, a burst of
/// clients loses SYNs and waits a second for the next try.
#[cfg(unix)]
const BACKLOG: i32 = 4096;

/// Opens the listening socket; the error says what to do.
pub fn bind(topic: &str, host: &str, port: u16) -> Result<TcpListener, String> {
    let listener = resolve(host, port)
        .map_err(|e| format!("{topic}: --host {host}: {e}"))
        .and_then(|addresses| TcpListener::bind(addresses.as_slice()).map_err(|e| match e.kind() {
            ErrorKind::AddrInUse if ports::is_held_by_a_client(port) => format!(
                "{topic}: port {port} on {host} is {}, or choose another port: progjar {topic} PORT (0 picks a free one)", ports::WHAT_TO_DO
            ),
            ErrorKind::AddrInUse => format!(
                "{topic}: port {port} on {host} is in use; stop the other program or choose another port: progjar {topic} PORT (0 picks a free one)"
            ),
            ErrorKind::PermissionDenied => format!(
                "{topic}: not allowed to listen on port {port}; choose one above 1023: progjar {topic} PORT"
            ),
            ErrorKind::AddrNotAvailable => format!(
                "{topic}: {host} is no address of this machine; choose one with --host (127.0.0.1: this machine only, 0.0.0.0: all networks)"
            ),
            _ => format!("{topic}: cannot listen on {host} port {port}: {e}"),
        }))?;
    #[cfg(unix)]
    sys::listen_backlog(&listener, BACKLOG).map_err(|e| format!("{topic}: cannot listen: {e}"))?;
    Ok(listener)
}

/// The addresses of a host, by name or by number.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Says that the server accepts, in one line on stdout, at once: scripts wait for it.
pub fn announce(topic: &str, address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    // A closed stdout is no reason not to serve.
    let _ =
        writeln!(stdout, "{topic}: listening on http://{address}/").and_then(|()| stdout.flush());
}

/// An answer leaves in one write, so waiting for more to send (Nagle's algorithm) only delays
/// it. Clients' sockets have the option from their listener, which saves a system call each;
/// std lets only a stream set it, so a copy of the listener poses as one.
#[cfg(unix)]
fn hand_on_nodelay(listener: &TcpListener) -> io::Result<()> {
    let copy = std::os::fd::OwnedFd::from(listener.try_clone()?);
    TcpStream::from(copy).set_nodelay(true)
}

/// Each client's socket gets the option by itself.
#[cfg(not(unix))]
fn hand_on_nodelay(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// Waits until a client has connected, `patience` at most. Whether one has, accept says.
#[cfg(unix)]
pub fn wait_for_client(listener: &TcpListener, patience: Duration) {
    use std::os::fd::AsRawFd;
    let fd = sys::PollFd { fd: listener.as_raw_fd(), events: sys::poll_flags::IN, revents: 0 };
    let _ = sys::poll(&mut [fd], Some(patience));
}

/// Says once that the system is short of what a connection takes.
pub fn report_shortage(error: &io::Error) {
    static REPORTED: Once = Once::new();
    REPORTED.call_once(|| eprintln!("cannot take more connections for now: {error}"));
}

/// How long to wait before another try when the system is short of something.
const SHORTAGE: Duration = Duration::from_millis(100);

/// A listener that an event loop watches, and stops watching while it can take nobody.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    token: Token,
    paused: Option<Paused>,
}

/// Newcomers passed over at once who have left again; not more, so that those who are here already
/// are not kept waiting.
pub const LEFT_AGAIN: usize = 256;

#[derive(Debug)]
enum Paused {
    /// Until a place is free.
    Full,
    /// Until then: the system has no more descriptors or memory.
    Until(Instant),
}

impl Acceptor {
    /// Watches the listener; several loops may watch clones of one.
    pub fn new(listener: TcpListener, poller: &mut Poller, token: Token) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        hand_on_nodelay(&listener)?;
        poller.add_shared(&listener, token)?;
        Ok(Acceptor { listener, token, paused: None })
    }

    /// The next newcomer; None: nobody waits, or nobody can be taken now.
    pub fn accept(&mut self, poller: &mut Poller, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        for _ in 0..LEFT_AGAIN {
            let error = match sys::accept(&self.listener) {
                Ok(newcomer) => return Some(newcomer),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::WouldBlock {
                return None;
            }
            if is_shortage(&error) {
                report_shortage(&error);
                self.pause(Paused::Until(now + SHORTAGE), poller);
                return None;
            }
            // Any other error is that of one client, who has left before it was taken.
        }
        None
    }

    /// Takes nobody until [`Acceptor::resume`] finds room.
    pub fn pause_full(&mut self, poller: &mut Poller) {
        self.pause(Paused::Full, poller);
    }

    fn pause(&mut self, why: Paused, poller: &mut Poller) {
        if self.paused.is_none() && poller.remove(&self.listener, self.token).is_err() {
            return;
        }
        self.paused = Some(why);
    }

    /// Accepts again if the reason for the pause has passed. When to ask again at the latest.
    pub fn resume(&mut self, poller: &mut Poller, has_room: bool, now: Instant) -> Option<Instant> {
        let over = match self.paused {
            None => return None,
            Some(Paused::Full) => has_room,
            Some(Paused::Until(then)) => then <= now,
        };
        if over && poller.add_shared(&self.listener, self.token).is_ok() {
            self.paused = None;
        }
        match self.paused {
            Some(Paused::Until(then)) => Some(then),
            _ => None,
        }
    }

    /// Takes no more, for good.
    pub fn close(self, poller: &mut Poller) {
        if self.paused.is_none() {
            let _ = poller.remove(&self.listener, self.token);
        }
    }
}
