//! Responses as a gateway reads them (RFC 9112 §4, §6.3): where the content ends, or why the
//! message cannot be trusted.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

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
use ResponseVerdict::{Accepted as Ok, Incomplete, Refused};

fn response(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    verdict: ResponseVerdict,
) -> ResponseCase {
    ResponseCase { name, bytes: bytes.into(), to_head: false, verdict }
}

/// A status line and these field lines.
fn head(status: &str, lines: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{lines}\r\n")
}

/// All responses.
pub fn responses() -> Vec<ResponseCase> {
    let mut all = status_lines();
    all.extend(framings());
    all.extend(fields());
    all.extend(of_the_connection());
    all
}

/// Fields that are not for the client.
fn of_the_connection() -> Vec<ResponseCase> {
    let of = |name, lines| response(name, head("200 OK", lines), Ok(200, Length(0), true));
    vec![
        of(
            "fields that Connection names",
            "Connection: x, date\r\nX: y\r\nDate: then\r\nContent-Length: 0\r\n",
        ),
        of(
            "fields of one connection",
            "Keep-Alive: x\r\nUpgrade: h2c\r\nTrailer: x\r\nTE: x\r\nContent-Length: 0\r\n",
        ),
    ]
}

fn status_lines() -> Vec<ResponseCase> {
    let line = |name, line: &str, verdict| {
        response(name, format!("{line}\r\nContent-Length: 0\r\n\r\n"), verdict)
    };
    let good = |name, text, status| line(name, text, Ok(status, Length(0), true));
    let bad = |name, text| line(name, text, Refused(E::StatusLine));
    vec![
        response("nothing yet", b"", Incomplete),
        response("half a status line", b"HTTP/1.1 20", Incomplete),
        response("a status line without fields", b"HTTP/1.1 200 OK\r\n", Incomplete),
        good("an ordinary status line", "HTTP/1.1 200 OK", 200),
        good("a reason of several words", "HTTP/1.1 404 Not Found", 404),
        good("an empty reason", "HTTP/1.1 200 ", 200),
        good("no reason, and no space before it: many forget it", "HTTP/1.1 200", 200),
        good("a status that is not known", "HTTP/1.1 299 Who", 299),
        good("a reason beyond ASCII", "HTTP/1.1 200 d\u{e9}j\u{e0}", 200),
        line("HTTP/1.0 closes by itself", "HTTP/1.0 200 OK", Ok(200, Length(0), false)),
        line("a higher minor version", "HTTP/1.3 200 OK", Ok(200, Length(0), true)),
        line("another major version", "HTTP/2.0 200 OK", Refused(E::MajorVersion)),
        line("another protocol", "ICYX/1.1 200 OK", Refused(E::Version)),
        bad("a short protocol name", "ICY 200 OK"),
        bad("two spaces before the status", "HTTP/1.1  200 OK"),
        bad("a status of two digits", "HTTP/1.1 20 OK"),
        bad("a status of four digits", "HTTP/1.1 2000 OK"),
        bad("a status with a sign", "HTTP/1.1 +20 OK"),
        bad("a status of letters", "HTTP/1.1 abc OK"),
        bad("a status below 100", "HTTP/1.1 099 OK"),
        bad("a status beyond 599 (RFC 9110 §15)", "HTTP/1.1 600 OK"),
        bad("no status", "HTTP/1.1"),
        bad("a tab for a space", "HTTP/1.1\t200 OK"),
        response("an empty line in front", b"\r\nHTTP/1.1 200 OK\r\n\r\n", Refused(E::StatusLine)),
        response("no HTTP at all", b"hello\r\n\r\n", Refused(E::StatusLine)),
        response("a lone LF", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Refused(E::LoneLf)),
        response("a bare CR in the reason", b"HTTP/1.1 200 O\rK\r\n\r\n", Refused(E::BareCr)),
        response("a NUL in the reason", b"HTTP/1.1 200 \0\r\n\r\n", Refused(E::ControlCharacter)),
        response(
            "a reason without end",
            long("HTTP/1.1 200 ", b'a', 9000, ""),
            Refused(E::FieldSectionTooLarge),
        ),
    ]
}

fn framings() -> Vec<ResponseCase> {
    let with = |name, status, lines, verdict| response(name, head(status, lines), verdict);
    let to_head = |name, lines, verdict| ResponseCase {
        to_head: true,
        ..response(name, head("200 OK", lines), verdict)
    };
    let te = "Transfer-Encoding: chunked\r\n";
    let length = "Content-Length: 5\r\n";
    vec![
        with("a length", "200 OK", length, Ok(200, Length(5), true)),
        with("chunked", "200 OK", te, Ok(200, Chunked, true)),
        with(
            "neither: the content ends with the connection",
            "200 OK",
            "",
            Ok(200, UntilClose, false),
        ),
        to_head(
            "the answer to HEAD has no content, whatever it says",
            length,
            Ok(200, Length(0), true),
        ),
        to_head("the answer to HEAD, chunked", te, Ok(200, Length(0), true)),
        to_head("the answer to HEAD, without either", "", Ok(200, Length(0), true)),
        with("204 has no content", "204 No Content", "", Ok(204, Length(0), true)),
        with(
            "204 has no content, whatever it says",
            "204 No Content",
            length,
            Ok(204, Length(0), true),
        ),
        with("304 has no content", "304 Not Modified", length, Ok(304, Length(0), true)),
        with("an interim response has no content", "100 Continue", "", Ok(100, Length(0), true)),
        with("103 either", "103 Early Hints", "Link: </a>\r\n", Ok(103, Length(0), true)),
        with(
            "both fields",
            "200 OK",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Refused(E::LengthAndEncoding),
        ),
        with(
            "two lengths",
            "200 OK",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Refused(E::ContentLengthsDiffer),
        ),
        with(
            "one length twice",
            "200 OK",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Refused(E::ContentLengthTwice),
        ),
        with(
            "a list of lengths",
            "200 OK",
            "Content-Length: 5, 5\r\n",
            Refused(E::ContentLengthList),
        ),
        with(
            "a length that is no number",
            "200 OK",
            "Content-Length: five\r\n",
            Refused(E::ContentLength),
        ),
        with(
            "a length that is negative",
            "200 OK",
            "Content-Length: -1\r\n",
            Refused(E::ContentLength),
        ),
        with(
            "a length too large for 64 bits",
            "200 OK",
            "Content-Length: 18446744073709551616\r\n",
            Refused(E::ContentLengthTooLarge),
        ),
        with(
            "an invalid length in an answer that has no content",
            "204 No Content",
            "Content-Length: x\r\n",
            Refused(E::ContentLength),
        ),
        with(
            "a coding that is not chunked in the end",
            "200 OK",
            "Transfer-Encoding: gzip\r\n",
            Refused(E::ChunkedNotLast),
        ),
        with(
            "a coding that is not known",
            "200 OK",
            "Transfer-Encoding: gzip, chunked\r\n",
            Refused(E::UnknownEncoding),
        ),
        with(
            "chunked twice",
            "200 OK",
            "Transfer-Encoding: chunked, chunked\r\n",
            Refused(E::ChunkedTwice),
        ),
        response(
            "a coding in HTTP/1.0",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refused(E::EncodingInHttp10),
        ),
    ]
}

fn fields() -> Vec<ResponseCase> {
    let with = |name, lines: &str, verdict| {
        response(name, head("200 OK", &format!("Content-Length: 0\r\n{lines}")), verdict)
    };
    let good = |name, lines, keep_alive| with(name, lines, Ok(200, Length(0), keep_alive));
    let bad = |name, lines, why| with(name, lines, Refused(why));
    vec![
        good("close", "Connection: close\r\n", false),
        good("close in a list", "Connection: x, Close\r\n", false),
        good("keep-alive", "Connection: keep-alive\r\n", true),
        response(
            "keep-alive from HTTP/1.0",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            Ok(200, Length(0), true),
        ),
        bad(
            "a space before a colon: a gateway could remove it (RFC 9112 §5.1); refused",
            "A : b\r\n",
            E::SpaceBeforeColon,
        ),
        bad("a folded line", "A: b\r\n\x20c\r\n", E::ObsFold),
        bad("a line without a colon", "hello\r\n", E::MissingColon),
        bad("a lone LF", "A: b\nC: d\r\n", E::LoneLf),
        bad(
            "a bare CR, which would split the response for a lenient client",
            "A: b\rSet-Cookie: c\r\n",
            E::BareCr,
        ),
        bad("a NUL", "A: \0\r\n", E::ControlCharacter),
        response(
            "too many fields",
            head("200 OK", &"A: b\r\n".repeat(101)),
            Refused(E::TooManyFields),
        ),
        response(
            "a field without end",
            long("HTTP/1.1 200 OK\r\nA: ", b'b', 17000, ""),
            Refused(E::FieldSectionTooLarge),
        ),
    ]
}
