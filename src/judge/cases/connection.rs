//! RFC 9112 §9, RFC 9110 §7.6.1 and §10.1.1: persistence, pipelining, Expect.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault::*;

/// Five bytes of content, and a line about what the client expects first.
fn expect(name: &'static str, minor: u8, line: &str, ours: impl Into<Vec<Verdict>>) -> Case {
    let head = format!("POST /echo HTTP/1.{minor}\r\nHost: a\r\n{line}");
    case(name, format!("{head}Content-Length: 5\r\n\r\nhello"), ours)
}

pub fn persistence() -> Vec<Case> {
    let with = |name, minor: u8, lines: &str, verdict: Verdict| {
        case(name, format!("GET /santai HTTP/1.{minor}\r\nHost: a\r\n{lines}\r\n"), verdict)
    };
    let (stays, closes) = (get("/santai"), get("/santai").closes());
    vec![
        with("HTTP/1.1 keep_alive by itself", 1, "", stays),
        with("HTTP/1.1 with close", 1, "Connection: close\r\n", closes),
        with("options are case-insensitive", 1, "CONNECTION: Close\r\n", closes),
        with("close in a list", 1, "Connection: x,\tclose , y\r\n", closes),
        with("close in the second of two lines", 1, "Connection: x\r\nConnection: close\r\n", closes),
        with("close beside keep-alive: close wins", 1, "Connection: keep-alive, close\r\n", closes),
        with("an option that contains close is another", 1, "Connection: closed, not-close\r\n", stays),
        with("an option that is not known", 1, "Connection: upgrade\r\nUpgrade: h2c\r\n", stays),
        with("an empty list of options", 1, "Connection: ,,\r\n", stays),
        with("HTTP/1.0 closes by itself", 0, "", closes),
        with("HTTP/1.0 with keep-alive", 0, "Connection: Keep-Alive\r\n", stays).may(),
        with("HTTP/1.0 with both", 0, "Connection: keep-alive\r\nConnection: close\r\n", closes),
        with("Keep-Alive is no option, it only describes one", 0, "Keep-Alive: timeout=5\r\n", closes),
        with("Proxy-Connection means nothing", 0, "Proxy-Connection: keep-alive\r\n", closes),
        case("what follows a request that closes is not read",
            "GET /santai HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            closes)
            .because(("RFC 9112 §9.6", "what follows close must not be processed: its client does not wait for an answer")),
    ]
}

/// §9.3.2: answers come in the order of the requests.
pub fn pipelining() -> Vec<Case> {
    vec![
        case("two requests at once",
            "GET /santai HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/santai"), request("HEAD", "/")]),
        case("a request behind content",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [echo(b"hi"), get("/")]),
        case("a request behind chunks",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [chunked(b"hi"), get("/")]),
        case("the line end that old clients send behind content (§2.2)",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [echo(b"hi"), get("/")]).should(),
        case("content of a request that is not interested in it is read all the same",
            "GET /santai HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/santai").content(b"hi"), get("/")]),
        case("a good request, then a bad one",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/"), refused(HostMissing)]),
        case("a good request, then half of one",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHo", [get("/"), INCOMPLETE]),
    ]
}

pub fn expectations() -> Vec<Case> {
    vec![
        expect("100-continue", 1, "Expect: 100-continue\r\n", echo(b"hello")),
        expect("expectations are case-insensitive", 1, "EXPECT: 100-Continue\r\n", echo(b"hello")),
        expect("100-continue from HTTP/1.0 is ignored", 0, "Expect: 100-continue\r\n", echo(b"hello").closes()),
        expect("an expectation that is not known", 1, "Expect: tea\r\n", Expectation),
        expect("an empty expectation", 1, "Expect:\r\n", Expectation),
        expect("100-continue with something behind it", 1, "Expect: 100-continue, tea\r\n", Expectation),
        case("100-continue without content",
            "GET /santai HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", get("/santai")),
        post("100-continue, and the content is still at home",
            "Expect: 100-continue\r\nContent-Length: 5\r\n", "", INCOMPLETE),
        case("Max-Forwards of TRACE and OPTIONS (RFC 9110 §7.6.2)",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", request("OPTIONS", "/").answered(204)),
        case("Max-Forwards that is no number",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n", MaxForwards),
    ]
}
