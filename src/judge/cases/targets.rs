//! RFC 9112 §3.2, RFC 3986 §2: the forms of a request-target, and what it is made of.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

const ABSOLUTE: &str = "a server must accept it, even though most clients send it to proxies only";
const PORT: &str = "CONNECT names a port, or it would open a way to any service";

/// RFC 9112 §3.2: the four forms.
pub fn target_forms() -> Vec<Case> {
    vec![
        case(
            "origin-form with a query",
            b"GET /echo?a=1&b=%20/? HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/echo?a=1&b=%20/?")],
        ),
        case(
            "origin-form that begins with two slashes names a path, no host",
            b"GET //evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("//evil.example/").of_host("a").answered(404)],
        ),
        case(
            "absolute-form",
            b"GET http://a.example/santai?x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [get("/santai?x").of_host("a.example")],
        )
        .because("RFC 9112 §3.2.2", ABSOLUTE),
        case(
            "absolute-form: its authority counts, not Host (§3.2.2)",
            b"GET http://real.example:81/ HTTP/1.1\r\nHost: other.example\r\n\r\n",
            [get("/").of_host("real.example:81")],
        )
        .should()
        .because(
            "RFC 9112 §3.2.2",
            "the authority of the target counts, and Host is ignored; some refuse what differs",
        ),
        case(
            "absolute-form without a path asks for /",
            b"GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [get("/").of_host("a.example")],
        )
        .because("RFC 9112 §3.2.2", ABSOLUTE),
        case(
            "absolute-form with a query and no path",
            b"GET http://a.example?x=1 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [get("?x=1").of_host("a.example")],
        )
        .because("RFC 9112 §3.2.2", ABSOLUTE),
        case(
            "absolute-form: the scheme is case-insensitive",
            b"GET HTTP://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [get("/").of_host("a.example")],
        )
        .because("RFC 9112 §3.2.2", ABSOLUTE),
        case(
            "absolute-form still needs Host in HTTP/1.1",
            b"GET http://a.example/ HTTP/1.1\r\n\r\n",
            [refused(400, E::HostMissing)],
        ),
        case(
            "absolute-form without Host in HTTP/1.0",
            b"GET http://a.example/ HTTP/1.0\r\n\r\n",
            [get("/").of_host("a.example").closes()],
        )
        .because("RFC 9112 §3.2.2", ABSOLUTE),
        case(
            "absolute-form without a host (RFC 9110 §4.2.1)",
            b"GET http:///santai HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::Authority)],
        )
        .must()
        .because("RFC 9110 §4.2.1", "without a host nobody knows which site is meant"),
        case(
            "absolute-form with a user name (RFC 9110 §4.2.4)",
            b"GET http://a.example@evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [refused(400, E::Authority)],
        ),
        case(
            "absolute-form with two ports",
            b"GET http://a:80:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::Authority)],
        ),
        case(
            "absolute-form of a scheme that is not served here",
            b"GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [refused(400, E::Scheme)],
        ),
        case(
            "absolute-form of a file",
            b"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::Scheme)],
        ),
        case(
            "a target without a slash in front",
            b"GET santai HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::TargetForm)],
        ),
        case("a query alone", b"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", [refused(400, E::TargetForm)]),
        case(
            "asterisk-form: OPTIONS about the server itself",
            b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            [request("OPTIONS", "*").answered(204)],
        )
        .should(),
        case(
            "asterisk-form, as a proxy is asked for it (§3.2.4)",
            b"OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [request("OPTIONS", "*").of_host("a.example").answered(204)],
        )
        .should(),
        case(
            "asterisk-form goes with OPTIONS alone",
            b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::TargetForm)],
        ),
        case(
            "an asterisk and more",
            b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::TargetForm)],
        ),
        case(
            "authority-form: CONNECT, which only a proxy could answer",
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
            [request("CONNECT", "a.example:443").answered(405).closes()],
        )
        .may(),
        case(
            "authority-form goes with CONNECT alone",
            b"GET a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [refused(400, E::TargetForm)],
        ),
        case(
            "CONNECT without a port (RFC 9110 §9.3.6)",
            b"CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [refused(400, E::TargetForm)],
        )
        .must()
        .because("RFC 9110 §9.3.6", PORT),
        case(
            "CONNECT to an IPv6 address without a port",
            b"CONNECT [::1] HTTP/1.1\r\nHost: [::1]\r\n\r\n",
            [refused(400, E::TargetForm)],
        )
        .must()
        .because("RFC 9110 §9.3.6", PORT),
        case(
            "CONNECT with an empty port",
            b"CONNECT a.example: HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [refused(400, E::TargetForm)],
        )
        .must()
        .because("RFC 9110 §9.3.6", PORT),
        case(
            "CONNECT to a path",
            b"CONNECT /:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            [refused(400, E::TargetForm)],
        )
        .must()
        .because("RFC 9110 §9.3.6", PORT),
        case(
            "CONNECT with a user name",
            b"CONNECT me@a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            [refused(400, E::Authority)],
        ),
    ]
}

/// RFC 3986 §2: what a URI is made of.
pub fn target_characters() -> Vec<Case> {
    let bad = |name, bytes: &[u8], why| case(name, bytes, [refused(400, why)]);
    vec![
        case(
            "every character that a path may contain",
            b"GET /-._~!$&'()*+,;=:@%41az09 HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/-._~!$&'()*+,;=:@%41az09").answered(404)],
        ),
        bad(
            "a fragment never goes over the wire",
            b"GET /santai#top HTTP/1.1\r\nHost: a\r\n\r\n",
            E::RequestTarget,
        ),
        bad("a backslash", b"GET /..\\..\\etc HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestTarget),
        bad("a quotation mark", b"GET /\" HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestTarget),
        bad("angle brackets", b"GET /<script> HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestTarget),
        bad("braces and a bar", b"GET /{a|b} HTTP/1.1\r\nHost: a\r\n\r\n", E::RequestTarget),
        bad(
            "square brackets belong to an IPv6 host alone",
            b"GET /a[0] HTTP/1.1\r\nHost: a\r\n\r\n",
            E::RequestTarget,
        ),
        bad(
            "a letter beyond ASCII that was not percent-encoded",
            "GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(),
            E::RequestTarget,
        ),
        bad("a NUL", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", E::ControlCharacter),
        bad("DEL", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", E::ControlCharacter),
        bad(
            "a percent sign and one digit",
            b"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n",
            E::PercentEncoding,
        ),
        bad(
            "a percent sign and no hexadecimal digits",
            b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
            E::PercentEncoding,
        ),
        bad(
            "a percent sign at the end of a query",
            b"GET /?100% HTTP/1.1\r\nHost: a\r\n\r\n",
            E::PercentEncoding,
        ),
        bad(
            "the %u of old scripts",
            b"GET /%u0041 HTTP/1.1\r\nHost: a\r\n\r\n",
            E::PercentEncoding,
        ),
        bad(
            "a fragment in absolute-form",
            b"GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            E::RequestTarget,
        ),
    ]
}
