//! The judge's table of backends that lie, behind the real load balancer: whoever asked gets what
//! stands first in the table, 502, 504 or a cut connection, never half an answer that looks whole;
//! and nobody else gets a byte of it.

use crate::support::backend::{Backend, ok};
use crate::support::{Reader, Server};
use progjar::judge::lb::lies::Sees::{self, Content, Cut, Error};
use progjar::judge::lb::lies::lies;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;

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
        let promised: Sees = *lie.right.first().expect("something is promised");
        match promised {
            Error(status) => assert_eq!(got, Ok(status), "{}", lie.name),
            Content(text) => assert_eq!(got, Err(Ok(text.to_owned())), "{}", lie.name),
            Cut => assert!(
                matches!(got, Err(Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset))),
                "{}: {got:?}",
                lie.name
            ),
            Sees::Nothing => panic!("{}: a client is told", lie.name),
        }
        // The next ones, on either backend, get what they asked for; first the same client.
        if promised != Cut {
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
