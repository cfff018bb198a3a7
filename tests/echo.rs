//! `/echo` holds what it is sent until it has sent it back: all of it together stays below a
//! bound, however many clients there are, and nothing of it is lost to those who vanish.

use crate::support::{Answer, Reader, Server, eventually};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

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
    stream.write_all(head(length).as_bytes()).expect("it is sent");
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

/// Bytes on the way between the server and its clients: sent by the one, not yet read by the other.
fn unread(server: &Server) -> u64 {
    let port = format!(":{:04X}", server.address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let queued = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote) = (columns.next()?, columns.next()?);
        let (sent, received) = columns.nth(1)?.split_once(':')?;
        let number = |hex| u64::from_str_radix(hex, 16).ok();
        let is_ours = local.ends_with(&port) || remote.ends_with(&port);
        is_ours.then_some(number(sent)? + number(received)?)
    };
    table.lines().filter_map(queued).sum()
}

/// Whether it says that there is no room now and when to come back.
fn is_refusal(answer: &Answer) -> bool {
    answer.status == 503 && answer.field("retry-after") == Some("1")
}

#[test]
fn a_crowd_of_uploads_takes_at_most_twice_the_bound_in_memory_and_those_beyond_it_get_503() {
    const CROWD: usize = 240;
    for topic in SERVERS {
        let server = Server::start(topic, &[]);
        assert_eq!(upload(&server, MIB).status, 200);
        let rest = server.memory_kib();
        let crowd: Vec<_> = (0..CROWD).map(|_| begin_upload(&server, MIB)).collect();
        let mut peak = rest;
        eventually(&format!("{topic}: the server has read all of it"), || {
            peak = peak.max(server.memory_kib());
            unread(&server) == 0
        });
        let end = |stream| {
            peak = peak.max(server.memory_kib());
            end_upload(stream)
        };
        let answers: Vec<_> = crowd.into_iter().map(end).collect();
        let grown = (peak - rest) as usize * 1024;
        println!("{topic}: {CROWD} uploads of 1 MiB hold {} MiB", grown / MIB);
        assert!(grown < 2 * BUDGET, "{topic}: {grown} bytes");
        let refused = answers.iter().filter(|a| is_refusal(a)).count();
        let echoed = |a: &&Answer| a.status == 200 && a.content == vec![b'e'; MIB];
        let echoed = answers.iter().filter(echoed).count();
        assert_eq!(echoed + refused, answers.len(), "{topic}");
        assert!((32..=64).contains(&echoed), "{topic}: {echoed} fitted in");
    }
}

#[test]
fn clients_that_vanish_in_their_upload_give_back_what_it_held() {
    for topic in SERVERS {
        let server = Server::start(topic, &["--max-content", "64M"]);
        let last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(!server.exchange(last).is_empty());
        let rest = server.descriptors();
        let crowd: Vec<_> = (0..80).map(|_| begin_upload(&server, MIB)).collect();
        drop(crowd);
        eventually(&format!("{topic}: they have vanished"), || server.descriptors() <= rest);
        // All of it for one: nothing was lost.
        let answer = upload(&server, BUDGET);
        assert_eq!(answer.status, 200, "{topic}: {}", answer.head);
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
        eventually(&format!("{topic}: it is given back"), || upload(&server, MIB).status == 200);
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
    eventually("the backend has read them", || unread(&backend) == 0);
    let answer = upload(&lb, MIB);
    assert!(is_refusal(&answer), "{}", answer.head);
    assert_eq!(answer.field("x-served-by"), Some(&*backend.name("async_server")));
    assert_eq!(lb.state_of(backend.address), "up");
    drop(crowd);
    eventually("it has room again", || upload(&lb, MIB).status == 200);
}
