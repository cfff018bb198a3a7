//! Responses as a gateway reads them (RFC 9112 §4, §6.3): where the content ends, or why the
//! message cannot be trusted.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;

/// Bytes that a backend sends, and what a gateway makes of them.
pub struct ResponseCase {
    /// What is special about it.
    pub name: &'static str,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// The request was HEAD.
    pub to_head: bool,
    /// What our own load balancer makes of it.
    pub verdict: ResponseVerdict,
}

/// See [`ResponseCase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseVerdict {
    /// The head is understood: status, framing, and whether the connection may persist.
    Accepted(u16, Framing, bool),
    /// More must arrive before anything is known.
    Incomplete,
    /// It is not to be trusted.
    Refused(Fault),
}
use ResponseVerdict::{Accepted as Ok, Incomplete};

impl From<Fault> for ResponseVerdict {
    fn from(fault: Fault) -> ResponseVerdict {
        ResponseVerdict::Refused(fault)
    }
}

/// A row of the table: name, bytes, and what our own load balancer makes of them.
fn row(name: &'static str, bytes: impl AsRef<[u8]>, verdict: impl Into<ResponseVerdict>) -> ResponseCase {
    ResponseCase { name, bytes: bytes.as_ref().to_vec(), to_head: false, verdict: verdict.into() }
}

/// A row for a status line and field lines.
fn with(name: &'static str, status: &str, lines: &str, verdict: impl Into<ResponseVerdict>) -> ResponseCase {
    row(name, format!("HTTP/1.1 {status}\r\n{lines}\r\n"), verdict)
}

/// A row for a status line, with a length of zero.
fn line(name: &'static str, line: &str, verdict: impl Into<ResponseVerdict>) -> ResponseCase {
    row(name, format!("{line}\r\nContent-Length: 0\r\n\r\n"), verdict)
}

/// A row for field lines behind a length of zero.
fn field(name: &'static str, line: &str, verdict: impl Into<ResponseVerdict>) -> ResponseCase {
    with(name, "200 OK", &format!("Content-Length: 0\r\n{line}"), verdict)
}

/// A row for the answer to HEAD.
fn to_head(name: &'static str, lines: &str) -> ResponseCase {
    ResponseCase { to_head: true, ..with(name, "200 OK", lines, empty(200)) }
}

/// Understood, without content, on a connection that persists.
fn empty(status: u16) -> ResponseVerdict {
    Ok(status, Length(0), true)
}

/// All responses.
pub fn responses() -> Vec<ResponseCase> {
    [status_lines(), framings(), fields(), of_the_connection()].into_iter().flatten().collect()
}

/// Fields that are not for the client.
fn of_the_connection() -> Vec<ResponseCase> {
    vec![
        with("fields that Connection names", "200 OK",
            "Connection: x, date\r\nX: y\r\nDate: then\r\nContent-Length: 0\r\n", empty(200)),
        with("fields of one connection", "200 OK",
            "Keep-Alive: x\r\nUpgrade: h2c\r\nTrailer: x\r\nTE: x\r\nContent-Length: 0\r\n", empty(200)),
    ]
}

fn status_lines() -> Vec<ResponseCase> {
    vec![
        row("nothing yet", "", Incomplete),
        row("half a status line", "HTTP/1.1 20", Incomplete),
        row("a status line without fields", "HTTP/1.1 200 OK\r\n", Incomplete),
        line("an ordinary status line", "HTTP/1.1 200 OK", empty(200)),
        line("a reason of several words", "HTTP/1.1 404 Not Found", empty(404)),
        line("an empty reason", "HTTP/1.1 200 ", empty(200)),
        line("no reason, and no space before it: many forget it", "HTTP/1.1 200", empty(200)),
        line("a status that is not known", "HTTP/1.1 299 Who", empty(299)),
        line("a reason beyond ASCII", "HTTP/1.1 200 d\u{e9}j\u{e0}", empty(200)),
        line("HTTP/1.0 closes by itself", "HTTP/1.0 200 OK", Ok(200, Length(0), false)),
        line("a higher minor version", "HTTP/1.3 200 OK", empty(200)),
        line("another major version", "HTTP/2.0 200 OK", MajorVersion),
        line("another protocol", "ICYX/1.1 200 OK", Version),
        line("a short protocol name", "ICY 200 OK", StatusLine),
        line("two spaces before the status", "HTTP/1.1  200 OK", StatusLine),
        line("a status of two digits", "HTTP/1.1 20 OK", StatusLine),
        line("a status of four digits", "HTTP/1.1 2000 OK", StatusLine),
        line("a status with a sign", "HTTP/1.1 +20 OK", StatusLine),
        line("a status of letters", "HTTP/1.1 abc OK", StatusLine),
        line("a status below 100", "HTTP/1.1 099 OK", StatusLine),
        line("a status beyond 599 (RFC 9110 §15)", "HTTP/1.1 600 OK", StatusLine),
        line("no status", "HTTP/1.1", StatusLine),
        line("a tab for a space", "HTTP/1.1\t200 OK", StatusLine),
        row("an empty line in front", "\r\nHTTP/1.1 200 OK\r\n\r\n", StatusLine),
        row("no HTTP at all", "hello\r\n\r\n", StatusLine),
        row("a lone LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", LoneLf),
        row("a bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", BareCr),
        row("a NUL in the reason", "HTTP/1.1 200 \0\r\n\r\n", ControlCharacter),
        row("a reason without end", long("HTTP/1.1 200 ", b'a', 9000, ""), FieldSectionTooLarge),
    ]
}

fn framings() -> Vec<ResponseCase> {
    let ok = |name, lines: &str, verdict: ResponseVerdict| with(name, "200 OK", lines, verdict);
    let bad = |name, lines: &str, fault: Fault| with(name, "200 OK", lines, fault);
    let (te, length) = ("Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n");
    vec![
        ok("a length", length, Ok(200, Length(5), true)),
        ok("chunked", te, Ok(200, Chunked, true)),
        ok("neither: the content ends with the connection", "", Ok(200, UntilClose, false)),
        to_head("the answer to HEAD has no content, whatever it says", length),
        to_head("the answer to HEAD, chunked", te),
        to_head("the answer to HEAD, without either", ""),
        with("204 has no content", "204 No Content", "", empty(204)),
        with("204 has no content, whatever it says", "204 No Content", length, empty(204)),
        with("304 has no content", "304 Not Modified", length, empty(304)),
        with("an interim response has no content", "100 Continue", "", empty(100)),
        with("103 either", "103 Early Hints", "Link: </a>\r\n", empty(103)),
        bad("both fields", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
        bad("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", ContentLengthsDiffer),
        bad("one length twice", "Content-Length: 5\r\nContent-Length: 5\r\n", ContentLengthTwice),
        bad("a list of lengths", "Content-Length: 5, 5\r\n", ContentLengthList),
        bad("a length that is no number", "Content-Length: five\r\n", ContentLength),
        bad("a length that is negative", "Content-Length: -1\r\n", ContentLength),
        bad("a length too large for 64 bits", "Content-Length: 18446744073709551616\r\n", ContentLengthTooLarge),
        with("an invalid length in an answer that has no content",
            "204 No Content", "Content-Length: x\r\n", ContentLength),
        bad("a coding that is not chunked in the end", "Transfer-Encoding: gzip\r\n", ChunkedNotLast),
        bad("a coding that is not known", "Transfer-Encoding: gzip, chunked\r\n", UnknownEncoding),
        bad("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", ChunkedTwice),
        row("a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", EncodingInHttp10),
    ]
}

fn fields() -> Vec<ResponseCase> {
    vec![
        field("close", "Connection: close\r\n", Ok(200, Length(0), false)),
        field("close in a list", "Connection: x, Close\r\n", Ok(200, Length(0), false)),
        field("keep-alive", "Connection: keep-alive\r\n", empty(200)),
        line("keep-alive from HTTP/1.0", "HTTP/1.0 200 OK\r\nConnection: keep-alive", empty(200)),
        field("a space before a colon: a gateway could remove it (RFC 9112 §5.1); refused",
            "A : b\r\n", SpaceBeforeColon),
        field("a folded line", "A: b\r\n c\r\n", ObsFold),
        field("a line without a colon", "hello\r\n", MissingColon),
        field("a lone LF", "A: b\nC: d\r\n", LoneLf),
        field("a bare CR, which would split the response for a lenient client",
            "A: b\rSet-Cookie: c\r\n", BareCr),
        field("a NUL", "A: \0\r\n", ControlCharacter),
        with("too many fields", "200 OK", &"A: b\r\n".repeat(101), TooManyFields),
        row("a field without end", long("HTTP/1.1 200 OK\r\nA: ", b'b', 17000, ""), FieldSectionTooLarge),
    ]
}
