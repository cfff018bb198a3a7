//! What a gateway makes of a message (RFC 9110 §7, RFC 9112 §2 to §7): what ends at it, what goes on,
//! and what it must write anew. Messages that a parser could read in two ways stand in other tables.
//!
//! Entry points: [`to_backends`], [`to_clients`]. Note: `notes/judge.md`.

use super::honest::bytes;
use super::passage::{Passage, Want, passage};
use Want::*;

const MIB: usize = 1 << 20;
/// The length of what is large.
const LARGE: &str = "Content-Length: 1048576\r\n";
const FORWARDED: &str =
    "X-Forwarded-For: no RFC, but what backends read; RFC 7239 §5.2 is its heir";
const HALF: &str = "half a file looks like a file";
const UPLOAD: &str = "the upload is lost, or the rest of it is taken for the next request";

/// What a backend gets.
pub(crate) fn to_backends() -> Vec<Passage> {
    [line_and_fields(), content(), of_one_connection()].into_iter().flatten().collect()
}

/// The line and the fields that a backend gets.
#[rustfmt::skip]
fn line_and_fields() -> Vec<Passage> {
    vec![
        passage("a field that Connection names ends here", "RFC 9110 §7.6.1",
            "it was meant for the load balancer alone; the backend takes it for the client's word")
            .fields("Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\n")
            .wants([Lacks("X-Secret")]),
        passage("fields that mean something to the end pass unchanged, in their order",
            "RFC 9110 §5.1, §5.3",
            "a login, a cookie, or what a client sends under a name of its own is lost")
            .fields("X-Kept: a, b\r\nCookie: d=e\r\nX-Kept: c\r\nAuthorization: Basic eDp5\r\n")
            .wants([Gets("X-Kept", "a, b, c"), Gets("Cookie", "d=e"),
                Gets("Authorization", "Basic eDp5")]),
        passage("the path and the query pass unchanged", "RFC 9110 §7.7",
            "a path that is rewritten names another resource, or goes round a rule of the backend")
            .sends("GET /t/a%20b/%2e%2E/c?d=%2F&e=//f HTTP/1.1\r\nHost: a\r\n\r\n")
            .wants([Line("GET /t/a%20b/%2e%2E/c?d=%2F&e=//f HTTP/1.1")]),
        passage("the whole URI as target: the backend gets the path", "RFC 9112 §3.2.1",
            "a client sends a whole URI to proxies only, and so few servers ever see one")
            .sends("GET http://a/t?b HTTP/1.1\r\nHost: a\r\n\r\n")
            .wants([Line("GET /t?b HTTP/1.1")]).weight(1).should(),
        passage("Host passes unchanged", "RFC 9110 §7.2",
            "a backend with several sites, or one that builds links, does not know its own name")
            .sends("GET /t HTTP/1.1\r\nHost: www.example:8080\r\n\r\n")
            .wants([Gets("Host", "www.example:8080")]).should(),
        passage("the backend learns the client's address", FORWARDED,
            "without it the backend's log knows one client only: the load balancer")
            .wants([Gets("X-Forwarded-For", "PEER")]).should(),
        passage("a client cannot invent its address", FORWARDED,
            "whoever writes the last address is believed, and that must not be the client")
            .fields("X-Forwarded-For: 192.0.2.9\r\n")
            .wants([GetsAtEnd("X-Forwarded-For", "PEER")]).weight(3).should(),
        passage("Via names this gateway", "RFC 9110 §7.6.3",
            "without it nobody sees that a request goes round in a circle")
            .fields("Via: 1.0 fred\r\n").wants([GetsMore("Via", "1.0 fred, ")]).weight(1),
        // A gateway may lower the version on purpose: that cannot be seen from here.
        passage("an HTTP/1.0 client's request is sent on in the gateway's own version",
            "RFC 9112 §2.3",
            "the backend would keep to the client's old rules, on a connection that is another's")
            .sends("GET /t HTTP/1.0\r\nHost: a\r\n\r\n")
            .wants([Line("GET /t HTTP/1.1")]).weight(1).should(),
        passage("an OPTIONS with Max-Forwards: 0 is answered here", "RFC 9110 §7.6.2",
            "the client asks this hop, to find the one that does not work")
            .sends("OPTIONS /t HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
            .wants([StaysHere]).weight(1).of_no_lab(),
        passage("an OPTIONS with Max-Forwards: 5 goes on with 4", "RFC 9110 §7.6.2",
            "a count that nobody lowers never ends")
            .sends("OPTIONS /t HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n")
            .wants([Gets("Max-Forwards", "4")]).weight(1).of_no_lab(),
    ]
}

/// Content, whole; and the answer that may not have any.
#[rustfmt::skip]
fn content() -> Vec<Passage> {
    vec![
        passage("content with a length arrives whole", "RFC 9112 §6.2", UPLOAD)
            .uploads(LARGE, &bytes(MIB))
            .wants([Content(bytes(MIB)), Returned(bytes(MIB))]).weight(3),
        passage("chunked content arrives whole, whatever its chunks", "RFC 9112 §7.1", UPLOAD)
            .uploads("Transfer-Encoding: chunked\r\n",
                b"5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\nTrailer: 1\r\n\r\n")
            .wants([Content("hello, world".into()), Returned("hello, world".into())]).weight(3),
        passage("Expect: 100-continue: the content arrives", "RFC 9110 §10.1.1",
            "curl sends it with each larger upload, and waits")
            .uploads("Expect: 100-continue\r\nContent-Length: 2\r\n", b"hi")
            .wants([Content("hi".into()), Status(200)]),
        passage("the answer to HEAD has no content, and tells the length", "RFC 9110 §9.3.2",
            "a client takes the content for its next answer")
            .sends("HEAD /t HTTP/1.1\r\nHost: a\r\n\r\n")
            .answered("200 OK", "Content-Length: 5\r\n", "")
            .wants([Status(200), Answered("Content-Length", "5")]),
    ]
}

/// A gateway should know these fields without being told.
#[rustfmt::skip]
fn of_one_connection() -> Vec<Passage> {
    let rows = [
        ("Keep-Alive", "Keep-Alive: timeout=5\r\n"),
        ("Proxy-Connection", "Proxy-Connection: keep-alive\r\n"),
        ("TE", "TE: trailers\r\n"),
    ];
    let row = |(name, lines)| {
        let row = passage(name, "RFC 9110 §7.6.1",
            "it speaks of the connection to the load balancer, not of the message");
        row.fields(lines).wants([Lacks(name)]).weight(1).should()
    };
    rows.map(row).into()
}

/// What a client gets.
#[rustfmt::skip]
pub(crate) fn to_clients() -> Vec<Passage> {
    let five = "Content-Length: 5\r\n";
    vec![
        passage("a field that Connection names ends here", "RFC 9110 §7.6.1",
            "it was meant for the load balancer alone")
            .answered("200 OK", &format!("Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\n{five}"),
                "hello")
            .wants([Unanswered("X-Secret"), Returned("hello".into())]),
        passage("fields of one connection end here", "RFC 9110 §7.6.1",
            "they speak of a connection that the client does not have")
            .answered("200 OK", &format!("Keep-Alive: timeout=7\r\nProxy-Connection: x\r\n{five}"),
                "hello")
            .wants([Unanswered("Proxy-Connection"), Returned("hello".into())]).weight(1).should(),
        passage("status, fields and content pass unchanged", "RFC 9110 §5.1, §5.3",
            "a second cookie that is lost logs somebody out")
            .answered("203 Well, yes",
                &format!("Set-Cookie: a=b\r\nX-Kept: c\r\nSet-Cookie: d=e\r\n{five}"), "hello")
            .wants([Status(203), Answered("Set-Cookie", "a=b, d=e"),
                Answered("X-Kept", "c"), Returned("hello".into())]),
        passage("a status that nobody knows passes", "RFC 9110 §15",
            "applications invent statuses, and their clients know them")
            .answered("299 Who", five, "hello").wants([Status(299), Returned("hello".into())]).weight(1),
        passage("a Date is added where the backend forgot it", "RFC 9110 §6.6.1",
            "without it a cache does not know how old an answer is")
            .answered("200 OK", five, "hello")
            .wants([AnsweredSome("Date")]).weight(1).of_no_lab(),
        passage("a large content arrives whole", "RFC 9112 §6.2", HALF)
            .answered("200 OK", LARGE, bytes(MIB)).wants([Returned(bytes(MIB))]).weight(3),
        passage("chunks arrive whole", "RFC 9112 §7.1", HALF)
            .answered("200 OK", "Transfer-Encoding: chunked\r\n",
                "5;x\r\nhello\r\n7\r\n, world\r\n0\r\nA: b\r\n\r\n")
            .wants([Returned("hello, world".into())]).weight(3),
        passage("an answer that ends with the backend's connection arrives whole, and its end is known",
            "RFC 9112 §6.3", "the client waits for more, or takes less for all")
            .answered_and_closed("HTTP/1.0 200 OK\r\n\r\nuntil the end")
            .wants([Returned("until the end".into())]).weight(3),
        passage("an HTTP/1.0 client gets no chunks", "RFC 9112 §6.1",
            "it does not know them, and shows their sizes")
            .sends("GET /t HTTP/1.0\r\nHost: a\r\n\r\n")
            .answered("200 OK", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")
            .wants([Unanswered("Transfer-Encoding"), Returned("hello".into())]),
        passage("204 passes", "RFC 9110 §15.3.5", "a client waits for content that never comes")
            .answered("204 No Content", "", "").wants([Status(204), Returned("".into())]),
        passage("304 passes with its tag", "RFC 9110 §15.4.5",
            "a browser keeps what it has by this tag")
            .fields("If-None-Match: \"x\"\r\n").answered("304 Not Modified", "ETag: \"x\"\r\n", "")
            .wants([Status(304), Answered("ETag", "\"x\"")]),
    ]
}
