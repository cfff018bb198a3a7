//! What is still to be sent to one peer: a buffer of small things, and behind it at most one
//! large content that is never copied into the buffer.
//!
//! Knows no HTTP and no poller; writes into anything that is `Write`, blocking or not.
//! Entry points: [`Output::send`], [`Output::write_to`]. Note: `notes/async_server.md`.

use crate::http::response::{Bytes, Content};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

/// Content up to this size is copied behind its head, so that both leave in one write: copying
/// 16 KiB costs less than a second system call.
const COPIED: usize = 16 * 1024;

/// A file too large for memory passes through the buffer in pieces of this size: of those tried,
/// from 32 to 512 KiB, the one with the least CPU time per file.
const PIECE: usize = 256 * 1024;

/// Bytes that wait for the peer.
#[derive(Debug, Default)]
pub struct Output {
    /// The small things.
    pub bytes: Vec<u8>,
    sent: usize,
    tail: Tail,
    /// Bytes that the peer has taken, ever.
    taken: u64,
}

#[derive(Debug, Default)]
enum Tail {
    #[default]
    Nothing,
    /// Shared bytes from a position on.
    Memory(Bytes, usize),
    /// So many more bytes of a file.
    File(File, u64),
}

impl Output {
    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && matches!(self.tail, Tail::Nothing)
    }

    /// Whether no more may be put in for now: a large content is under way, or the small things
    /// have piled up, because the peer asks faster than it reads.
    pub fn is_full(&self) -> bool {
        !matches!(self.tail, Tail::Nothing) || self.bytes.len() - self.sent > 4 * COPIED
    }

    /// How many bytes the peer has taken, ever: whether it reads on shows in this alone.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Puts content behind the bytes. Only when it is not full.
    pub fn send(&mut self, content: Content) {
        match content {
            Content::Memory(bytes) if bytes.len() <= COPIED => self.bytes.extend_from_slice(&bytes),
            Content::Memory(bytes) => self.tail = Tail::Memory(bytes, 0),
            Content::File(file, length) => self.tail = Tail::File(file, length),
        }
    }

    /// Writes until everything is sent or the peer takes no more, which is the error
    /// [`ErrorKind::WouldBlock`].
    pub fn write_to(&mut self, peer: &mut impl Write) -> io::Result<()> {
        loop {
            if self.sent < self.bytes.len() {
                let n = match &self.tail {
                    Tail::Memory(content, at) => {
                        let pieces =
                            [&self.bytes[self.sent..], &content[*at..]].map(io::IoSlice::new);
                        retry(|| peer.write_vectored(&pieces))?
                    }
                    _ => retry(|| peer.write(&self.bytes[self.sent..]))?,
                };
                self.advance(n);
            } else {
                self.bytes.clear();
                self.sent = 0;
                match &mut self.tail {
                    Tail::Nothing => return Ok(()),
                    Tail::Memory(content, at) => {
                        let n = retry(|| peer.write(&content[*at..]))?;
                        self.advance(n);
                    }
                    Tail::File(file, left) => {
                        let piece = (*left).min(PIECE as u64);
                        let read = file.take(piece).read_to_end(&mut self.bytes)? as u64;
                        *left -= read;
                        if *left == 0 {
                            self.tail = Tail::Nothing;
                        } else if read == 0 {
                            // The file has shrunk since its length was promised.
                            return Err(ErrorKind::UnexpectedEof.into());
                        }
                    }
                }
            }
        }
    }

    fn advance(&mut self, n: usize) {
        self.taken += n as u64;
        let small = n.min(self.bytes.len() - self.sent);
        self.sent += small;
        if let Tail::Memory(content, at) = &mut self.tail {
            *at += n - small;
            if *at == content.len() {
                self.tail = Tail::Nothing;
            }
        }
    }
}

/// Writes; a write that takes nothing is an error, one that a signal interrupts is repeated.
fn retry(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
