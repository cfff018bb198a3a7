//! The way of all servers to their clients: a listening socket, its one line on stdout, and
//! accepting without ever failing: what is short (descriptors, memory) is waited for.
//!
//! Entry points: [`bind`], [`announce`], [`accept`]. Note: `notes/thread_server.md`.

use crate::net::{ports, sys};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Once;
use std::time::Duration;

/// How many newcomers the kernel keeps for us while we are busy. With the usual 128, a burst of
/// clients loses SYNs and waits a second for the next try.
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
    sys::listen_backlog(&listener, BACKLOG).map_err(|e| format!("{topic}: cannot listen: {e}"))?;
    Ok(listener)
}

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

/// Clients that have left again before they are taken, passed over at once; not more, so that
/// those who are here already are not kept waiting.
const LEFT_AGAIN: usize = 256;

/// The next newcomer, as a non-blocking socket; None: nobody waits. The error: the system is short
/// of descriptors or memory, and it makes sense to ask again after a while. It is told once.
pub fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    static TOLD: Once = Once::new();
    for _ in 0..LEFT_AGAIN {
        match sys::accept(listener) {
            Ok(newcomer) => return Ok(Some(newcomer)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if sys::is_shortage(&error) => {
                TOLD.call_once(|| eprintln!("cannot take more connections for now: {error}"));
                return Err(error);
            }
            Err(_) => {} // of one client, who has left before it was taken
        }
    }
    Ok(None)
}

/// Waits until a client has connected, `patience` at most. Whether one has, [`accept`] says.
pub fn wait_for_client(listener: &TcpListener, patience: Duration) {
    let fd = sys::PollFd { fd: listener.as_raw_fd(), events: sys::IN as i16, revents: 0 };
    let _ = sys::poll(&mut [fd], Some(patience));
}

/// Makes a listener ready to be watched: non-blocking, and without Nagle's algorithm, since an
/// answer leaves in one write, and to wait for more to send only delays it. Clients' sockets have
/// that from their listener, which saves a system call each; std sets it on
/// streams only, so it is set on a copy of the listener's descriptor, taken for a stream.
pub fn prepare(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    TcpStream::from(OwnedFd::from(listener.try_clone()?)).set_nodelay(true)
}
