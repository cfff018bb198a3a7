//! RFC 9112 §3: `method SP request-target SP HTTP-version CRLF`.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;

/// How long our own servers let a request line be.
const LINE: usize = 8192;

pub fn lines() -> Vec<Case> {
    vec![
        case("nothing yet", "", INCOMPLETE),
        line("the smallest request of HTTP/1.1", "GET / HTTP/1.1", get("/").of_host("a")),
        case("the smallest request of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", get("/").closes()),
        case("a method and nothing more", "GET", INCOMPLETE),
        case("half a request line", "GET /san", INCOMPLETE),
        case("a request line whose LF is missing", "GET / HTTP/1.1\r", INCOMPLETE),
        case("one empty line before the request is passed over (§2.2)",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", get("/")).should()
            .because(("RFC 9112 §2.2", "old clients send an empty line behind the content of a POST")),
        case("two empty lines before the request are not",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine).may(),
        line("a bare CR before the request", "\rGET / HTTP/1.1", BareCr),
        line("a lone LF before the request", "\nGET / HTTP/1.1", LoneLf),
        line("a space before the method", " GET / HTTP/1.1", RequestLine),
        line("two spaces behind the method", "GET  / HTTP/1.1", RequestLine),
        line("two spaces before the version", "GET /  HTTP/1.1", RequestLine),
        line("a space behind the version", "GET / HTTP/1.1 ", RequestLine),
        line("a tab instead of the first space", "GET\t/ HTTP/1.1", RequestLine),
        line("a tab instead of the second space", "GET /\tHTTP/1.1", RequestLine),
        line("a vertical tab as white space", "GET\x0b/ HTTP/1.1", ControlCharacter),
        line("a space inside the target", "GET /a b HTTP/1.1", RequestLine),
        line("no target", "GET HTTP/1.1", RequestLine),
        line("an empty target", "GET  HTTP/1.1", RequestLine),
        case("no version: HTTP/0.9 as it was", "GET /\r\n\r\n", RequestLine),
        case("a request line that ends in LF alone", "GET / HTTP/1.1\nHost: a\r\n\r\n", LoneLf),
        case("a request line that ends in CR alone", "GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr),
        line("a request line that ends in CR CR LF", "GET / HTTP/1.1\r", BareCr),
        case("the greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ControlCharacter).may(),
        case("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MajorVersion).may(),
        case("a request line as long as is allowed",
            long("GET /", b'a', LINE - 14, " HTTP/1.1\r\nHost: a\r\n\r\nGET"),
            [get(Box::leak(format!("/{}", "a".repeat(LINE - 14)).into())).answered(404), INCOMPLETE]).may(),
        case("a request line one byte longer",
            long("GET /", b'a', LINE - 13, " HTTP/1.1\r\nHost: a\r\n\r\n"), RequestLineTooLong),
        case("a request line without end", long("GET /", b'a', 9000, ""), RequestLineTooLong),
    ]
}

/// RFC 9110 §9: methods.
pub fn methods() -> Vec<Case> {
    vec![
        line("HEAD is GET without the content", "HEAD /santai HTTP/1.1", request("HEAD", "/santai")),
        case("HEAD that is cut short", "HEAD /santai HTTP/1.1\r\nHost: a\r\nX", INCOMPLETE),
        case("HEAD that is cut short behind a GET",
            "GET /santai HTTP/1.1\r\nHost: a\r\n\r\nHEAD /", [get("/santai"), INCOMPLETE]),
        line("PUT without content", "PUT /echo HTTP/1.1", request("PUT", "/echo")),
        line("a method that is known and does not apply here: 405",
            "DELETE /santai HTTP/1.1", request("DELETE", "/santai").answered(405)),
        line("PATCH (RFC 5789) is known too", "PATCH /video HTTP/1.1", request("PATCH", "/video").answered(405)),
        line("TRACE is never answered: it would show a client's cookies to a script",
            "TRACE / HTTP/1.1", request("TRACE", "/").answered(405)),
        line("a method that nobody knows: 501", "BREW / HTTP/1.1", UnknownMethod),
        line("a method of WebDAV is not one of ours: 501", "PROPFIND / HTTP/1.1", UnknownMethod).may(),
        line("methods are case-sensitive (RFC 9110 §9.1)", "get / HTTP/1.1", UnknownMethod),
        line("every character of a token may stand in a method", "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1", UnknownMethod),
        line("a method that is no token", "GE(T / HTTP/1.1", Method),
        line("a method in quotes", "\"GET\" / HTTP/1.1", Method),
        line("a method with a byte beyond ASCII", "G\u{cb}T / HTTP/1.1", Method),
        line("a NUL in the method", "GE\x00T / HTTP/1.1", ControlCharacter),
    ]
}

/// RFC 9112 §2.3 and RFC 9110 §2.5.
pub fn versions() -> Vec<Case> {
    vec![
        line("a higher minor version is treated as 1.1 (RFC 9110 §2.5)", "GET / HTTP/1.2", get("/")).should(),
        line("HTTP/2.0", "GET / HTTP/2.0", MajorVersion),
        line("HTTP/3.0", "GET / HTTP/3.0", MajorVersion),
        line("HTTP/0.9 by name", "GET / HTTP/0.9", MajorVersion),
        line("the name in lower case", "GET / http/1.1", Version),
        line("no minor version", "GET / HTTP/1", Version),
        line("a major version of two digits", "GET / HTTP/11.1", Version),
        line("a minor version of two digits", "GET / HTTP/1.10", Version),
        line("a leading zero", "GET / HTTP/01.1", Version),
        line("a minus sign", "GET / HTTP/-1.1", Version),
        line("a comma", "GET / HTTP/1,1", Version),
        line("another protocol", "GET / ICY/1.1", Version),
        line("no slash", "GET / HTTP1.1", Version),
        line("letters for digits", "GET / HTTP/x.y", Version),
    ]
}
