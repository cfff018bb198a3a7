//! `--delay`: every request is answered so much later, once, however it arrives.

use crate::support::{Reader, Server};
use std::io::Write;
use std::time::{Duration, Instant};

const DELAY: Duration = Duration::from_millis(200);

fn start() -> Server {
    Server::start("async_server", &["--delay", "200ms"])
}

#[test]
fn a_request_that_comes_in_many_pieces_is_held_once() {
    let server = start();
    let content = vec![b'c'; 1_000_000];
    let mut stream = server.connect();
    let start = Instant::now();
    write!(stream, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len())
        .expect("the head is sent");
    stream.write_all(&content).expect("the content is sent");
    let answer = Reader::new(stream).answer(false).expect("it is answered");
    let taken = start.elapsed();
    assert!(answer.content == content, "{}", answer.head);
    assert!(taken >= DELAY, "{taken:?}");
    // A delay for each read of 64 KiB would be 16 of them at least.
    assert!(taken < 8 * DELAY, "{taken:?}");
}

#[test]
fn each_of_the_requests_that_come_at_once_is_held() {
    let server = start();
    let mut stream = server.connect();
    let start = Instant::now();
    let two = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
        GET /santai HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(&two.repeat(2)).expect("it is sent");
    let mut reader = Reader::new(stream);
    for number in 1..=4 {
        let answer = reader.answer(false).expect("it is answered");
        let text = if number % 2 == 1 { "hi" } else { "santai saja" };
        assert_eq!(answer.text(), text, "answer {number}");
        let taken = start.elapsed();
        assert!(taken >= number * DELAY, "answer {number} after {taken:?}");
    }
}
