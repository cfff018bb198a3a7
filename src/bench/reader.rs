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

/// What is to come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    StatusLine,
    Field,
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

/// What the fields say of the body's length.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    /// The last transfer coding is chunked.
    chunked: bool,
    /// Content-Length is no number, or two of them differ.
    contradictory: bool,
}

/// The reader of one connection. Small: its buffers stay without memory as long as lines arrive
/// whole, as nearly all do.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    framing: Framing,
    answer: Answer,
    /// Bytes of the head, or of the line between chunks, so far.
    measured: usize,
    /// The part of a line that has come so far.
    kept: Vec<u8>,
    /// The head so far, if it is to be kept.
    text: Vec<u8>,
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

    /// Takes the bytes that came next. With the last of a response it gives the answer, and is ready
    /// for a new response; until then None. The error says why they are no HTTP response.
    #[inline]
    pub fn feed(
        &mut self,
        bytes: &[u8],
        heads: &mut Heads,
    ) -> Result<Option<Answer>, &'static str> {
        self.answer.total += bytes.len() as u64;
        if !self.advance(bytes, heads)? {
            return Ok(None);
        }
        let (answer, kept) = (self.answer, std::mem::take(&mut self.kept));
        *self = Reader { kept, ..Reader::default() };
        Ok(Some(answer))
    }

    /// The whole response if the connection has ended now; None if that cuts it short, or if it
    /// never began.
    pub fn end(&self) -> Option<Answer> {
        self.awaits_close().then_some(self.answer)
    }

    /// Whether the response has ended.
    fn advance(&mut self, mut rest: &[u8], heads: &mut Heads) -> Result<bool, &'static str> {
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
                    if !self.line(&mut rest, heads)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Takes the next line, and says whether all of it was there.
    fn line(&mut self, rest: &mut &[u8], heads: &mut Heads) -> Result<bool, &'static str> {
        let end = rest.iter().position(|&b| b == b'\n');
        let (part, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        *rest = after;
        self.measured += part.len();
        if self.measured > HEAD_LIMIT {
            return Err("the response's head, or a line between chunks, is too long");
        }
        if end.is_none() {
            self.kept.extend_from_slice(part);
            return Ok(false);
        }
        if self.kept.is_empty() {
            self.whole_line(part, heads)?;
        } else {
            let mut kept = std::mem::take(&mut self.kept);
            kept.extend_from_slice(part);
            self.whole_line(&kept, heads)?;
            kept.clear();
            self.kept = kept;
        }
        Ok(true)
    }

    fn whole_line(&mut self, raw: &[u8], heads: &mut Heads) -> Result<(), &'static str> {
        let in_head = matches!(self.state, State::StatusLine | State::Field);
        let keep = in_head && (heads.keep_heads || heads.head.is_empty());
        if keep {
            self.text.extend_from_slice(raw);
        }
        // A bare LF ends a line too (RFC 9112, section 2.2).
        let line = raw.strip_suffix(b"\n").unwrap_or(raw);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::StatusLine => {
                let (status, persistent) = status_line(line).ok_or("the answer is not HTTP")?;
                (self.answer.status, self.answer.persistent) = (status, persistent);
                self.framing = Framing::default();
                self.state = State::Field;
            }
            State::Field if line.is_empty() => {
                if keep {
                    heads.head = std::mem::take(&mut self.text);
                }
                self.end_head(heads.head_only)?;
            }
            // Only these initials matter; most lines are dismissed by their first byte.
            State::Field => {
                if let [b'c' | b'C' | b't' | b'T', ..] = line {
                    self.field(line);
                }
            }
            State::Chunk(_) if line.is_empty() => self.state = State::Size,
            State::Chunk(_) => return Err("a chunk is longer than it says"),
            State::Trailer if line.is_empty() => self.state = State::Length(0),
            State::Trailer => {}
            _ => {
                self.state = match chunk_size(line).ok_or("a chunk's size makes no sense")? {
                    0 => State::Trailer,
                    size => State::Chunk(size),
                };
            }
        }
        if self.state != State::Field {
            self.measured = 0;
        }
        Ok(())
    }

    fn field(&mut self, line: &[u8]) {
        let framing = &mut self.framing;
        if let Some(value) = value_of(line, b"content-length") {
            match decimal(value) {
                Some(n) if framing.length.is_none_or(|known| known == n) => {
                    framing.length = Some(n);
                }
                _ => framing.contradictory = true,
            }
        } else if let Some(value) = value_of(line, b"connection") {
            for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    self.answer.persistent = false;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    self.answer.persistent = true;
                }
            }
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            let last = value.rsplit(|&b| b == b',').next().unwrap_or_default();
            framing.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }

    /// How the body ends (RFC 9112, section 6.3).
    fn end_head(&mut self, head_only: bool) -> Result<(), &'static str> {
        let Framing { length, chunked, contradictory } = self.framing;
        self.state = match length {
            // 1xx announces the real response (RFC 9110, section 15.2).
            _ if self.answer.status < 200 => State::StatusLine,
            _ if head_only || matches!(self.answer.status, 204 | 304) => State::Length(0),
            _ if chunked => State::Size,
            _ if contradictory => return Err("the answer's length makes no sense"),
            Some(length) if self.answer.persistent => State::Length(length),
            // As ab: what follows the head until the server closes is the body, also bytes
            // beyond Content-Length; but fewer than it promises are too few.
            _ => State::Close(length.unwrap_or(0)),
        };
        self.answer.persistent &= !matches!(self.state, State::Close(_));
        Ok(())
    }
}

/// Status code, and whether the version lets the connection persist (RFC 9112, section 9.3).
fn status_line(line: &[u8]) -> Option<(u16, bool)> {
    let [minor @ b'0'..=b'9', b' ', code @ ..] = line.strip_prefix(b"HTTP/1.")? else {
        return None;
    };
    let (code, after) = code.split_at_checked(3)?;
    let status = decimal(code).filter(|status| *status >= 100)? as u16;
    let whole = !after.first().is_some_and(u8::is_ascii_alphanumeric);
    whole.then_some((status, *minor != b'0'))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|_| digits.iter().all(u8::is_ascii_digit))
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&b| b == b';').next()?.trim_ascii();
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text, 16).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))
}

/// The value of the field line, if it is the field `name` (in lower case).
pub(crate) fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}
