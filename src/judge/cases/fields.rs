//! RFC 9112 §5 and §2.2, RFC 9110 §5 and §7.2: field lines, line ends, Host, limits.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;

/// A request whose field section, after Host, is `lines`.
fn with(name: &'static str, lines: impl AsRef<[u8]>, ours: impl Into<Vec<Verdict>>) -> Case {
    case(name, [b"GET / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n"].concat(), ours)
}

pub fn lines() -> Vec<Case> {
    vec![
        with("names are case-insensitive", "ACCEPT: */*\r\naccept: */*\r\n", get("/")),
        with("no white space around the value", "A:b\r\n", get("/")),
        with("white space around the value is no part of it", "A: \t b \t \r\n", get("/")),
        with("an empty value", "A:\r\n", get("/")),
        with("a value of white space alone", "A: \t \r\n", get("/")),
        with("a value with colons and quotes", "A: b:c \"d, e\"\r\n", get("/")),
        with("a tab inside a value", "A: b\tc\r\n", get("/")),
        with("a value beyond ASCII (obs-text)", b"A: caf\xe9\r\n", get("/")).should(),
        with("every character of a token in a name", "!#$%&'*+-.^_`|~09azAZ: b\r\n", get("/")),
        with("a space between name and colon (§5.1)", "A : b\r\n", SpaceBeforeColon),
        with("a tab between name and colon", "A\t: b\r\n", SpaceBeforeColon),
        with("a space inside a name", "A B: c\r\n", FieldName),
        with("a name with a slash", "A/B: c\r\n", FieldName),
        with("a name in brackets", "(A): b\r\n", FieldName),
        with("a name beyond ASCII", "caf\u{e9}: b\r\n", FieldName),
        with("an empty name", ": b\r\n", FieldName),
        with("a line without a colon", "A\r\n", MissingColon),
        with("words without a colon", "A b c\r\n", MissingColon),
        with("a folded line, with a space (§5.2)", "A: b\r\n c\r\n", ObsFold),
        with("a folded line, with a tab", "A: b\r\n\tc\r\n", ObsFold),
        with("a folded line that looks like a field", "A: b\r\n C: d\r\n", ObsFold),
        with("a line of a single space", "A: b\r\n \r\n", ObsFold),
        case("white space between the request line and the first field (§2.2)",
            "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", ObsFold),
        with("a NUL in a value", "A: b\x00c\r\n", ControlCharacter),
        with("a NUL in a name", "A\x00: b\r\n", ControlCharacter),
        with("a bell in a value", "A: \x07\r\n", ControlCharacter),
        with("an escape in a value", "A: \x1b[31m\r\n", ControlCharacter),
        with("DEL in a value", "A: \x7f\r\n", ControlCharacter),
        with("a form feed before a value", "A:\x0cb\r\n", ControlCharacter),
        case("half a field line", "GET / HTTP/1.1\r\nHost: a\r\nA: b", INCOMPLETE),
        case("no empty line yet", "GET / HTTP/1.1\r\nHost: a\r\n", INCOMPLETE),
        case("half an empty line", "GET / HTTP/1.1\r\nHost: a\r\n\r", INCOMPLETE),
    ]
}

/// §2.2 allows a recipient to take a lone LF for a line end. It is refused here: whether it is
/// one is just what two recipients must not disagree on.
pub fn line_ends() -> Vec<Case> {
    vec![
        with("a field line that ends in LF alone", "A: b\nC: d\r\n", LoneLf),
        with("a bare CR in a value", "A: b\rc\r\n", BareCr),
        with("a bare CR before a value", "A:\rb\r\n", BareCr),
        with("a bare CR in a name", "A\rB: c\r\n", BareCr),
        with("CR CR LF", "A: b\r\r\n", BareCr),
        with("LF CR", "A: b\n\r\n", LoneLf),
        with("an empty line of LF alone", "\nGET / HTTP/1.1\r\nHost: a\r\n", LoneLf),
        with("an empty line of CR alone", "\rGET / HTTP/1.1\r\nHost: a\r\n", BareCr).once(),
        case("every line ends in LF alone", "GET / HTTP/1.1\nHost: a\n\n", LoneLf),
    ]
}

pub fn hosts() -> Vec<Case> {
    let of = |value: &str| format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n");
    let host = |name, value: &'static str| case(name, of(value), get("/").of_host(value));
    let wrong = |name, value: &str| case(name, of(value), HostInvalid);
    vec![
        host("Host: a name and a port", "a.example:8080"),
        host("Host: an IPv4 address", "127.0.0.1:9002"),
        host("Host: an IPv6 address", "[::1]"),
        host("Host: an IPv6 address and a port", "[2001:db8::1]:80"),
        host("Host: a colon and no port", "a.example:"),
        host("Host: an underscore, as in many a container's name", "my_app"),
        host("Host: a percent-encoded name", "caf%C3%A9.example").should(),
        case("no Host in HTTP/1.1 (§3.2)", "GET / HTTP/1.1\r\n\r\n", HostMissing),
        with("two Hosts", "Host: b\r\n", HostTwice),
        with("two Hosts that are the same", "host: a\r\n", HostTwice),
        case("two Hosts in HTTP/1.0, which needs none", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", HostTwice),
        case("an invalid Host in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n", HostInvalid),
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
    vec![
        with("as many field lines as allowed", "A: b\r\n".repeat(99), get("/")).may(),
        with("one field line more", "A: b\r\n".repeat(100), TooManyFields),
        // "Host: a", "A: " and two line ends are 14 bytes.
        with("a field section as large as allowed", long("A: ", b'b', 16384 - 14, "\r\n"), get("/")).may(),
        with("a field section one byte larger", long("A: ", b'b', 16384 - 13, "\r\n"), FieldSectionTooLarge),
        case("a field line without end",
            long("GET / HTTP/1.1\r\nHost: a\r\nA: ", b'b', 17000, ""), FieldSectionTooLarge),
        case("a field name without end",
            long("GET / HTTP/1.1\r\nHost: a\r\n", b'b', 17000, ""), FieldSectionTooLarge),
    ]
}
