//! Content on its way through the load balancer, and the end of a client's connection: what is
//! sent again, what is too large, what comes before the final answer, and what comes after it.
//! Where the servers promise the same, all three are asked.

use crate::support::backend::{Backend, NOBODY, before, ok, read_head};
use crate::support::client::Client;
use crate::support::{Answer, Reader, Server, eventually, half_close, read_to_close};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const TOPICS: [&str; 3] = ["async_server", "thread_server", "lb"];

/// The server, and what stands behind it.
fn start(topic: &str, options: &[&str]) -> (Server, Option<Server>) {
    if topic != "lb" {
        return (Server::start(topic, options), None);
    }
    let behind = Server::start("async_server", &[]);
    (Server::start_lb(&[&behind], options), Some(behind))
}

/// No two of its places look alike when shifted by a power of two.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

/// A request with this content, as it is or in chunks.
fn with_content(line: &str, content: &[u8], in_chunks: bool) -> Vec<u8> {
    let framing = match in_chunks {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", content.len()),
    };
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes();
    if !in_chunks {
        bytes.extend(content);
        return bytes;
    }
    for piece in content.chunks(1000) {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// Sends it on a connection of its own.
fn ask(server: &Server, request: &[u8]) -> Answer {
    let mut stream = server.connect();
    stream.write_all(request).expect("it is sent");
    Reader::new(stream).answer(false).expect("it comes")
}

#[test]
fn a_put_of_100_kib_is_tried_elsewhere() {
    let content = pattern(100 * 1024);
    for in_chunks in [false, true] {
        // It reads all of a request, and closes, unless it is the first.
        let closes = Backend::start(|request, stream| {
            request.head.starts_with("PUT /first ") && stream.write_all(&ok("good")).is_ok()
        });
        let good = Backend::honest("good");
        let lb = before(&[&closes, &good], &["--workers", "1"]);
        // One that cannot be kept, so that something could be left of it.
        let first = with_content("PUT /first", &pattern(4 << 20), in_chunks);
        let put = with_content("PUT /", &content, in_chunks);
        for request in [&first, &first, &put, &put] {
            let answer = ask(&lb, request);
            assert_eq!(answer.text(), "good", "in chunks: {in_chunks}");
        }
        let of = |backend: &Backend| -> Vec<Vec<u8>> {
            let puts = backend.requests().into_iter();
            let puts = puts.filter(|r| r.head.starts_with("PUT / "));
            puts.map(|r| r.content).collect()
        };
        assert!(!of(&closes).is_empty(), "it was asked too");
        assert_eq!(of(&good).len(), 2);
        let all = [of(&closes), of(&good)].concat();
        assert!(all.iter().all(|got| *got == content));
    }
}

#[test]
fn content_of_exactly_the_limit_passes_and_one_byte_more_is_413() {
    const LIMIT: usize = 50_000;
    for topic in TOPICS {
        let (server, _behind) = start(topic, &["--max-content", &LIMIT.to_string()]);
        for in_chunks in [false, true] {
            let case = format!("{topic}, in chunks: {in_chunks}");
            let content = pattern(LIMIT + 1);
            let mut reader = Reader::new(server.connect());
            let exactly = with_content("POST /echo", &content[..LIMIT], in_chunks);
            // The limit is that of a request, not of a connection.
            for _ in 0..2 {
                let sent = reader.get_mut().write_all(&exactly);
                sent.expect("it is sent");
                let answer = reader.answer(false).expect("it comes");
                assert_eq!(answer.status, 200, "{case}");
                assert!(answer.content == content[..LIMIT], "{case}");
            }

            let one_more = with_content("POST /echo", &content, in_chunks);
            let sent = reader.get_mut().write_all(&one_more);
            sent.expect("it is taken, if not read");
            let answer = reader.answer(false).expect("it comes");
            assert_eq!(answer.status, 413, "{case}");
            assert!(reader.is_at_end(), "{case}: 413 closes");
        }
    }
}

#[test]
fn a_put_too_large_to_be_kept_is_not_tried_elsewhere_in_part() {
    let content = pattern(4 << 20);
    for in_chunks in [false, true] {
        let closes = Backend::start(|_, _| false);
        let good = Backend::honest("good");
        let lb = before(&[&closes, &good], &["--workers", "1"]);
        let put = with_content("PUT /", &content, in_chunks);
        let statuses = [(); 2].map(|()| ask(&lb, &put).status);
        assert_eq!(statuses.iter().min(), Some(&200), "{statuses:?}");
        assert_eq!(statuses.iter().max(), Some(&502), "{statuses:?}");
        let got = good.requests();
        assert_eq!(got.len(), 1, "in chunks: {in_chunks}");
        assert!(got[0].content == content);
    }
}

/// All that comes in answer to a PUT, with this version and this field.
fn answer_to_put(lb: &Server, version: &str, field: &str) -> String {
    let request = format!(
        "PUT / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n{field}Content-Length: 2\r\n\r\nhi"
    );
    String::from_utf8_lossy(&lb.exchange(request.as_bytes())).into_owned()
}

#[test]
fn an_interim_answer_reaches_only_a_1_1_client_that_expects_it() {
    const EXPECTS: &str = "Expect: 100-continue\r\n";
    // It says what it says to everyone.
    let says = |interim: &'static str| {
        Backend::raw(move |stream| {
            let mut reader = BufReader::new(stream);
            if read_head(&mut reader).is_some() {
                let _ = reader.get_mut().write_all(interim.as_bytes());
                let _ = reader.read_exact(&mut [0; 2]);
                let _ = reader.get_mut().write_all(&ok("hello"));
            }
        })
    };
    let goes_on = says("HTTP/1.1 100 Continue\r\n\r\n");
    let lb = before(&[&goes_on], &[]);
    let own = answer_to_put(&lb, "1.1", EXPECTS);
    let both = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(own.starts_with(both), "{own}");
    for (version, field) in [("1.1", ""), ("1.0", EXPECTS), ("1.0", "")] {
        let answer = answer_to_put(&lb, version, field);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{version} {field}: {answer}");
        assert!(answer.ends_with("hello"), "{answer}");
    }
    // Another interim answer does not ask for the content.
    let hints = says("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    let answer = answer_to_put(&before(&[&hints], &[]), "1.1", EXPECTS);
    assert!(!answer.contains("100 Continue"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn an_interim_answer_is_the_backends_own() {
    // It asks for no content, but answers when it is there.
    let has_head = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&has_head);
    let backend = Backend::raw(move |stream| {
        let mut reader = BufReader::new(stream);
        if read_head(&mut reader).is_some() {
            seen.store(true, SeqCst);
            let _ = reader.read_exact(&mut [0; 2]);
            let _ = reader.get_mut().write_all(&ok("hello"));
        }
    });
    let lb = before(&[&backend], &[]);
    let mut stream = lb.connect();
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\
        Expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is sent");
    eventually("the backend has the head", || has_head.load(SeqCst));
    stream.write_all(b"hi").expect("it is sent");
    let answer = read_to_close(&mut stream);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_gateway_error_before_the_content_came_closes_the_connection() {
    let closes = Backend::raw(|stream| {
        let _ = read_head(&mut BufReader::new(stream));
    });
    for (backend, status) in [(NOBODY, 503), (&closes.text(), 502)] {
        let lb = Server::start("lb", &["--no-checks", "--backend", backend]);
        let mut client = Client::new(&lb);
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.field("connection"), Some("close"));
        // Content that looks like a request is content all the same.
        client.send("GET /lb-status.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(client.0.is_at_end(), "{status}: there is a second answer");
    }
}

/// Sends the request, and on and on when the answer is there; then reads it all.
fn answer_while_sending_on(server: &Server, request: &str, case: &str) -> Answer {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).expect("it is sent");
    stream.peek(&mut [0]).expect("an answer comes");
    for _ in 0..8 {
        let sent = stream.write_all(&[b'x'; 32 * 1024]);
        sent.unwrap_or_else(|e| panic!("{case}: it takes no more: {e}"));
    }
    half_close(&stream);
    let mut reader = Reader::new(stream);
    let answer = reader.answer(false);
    let answer = answer.unwrap_or_else(|e| panic!("{case}: no answer: {e}"));
    let mut rest = Vec::new();
    let end = reader.get_mut().read_to_end(&mut rest);
    assert_eq!(end.map_err(|e| e.kind()), Ok(0), "{case}: a clean end");
    answer
}

#[test]
fn the_last_answer_survives_what_the_client_sends_on() {
    let upload = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhalf";
    for topic in TOPICS {
        let (server, _behind) = start(topic, &["--max-content", "1000"]);
        for (request, status) in [(upload, 413), ("GET / HTTP/1.1\r\n\r\n", 400)] {
            let answer = answer_while_sending_on(&server, request, topic);
            assert_eq!(answer.status, status, "{topic}");
            assert_eq!(answer.field("connection"), Some("close"), "{topic}");
        }
    }
    // A backend that answers early, and one whose answer a client of 1.0 gets until the close.
    let early = Backend::raw(|stream: TcpStream| {
        let mut reader = BufReader::new(stream);
        while read_head(&mut reader).is_some() {
            let _ = reader.get_mut().write_all(&ok("early"));
        }
    });
    let wants_no_other = upload.replace("Host: a", "Host: a\r\nConnection: close");
    for upload in [upload, &wants_no_other] {
        let answer = answer_while_sending_on(&before(&[&early], &[]), upload, "early");
        assert_eq!(answer.text(), "early");
    }
    let chunks = Backend::start(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(&[&head[..], b"5\r\nhello\r\n0\r\n\r\n"].concat()).is_ok()
    });
    let keep_alive = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = answer_while_sending_on(&before(&[&chunks], &[]), keep_alive, "chunks");
    assert_eq!(answer.text(), "hello");
}
