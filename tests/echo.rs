//! `/echo` holds what it is sent until it has sent it back: all of it together stays below a
//! bound, however many clients there are, and nothing of it is lost to those who vanish.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{Answer, Reader, Server, eventually};

const SERVERS: [&str; 2] = ["async_server", "thread_server"];
/// What all clients' content together may take, as `src/site/echo.rs` states it.
const BUDGET: usize = 64 << 20;
const MIB: usize = 1 << 20;

fn head(length: usize) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

/// Sends a request for an echo, but for its last byte.
fn begin_upload(server: &Server, length: usize) -> TcpStream {
    let mut stream = server.connect();
    stream
        .write_all(head(length).as_bytes())
        .expect("it is sent");
    let content = vec![b'e'; length - 1];
    stream.write_all(&content).expect("it is sent");
    stream
}

fn upload(server: &Server, length: usize) -> Answer {
    end_upload(begin_upload(server, length))
}

fn end_upload(mut stream: TcpStream) -> Answer {
    stream.write_all(b"e").expect("it is sent");
    let answer = Reader::new(stream).answer(false);
    answer.expect("it is answered")
}

/// Whether it says that there is no room now and when to come back.
fn is_refusal(answer: &Answer) -> bool {
    answer.status == 503 && answer.field("retry-after") == Some("1")
}

#[test]
fn a_crowd_of_uploads_holds_no_more_than_the_bound_and_those_beyond_it_get_503() {
    for topic in SERVERS {
        let server = Server::start(topic, &[]);
        assert_eq!(upload(&server, MIB).status, 200);
        let rest = server.memory_kib();
        let crowd: Vec<_> = (0..160).map(|_| begin_upload(&server, MIB)).collect();
        let mut peak = rest;
        // They have been sent, not yet all received.
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            peak = peak.max(server.memory_kib());
        }
        let end = |stream| {
            peak = peak.max(server.memory_kib());
            end_upload(stream)
        };
        let answers: Vec<_> = crowd.into_iter().map(end).collect();
        let grown = (peak - rest) as usize * 1024;
        println!("{topic}: 160 uploads of 1 MiB hold {} MiB", grown / MIB);
        assert!(grown < BUDGET + BUDGET / 4, "{topic}: {grown} bytes");
        let refused = answers.iter().filter(|a| is_refusal(a)).count();
        let echoed = |a: &&Answer| a.status == 200 && a.content == vec![b'e'; MIB];
        let echoed = answers.iter().filter(echoed).count();
        assert_eq!(echoed + refused, answers.len(), "{topic}");
        assert!((48..=64).contains(&echoed), "{topic}: {echoed} fitted in");
    }
}

#[test]
fn clients_that_vanish_in_their_upload_give_back_what_it_held() {
    for topic in SERVERS {
        let server = Server::start(topic, &["--max-content", "64M"]);
        for _ in 0..3 {
            let crowd: Vec<_> = (0..80).map(|_| begin_upload(&server, MIB)).collect();
            drop(crowd);
            // Nearly all of it for one: nothing may have been lost.
            eventually(&format!("{topic}: everything is given back"), || {
                let answer = upload(&server, BUDGET - MIB / 2);
                assert!(
                    answer.status == 200 || is_refusal(&answer),
                    "{}",
                    answer.head
                );
                answer.status == 200
            });
        }
    }
}

#[test]
fn an_echo_counts_until_the_client_has_read_it() {
    for topic in SERVERS {
        let server = Server::start(topic, &[]);
        let blind: Vec<_> = (0..4)
            .map(|_| {
                // More than the sockets' buffers take, so the server keeps most of it.
                let mut stream = begin_upload(&server, BUDGET / 4);
                stream.write_all(b"e").expect("it is sent");
                let mut first = [0; 12];
                stream.read_exact(&mut first).expect("the answer begins");
                assert_eq!(&first, b"HTTP/1.1 200", "{topic}");
                stream
            })
            .collect();
        let answer = upload(&server, MIB);
        assert!(is_refusal(&answer), "{topic}: {}", answer.head);
        drop(blind);
        eventually(&format!("{topic}: it is given back"), || {
            upload(&server, MIB).status == 200
        });
    }
}

#[test]
fn an_echo_that_could_never_fit_is_413_at_once() {
    for topic in SERVERS {
        let server = Server::start(topic, &["--max-content", "1G"]);
        let answer = server.exchange(head(BUDGET + 1).as_bytes());
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 413 "), "{topic}: {text}");
    }
}

#[test]
fn behind_the_load_balancer_a_full_backend_says_so_and_stays_up() {
    let backend = Server::start("async_server", &[]);
    let lb = Server::start_lb(&[&backend], &[]);
    let crowd: Vec<_> = (0..80).map(|_| begin_upload(&backend, MIB)).collect();
    let answer = upload(&lb, MIB);
    assert!(is_refusal(&answer), "{}", answer.head);
    assert_eq!(
        answer.field("x-served-by"),
        Some(&*backend.name("async_server"))
    );
    assert_eq!(lb.state_of(backend.address), "up");
    drop(crowd);
    eventually("it has room again", || upload(&lb, MIB).status == 200);
}
