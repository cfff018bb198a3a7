//! What is still to be sent to one peer: a buffer of small things, and behind it at most one
//! large content that is never copied into the buffer.
//!
//! Knows no HTTP and no poller; writes into anything that is `Write`, blocking or not.
//! Entry points: [`Output::send`], [`Output::write_to`], [`Output::write_share`]. Note: `notes/async_server.md`.

use crate::http::response::{Bytes, Content};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

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

/// Bytes that wait for the peer.
#[derive(Debug, Default)]
pub struct Output {
    /// The small things.
    pub bytes: Vec<u8>,
    /// How many of these have been sent; when all have, they are cleared.
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
        self.bytes.is_empty() && matches!(self.tail, Tail::Nothing)
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
        self.write_share(peer, &mut usize::MAX.clone())
    }

    /// The same, but writes no more than is left of the `share`.
    pub fn write_share(&mut self, peer: &mut impl Write, share: &mut usize) -> io::Result<()> {
        while !self.is_empty() && *share > 0 {
            if self.bytes.is_empty() {
                self.read_piece()?;
            }
            let bytes = start_of(&self.bytes[self.sent..], *share);
            let n = match &self.tail {
                Tail::Memory(content, at) => {
                    let content = start_of(&content[*at..], *share - bytes.len());
                    let pieces = [bytes, content].map(io::IoSlice::new);
                    retry(|| peer.write_vectored(&pieces))?
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
        if let Tail::File(file, left) = &mut self.tail {
            let piece = (*left).min(PIECE as u64);
            let read = file.take(piece).read_to_end(&mut self.bytes)? as u64;
            if read == 0 {
                // The file has shrunk since its length was promised.
                return Err(ErrorKind::UnexpectedEof.into());
            }
            *left -= read;
            if *left == 0 {
                self.tail = Tail::Nothing;
            }
        }
        Ok(())
    }

    fn advance(&mut self, n: usize) {
        self.taken += n as u64;
        let small = n.min(self.bytes.len() - self.sent);
        self.sent += small;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
        if let Tail::Memory(content, at) = &mut self.tail {
            *at += n - small;
            if *at == content.len() {
                self.tail = Tail::Nothing;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that takes everything, as fast as it comes.
    struct Greedy {
        taken: Vec<u8>,
    }

    impl Write for Greedy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn write_vectored(&mut self, pieces: &[io::IoSlice]) -> io::Result<usize> {
            pieces.iter().map(|piece| self.write(piece)).sum()
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_peer_that_takes_everything_gets_a_share_at_a_time_and_in_the_end_all() {
        let all: Vec<u8> = (0..2_000_000_u32).map(|n| (n / 7) as u8).collect();
        let name = format!("progjar-output-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, &all).expect("a file can be written");
        let file = File::open(&path).expect("it is there");
        for content in
            [Content::Memory(Bytes::new(all.clone())), Content::File(file, all.len() as u64)]
        {
            for share in [1000, SHARE] {
                let (mut output, mut peer) = (Output::default(), Greedy { taken: Vec::new() });
                output.bytes.extend_from_slice(&[b'h'; 1500]);
                output.send(match &content {
                    Content::Memory(bytes) => Content::Memory(bytes.clone()),
                    Content::File(..) => {
                        Content::File(File::open(&path).expect("it is there"), all.len() as u64)
                    }
                });
                while !output.is_empty() {
                    let before = peer.taken.len();
                    let mut left = share;
                    output.write_share(&mut peer, &mut left).expect("it is taken");
                    let written = peer.taken.len() - before;
                    assert_eq!(written, share - left, "the share says what was written");
                    assert!(written == share || output.is_empty(), "{written} of {share}");
                }
                assert!(peer.taken[..1500].iter().all(|&b| b == b'h'));
                assert!(peer.taken[1500..] == all, "the content is whole and in order");
            }
        }
        let _ = std::fs::remove_file(&path);
    }
}
