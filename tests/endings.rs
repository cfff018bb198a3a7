//! How connections end: for a client that never stops sending, and for answers that break off.

use crate::support::backend::{Backend, before, read_head, switch, wait_while};
use crate::support::{Server, eventually};
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

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

/// The connection once a head has been read from it, and not a byte more.
fn behind_head(stream: TcpStream) -> TcpStream {
    let mut reader = BufReader::with_capacity(1, stream);
    let _ = read_head(&mut reader);
    reader.into_inner()
}

/// A client's upload, which never ends, to a backend that answers early, reads no more and then
/// closes: the CPU time of the load balancer afterwards, while the client reads nothing. So many
/// bytes of the answer are sent.
fn cpu_time_behind_a_reset(answered: usize) -> Duration {
    let (client_writes, backend_stays) = (switch(), switch());
    let (writes, stays) = (Arc::clone(&client_writes), Arc::clone(&backend_stays));
    let backend = Backend::raw(move |stream| {
        let mut stream = behind_head(stream);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
        let patience = stream.set_write_timeout(Some(Duration::from_secs(1)));
        let begun = patience.and_then(|()| stream.write_all(head));
        let _ = begun.and_then(|()| stream.write_all(&vec![b'x'; answered]));
        wait_while(&writes, true);
        drop(stream); // a reset, for most of the upload is unread
        stays.store(false, SeqCst);
    });
    let server = before(&[&backend], &["--workers", "1"]);
    let mut stream = server.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999\r\n\r\n")
        .and_then(|()| stream.set_write_timeout(Some(Duration::from_secs(2))))
        .expect("the head is sent");
    while stream.write(&[b'y'; 65536]).is_ok() {}
    client_writes.store(false, SeqCst);
    eventually("the backend has closed", || !backend_stays.load(SeqCst));
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(5)); // the time over which CPU time is measured
    server.cpu_time() - before
}

#[test]
fn a_backend_that_resets_during_an_upload_costs_no_cpu_time_while_the_client_reads_nothing() {
    // The load balancer learns of the reset if the answer so far is more than the way to the client
    // holds, and less than fills its own socket too. How much that is depends on the system.
    let spent: Vec<Duration> = thread::scope(|scope| {
        let trials: Vec<_> = (1..=16)
            .map(|n| scope.spawn(move || cpu_time_behind_a_reset(n * 512 * 1024)))
            .collect();
        trials.into_iter().map(|t| t.join().expect("a trial ends")).collect()
    });
    let spins = spent.iter().any(|&time| time > Duration::from_millis(200));
    assert!(!spins, "CPU time in 5 s of waiting: {spent:?}");
}

/// What a client gets for this request from a backend that breaks off as soon as the client has
/// the word "part"; the second thing is how its connection ends.
fn broken_off(request: &[u8], answer: &'static [u8]) -> (String, io::Result<usize>) {
    let backend_stays = switch();
    let stays = Arc::clone(&backend_stays);
    let backend = Backend::raw(move |stream| {
        let mut stream = behind_head(stream);
        let _ = stream.write_all(answer);
        wait_while(&stays, true);
    });
    let server = before(&[&backend], &["--workers", "1"]);
    let mut stream = server.connect();
    stream.write_all(request).expect("the request is sent");
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("part") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the part comes");
        bytes.push(byte[0]);
    }
    backend_stays.store(false, SeqCst);
    let end = stream.read_to_end(&mut bytes);
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

#[test]
fn an_answer_without_a_length_that_a_reset_cut_short_is_not_passed_on_as_complete() {
    // The content is never read, so that the backend's close is a reset.
    let request = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nunread..";
    let (text, _) = broken_off(request, b"HTTP/1.1 200 OK\r\n\r\npart");
    assert!(!text.ends_with("0\r\n\r\n"), "passed on as complete: {text}");
}

#[test]
fn a_cut_answer_does_not_look_complete_to_a_client_of_http_1_0() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
    let (text, end) = broken_off(b"GET / HTTP/1.0\r\n\r\n", answer);
    // Without a length, an orderly close is how HTTP/1.0 says that the answer is complete.
    assert!(end.is_err() || text.contains("Content-Length"), "an orderly close behind: {text}");
}
