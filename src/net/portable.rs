//! The calls that [`sys`](super::sys) offers on Linux, as near as plain std comes to it elsewhere.
//!
//! Note: `notes/poller.md`.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// There is no sealed memory.
pub fn seal(_: impl Read, _: u64) -> io::Result<(File, u64)> {
    Err(ErrorKind::Unsupported.into())
}

/// So there is nothing to send from it.
pub fn send_sealed(_: BorrowedFd, _: &[u8], _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

/// The next client, as a non-blocking socket.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}

/// Blocks, but for a moment only: a refusal on a local network comes at once.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_millis(250))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Not known here: the caller keeps the limit it has.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    Ok(u64::MAX)
}
