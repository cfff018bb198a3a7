//! Lines, field lines, tokens and lists: what requests, responses and trailers have in common.
//!
//! Every verdict here follows from a position in the bytes: more bytes never change it, so a
//! message cut into pieces gets the same verdict as a whole one. Note: `notes/http.md`.

use super::{Limits, ParseError};

/// For each byte, whether it may stand in a token (RFC 9110 §5.6.2), in a field value (§5.5), and in
/// a request-target (RFC 3986 §2, without `#`). A look into a table costs half of the comparisons,
/// and all bytes of a head are asked about.
static CLASSES: [[bool; 256]; 3] = {
    let mut classes = [[false; 256]; 3];
    let mut i = 0;
    while i < 256 {
        let (byte, is_alphanumeric) = (i as u8, (i as u8).is_ascii_alphanumeric());
        classes[0][i] = is_alphanumeric
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        classes[1][i] = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        classes[2][i] = is_alphanumeric
            || matches!(byte, b'!' | b'$'..=b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'_' | b'~');
        i += 1;
    }
    classes
};

pub fn is_token_char(byte: u8) -> bool {
    CLASSES[0][byte as usize]
}

pub fn is_text_char(byte: u8) -> bool {
    CLASSES[1][byte as usize]
}

pub fn is_uri_char(byte: u8) -> bool {
    CLASSES[2][byte as usize]
}

/// A line without its CR LF, and what follows it. None: the line has not ended yet.
type Line<'a> = Result<Option<(&'a [u8], &'a [u8])>, ParseError>;

/// Takes one line off the front of `bytes`; if it has more than `longest`, it is `too_long`.
pub fn take_line(bytes: &[u8], longest: usize, too_long: ParseError) -> Line<'_> {
    let window = &bytes[..bytes.len().min(longest + 2)];
    let Some(end) = window.iter().position(|&b| !is_text_char(b)) else {
        return if window.len() > longest { Err(too_long) } else { Ok(None) };
    };
    if end > longest {
        return Err(too_long);
    }
    match (bytes[end], bytes.get(end + 1)) {
        (b'\r', Some(b'\n')) => Ok(Some((&bytes[..end], &bytes[end + 2..]))),
        (b'\r', None) => Ok(None),
        (b'\r', Some(_)) => Err(ParseError::BareCr),
        (b'\n', _) => Err(ParseError::LoneLf),
        _ => Err(ParseError::ControlCharacter),
    }
}

/// A field line: name and value, the white space around the value gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],  // as it was sent; names compare without regard to case
    pub value: &'a [u8], // any bytes but control characters
}

impl<'a> Field<'a> {
    fn new(line: &'a [u8], colon: usize) -> Field<'a> {
        Field { name: &line[..colon], value: line[colon + 1..].trim_ascii() }
    }

    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Reads a field line (RFC 9112 §5).
pub fn parse_field(line: &[u8]) -> Result<Field<'_>, ParseError> {
    let end = line.iter().position(|&b| !is_token_char(b)).unwrap_or(line.len());
    match line.get(end) {
        Some(b':') if end > 0 => Ok(Field::new(line, end)),
        Some(b' ' | b'\t') if end == 0 => Err(ParseError::ObsFold),
        Some(b' ' | b'\t') if line[end..].trim_ascii_start().starts_with(b":") => {
            Err(ParseError::SpaceBeforeColon)
        }
        Some(_) if line.contains(&b':') => Err(ParseError::FieldName),
        _ => Err(ParseError::MissingColon),
    }
}

/// A field section that has been read to its end and found valid; iterates over its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Reads a field section from the front of `bytes`, calls `visit` for each field, and
    /// returns the section and what follows its empty line. None: it has not ended yet.
    pub fn parse(
        bytes: &'a [u8],
        limits: &Limits,
        mut visit: impl FnMut(Field<'a>) -> Result<(), ParseError>,
    ) -> Result<Option<(Fields<'a>, &'a [u8])>, ParseError> {
        let (mut rest, mut count) = (bytes, 0);
        loop {
            let used = bytes.len() - rest.len();
            let room = limits.field_section - used;
            let line = take_line(rest, room, ParseError::FieldSectionTooLarge)?;
            let Some((line, after)) = line else { return Ok(None) };
            if line.is_empty() {
                return Ok(Some((Fields(&bytes[..used]), after)));
            }
            if count == limits.fields {
                return Err(ParseError::TooManyFields);
            }
            if bytes.len() - after.len() > limits.field_section {
                return Err(ParseError::FieldSectionTooLarge);
            }
            visit(parse_field(line)?)?;
            (rest, count) = (after, count + 1);
        }
    }

    pub fn values(self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |f| f.is(name)).map(|f| f.value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let end = self.0.iter().position(|&b| b == b'\r')?;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(2..).unwrap_or_default();
        let colon = line.iter().position(|&b| b == b':')?;
        Some(Field::new(line, colon))
    }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1); empty ones are passed over.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A number made of digits alone: no sign, no space. `None` if it is not, or does not fit.
pub fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
}

/// Appends a number as [`digits`] reads it. Heads are written for every request, and `write!` is
/// several times slower.
pub fn write_digits(out: &mut Vec<u8>, number: u64) {
    if number >= 10 {
        write_digits(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub fn write_number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    write_digits(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Whether two hexadecimal digits follow every `%` (RFC 3986 §2.1).
pub fn percents_encode(bytes: &[u8]) -> bool {
    let mut behind = bytes.split(|&b| b == b'%').skip(1);
    let is_hex = |b: &u8| b.is_ascii_hexdigit();
    behind.all(|bytes| bytes.len() >= 2 && bytes[..2].iter().all(is_hex))
}

/// Splits `host` or `host:port`, where the host may be an IPv6 address in brackets.
pub fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    match authority.iter().rposition(|&b| b == b':' || b == b']') {
        Some(i) if authority[i] == b':' => (&authority[..i], &authority[i + 1..]),
        _ => (authority, b""),
    }
}

/// Whether `bytes` is `host` or `host:port` (RFC 3986 §3.2): a name, an IPv4 address or a
/// bracketed IPv6 one; no user name.
pub fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = split_port(bytes);
    let host_is_valid = match host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")) {
        Some(v6) => str::from_utf8(v6).is_ok_and(|t| t.parse::<core::net::Ipv6Addr>().is_ok()),
        None => {
            let is_name_char = |&b| is_uri_char(b) && !b":/?@".contains(&b);
            !host.is_empty() && host.iter().all(is_name_char) && percents_encode(host)
        }
    };
    let is_port = |port| digits(port).is_some_and(|n| n <= 65535);
    host_is_valid && port.len() <= 5 && (port.is_empty() || is_port(port))
}
