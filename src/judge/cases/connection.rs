//! RFC 9112 §9, RFC 9110 §7.6.1 and §10.1.1: persistence, pipelining, Expect.
//!
//! Note: `notes/judge.md`.

use super::*;
use Fault as E;

pub fn persistence() -> Vec<Case> {
    let with = |name, version: &str, lines: &str, verdict: Verdict| {
        let bytes = format!("GET /santai {version}\r\nHost: a\r\n{lines}\r\n");
        case(name, bytes, [verdict])
    };
    let (stays, closes) = (get("/santai"), get("/santai").closes());
    vec![
        with("HTTP/1.1 keep_alive by itself", "HTTP/1.1", "", stays),
        with("HTTP/1.1 with close", "HTTP/1.1", "Connection: close\r\n", closes),
        with("options are case-insensitive", "HTTP/1.1", "CONNECTION: Close\r\n", closes),
        with("close in a list", "HTTP/1.1", "Connection: x,\tclose , y\r\n", closes),
        with(
            "close in the second of two lines",
            "HTTP/1.1",
            "Connection: x\r\nConnection: close\r\n",
            closes,
        ),
        with(
            "close beside keep-alive: close wins",
            "HTTP/1.1",
            "Connection: keep-alive, close\r\n",
            closes,
        ),
        with("an option that contains close is another", "HTTP/1.1", "Connection: closed, not-close\r\n", stays),
        with("an option that is not known", "HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", stays),
        with("an empty list of options", "HTTP/1.1", "Connection: ,,\r\n", stays),
        with("HTTP/1.0 closes by itself", "HTTP/1.0", "", closes),
        with("HTTP/1.0 with keep-alive", "HTTP/1.0", "Connection: Keep-Alive\r\n", stays).may(),
        with("HTTP/1.0 with both", "HTTP/1.0", "Connection: keep-alive\r\nConnection: close\r\n", closes),
        with("Keep-Alive is no option, it only describes one", "HTTP/1.0", "Keep-Alive: timeout=5\r\n", closes),
        with("Proxy-Connection means nothing", "HTTP/1.0", "Proxy-Connection: keep-alive\r\n", closes),
        case(
            "what follows a request that closes is not read",
            b"GET /santai HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [closes],
        )
        .because("RFC 9112 §9.6", "what follows close must not be processed: its client does not wait for an answer"),
    ]
}

/// §9.3.2: answers come in the order of the requests.
pub fn pipelining() -> Vec<Case> {
    vec![
        case(
            "two requests at once",
            b"GET /santai HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/santai"), request("HEAD", "/")],
        ),
        case(
            "a request behind content",
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [echo(Length(2), b"hi"), get("/")],
        ),
        case(
            "a request behind chunks",
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
              2\r\nhi\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [echo(Chunked, b"hi"), get("/")],
        ),
        case(
            "the line end that old clients send behind content (§2.2)",
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [echo(Length(2), b"hi"), get("/")],
        ).should(),
        case(
            "content of a request that is not interested in it is read all the same",
            b"GET /santai HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [
                get("/santai").with(|a| Accepted { framing: Length(2), content: b"hi", ..a }),
                get("/"),
            ],
        ),
        case(
            "a good request, then a bad one",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            [get("/"), refused(400, E::HostMissing)],
        ),
        case(
            "a good request, then half of one",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHo",
            [get("/"), INCOMPLETE],
        ),
    ]
}

pub fn expectations() -> Vec<Case> {
    let post = |name, version: &str, expect: &str, verdict: Verdict| {
        let bytes =
            format!("POST /echo {version}\r\nHost: a\r\n{expect}Content-Length: 5\r\n\r\nhello");
        case(name, bytes, [verdict])
    };
    let hello = echo(Length(5), b"hello");
    vec![
        post("100-continue", "HTTP/1.1", "Expect: 100-continue\r\n", hello),
        post("expectations are case-insensitive", "HTTP/1.1", "EXPECT: 100-Continue\r\n", hello),
        post(
            "100-continue from HTTP/1.0 is ignored",
            "HTTP/1.0",
            "Expect: 100-continue\r\n",
            hello.closes(),
        ),
        post(
            "an expectation that is not known",
            "HTTP/1.1",
            "Expect: tea\r\n",
            refused(417, E::Expectation),
        ),
        post("an empty expectation", "HTTP/1.1", "Expect:\r\n", refused(417, E::Expectation)),
        post(
            "100-continue with something behind it",
            "HTTP/1.1",
            "Expect: 100-continue, tea\r\n",
            refused(417, E::Expectation),
        ),
        case(
            "100-continue without content",
            b"GET /santai HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            [get("/santai")],
        ),
        case(
            "100-continue, and the content is still at home",
            b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            [INCOMPLETE],
        ),
        case(
            "Max-Forwards of TRACE and OPTIONS (RFC 9110 §7.6.2)",
            b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
            [request("OPTIONS", "/").answered(204)],
        ),
        case(
            "Max-Forwards that is no number",
            b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n",
            [refused(400, E::MaxForwards)],
        ),
    ]
}
