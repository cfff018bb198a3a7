//! RFC 9112 §3: `method SP request-target SP HTTP-version CRLF`.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

pub fn line() -> Vec<Case> {
    vec![
        case("nothing yet", b"", [INCOMPLETE]),
        case(
            "the smallest request of HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/").of_host("a")],
        ),
        case("the smallest request of HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", [get("/").closes()]),
        case("a method and nothing more", b"GET", [INCOMPLETE]),
        case("half a request line", b"GET /san", [INCOMPLETE]),
        case("a request line whose LF is missing", b"GET / HTTP/1.1\r", [INCOMPLETE]),
        case(
            "one empty line before the request is passed over (§2.2)",
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/")],
        )
        .should()
        .because("RFC 9112 §2.2", "old clients send an empty line behind the content of a POST"),
        case(
            "two empty lines before the request are not",
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        )
        .may(),
        case(
            "a bare CR before the request",
            b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::BareCr)],
        ),
        case(
            "a lone LF before the request",
            b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::LoneLf)],
        ),
        case(
            "a space before the method",
            b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case(
            "two spaces behind the method",
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case(
            "two spaces before the version",
            b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case(
            "a space behind the version",
            b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case(
            "a tab instead of the first space",
            b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case(
            "a tab instead of the second space",
            b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case(
            "a vertical tab as white space",
            b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::ControlCharacter)],
        ),
        case(
            "a space inside the target",
            b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", [refused(400, E::RequestLine)]),
        case(
            "an empty target",
            b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::RequestLine)],
        ),
        case("no version: HTTP/0.9 as it was", b"GET /\r\n\r\n", [refused(400, E::RequestLine)]),
        case(
            "a request line that ends in LF alone",
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            [refused(400, E::LoneLf)],
        ),
        case(
            "a request line that ends in CR alone",
            b"GET / HTTP/1.1\rHost: a\r\n\r\n",
            [refused(400, E::BareCr)],
        ),
        case(
            "a request line that ends in CR CR LF",
            b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
            [refused(400, E::BareCr)],
        ),
        case(
            "the greeting of TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            [refused(400, E::ControlCharacter)],
        )
        .may(),
        case(
            "the preface of HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            [refused(505, E::MajorVersion)],
        )
        .may(),
        case(
            "a request line as long as is allowed",
            long("GET /", b'a', 8192 - 14, " HTTP/1.1\r\nHost: a\r\n\r\nGET"),
            [
                get(Box::leak(format!("/{}", "a".repeat(8192 - 14)).into_boxed_str()))
                    .answered(404),
                INCOMPLETE,
            ],
        )
        .may(),
        case(
            "a request line one byte longer",
            long("GET /", b'a', 8192 - 13, " HTTP/1.1\r\nHost: a\r\n\r\n"),
            [refused(414, E::RequestLineTooLong)],
        ),
        case(
            "a request line without end",
            long("GET /", b'a', 9000, ""),
            [refused(414, E::RequestLineTooLong)],
        ),
    ]
}

/// RFC 9110 §9: methods.
pub fn methods() -> Vec<Case> {
    vec![
        case(
            "HEAD is GET without the content",
            b"HEAD /santai HTTP/1.1\r\nHost: a\r\n\r\n",
            [request("HEAD", "/santai")],
        ),
        case("HEAD that is cut short", b"HEAD /santai HTTP/1.1\r\nHost: a\r\nX", [INCOMPLETE]),
        case(
            "HEAD that is cut short behind a GET",
            b"GET /santai HTTP/1.1\r\nHost: a\r\n\r\nHEAD /",
            [get("/santai"), INCOMPLETE],
        ),
        case(
            "PUT without content",
            b"PUT /echo HTTP/1.1\r\nHost: a\r\n\r\n",
            [request("PUT", "/echo")],
        ),
        case(
            "a method that is known and does not apply here: 405",
            b"DELETE /santai HTTP/1.1\r\nHost: a\r\n\r\n",
            [request("DELETE", "/santai").answered(405)],
        ),
        case(
            "PATCH (RFC 5789) is known too",
            b"PATCH /video HTTP/1.1\r\nHost: a\r\n\r\n",
            [request("PATCH", "/video").answered(405)],
        ),
        case(
            "TRACE is never answered: it would show a client's cookies to a script",
            b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
            [request("TRACE", "/").answered(405)],
        ),
        case(
            "a method that nobody knows: 501",
            b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(501, E::UnknownMethod)],
        ),
        case(
            "a method of WebDAV is not one of ours: 501",
            b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(501, E::UnknownMethod)],
        )
        .may(),
        case(
            "methods are case-sensitive (RFC 9110 §9.1)",
            b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(501, E::UnknownMethod)],
        ),
        case(
            "every character of a token may stand in a method",
            b"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(501, E::UnknownMethod)],
        ),
        case(
            "a method that is no token",
            b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::Method)],
        ),
        case(
            "a method in quotes",
            b"\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::Method)],
        ),
        case(
            "a method with a byte beyond ASCII",
            b"G\xc3\x8bT / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::Method)],
        ),
        case(
            "a NUL in the method",
            b"GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::ControlCharacter)],
        ),
    ]
}

/// RFC 9112 §2.3 and RFC 9110 §2.5.
pub fn versions() -> Vec<Case> {
    let line = |version: &str| format!("GET / {version}\r\nHost: a\r\n\r\n");
    let bad = |name, version: &str| case(name, line(version), [refused(400, E::Version)]);
    let other = |name, version: &str| case(name, line(version), [refused(505, E::MajorVersion)]);
    vec![
        case(
            "a higher minor version is treated as 1.1 (RFC 9110 §2.5)",
            line("HTTP/1.2"),
            [get("/")],
        )
        .should(),
        other("HTTP/2.0", "HTTP/2.0"),
        other("HTTP/3.0", "HTTP/3.0"),
        other("HTTP/0.9 by name", "HTTP/0.9"),
        bad("the name in lower case", "http/1.1"),
        bad("no minor version", "HTTP/1"),
        bad("a major version of two digits", "HTTP/11.1"),
        bad("a minor version of two digits", "HTTP/1.10"),
        bad("a leading zero", "HTTP/01.1"),
        bad("a minus sign", "HTTP/-1.1"),
        bad("a comma", "HTTP/1,1"),
        bad("another protocol", "ICY/1.1"),
        bad("no slash", "HTTP1.1"),
        bad("letters for digits", "HTTP/x.y"),
    ]
}
