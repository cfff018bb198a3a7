//! Sockets and who is ready: everything between the kernel and a topic that does not depend on
//! what the bytes mean.
//!
//! Notes: `notes/poller.md`, `notes/async_server.md`.

// the system calls that std lacks; the only `unsafe`
#[allow(unsafe_code)]
pub mod sys;
// the same on other systems than Linux, with plain std
#[cfg(not(target_os = "linux"))]
mod portable;
// who is ready? scan, poll, epoll: three answers to the same calls
pub(crate) mod poller;
// how servers come to clients: bind, announce, accept
pub(crate) mod listener;
// the holder of a port that cannot be bound
pub mod ports;
// one non-blocking socket with its input and output, in buffers that are borrowed
pub(crate) mod connection;
// bytes still to be sent: small things, then one large content that is never copied
pub mod output;
// a numbered slot for each connection
pub(crate) mod slots;
// deadlines for many connections at next to no cost per request
pub mod timers;
// the time, read once per turn
pub mod clock;
// all of these together: who is ready, new, too late; and when to stop
pub(crate) mod event_loop;

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;

/// The result of a read, blocking or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    Bytes,   // bytes; there may be more
    Nothing, // for now, or within the socket's timeout
    End,     // the peer will send no more
}

impl output::Peer for &TcpStream {
    fn send_sealed(&mut self, bytes: &[u8], file: &File, at: u64, max: usize) -> io::Result<usize> {
        sys::send_sealed(self.as_fd(), bytes, file, at, max)
    }
}
