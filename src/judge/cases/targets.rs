//! RFC 9112 §3.2, RFC 3986 §2: the forms of a request-target, and what it is made of.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;

const PORT: (&str, &str) =
    ("RFC 9110 §9.3.6", "CONNECT names a port, or it would open a way to any service");
const ABSOLUTE: (&str, &str) =
    ("RFC 9112 §3.2.2", "a server must accept it, even though most clients send it to proxies only");

/// RFC 9112 §3.2: the four forms.
pub fn target_forms() -> Vec<Case> {
    vec![
        line("origin-form with a query", "GET /echo?a=1&b=%20/? HTTP/1.1", get("/echo?a=1&b=%20/?")),
        line("origin-form that begins with two slashes names a path, no host",
            "GET //evil.example/ HTTP/1.1", get("//evil.example/").of_host("a").answered(404)),
        case("absolute-form",
            "GET http://a.example/santai?x HTTP/1.1\r\nHost: a.example\r\n\r\n",
            get("/santai?x").of_host("a.example")).because(ABSOLUTE),
        case("absolute-form: its authority counts, not Host (§3.2.2)",
            "GET http://real.example:81/ HTTP/1.1\r\nHost: other.example\r\n\r\n",
            get("/").of_host("real.example:81")).should()
            .because(("RFC 9112 §3.2.2", "the authority of the target counts, and Host is ignored; some refuse what differs")),
        case("absolute-form without a path asks for /",
            "GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", get("/").of_host("a.example")).because(ABSOLUTE),
        case("absolute-form with a query and no path",
            "GET http://a.example?x=1 HTTP/1.1\r\nHost: a.example\r\n\r\n", get("?x=1").of_host("a.example")).because(ABSOLUTE),
        case("absolute-form: the scheme is case-insensitive",
            "GET HTTP://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", get("/").of_host("a.example")).because(ABSOLUTE),
        case("absolute-form still needs Host in HTTP/1.1", "GET http://a.example/ HTTP/1.1\r\n\r\n", HostMissing),
        case("absolute-form without Host in HTTP/1.0",
            "GET http://a.example/ HTTP/1.0\r\n\r\n", get("/").of_host("a.example").closes()).because(ABSOLUTE),
        line("absolute-form without a host (RFC 9110 §4.2.1)", "GET http:///santai HTTP/1.1", Authority).must()
            .because(("RFC 9110 §4.2.1", "without a host nobody knows which site is meant")),
        case("absolute-form with a user name (RFC 9110 §4.2.4)",
            "GET http://a.example@evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Authority),
        line("absolute-form with two ports", "GET http://a:80:81/ HTTP/1.1", Authority),
        case("absolute-form of a scheme that is not served here",
            "GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Scheme),
        line("absolute-form of a file", "GET file:///etc/passwd HTTP/1.1", Scheme),
        line("a target without a slash in front", "GET santai HTTP/1.1", TargetForm),
        line("a query alone", "GET ?x HTTP/1.1", TargetForm),
        line("asterisk-form: OPTIONS about the server itself",
            "OPTIONS * HTTP/1.1", request("OPTIONS", "*").answered(204)).should(),
        case("asterisk-form, as a proxy is asked for it (§3.2.4)",
            "OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
            request("OPTIONS", "*").of_host("a.example").answered(204)).should(),
        line("asterisk-form goes with OPTIONS alone", "GET * HTTP/1.1", TargetForm),
        line("an asterisk and more", "OPTIONS *a HTTP/1.1", TargetForm),
        case("authority-form: CONNECT, which only a proxy could answer",
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
            request("CONNECT", "a.example:443").answered(405).closes()).may(),
        case("authority-form goes with CONNECT alone",
            "GET a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", TargetForm),
        case("CONNECT without a port (RFC 9110 §9.3.6)",
            "CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", TargetForm).must().because(PORT),
        case("CONNECT to an IPv6 address without a port",
            "CONNECT [::1] HTTP/1.1\r\nHost: [::1]\r\n\r\n", TargetForm).must().because(PORT),
        case("CONNECT with an empty port",
            "CONNECT a.example: HTTP/1.1\r\nHost: a.example\r\n\r\n", TargetForm).must().because(PORT),
        line("CONNECT to a path", "CONNECT /:80 HTTP/1.1", TargetForm).must().because(PORT),
        case("CONNECT with a user name", "CONNECT me@a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", Authority),
    ]
}

/// RFC 3986 §2: what a URI is made of.
pub fn target_characters() -> Vec<Case> {
    vec![
        line("every character that a path may contain",
            "GET /-._~!$&'()*+,;=:@%41az09 HTTP/1.1", get("/-._~!$&'()*+,;=:@%41az09").answered(404)),
        line("a fragment never goes over the wire", "GET /santai#top HTTP/1.1", RequestTarget),
        line("a backslash", "GET /..\\..\\etc HTTP/1.1", RequestTarget),
        line("a quotation mark", "GET /\" HTTP/1.1", RequestTarget),
        line("angle brackets", "GET /<script> HTTP/1.1", RequestTarget),
        line("braces and a bar", "GET /{a|b} HTTP/1.1", RequestTarget),
        line("square brackets belong to an IPv6 host alone", "GET /a[0] HTTP/1.1", RequestTarget),
        line("a letter beyond ASCII that was not percent-encoded", "GET /caf\u{e9} HTTP/1.1", RequestTarget),
        line("a NUL", "GET /\x00 HTTP/1.1", ControlCharacter),
        line("DEL", "GET /\x7f HTTP/1.1", ControlCharacter),
        line("a percent sign and one digit", "GET /%4 HTTP/1.1", PercentEncoding),
        line("a percent sign and no hexadecimal digits", "GET /%zz HTTP/1.1", PercentEncoding),
        line("a percent sign at the end of a query", "GET /?100% HTTP/1.1", PercentEncoding),
        line("the %u of old scripts", "GET /%u0041 HTTP/1.1", PercentEncoding),
        line("a fragment in absolute-form", "GET http://a#b HTTP/1.1", RequestTarget),
    ]
}
