//! The bytes still to be sent to one peer: a buffer of small things, and behind it at most one
//! large content that is never copied into the buffer.
//!
//! Knows no HTTP and no poller; writes to any [`Peer`], blocking or not. Entry points:
//! [`Output::send_shared`], [`Output::send_sealed`], [`Output::send_file`], [`Output::write_share`].
//! Note: `notes/async_server.md`.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

/// Content up to this size is copied behind its head, so that both leave in one write: copying
/// 16 KiB costs less than a second system call.
const COPIED: usize = 16 * 1024;

/// A file too large for memory passes through the buffer in pieces of this size: of those tried,
/// from 32 to 512 KiB, the one with the least CPU time per file.
const PIECE: usize = 256 * 1024;

/// The most that an event loop writes to one peer before the others have their turn. A peer on a
/// fast network takes whatever it is given, so "until it takes no more" can mean for seconds. With a
/// smaller share, many large downloads at once cost more CPU time: their clients are woken more often.
pub const SHARE: usize = 2 * 1024 * 1024;

pub trait Peer: Write {
    /// Writes some of the bytes, or if there are none at most so many of a sealed file's, from this
    /// position on.
    fn send_sealed(&mut self, bytes: &[u8], file: &File, at: u64, max: usize) -> io::Result<usize>;
}

/// Bytes that wait for the peer.
#[derive(Default)]
pub struct Output {
    pub bytes: Vec<u8>, // the small things
    sent: usize,        // how many of these have been sent; when all have, they are cleared
    tail: Tail,
    /// Of the tail, the bytes from `at` to `end` are still to be sent (a file's: to be read).
    at: u64,
    end: u64,
}

#[derive(Default)]
enum Tail {
    #[default]
    Nothing,
    Memory(Arc<dyn AsRef<[u8]> + Send + Sync>), // bytes that many may share
    Sealed(Arc<File>),                          // a file in sealed memory
    File(File),                                 // another file, from its own position on
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && matches!(self.tail, Tail::Nothing)
    }

    /// Whether no more may be put in for now: a large content is under way, or the small things
    /// have piled up, because the peer asks faster than it reads.
    pub fn is_full(&self) -> bool {
        !matches!(self.tail, Tail::Nothing) || self.bytes.len() - self.sent > 4 * COPIED
    }

    /// Puts content that many may share behind the bytes. Only when it is not full.
    pub fn send_shared(&mut self, content: Arc<dyn AsRef<[u8]> + Send + Sync>) {
        let bytes = (*content).as_ref();
        if bytes.len() <= COPIED {
            return self.bytes.extend_from_slice(bytes);
        }
        (self.at, self.end) = (0, bytes.len() as u64);
        self.tail = Tail::Memory(content);
    }

    /// Puts a file in sealed memory behind the bytes. Only when it is not full.
    pub fn send_sealed(&mut self, file: Arc<File>, length: u64) {
        (self.tail, self.at, self.end) = (Tail::Sealed(file), 0, length);
    }

    /// Puts the next `length` bytes of a file behind the bytes. Only when it is not full.
    pub fn send_file(&mut self, file: File, length: u64) {
        (self.tail, self.at, self.end) = (Tail::File(file), 0, length);
    }

    /// Writes until everything is sent or the peer takes no more, which is the error
    /// [`ErrorKind::WouldBlock`].
    pub fn write_to(&mut self, peer: &mut impl Peer) -> io::Result<()> {
        let mut all = usize::MAX;
        self.write_share(peer, &mut all)
    }

    /// The same, but writes no more than is left of the `share`.
    pub fn write_share(&mut self, peer: &mut impl Peer, share: &mut usize) -> io::Result<()> {
        while !self.is_empty() && *share > 0 {
            if self.bytes.is_empty() {
                self.read_piece()?;
            }
            let bytes = start_of(&self.bytes[self.sent..], *share);
            let n = match &self.tail {
                Tail::Memory(content) => {
                    let content = &(**content).as_ref()[self.at as usize..];
                    let pieces = [bytes, start_of(content, *share - bytes.len())];
                    retry(|| peer.write_vectored(&pieces.map(io::IoSlice::new)))?
                }
                Tail::Sealed(file) => {
                    let most = (self.end - self.at).min(*share as u64) as usize;
                    retry(|| peer.send_sealed(bytes, file, self.at, most))?
                }
                _ => retry(|| peer.write(bytes))?,
            };
            *share -= n;
            self.advance(n);
        }
        Ok(())
    }

    /// If a file is under way: its next piece becomes the bytes.
    fn read_piece(&mut self) -> io::Result<()> {
        if let Tail::File(file) = &mut self.tail {
            let piece = (self.end - self.at).min(PIECE as u64);
            let read = file.take(piece).read_to_end(&mut self.bytes)?;
            if read == 0 {
                // The file has shrunk since its length was promised.
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.advance_tail(read);
        }
        Ok(())
    }

    fn advance(&mut self, n: usize) {
        let small = n.min(self.bytes.len() - self.sent);
        self.sent += small;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
        if n > small {
            self.advance_tail(n - small);
        }
    }

    fn advance_tail(&mut self, n: usize) {
        self.at += n as u64;
        if self.at == self.end {
            self.tail = Tail::Nothing;
        }
    }
}

fn start_of(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
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
