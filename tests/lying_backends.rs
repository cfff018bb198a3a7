//! Backends that lie, behind the real load balancer: whoever asked gets 502, 504 or a cut
//! connection, never half an answer that looks whole; and nobody else gets a byte of it.

mod support;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use support::backend::{Backend, ok};
use support::{Reader, Server};

/// What a backend does when it is asked for `/lie`.
struct Lie {
    name: &'static str,
    method: &'static str,
    bytes: Vec<u8>,
    /// It closes behind the bytes; else it waits for the next request.
    closes: bool,
    /// What the client is to see.
    client_sees: Sees,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// This status, of the load balancer's own.
    Status(u16),
    /// This content, and the end of the message.
    Content(&'static str),
    /// A connection that is cut before the end of the message.
    Cut,
}
use Sees::{Content, Cut, Status};

fn lie(name: &'static str, bytes: impl Into<Vec<u8>>, client_sees: Sees) -> Lie {
    Lie { name, method: "POST", bytes: bytes.into(), closes: false, client_sees }
}

fn lies() -> Vec<Lie> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let with = |fields: &str, content: &str| format!("{ok}{fields}\r\n{content}");
    let closing = |lie: Lie| Lie { closes: true, ..lie };
    vec![
        // More than was promised.
        lie(
            "two answers",
            with("Content-Length: 5\r\n", &format!("hello{poison}")),
            Content("hello"),
        ),
        lie(
            "bytes behind the content",
            with("Content-Length: 5\r\n", "hello, poison"),
            Content("hello"),
        ),
        lie(
            "204 and content",
            format!("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n{poison}"),
            Content(""),
        ),
        lie("304 and content", format!("HTTP/1.1 304 Not Modified\r\n\r\n{poison}"), Content("")),
        Lie {
            method: "HEAD",
            ..lie("content in answer to HEAD", with("Content-Length: 6\r\n", "poison"), Content(""))
        },
        lie(
            "an answer behind the last chunk",
            with("Transfer-Encoding: chunked\r\n", &format!("5\r\nhello\r\n0\r\n\r\n{poison}")),
            Content("hello"),
        ),
        // Less than was promised.
        closing(lie(
            "less than its length, and the end",
            with("Content-Length: 50\r\n", "hello"),
            Cut,
        )),
        lie("less than its length, and silence", with("Content-Length: 50\r\n", "hello"), Cut),
        closing(lie(
            "no last chunk, and the end",
            with("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
            Cut,
        )),
        closing(lie("half a head, and the end", "HTTP/1.1 200 OK\r\nContent-Le", Status(502))),
        lie("half a head, and silence", "HTTP/1.1 200 OK\r\nContent-Le", Status(504)),
        closing(lie("nothing, and the end", "", Status(502))),
        lie("nothing, and silence", "", Status(504)),
        // Contradictions.
        lie(
            "both lengths",
            with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            Status(502),
        ),
        lie(
            "two lengths",
            with("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
            Status(502),
        ),
        lie("a length that is none", with("Content-Length: 0x5\r\n", "hello"), Status(502)),
        lie(
            "a coding that is not known",
            with("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            Status(502),
        ),
        lie("a broken chunk", with("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nx\r\n"), Cut),
        lie(
            "a chunk that does not end",
            with("Transfer-Encoding: chunked\r\n", "5\r\nhelloXX0\r\n\r\n"),
            Cut,
        ),
        // No HTTP.
        lie("no HTTP", "220 mail.example ESMTP\r\n", Status(502)),
        lie("HTTP/2", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64", Status(502)),
        lie("a lone LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", Status(502)),
        lie(
            "a field split by a bare CR",
            with("A: b\rSet-Cookie: c\r\nContent-Length: 0\r\n", ""),
            Status(502),
        ),
        lie("a folded field", with("A: b\r\n\x20c\r\nContent-Length: 0\r\n", ""), Status(502)),
        lie("a NUL in a field", with("A: \0\r\nContent-Length: 0\r\n", ""), Status(502)),
        lie("a space before a colon", with("Content-Length : 5\r\n", "hello"), Status(502)),
        lie("a head without end", with(&"A: b\r\n".repeat(5000), ""), Status(502)),
        lie(
            "a switch that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            Status(502),
        ),
        lie(
            "interim answers without end",
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
            Status(502),
        ),
    ]
}

fn asks(server: &Server, method: &str, target: &str) -> Reader<TcpStream> {
    let mut stream = server.connect();
    let length = if method == "POST" { "Content-Length: 2\r\n\r\nhi" } else { "\r\n" };
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{length}");
    stream.write_all(request.as_bytes()).expect("it is sent");
    Reader::new(stream)
}

#[test]
fn a_lie_harms_nobody_but_the_client_that_it_was_told() {
    for lie in lies() {
        // All but `/lie` is answered honestly.
        let backends = [(); 2].map(|()| {
            let (bytes, closes) = (lie.bytes.clone(), lie.closes);
            Backend::start(move |request, stream| match request.target() {
                "/lie" => stream.write_all(&bytes).is_ok() && !closes,
                _ => stream.write_all(&ok("honest")).is_ok(),
            })
        });
        let addresses = backends.each_ref().map(Backend::text);
        // Only where silence is the lie: a busy machine may take longer for the others.
        let time = if lie.name.ends_with("silence") { "300ms" } else { "20s" };
        let times = ["--response-timeout", time, "--relay-timeout", time];
        let [one, other] = &addresses;
        let options = ["--backend", one, "--backend", other, "--workers", "1"];
        let lb = Server::start("lb", &[&options[..], &times].concat());

        let mut reader = asks(&lb, lie.method, "/lie");
        let got = match reader.answer(lie.method == "HEAD") {
            Ok(answer) if answer.status >= 500 => Ok(answer.status),
            Ok(answer) => Err(Ok(answer.text())),
            Err(error) => Err(Err(error.kind())),
        };
        match lie.client_sees {
            Status(status) => assert_eq!(got, Ok(status), "{}", lie.name),
            Content(text) => assert_eq!(got, Err(Ok(text.to_owned())), "{}", lie.name),
            Cut => assert!(
                matches!(got, Err(Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset))),
                "{}: {got:?}",
                lie.name
            ),
        }
        // The next ones, on either backend, get what they asked for; first the same client.
        if lie.client_sees != Cut {
            let next = b"GET /honest HTTP/1.1\r\nHost: a\r\n\r\n";
            reader.get_mut().write_all(next).expect("it is sent");
            let answer = reader.answer(false).expect("it is answered");
            assert_eq!(answer.text(), "honest", "{}: {answer:?}", lie.name);
        }
        for _ in 0..6 {
            let answer = asks(&lb, "GET", "/honest").answer(false);
            let answer = answer.unwrap_or_else(|e| panic!("{}: {e}", lie.name));
            assert_eq!(answer.text(), "honest", "{}: {answer:?}", lie.name);
        }
    }
}
