//! RFC 9112 §5 and §2.2, RFC 9110 §5 and §7.2: field lines, line ends, Host, limits.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

/// A request whose field section, after Host, is `lines`.
fn with(lines: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat()
}

fn good(name: &'static str, lines: &[u8]) -> Case {
    case(name, with(lines), [get("/")])
}

fn bad(name: &'static str, lines: &[u8], why: E) -> Case {
    case(name, with(lines), [refused(400, why)])
}

pub fn lines() -> Vec<Case> {
    vec![
        good("names are case-insensitive", b"ACCEPT: */*\r\naccept: */*\r\n"),
        good("no white space around the value", b"A:b\r\n"),
        good("white space around the value is no part of it", b"A: \t b \t \r\n"),
        good("an empty value", b"A:\r\n"),
        good("a value of white space alone", b"A: \t \r\n"),
        good("a value with colons and quotes", b"A: b:c \"d, e\"\r\n"),
        good("a tab inside a value", b"A: b\tc\r\n"),
        good("a value beyond ASCII (obs-text)", b"A: caf\xe9\r\n").should(),
        good("every character of a token in a name", b"!#$%&'*+-.^_`|~09azAZ: b\r\n"),
        bad("a space between name and colon (§5.1)", b"A : b\r\n", E::SpaceBeforeColon),
        bad("a tab between name and colon", b"A\t: b\r\n", E::SpaceBeforeColon),
        bad("a space inside a name", b"A B: c\r\n", E::FieldName),
        bad("a name with a slash", b"A/B: c\r\n", E::FieldName),
        bad("a name in brackets", b"(A): b\r\n", E::FieldName),
        bad("a name beyond ASCII", b"caf\xc3\xa9: b\r\n", E::FieldName),
        bad("an empty name", b": b\r\n", E::FieldName),
        bad("a line without a colon", b"A\r\n", E::MissingColon),
        bad("words without a colon", b"A b c\r\n", E::MissingColon),
        bad("a folded line, with a space (§5.2)", b"A: b\r\n\x20c\r\n", E::ObsFold),
        bad("a folded line, with a tab", b"A: b\r\n\tc\r\n", E::ObsFold),
        bad("a folded line that looks like a field", b"A: b\r\n\x20C: d\r\n", E::ObsFold),
        bad("a line of a single space", b"A: b\r\n\x20\r\n", E::ObsFold),
        case(
            "white space between the request line and the first field (§2.2)",
            b"GET / HTTP/1.1\r\n\x20X: y\r\nHost: a\r\n\r\n",
            [refused(400, E::ObsFold)],
        ),
        bad("a NUL in a value", b"A: b\0c\r\n", E::ControlCharacter),
        bad("a NUL in a name", b"A\0: b\r\n", E::ControlCharacter),
        bad("a bell in a value", b"A: \x07\r\n", E::ControlCharacter),
        bad("an escape in a value", b"A: \x1b[31m\r\n", E::ControlCharacter),
        bad("DEL in a value", b"A: \x7f\r\n", E::ControlCharacter),
        bad("a form feed before a value", b"A:\x0cb\r\n", E::ControlCharacter),
        case("half a field line", b"GET / HTTP/1.1\r\nHost: a\r\nA: b", [INCOMPLETE]),
        case("no empty line yet", b"GET / HTTP/1.1\r\nHost: a\r\n", [INCOMPLETE]),
        case("half an empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\r", [INCOMPLETE]),
    ]
}

/// §2.2 allows a recipient to take a lone LF for a line end. It is refused here: whether it is
/// one is just what two recipients must not disagree on.
pub fn line_ends() -> Vec<Case> {
    vec![
        bad("a field line that ends in LF alone", b"A: b\nC: d\r\n", E::LoneLf),
        bad("a bare CR in a value", b"A: b\rc\r\n", E::BareCr),
        bad("a bare CR before a value", b"A:\rb\r\n", E::BareCr),
        bad("a bare CR in a name", b"A\rB: c\r\n", E::BareCr),
        bad("CR CR LF", b"A: b\r\r\n", E::BareCr),
        bad("LF CR", b"A: b\n\r\n", E::LoneLf),
        case(
            "an empty line of LF alone",
            b"GET / HTTP/1.1\r\nHost: a\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::LoneLf)],
        ),
        case(
            "an empty line of CR alone",
            b"GET / HTTP/1.1\r\nHost: a\r\n\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::BareCr)],
        )
        .once(),
        case(
            "every line ends in LF alone",
            b"GET / HTTP/1.1\nHost: a\n\n",
            [refused(400, E::LoneLf)],
        ),
    ]
}

pub fn hosts() -> Vec<Case> {
    let host = |name, value: &'static str| {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n");
        case(name, bytes, [get("/").of_host(value)])
    };
    let wrong = |name, value: &str| {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n");
        case(name, bytes, [refused(400, E::HostInvalid)])
    };
    vec![
        host("Host: a name and a port", "a.example:8080"),
        host("Host: an IPv4 address", "127.0.0.1:9002"),
        host("Host: an IPv6 address", "[::1]"),
        host("Host: an IPv6 address and a port", "[2001:db8::1]:80"),
        host("Host: a colon and no port", "a.example:"),
        host("Host: an underscore, as in many a container's name", "my_app"),
        host("Host: a percent-encoded name", "caf%C3%A9.example").should(),
        case(
            "no Host in HTTP/1.1 (§3.2)",
            b"GET / HTTP/1.1\r\n\r\n",
            [refused(400, E::HostMissing)],
        ),
        case(
            "two Hosts",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            [refused(400, E::HostTwice)],
        ),
        case(
            "two Hosts that are the same",
            b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            [refused(400, E::HostTwice)],
        ),
        case(
            "two Hosts in HTTP/1.0, which needs none",
            b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            [refused(400, E::HostTwice)],
        ),
        case(
            "an invalid Host in HTTP/1.0",
            b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n",
            [refused(400, E::HostInvalid)],
        ),
        wrong("an empty Host, since an http URI has one (RFC 9110 §4.2.1)", "").may(),
        wrong("Host: a port alone", ":80").may(),
        wrong("Host: a list", "a, b"),
        wrong("Host: with a path", "a.example/admin"),
        wrong("Host: with a query", "a.example?x"),
        wrong("Host: with a fragment", "a.example#x"),
        wrong("Host: with a scheme", "http://a.example"),
        wrong("Host: with a user name", "me@a.example"),
        wrong("Host: a port that is no number", "a.example:http"),
        wrong("Host: a port with a sign", "a.example:+80"),
        wrong("Host: a port beyond 65535", "a.example:65536").should(),
        wrong("Host: two ports", "a.example:80:81"),
        wrong("Host: an IPv6 address without brackets", "::1"),
        wrong("Host: a bracket that does not close", "[::1"),
        wrong("Host: brackets round no address", "[a]"),
        wrong("Host: something behind the bracket", "[::1]evil"),
        wrong("Host: a percent sign that encodes nothing", "a%zz"),
        wrong("Host: a percent sign at the end", "a.example%"),
        wrong("Host: beyond ASCII", "caf\u{e9}"),
        wrong("Host: a quotation mark", "a\"b"),
        wrong("Host: a backslash", "a\\b"),
    ]
}

/// RFC 9110 §5.4: limits are the recipient's; 431 (RFC 6585) says which was hit.
pub fn limits() -> Vec<Case> {
    let field = "A: b\r\n";
    vec![
        case("as many field lines as allowed", with(field.repeat(99).as_bytes()), [get("/")]).may(),
        case(
            "one field line more",
            with(field.repeat(100).as_bytes()),
            [refused(431, E::TooManyFields)],
        ),
        case(
            "a field section as large as allowed",
            // "Host: a", "A: " and two line ends are 14 bytes.
            with(&long("A: ", b'b', 16384 - 14, "\r\n")),
            [get("/")],
        )
        .may(),
        case(
            "a field section one byte larger",
            with(&long("A: ", b'b', 16384 - 13, "\r\n")),
            [refused(431, E::FieldSectionTooLarge)],
        ),
        case(
            "a field line without end",
            long("GET / HTTP/1.1\r\nHost: a\r\nA: ", b'b', 17000, ""),
            [refused(431, E::FieldSectionTooLarge)],
        ),
        case(
            "a field name without end",
            long("GET / HTTP/1.1\r\nHost: a\r\n", b'b', 17000, ""),
            [refused(431, E::FieldSectionTooLarge)],
        ),
    ]
}
