//! A response's head: where it ends, and what it says of the body's end.
//!
//! Knows no socket and no body. Entry points: [`end_of_head`], [`Head::parse`]. Note: `notes/bench.md`.

/// The length of the head that begins `bytes`, the empty line included; a bare LF ends a line
/// too (RFC 9112, section 2.2). Bytes before `from` have been searched already.
pub fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// What a response's head says of its framing.
#[derive(Debug, Default)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Whether the connection may carry another request (RFC 9112, section 9.3).
    pub persistent: bool,
    /// Content-Length.
    pub length: Option<u64>,
    /// The last transfer coding is chunked.
    pub chunked: bool,
    /// Content-Length is no number, or two of them differ.
    pub contradictory: bool,
}

impl Head {
    /// None if the text is no head of an HTTP/1 response.
    pub fn parse(text: &[u8]) -> Option<Head> {
        let mut lines = text.split(|&b| b == b'\n');
        let rest = lines.next()?.strip_prefix(b"HTTP/1.")?;
        let [minor @ b'0'..=b'9', b' ', a, b, c, after @ ..] = rest else {
            return None;
        };
        let digits = [a, b, c].map(|d| d.wrapping_sub(b'0'));
        if digits.iter().any(|d| *d > 9)
            || digits[0] == 0
            || after.first().is_some_and(u8::is_ascii_alphanumeric)
        {
            return None;
        }
        let mut head = Head {
            status: digits.iter().fold(0, |n, d| n * 10 + u16::from(*d)),
            persistent: *minor != b'0',
            ..Head::default()
        };
        for line in lines {
            // Only these initials matter; most lines are dismissed by their first byte.
            if matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
                head.field(line);
            }
        }
        Some(head)
    }

    fn field(&mut self, line: &[u8]) {
        if let Some(value) = value_of(line, b"content-length") {
            let digits =
                std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
            match digits.and_then(|v| v.parse().ok()) {
                Some(n) if self.length.is_none_or(|known| known == n) => self.length = Some(n),
                _ => self.contradictory = true,
            }
        } else if let Some(value) = value_of(line, b"connection") {
            for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    self.persistent = false;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    self.persistent = true;
                }
            }
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            let last = value.rsplit(|&b| b == b',').next().unwrap_or_default();
            self.chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }
}

/// The value of the field line, if it is the field `name` (in lower case).
pub fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}
