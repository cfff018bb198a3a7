//! A response, read strictly: bytes in, an answer out once it is whole.
//!
//! This reader is the judge's own, on purpose none of the servers': a fault that both shared would
//! be invisible. It knows no sockets. Entry point: [`read`]. Note: `notes/judge.md`.

use super::show;

/// A longer head, or a longer line between chunks, is no answer.
const HEAD_LIMIT: usize = 64 * 1024;
/// More content than any check asks for.
pub(super) const CONTENT_LIMIT: usize = 64 * 1024 * 1024;

/// How the end of the content is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// The status, or the method, allows no content.
    #[default]
    None,
    Length,
    Chunked,
    /// It ends with the connection.
    Close,
}

/// One response, understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub minor: u8,
    pub status: u16,
    /// Status line and field lines, without the empty line.
    pub head: String,
    pub content: Vec<u8>,
    pub end: End,
}

impl Answer {
    /// The values of a field, one for each of its lines.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.head, name)
    }

    /// The value of a field's first line.
    pub(crate) fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        values(&self.head, name).next()
    }

    /// Whether the connection closes behind it.
    pub(crate) fn closes(&self) -> bool {
        let says = |option| has_option(&self.head, option);
        self.end == End::Close || says("close") || (self.minor == 0 && !says("keep-alive"))
    }

    /// In a few words: the status line, and how much content.
    pub(crate) fn summary(&self) -> String {
        let line = self.head.split("\r\n").next().unwrap_or_default();
        let close = if self.closes() { ", then close" } else { "" };
        format!(
            "{}, {} bytes of content{close}",
            show::escaped(line.as_bytes()),
            self.content.len()
        )
    }
}

/// The values of a field's lines, in a head of either kind.
pub(super) fn values<'a>(head: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    head.split("\r\n").skip(1).filter_map(move |line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim_matches([' ', '\t']))
    })
}

/// Whether Connection has the option, in a head of either kind.
pub(super) fn has_option(head: &str, option: &str) -> bool {
    let mut options = values(head, "connection").flat_map(|value| value.split(','));
    options.any(|o| o.trim().eq_ignore_ascii_case(option))
}

/// The first response in the bytes and its length; None: it is not whole yet. `ended`: no more
/// will come. The error says what makes it no response.
pub(crate) fn read(
    bytes: &[u8],
    to_head: bool,
    ended: bool,
) -> Result<Option<(Answer, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        let could_be = bytes.iter().zip(b"HTTP/1.").all(|(a, b)| a == b);
        return match could_be && bytes.len() < HEAD_LIMIT && !has_lone_lf(bytes) {
            true => Ok(None),
            false => Err("no HTTP response".to_owned()),
        };
    };
    let (head, rest) = bytes.split_at(end);
    let rest = rest.get(4..).unwrap_or_default();
    let mut answer = head_of(head)?;
    let begin = end + 4;
    answer.end = end_of(&answer, to_head)?;
    let length = content_length(&answer.head)?.unwrap_or(0);
    let used = match answer.end {
        End::None => 0,
        End::Close if ended => rest.len(),
        End::Close => return Ok(None),
        End::Length if rest.len() < length => return Ok(None),
        End::Length => length,
        End::Chunked => {
            let Some((content, used)) = chunks(rest)? else { return Ok(None) };
            answer.content = content;
            return Ok(Some((answer, begin + used)));
        }
    };
    answer.content = rest.get(..used).unwrap_or_default().to_vec();
    Ok(Some((answer, begin + used)))
}

fn has_lone_lf(bytes: &[u8]) -> bool {
    let lines = bytes.split(|b| *b == b'\n');
    let ended = bytes.iter().filter(|b| **b == b'\n').count();
    lines.take(ended).any(|line| !line.ends_with(b"\r"))
}

fn head_of(head: &[u8]) -> Result<Answer, String> {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let wrong = || format!("the status line is wrong ({})", show::escaped(line.as_bytes()));
    let (version, rest) = line.split_once(' ').ok_or_else(wrong)?;
    let minor = version.strip_prefix("HTTP/1.").and_then(digit).ok_or_else(wrong)?;
    let (code, after) = rest.split_at_checked(3).ok_or_else(wrong)?;
    let status = code.parse().ok().filter(|s| (100..600).contains(s)).ok_or_else(wrong)?;
    if !(after.is_empty() || after.starts_with(' ')) || has_control(line) {
        return Err(wrong());
    }
    field_lines(lines)?;
    Ok(Answer { minor, status, head: text, ..Answer::default() })
}

/// The minor version: one digit, RFC 9112 §2.3.
pub(super) fn digit(text: &str) -> Option<u8> {
    text.parse().ok().filter(|_| text.len() == 1)
}

fn has_control(line: &str) -> bool {
    line.contains(['\r', '\n', '\0'])
}

/// The error names the first line that is no field line.
pub(super) fn field_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Result<(), String> {
    for line in lines {
        let name = line.split_once(':').map(|(name, _)| name).filter(|name| !name.is_empty());
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !name.is_some_and(|n| n.bytes().all(is_token)) || has_control(line) {
            return Err(format!("a field line is wrong ({})", show::escaped(line.as_bytes())));
        }
    }
    Ok(())
}

/// RFC 9112 §6.3, without its leniencies.
fn end_of(answer: &Answer, to_head: bool) -> Result<End, String> {
    let length = content_length(&answer.head)?;
    let codings: Vec<&str> = answer.fields("transfer-encoding").collect();
    let is_chunked = codings.iter().any(|c| c.eq_ignore_ascii_case("chunked"));
    if to_head || answer.status < 200 || matches!(answer.status, 204 | 304) {
        return Ok(End::None);
    }
    match (codings.len(), length) {
        (0, Some(_)) => Ok(End::Length),
        (0, None) => Ok(End::Close),
        (_, Some(_)) => {
            Err("Content-Length and Transfer-Encoding contradict each other".to_owned())
        }
        (1, None) if is_chunked && answer.minor > 0 => Ok(End::Chunked),
        (_, None) => Err(format!("Transfer-Encoding is {}", codings.join(", "))),
    }
}

/// What a head says of the content's length, if its lines agree.
pub(super) fn content_length(head: &str) -> Result<Option<usize>, String> {
    let mut values = values(head, "content-length");
    let Some(value) = values.next() else { return Ok(None) };
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let length = value.parse().ok().filter(|n| digits && *n <= CONTENT_LIMIT);
    match (length, values.all(|other| other == value)) {
        (Some(length), true) => Ok(Some(length)),
        _ => Err(format!("Content-Length is {}", show::escaped(value.as_bytes()))),
    }
}

/// The content of all chunks, and the length with framing and trailers.
pub(super) fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut content, mut at) = (Vec::new(), 0);
    let line_at = |at: usize| -> Result<Option<&[u8]>, String> {
        let rest = bytes.get(at..).unwrap_or_default();
        match rest.windows(2).position(|w| w == b"\r\n") {
            Some(end) => Ok(rest.get(..end)),
            None if rest.len() > HEAD_LIMIT => Err("a line between chunks has no end".to_owned()),
            None => Ok(None),
        }
    };
    loop {
        let Some(line) = line_at(at)? else { return Ok(None) };
        let digits = String::from_utf8_lossy(line.split(|b| *b == b';').next().unwrap_or_default());
        let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(&digits, 16).ok();
        let Some(size) = size.filter(|size| is_hex && *size <= CONTENT_LIMIT) else {
            return Err(format!("a chunk's size is {}", show::short(line)));
        };
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let Some(data) = chunk.strip_suffix(b"\r\n") else {
            return Err("a chunk does not end where its size says".to_owned());
        };
        content.extend_from_slice(data);
        at += size + 2;
    }
    loop {
        let Some(trailer) = line_at(at)? else { return Ok(None) };
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Ok(Some((content, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, in short: status, end, content and what is left; or what is wrong.
    fn said(bytes: &str, to_head: bool, ended: bool) -> String {
        match read(bytes.as_bytes(), to_head, ended) {
            Ok(None) => "more".to_owned(),
            Ok(Some((a, used))) => {
                let content = String::from_utf8_lossy(&a.content).into_owned();
                format!("{} {:?} {content} | {}", a.status, a.end, &bytes[used..])
            }
            Err(why) => why,
        }
    }

    #[test]
    #[rustfmt::skip] // a table
    fn an_answer_ends_where_the_rfc_says() {
        let ok = "HTTP/1.1 200 OK\r\n";
        for (lines, expected) in [
            ("Content-Length: 2\r\n\r\nhiX", "200 Length hi | X"),
            ("Content-Length: 2\r\n\r\nh", "more"),
            ("Content-Length: 0\r\n\r\n", "200 Length  | "),
            ("\r\nall", "200 Close all | "),
            ("Transfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: b\r\n\r\nX", "200 Chunked hi | X"),
            ("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", "more"),
            ("Transfer-Encoding: chunked\r\n\r\n2\r\nhiX\r\n", "a chunk does not end where its size says"),
            ("Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "Content-Length is 2"),
            ("Content-Length: +2\r\n\r\nhi", "Content-Length is +2"),
            ("A b\r\n\r\n", "a field line is wrong (A b)"),
            ("A : b\r\n\r\n", "a field line is wrong (A : b)"),
            ("A: b\nC: d\r\n\r\n", "a field line is wrong (A: b\\nC: d)"),
            ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length and Transfer-Encoding contradict each other"),
        ] {
            let ended = !expected.contains("more");
            assert_eq!(said(&format!("{ok}{lines}"), false, ended), expected, "{lines:?}");
        }
        assert_eq!(said(&format!("{ok}\r\nall"), false, false), "more");
        assert_eq!(said(&format!("{ok}Content-Length: 9\r\n\r\nX"), true, false), "200 None  | X");
        assert_eq!(said("HTTP/1.1 304 x\r\n\r\nX", false, false), "304 None  | X");
    }

    #[test]
    fn what_is_no_http_is_known_at_once() {
        for bytes in ["\x15\x03\x01", "hello", "HTTP/2 200", "HTTP/1.1 200 OK\nA: b"] {
            assert_eq!(said(bytes, false, false), "no HTTP response", "{bytes:?}");
        }
        for (bytes, expected) in [
            ("", "more"),
            ("HTT", "more"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "the status line is wrong (HTTP/1.1 2000 OK)"),
            ("HTTP/1.1 OK\r\n\r\n", "the status line is wrong (HTTP/1.1 OK)"),
            ("HTTP/1.+1 200 OK\r\n\r\n", "the status line is wrong (HTTP/1.+1 200 OK)"),
            ("HTTP/1.255 200 OK\r\n\r\n", "the status line is wrong (HTTP/1.255 200 OK)"),
        ] {
            assert_eq!(said(bytes, false, false), expected);
        }
    }

    #[test]
    fn whether_the_connection_persists_follows_from_version_and_connection() {
        for (head, closes) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: a, Close", true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0", true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive", false),
            ("HTTP/1.1 200 OK", true),
        ] {
            let answer = read(format!("{head}\r\n\r\n").as_bytes(), false, true);
            assert_eq!(answer.map(|a| a.map(|(a, _)| a.closes())), Ok(Some(closes)), "{head:?}");
        }
    }
}
