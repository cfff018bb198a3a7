//! One non-blocking socket with what was received and not yet understood, and what is still
//! to be sent.
//!
//! Between turns a connection owns no buffer unless something is left over: it borrows the
//! loop's while it is read from and written to, so ten thousand idle ones cost no buffers.
//! Knows no HTTP. Entry points: [`Connection::fill`], [`Connection::flush`], [`Connection::release`].
//! Note: `notes/async_server.md`.

use crate::cli::limits::READ;
use crate::net::Filled;
use crate::net::output::{Output, SHARE};
use crate::net::poller::{Interest, Poller, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// Bytes received and not yet used: `bytes[start..end]`; behind them is room to read into.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub fn unused(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
    }

    /// Whether its bytes lie in the pool's buffer.
    fn is_borrowed(&self) -> bool {
        self.bytes.len() == READ
    }
}

/// The buffers of a loop, lent to the connections that are at work.
#[derive(Debug, Default)]
pub struct BufferPool {
    input: Input,
    outputs: Vec<Vec<u8>>,
}

/// The most output buffers that are kept for others to use, and how large one may have grown.
const SPARE_OUTPUTS: usize = 64;
const SPARE_SIZE: usize = 256 * 1024;

impl BufferPool {
    pub fn drop_spares(&mut self) {
        self.outputs = Vec::new();
    }

    pub fn take(&mut self) -> Vec<u8> {
        self.outputs.pop().unwrap_or_default()
    }

    pub fn give(&mut self, mut bytes: Vec<u8>) {
        if self.outputs.len() < SPARE_OUTPUTS && (1..=SPARE_SIZE).contains(&bytes.capacity()) {
            bytes.clear();
            self.outputs.push(bytes);
        }
    }
}

pub struct Connection {
    stream: TcpStream,
    pub input: Input,
    pub output: Output,
    share: usize, // so many bytes may be written before `Connection::release`
    interest: Option<Interest>, // for which the poller watches it; None: it does not
}

impl Connection {
    /// A non-blocking socket that nobody watches yet: one that is answered and closed in its
    /// first turn never needs to be.
    pub fn new(stream: TcpStream) -> Connection {
        let (input, output) = (Input::default(), Output::default());
        Connection { stream, input, output, share: SHARE, interest: None }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once, behind what is left over; the pool's buffer stays here until
    /// [`Connection::release`]. A full buffer brings `Nothing`: use some of it first.
    pub fn fill(&mut self, buffers: &mut BufferPool) -> io::Result<Filled> {
        if !self.input.is_borrowed() {
            buffers.input.bytes.resize(READ, 0);
            let left = self.input.unused();
            buffers.input.bytes[..left.len()].copy_from_slice(left);
            (buffers.input.start, buffers.input.end) = (0, left.len());
            self.input = std::mem::take(&mut buffers.input);
        }
        if self.input.end == READ {
            return Ok(Filled::Nothing);
        }
        match self.stream.read(&mut self.input.bytes[self.input.end..]) {
            Ok(0) => Ok(Filled::End),
            Ok(n) => {
                self.input.end += n;
                Ok(Filled::Bytes)
            }
            // An interrupted read has lost nothing: the poller calls the socket ready again.
            Err(e) if is_for_later(&e) => Ok(Filled::Nothing),
            Err(e) => Err(e),
        }
    }

    /// Whether there is no room to read into before some input is used.
    pub fn input_is_full(&self) -> bool {
        self.input.unused().len() == READ
    }

    /// Writes as much of `bytes` as the peer takes now, not through the output; perhaps
    /// nothing.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(e) if is_for_later(&e) => Ok(0),
            result => result,
        }
    }

    /// Writes what can be written now, a turn's share at most. Whether that was all is
    /// [`Output::is_empty`]; if not, wait until the socket is writable: if the share was the
    /// reason, that is so in the next turn. Returns whether the peer took any.
    pub fn flush(&mut self) -> io::Result<bool> {
        let before = self.share;
        match self.output.write_share(&mut &self.stream, &mut self.share) {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
            _ => Ok(self.share < before),
        }
    }

    /// Lends a buffer to write into, if it has none.
    pub fn borrow_output(&mut self, buffers: &mut BufferPool) {
        if self.output.bytes.capacity() == 0 {
            self.output.bytes = buffers.take();
        }
    }

    /// Gives the buffers back, before another connection is served. What is left over moves to one
    /// of its own size. In the next turn there is a new share to be written.
    pub fn release(&mut self, buffers: &mut BufferPool) {
        self.share = SHARE;
        if self.input.is_borrowed() {
            let bytes = self.input.unused().to_vec();
            let left = Input { start: 0, end: bytes.len(), bytes };
            buffers.input = std::mem::replace(&mut self.input, left);
        }
        if self.output.is_empty() {
            buffers.give(std::mem::take(&mut self.output.bytes));
        }
    }

    /// Waits for something else from now on; a system call only if that is a change.
    pub fn wait_for(
        &mut self,
        interest: Interest,
        poller: &mut Poller,
        token: Token,
    ) -> io::Result<()> {
        match self.interest {
            None => poller.add(&self.stream, token, interest)?,
            Some(known) if known == interest => return Ok(()),
            Some(_) => poller.modify(&self.stream, token, interest)?,
        }
        self.interest = Some(interest);
        Ok(())
    }

    /// Waits for nothing. A socket that is watched tells of a reset even if nothing else is asked
    /// for, again and again until it is closed.
    pub fn unwatch(&mut self, poller: &mut Poller, token: Token) {
        if self.interest.take().is_some() {
            // It was added, so it can be removed.
            let _ = poller.remove(&self.stream, token);
        }
    }

    /// Whether its peer neither closed it nor sent anything, as far as is known here.
    pub fn is_quiet(&self) -> bool {
        let seen = self.stream.peek(&mut [0]);
        self.input.unused().is_empty() && seen.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }

    /// Whether it has failed, as far as the system knows without reading or writing.
    pub fn is_broken(&self) -> bool {
        !matches!(self.stream.take_error(), Ok(None))
    }

    /// Tells the peer that no more will be sent.
    pub fn end_output(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    pub fn close(self, poller: &mut Poller, token: Token) {
        if self.interest.is_some() {
            poller.closing(&self.stream, token);
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
