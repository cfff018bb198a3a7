//! How connections end: for a client that never stops sending, and for answers that break off.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use support::Server;
use support::backend::{Backend, before, read_head};

/// Three times the two seconds that a client gets to read its last answer.
const THREE_LINGERS: Duration = Duration::from_secs(6);

#[test]
fn who_sends_on_after_its_last_answer_is_closed_when_the_lingering_time_is_up() {
    for topic in ["thread_server", "async_server"] {
        let server = Server::start(topic, &[]);
        let mut stream = server.connect();
        stream.write_all(b"BAD\r\n\r\n").expect("the request is sent");
        let begun = Instant::now();
        while stream.write_all(b"still here").is_ok() {
            assert!(begun.elapsed() < THREE_LINGERS, "{topic} keeps who never stops sending");
            thread::sleep(Duration::from_millis(100)); // a client that dribbles
        }
    }
}

#[test]
fn who_sends_on_after_its_last_answer_does_not_keep_others_out() {
    let server = Server::start("async_server", &["--max-connections", "1"]);
    let mut stream = server.connect();
    stream.write_all(b"BAD\r\n\r\n").expect("the request is sent");
    let mut other = server.connect();
    other
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        .and_then(|()| other.set_read_timeout(Some(Duration::from_millis(100))))
        .expect("the other has connected");
    let begun = Instant::now();
    let mut byte = [0];
    while other.read(&mut byte).is_err() {
        let _ = stream.write_all(b"still here");
        assert!(begun.elapsed() < THREE_LINGERS, "the other is not served");
    }
}

/// The head, then content until nobody takes any; then a reset, for most of the upload is unread.
fn answer_early_and_reset(mut stream: TcpStream) {
    let mut part = vec![b'x'; 65536];
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    let patience = stream.set_write_timeout(Some(Duration::from_secs(1)));
    let begun = patience.and_then(|()| stream.read(&mut part)).and_then(|_| stream.write_all(head));
    while begun.is_ok() && stream.write(&part).is_ok() {}
    thread::sleep(Duration::from_secs(2)); // the client's side is full as well
}

#[test]
fn a_backend_that_resets_during_an_upload_costs_no_cpu_time_while_the_client_reads_nothing() {
    // Whether the load balancer learns of the reset depends on what fits into the sockets: of six
    // trials several find it out.
    let trial = || {
        let backend = Backend::raw(answer_early_and_reset);
        let server = before(&[&backend], &["--workers", "1"]);
        let mut stream = server.connect();
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999\r\n\r\n")
            .and_then(|()| stream.set_write_timeout(Some(Duration::from_secs(2))))
            .expect("the head is sent");
        while stream.write(&[b'y'; 65536]).is_ok() {}
        thread::sleep(Duration::from_secs(4)); // the backend has gone by then
        let before = server.cpu_time();
        thread::sleep(Duration::from_secs(5)); // the time over which CPU time is measured
        server.cpu_time() - before
    };
    let spent: Vec<Duration> = thread::scope(|scope| {
        let trials: Vec<_> = (0..6).map(|_| scope.spawn(trial)).collect();
        trials.into_iter().map(|t| t.join().expect("a trial ends")).collect()
    });
    let spins = spent.iter().any(|&time| time > Duration::from_millis(200));
    assert!(!spins, "CPU time in 5 s of waiting: {spent:?}");
}

#[test]
fn an_answer_without_a_length_that_a_reset_cut_short_is_not_passed_on_as_complete() {
    let backend = Backend::raw(|stream| {
        let mut reader = std::io::BufReader::with_capacity(1, stream);
        let _ = read_head(&mut reader);
        let mut stream = reader.into_inner();
        // What comes behind the head is never read, so that the close is a reset.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\npart");
        thread::sleep(Duration::from_millis(300)); // the part is passed on before the reset
    });
    let server = before(&[&backend], &["--workers", "1"]);
    let mut stream = server.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nunread..")
        .expect("the request is sent");
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => break,
            Err(_) => break, // it is kept open: then the answer has ended
        }
        if bytes.ends_with(b"0\r\n\r\n") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.ends_with("0\r\n\r\n"), "passed on as complete: {text}");
}

#[test]
fn a_cut_answer_does_not_look_complete_to_a_client_of_http_1_0() {
    let backend = Backend::raw(|stream| {
        let mut reader = std::io::BufReader::with_capacity(1, stream);
        let _ = read_head(&mut reader);
        let mut stream = reader.into_inner();
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head).and_then(|()| stream.write_all(b"4\r\npart\r\n"));
        thread::sleep(Duration::from_millis(300)); // the part is passed on before the end
    });
    let server = before(&[&backend], &["--workers", "1"]);
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("the request is sent");
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    // Without a length, an orderly close is how HTTP/1.0 says that the answer is complete.
    assert!(end.is_err() || text.contains("Content-Length"), "an orderly close behind: {text}");
}
