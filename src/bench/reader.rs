//! Where a response ends: bytes in, "more" or "done" out, whatever the split of the bytes.
//!
//! This is the instrument's own parser, on purpose none of the servers': a fault that both
//! sides shared would be invisible. It knows no socket and no clock, and it keeps nothing of a
//! body. Entry point: [`Reader::feed`]. Its tables of cases: `tests/instrument.rs`. Note: `notes/bench.md`.

use super::head::{Head, end_of_head};

/// A longer head, or a longer line between two chunks, is refused: memory per connection is bounded.
pub const HEAD_LIMIT: usize = 64 * 1024;
const CHUNK_LINE_LIMIT: usize = 4096;

/// What one response was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Whether the server keeps the connection open after it.
    pub persistent: bool,
    /// Bytes of the body, without the framing of chunks.
    pub body: u64,
    /// Bytes in all, as they came over the wire.
    pub total: u64,
}

/// What a call has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The response goes on, or has not begun.
    More,
    /// The response ended with the last of these bytes.
    Done(Answer),
    /// These bytes are no HTTP response; the reason.
    Malformed(&'static str),
}

/// How the body of the response under way ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The head is not complete.
    Head,
    /// So many bytes are to come.
    Length(u64),
    /// It ends with the connection, and holds at least so many bytes more.
    Close(u64),
    /// A line with a chunk's size is to come.
    Size,
    /// So many bytes of the chunk, and the line end after it.
    Chunk(u64),
    /// Trailer lines, up to an empty one.
    Trailer,
}

/// The reader of one connection. Small: the buffer stays empty, without memory, as long as
/// each head arrives whole, as nearly all do.
#[derive(Debug)]
pub struct Reader {
    state: State,
    answer: Answer,
    /// The part of a head, or of a line between chunks, that has come so far.
    kept: Vec<u8>,
}

/// What holds for all responses of a run.
#[derive(Debug, Default)]
pub struct Heads {
    /// The request was HEAD: no response has a body, whatever its head says.
    pub head_only: bool,
    /// Keep each head's text in `head`; otherwise only the first one's.
    pub keep_heads: bool,
    /// The text of the latest head that was kept.
    pub head: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader { state: State::Head, answer: Answer::default(), kept: Vec::new() }
    }
}

impl Reader {
    /// Whether a byte of the response has come.
    pub fn has_begun(&self) -> bool {
        self.answer.total > 0
    }

    /// Whether nothing but the end of the connection is awaited.
    pub fn awaits_close(&self) -> bool {
        matches!(self.state, State::Close(0))
    }

    /// Bytes of the response that have come so far.
    pub fn received(&self) -> u64 {
        self.answer.total
    }

    /// Takes the bytes that came next. After `Done` and `Malformed` it is ready for a new response.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8], run: &mut Heads) -> Step {
        let step = self.advance(bytes, run);
        match step {
            Step::More => self.answer.total += bytes.len() as u64,
            _ => *self = Reader::recycled(std::mem::take(&mut self.kept)),
        }
        step
    }

    /// The whole response if the connection has ended now; None if that cuts it short, or if it
    /// never began.
    pub fn end(&self) -> Option<Answer> {
        self.awaits_close().then_some(self.answer)
    }

    fn recycled(mut kept: Vec<u8>) -> Reader {
        kept.clear();
        Reader { kept, ..Reader::default() }
    }

    fn advance(&mut self, bytes: &[u8], run: &mut Heads) -> Step {
        let mut rest = bytes;
        while self.state == State::Head {
            let before = self.kept.len();
            let (found, held) = if before == 0 {
                (end_of_head(rest, 0), rest.len())
            } else {
                self.kept.extend_from_slice(rest);
                (end_of_head(&self.kept, before.saturating_sub(3)), self.kept.len())
            };
            let Some(length) = found else {
                if held > HEAD_LIMIT {
                    return Step::Malformed("the response's head is too long");
                }
                if before == 0 {
                    self.kept.extend_from_slice(rest);
                }
                return Step::More;
            };
            let text = if before == 0 { rest } else { &self.kept };
            let Some(head) = Head::parse(&text[..length]) else {
                return Step::Malformed("the answer is not HTTP");
            };
            if run.keep_heads || run.head.is_empty() {
                run.head.clear();
                run.head.extend_from_slice(&text[..length]);
            }
            rest = &rest[length - before..];
            self.kept.clear();
            self.answer.status = head.status;
            self.answer.persistent = head.persistent;
            // 1xx announces the real response (RFC 9110, section 15.2).
            if head.status >= 200 {
                match framing(&head, run.head_only) {
                    Some(state) => self.state = state,
                    None => return Step::Malformed("the answer's length makes no sense"),
                }
                self.answer.persistent &= !matches!(self.state, State::Close(_));
            }
        }
        self.body(bytes.len() - rest.len(), rest)
    }

    /// The body, or the next part of it; `before` bytes of this call belonged to the head.
    fn body(&mut self, before: usize, bytes: &[u8]) -> Step {
        let mut rest = bytes;
        let used = loop {
            match &mut self.state {
                State::Length(left) | State::Chunk(left) if *left > 0 => {
                    let n = (*left).min(rest.len() as u64);
                    rest = &rest[n as usize..];
                    self.answer.body += n;
                    *left -= n;
                    if *left > 0 {
                        return Step::More;
                    }
                }
                State::Length(_) => break bytes.len() - rest.len(),
                State::Close(least) => {
                    self.answer.body += rest.len() as u64;
                    *least = least.saturating_sub(rest.len() as u64);
                    return Step::More;
                }
                State::Head | State::Size | State::Chunk(_) | State::Trailer => {
                    match self.chunk_line(&mut rest) {
                        Ok(true) => break bytes.len() - rest.len(),
                        Ok(false) if rest.is_empty() => return Step::More,
                        Ok(false) => {}
                        Err(why) => return Step::Malformed(why),
                    }
                }
            }
        };
        if used < bytes.len() {
            return Step::Malformed("bytes that nobody asked for follow the answer");
        }
        self.answer.total += (before + used) as u64;
        Step::Done(self.answer)
    }

    /// Takes a line between chunks, if it is complete; true if it was the last of the response.
    fn chunk_line(&mut self, rest: &mut &[u8]) -> Result<bool, &'static str> {
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            self.kept.extend_from_slice(rest);
            *rest = &[];
            return match self.kept.len() > CHUNK_LINE_LIMIT {
                true => Err("a line between chunks is too long"),
                false => Ok(false),
            };
        };
        self.kept.extend_from_slice(&rest[..end]);
        *rest = &rest[end + 1..];
        let line = self.kept.trim_ascii();
        let last = match self.state {
            State::Chunk(_) if line.is_empty() => {
                self.state = State::Size;
                false
            }
            State::Chunk(_) => return Err("a chunk is longer than it says"),
            State::Trailer => line.is_empty(),
            _ => {
                self.state = match chunk_size(line).ok_or("a chunk's size makes no sense")? {
                    0 => State::Trailer,
                    size => State::Chunk(size),
                };
                false
            }
        };
        self.kept.clear();
        Ok(last)
    }
}

/// How the body ends; None if the fields contradict each other.
fn framing(head: &Head, head_only: bool) -> Option<State> {
    if head_only || matches!(head.status, 204 | 304) {
        Some(State::Length(0))
    } else if head.contradictory && !head.chunked {
        None
    } else if head.chunked {
        Some(State::Size)
    } else if head.persistent && head.length.is_some() {
        head.length.map(State::Length)
    } else {
        // As ab: what follows the head until the server closes is the body, also bytes
        // beyond Content-Length; but fewer than it promises are too few.
        Some(State::Close(head.length.unwrap_or(0)))
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&b| b == b';').next()?.trim_ascii();
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| valid)?;
    u64::from_str_radix(text, 16).ok()
}
