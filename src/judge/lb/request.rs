//! A request as a backend of the judge reads it: strictly, so that whatever two parsers could read
//! in two ways is seen.
//!
//! Knows no sockets. Entry point: [`read`]. Note: `notes/judge.md`.

use crate::judge::answer::{chunks, content_length, digit, field_lines, has_option, values};

/// A longer head is no request.
const HEAD_LIMIT: usize = 64 * 1024;

/// One request, understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Request {
    pub method: String,
    pub target: String,
    pub minor: u8,
    /// Request line and field lines, without the empty line.
    pub head: String,
    pub content: Vec<u8>,
}

impl Request {
    /// The values of a field's lines.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        values(&self.head, name).collect()
    }

    /// Whether the connection may be kept behind the answer.
    pub(crate) fn persists(&self) -> bool {
        let says = |option| has_option(&self.head, option);
        !says("close") && (self.minor > 0 || says("keep-alive"))
    }
}

/// The first request in the bytes and its length; None: it is not whole yet. The error says what
/// makes it none.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(length) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        let has_lone_lf = bytes.windows(2).any(|w| w.ends_with(b"\n") && w != b"\r\n");
        return match has_lone_lf || bytes.len() > HEAD_LIMIT {
            true => Err("the head is no HTTP".to_owned()),
            false => Ok(None),
        };
    };
    let (head, rest) = bytes.split_at(length);
    let rest = rest.get(4..).unwrap_or_default();
    let mut request = head_of(head)?;
    let codings = request.fields("transfer-encoding");
    let (content, used) = match (codings.as_slice(), content_length(&request.head)?) {
        ([], length) => {
            let length = length.unwrap_or(0);
            let Some(content) = rest.get(..length) else { return Ok(None) };
            (content.to_vec(), length)
        }
        (_, Some(_)) => return Err("Content-Length and Transfer-Encoding in one".to_owned()),
        ([coding], None) if coding.eq_ignore_ascii_case("chunked") && request.minor > 0 => {
            let Some(chunks) = chunks(rest)? else { return Ok(None) };
            chunks
        }
        (codings, None) => return Err(format!("Transfer-Encoding is {}", codings.join(", "))),
    };
    request.content = content;
    Ok(Some((request, length + 4 + used)))
}

fn head_of(head: &[u8]) -> Result<Request, String> {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return Err(format!("the request line has {} parts", parts.len()));
    };
    if method.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic()) || target.is_empty() {
        return Err("the request line is wrong".to_owned());
    }
    let minor = version.strip_prefix("HTTP/1.").and_then(digit).ok_or("the version is wrong")?;
    field_lines(lines)?;
    let (method, target) = ((*method).to_owned(), (*target).to_owned());
    let request = Request { method, target, minor, head: text.clone(), content: Vec::new() };
    match request.fields("host").len() {
        0 if minor > 0 => Err("HTTP/1.1 without Host".to_owned()),
        2.. => Err("two lines of Host".to_owned()),
        _ => Ok(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_or_not_yet_or_wrong() {
        let post = "POST /t HTTP/1.1\r\nHost: a\r\n";
        for (bytes, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nX", "GET / '' 1 left"),
            ("GET / HTTP/1.1\r\nHost: a\r\n", "more"),
            (&format!("{post}Content-Length: 2\r\n\r\nhi"), "POST /t 'hi' 0 left"),
            (&format!("{post}Content-Length: 2\r\n\r\nh"), "more"),
            (
                &format!("{post}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
                "POST /t 'hi' 0 left",
            ),
            (
                &format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
                "Content-Length and Transfer-Encoding in one",
            ),
            (&format!("{post}Transfer-Encoding: x\r\n\r\n"), "Transfer-Encoding is x"),
            (&format!("{post}A : b\r\n\r\n"), "a field line is wrong (A : b)"),
            (&format!("{post}Host: b\r\n\r\n"), "two lines of Host"),
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 without Host"),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "the request line has 4 parts"),
            ("GET / HTTP/1.1\nHost: a\n\n", "the head is no HTTP"),
        ] {
            let said = match read(bytes.as_bytes()) {
                Ok(None) => "more".to_owned(),
                Ok(Some((request, used))) => {
                    let content = String::from_utf8_lossy(&request.content).into_owned();
                    let left = bytes.len() - used;
                    format!("{} {} '{content}' {left} left", request.method, request.target)
                }
                Err(why) => why,
            };
            assert_eq!(said, expected, "{bytes:?}");
        }
    }
}
