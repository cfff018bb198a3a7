//! Where a response ends: bytes in, an answer out once it is whole, whatever the split of the bytes.
//!
//! This is the instrument's own parser, on purpose none of the servers': a fault that both
//! sides shared would be invisible. It knows no socket and no clock, and it keeps nothing of a
//! body. Entry point: [`Reader::feed`]. Its tables of cases: `tests/instrument.rs`. Note: `notes/bench.md`.

/// A longer head, or a longer line between two chunks, is refused: memory per connection is bounded.
pub const HEAD_LIMIT: usize = 64 * 1024;

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

/// The error says why the bytes are no HTTP response.
type Fed<T> = Result<T, &'static str>;

/// What is to come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// All lines up to an empty one.
    #[default]
    Head,
    /// So many bytes of the body, then the end.
    Length(u64),
    /// All until the connection ends, and at least so many bytes.
    Close(u64),
    /// A line with a chunk's size.
    Size,
    /// So many bytes of the chunk, and the line end after it.
    Chunk(u64),
    /// Trailer lines, up to an empty one.
    Trailer,
}

/// The reader of one connection. It has no memory of its own while heads and lines come whole.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    answer: Answer,
    /// The part of the head, or of a line, that has come so far.
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

impl Reader {
    /// Whether nothing but the end of the connection is awaited.
    pub(crate) fn awaits_close(&self) -> bool {
        self.state == State::Close(0)
    }

    /// Bytes of the response that have come so far.
    pub(crate) fn received(&self) -> u64 {
        self.answer.total
    }

    /// Takes the bytes that came next; with the last of a response it gives the answer, else None.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8], heads: &mut Heads) -> Fed<Option<Answer>> {
        self.answer.total += bytes.len() as u64;
        let is_whole = self.advance(bytes, heads)?;
        Ok(is_whole.then(|| std::mem::take(self).answer))
    }

    /// The whole response if the connection has ended now; None: cut short, or it never began.
    pub fn end(&self) -> Option<Answer> {
        self.awaits_close().then_some(self.answer)
    }

    /// Whether the response has ended.
    fn advance(&mut self, mut rest: &[u8], heads: &mut Heads) -> Fed<bool> {
        loop {
            if let State::Length(left) | State::Chunk(left) = &mut self.state {
                let n = (*left).min(rest.len() as u64);
                *left -= n;
                self.answer.body += n;
                rest = &rest[n as usize..];
            }
            match self.state {
                State::Length(0) if rest.is_empty() => return Ok(true),
                State::Length(0) => return Err("bytes that nobody asked for follow the answer"),
                State::Length(_) | State::Chunk(1..) => return Ok(false),
                State::Close(least) => {
                    self.state = State::Close(least.saturating_sub(rest.len() as u64));
                    self.answer.body += rest.len() as u64;
                    return Ok(false);
                }
                _ => {
                    if !self.text(&mut rest, heads)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Takes the head, or the next line between chunks, and says whether all of it was there.
    fn text(&mut self, rest: &mut &[u8], heads: &mut Heads) -> Fed<bool> {
        let known = self.kept.len();
        if known > 0 {
            self.kept.extend_from_slice(rest);
        }
        let bytes = if known > 0 { &self.kept[..] } else { *rest };
        let end = end_of_text(bytes, known, self.state == State::Head);
        if end.unwrap_or(bytes.len()) > HEAD_LIMIT {
            return Err("the response's head, or a line between chunks, is too long");
        }
        let Some(end) = end else {
            if known == 0 {
                self.kept.extend_from_slice(rest);
            }
            return Ok(false);
        };
        *rest = &rest[end - known..];
        let text = &bytes[..end];
        self.state = match self.state {
            State::Head => {
                if heads.keep_heads || heads.head.is_empty() {
                    heads.head = text.to_vec();
                }
                let (status, persistent, body) = head(text, heads.head_only)?;
                (self.answer.status, self.answer.persistent) = (status, persistent);
                body
            }
            State::Chunk(_) if matches!(text, b"\n" | b"\r\n") => State::Size,
            State::Chunk(_) => return Err("a chunk is longer than it says"),
            State::Trailer if matches!(text, b"\n" | b"\r\n") => State::Length(0),
            State::Trailer => State::Trailer,
            _ => {
                let size = text.split(|&b| b == b';').next().unwrap_or_default();
                match number(size.trim_ascii(), 16).ok_or("a chunk's size makes no sense")? {
                    0 => State::Trailer,
                    size => State::Chunk(size),
                }
            }
        };
        self.kept.clear();
        Ok(true)
    }
}

/// Behind the next line end from `from` on; with `is_head`, the empty line that ends a head.
fn end_of_text(bytes: &[u8], from: usize, is_head: bool) -> Option<usize> {
    let mut line_ends = bytes.iter().enumerate().skip(from).filter(|(_, b)| **b == b'\n');
    let is_end = |before: &[u8]| {
        !is_head || matches!(before, [] | [b'\r'] | [.., b'\n'] | [.., b'\n', b'\r'])
    };
    line_ends.find(|(i, _)| is_end(&bytes[..*i])).map(|(i, _)| i + 1)
}

/// Status code, whether the connection persists (RFC 9112, 9.3), how the body ends (6.3).
fn head(text: &[u8], head_only: bool) -> Fed<(u16, bool, State)> {
    // A bare LF ends a line too (RFC 9112, section 2.2).
    let lines = text.split(|&b| b == b'\n');
    let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status_line = status_line(lines.next().unwrap_or_default());
    let (status, mut persistent) = status_line.ok_or("the answer is not HTTP")?;
    // Content-Length; of no value if it is no number, or if two of them differ.
    let mut length: Option<Option<u64>> = None;
    let mut chunked = false;
    // Only these initials matter; most lines are dismissed by their first byte.
    for line in lines.filter(|line| matches!(line, [b'c' | b'C' | b't' | b'T', ..])) {
        if let Some(value) = value_of(line, b"content-length") {
            let value = number(value, 10);
            length = Some(value.filter(|_| length.is_none_or(|known| known == value)));
        } else if let Some(value) = value_of(line, b"connection") {
            for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                let is_close = option.eq_ignore_ascii_case(b"close");
                let is_keep_alive = option.eq_ignore_ascii_case(b"keep-alive");
                persistent = (persistent || is_keep_alive) && !is_close;
            }
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            let last = value.rsplit(|&b| b == b',').next().unwrap_or_default();
            chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }
    let body = match length {
        // 1xx announces the real response (RFC 9110, section 15.2).
        _ if status < 200 => State::Head,
        _ if head_only || matches!(status, 204 | 304) => State::Length(0),
        _ if chunked => State::Size,
        Some(None) => return Err("the answer's length makes no sense"),
        Some(Some(length)) if persistent => State::Length(length),
        // As ab: what follows the head until the server closes is the body, also bytes
        // beyond Content-Length; but fewer than it promises are too few.
        length => State::Close(length.flatten().unwrap_or(0)),
    };
    Ok((status, persistent && !matches!(body, State::Close(_)), body))
}

/// Status code, and whether the version lets the connection persist.
fn status_line(line: &[u8]) -> Option<(u16, bool)> {
    let [minor @ b'0'..=b'9', b' ', code @ ..] = line.strip_prefix(b"HTTP/1.")? else {
        return None;
    };
    let (code, after) = code.split_at_checked(3)?;
    let status = number(code, 10).filter(|status| *status >= 100)? as u16;
    let whole = !after.first().is_some_and(u8::is_ascii_alphanumeric);
    whole.then_some((status, *minor != b'0'))
}

/// Digits and nothing else.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text, radix).ok().filter(|_| !text.starts_with('+'))
}

/// The value of the field line, if it is the field `name` (in lower case).
pub(crate) fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}
