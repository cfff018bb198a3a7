//! Answers of a backend that lies: more or less than it promised, contradictions, no HTTP. Whatever
//! a load balancer makes of them, nobody else may get a byte of it.
//!
//! A table, also of this project's own tests. Entry point: [`lies`]. Note: `notes/judge.md`.

/// What a backend answers to one request.
#[derive(Debug, Clone)]
pub struct Lie {
    pub name: &'static str,
    pub section: &'static str,
    pub method: &'static str,
    pub bytes: Vec<u8>,
    /// It closes behind the bytes; else it waits for the next request.
    pub closes: bool,
    /// What the client may see; the first is what this project's load balancer promises.
    pub right: &'static [Sees],
    /// What others choose, and nobody can be sure is wrong.
    pub choice: &'static [Sees],
}

/// What the client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// An error of the load balancer's own; this status is the best, any other 5xx is as clear.
    Error(u16),
    /// This content, and the end of the message.
    Content(&'static str),
    /// A connection that is cut before the end of the message.
    Cut,
    /// Nothing that ends within the time that the judge waits.
    Nothing,
}
use Sees::{Content, Cut, Error, Nothing};

fn lie(
    name: &'static str,
    section: &'static str,
    bytes: impl Into<Vec<u8>>,
    right: &'static [Sees],
) -> Lie {
    let bytes = bytes.into();
    Lie { name, section, method: "POST", bytes, closes: false, right, choice: &[] }
}

impl Lie {
    fn closing(self) -> Lie {
        Lie { closes: true, ..self }
    }

    fn choice(self, choice: &'static [Sees]) -> Lie {
        Lie { choice, ..self }
    }
}

const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
const BAD: &[Sees] = &[Error(502), Cut];
const CUT: &[Sees] = &[Cut, Error(502)];

fn ok(fields: &str, content: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{content}")
}

/// All of them.
#[rustfmt::skip]
pub fn lies() -> Vec<Lie> {
    let (none, five, fifty) =
        ("Content-Length: 0\r\n", "Content-Length: 5\r\n", "Content-Length: 50\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let half = "HTTP/1.1 200 OK\r\nContent-Le";
    let with = |field: &str| ok(&format!("{field}\r\n{none}"), "");
    let hello = &[Content("hello")];
    let nothing = &[Content(""), Error(502)];
    let late = &[Error(504), Cut];
    // Replaced by a space, it may go on: what reaches the client is read strictly.
    let empty = &[Error(502), Cut, Content("")];
    vec![
        // More than promised.
        lie("two answers", "RFC 9112 §6.3", ok(five, &format!("hello{POISON}")), hello),
        lie("bytes behind the content", "RFC 9112 §6.3", ok(five, "hello, poison"), hello),
        lie("204 and content", "RFC 9112 §6.3",
            format!("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n{POISON}"), nothing),
        lie("304 and content", "RFC 9112 §6.3",
            format!("HTTP/1.1 304 Not Modified\r\n\r\n{POISON}"), nothing),
        Lie { method: "HEAD", ..lie("content in answer to HEAD", "RFC 9112 §6.3",
            ok("Content-Length: 6\r\n", "poison"), nothing) },
        lie("an answer behind the last chunk", "RFC 9112 §6.3",
            ok(chunked, &format!("5\r\nhello\r\n0\r\n\r\n{POISON}")), hello),
        // Less than promised. How long a gateway waits is its own affair.
        lie("less than its length, and the end", "RFC 9112 §8", ok(fifty, "hello"), CUT).closing(),
        lie("less than its length, and silence", "RFC 9112 §8", ok(fifty, "hello"),
            &[Cut, Error(504), Nothing]),
        lie("no last chunk, and the end", "RFC 9112 §8", ok(chunked, "5\r\nhello\r\n"), CUT).closing(),
        lie("half a head, and the end", "RFC 9110 §15.6.3", half, BAD).closing(),
        lie("half a head, and silence", "RFC 9110 §15.6.5", half, late).choice(&[Nothing]),
        lie("nothing, and the end", "RFC 9110 §15.6.3", "", BAD).closing(),
        lie("nothing, and silence", "RFC 9110 §15.6.5", "", late).choice(&[Nothing]),
        // Contradictions.
        lie("both lengths", "RFC 9112 §6.3", ok(&format!("{five}{chunked}"), "0\r\n\r\n"), empty),
        lie("two lengths", "RFC 9112 §6.3", ok(&format!("{five}Content-Length: 6\r\n"), "hello!"), BAD),
        lie("a length that is none", "RFC 9112 §6.3", ok("Content-Length: 0x5\r\n", "hello"), BAD),
        lie("a coding that is not known", "RFC 9112 §6.1",
            ok("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), BAD)
            .choice(&[Content(""), Nothing]),
        lie("a broken chunk", "RFC 9112 §8", ok(chunked, "5\r\nhello\r\nx\r\n"), CUT),
        lie("a chunk that does not end", "RFC 9112 §8", ok(chunked, "5\r\nhelloXX0\r\n\r\n"), CUT),
        // No HTTP.
        lie("no HTTP", "RFC 9110 §15.6.3", "220 mail.example ESMTP\r\n", BAD).choice(&[Nothing]),
        lie("HTTP/2", "RFC 9110 §15.6.3", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64", BAD)
            .choice(&[Nothing]),
        lie("a lone LF", "RFC 9112 §2.2", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", empty),
        lie("a field split by a bare CR", "RFC 9112 §2.2", with("A: b\rSet-Cookie: c"), empty),
        lie("a folded field", "RFC 9112 §5.2", with("A: b\r\n\x20c"), empty),
        lie("a NUL in a field", "RFC 9110 §5.5", with("A: \0"), empty),
        lie("a space before a colon", "RFC 9112 §5.1", ok("Content-Length : 5\r\n", "hello"),
            &[Error(502), Cut, Content("hello")]),
        lie("a head of 30 KB", "RFC 9110 §5.4", ok(&"A: b\r\n".repeat(5000), ""), BAD)
            .choice(&[Content(""), Nothing]),
        lie("a switch that nobody asked for", "RFC 9110 §7.8",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", BAD).choice(&[Nothing]),
        lie("interim answers without end", "RFC 9110 §15.2",
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), BAD).choice(&[Nothing]),
    ]
}
