//! What a thread per client costs, and who makes room for whom when all places are taken.

use crate::support::{Reader, Server, allow_many_descriptors, eventually};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET /santai HTTP/1.1\r\nHost: a\r\n\r\n";

/// The ways to have three places.
const THREE_PLACES: [[&str; 2]; 2] = [["--max-connections", "3"], ["--pool", "3"]];

/// A client that persists.
struct Client(Reader<TcpStream>);

impl Client {
    fn new(server: &Server) -> Client {
        Client(Reader::new(server.connect()))
    }

    /// Asks; after the answer it is idle.
    fn ask(&mut self) {
        self.0.get_mut().write_all(GET).expect("it is sent");
        let answer = self.0.answer(false).expect("it is answered");
        assert_eq!(answer.text(), "santai saja", "{answer:?}");
    }

    /// Whether the server says nothing and does not close, for that long.
    fn stays(&mut self, how_long: Duration) -> bool {
        let stream = self.0.get_mut();
        stream.set_read_timeout(Some(how_long)).expect("it can");
        let result = stream.read(&mut [0; 1]).map_err(|e| e.kind());
        stream.set_read_timeout(Some(crate::support::PATIENCE)).expect("it can");
        matches!(result, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

#[test]
fn idle_clients_keep_their_places_while_nobody_waits() {
    for places in THREE_PLACES {
        let server = Server::start("thread_server", &places);
        let mut idle: Vec<_> = (0..3).map(|_| Client::new(&server)).collect();
        for client in &mut idle {
            client.ask();
        }
        for client in &mut idle {
            assert!(client.stays(Duration::from_millis(400)), "{places:?}");
        }
        for client in &mut idle {
            client.ask();
        }
    }
}

#[test]
fn when_somebody_waits_the_client_that_was_idle_longest_makes_room() {
    // Long enough that it tells two clients' idle times apart on a busy machine.
    let a_while = Duration::from_millis(300);
    let check = |places: &[&str]| {
        let server = Server::start("thread_server", places);
        let mut inside: Vec<_> = (0..3).map(|_| Client::new(&server)).collect();
        // Not the order in which they came.
        for number in [1, 0, 2] {
            inside[number].ask();
            assert!(inside[number].stays(a_while), "{places:?}");
        }
        for longest in [1, 0, 2] {
            let mut newcomer = Client::new(&server);
            newcomer.ask();
            let mut left = std::mem::replace(&mut inside[longest], newcomer);
            assert!(left.0.is_at_end(), "{places:?}: client {longest} left");
            for client in &mut inside {
                assert!(client.stays(a_while / 3), "{places:?}: the others stay");
            }
        }
    };
    std::thread::scope(|scope| {
        for places in &THREE_PLACES {
            scope.spawn(|| check(places));
        }
    });
}

#[test]
fn a_stop_answers_those_who_wait_for_a_place() {
    let mut server = Server::start("thread_server", &["--pool", "1", "--drain-timeout", "20s"]);
    let mut inside = server.connect();
    let half =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    inside.write_all(half.as_bytes()).expect("it is sent");
    inside.read_exact(&mut [0; 25]).expect("it has the place");
    let mut outside: Vec<_> = (0..4).map(|_| Client::new(&server)).collect();
    for client in &mut outside {
        client.0.get_mut().write_all(GET).expect("it is sent");
    }
    server.signal("TERM");
    eventually("the server takes nobody any more", || TcpStream::connect(server.address).is_err());
    inside.write_all(b"hi").expect("it is sent");
    let answer = Reader::new(inside).answer(false).expect("it is answered");
    assert_eq!(answer.text(), "hi");
    // Each leaves when it has its answer; else it would be given time to read.
    for mut client in outside {
        let answer = client.0.answer(false).expect("it is answered");
        assert_eq!(answer.text(), "santai saja");
        assert_eq!(answer.field("connection"), Some("close"));
    }
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn two_thousand_clients_that_came_and_went_leave_less_than_30_mib_after_15_seconds() {
    const MOST_KIB: u64 = 30 * 1024;
    let size = allow_many_descriptors().min(2000);
    let server = Server::start("thread_server", &["--max-connections", "5000"]);
    let request = b"GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n";
    let visit = || {
        let mut reader = Reader::new(server.connect());
        reader.get_mut().write_all(request).expect("it is sent");
        let answer = reader.answer(false).expect("it is answered");
        assert_eq!(answer.status, 200, "{answer:?}");
        reader
    };
    let alone = server.threads();
    drop(visit());
    let is_alone = || server.threads() <= alone;
    eventually("the first client's thread ends", is_alone);
    let rest = server.memory_kib();
    let crowd: Vec<_> = (0..size).map(|_| visit()).collect();
    let meanwhile = server.memory_kib() - rest;
    drop(crowd);
    let left_at = Instant::now();
    eventually("their threads end", is_alone);
    let kept = || server.memory_kib().saturating_sub(rest);
    while kept() > MOST_KIB && left_at.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(50)); // between two looks
    }
    let kept = kept();
    println!("{size} clients: {meanwhile} KiB while they were there, {kept} KiB afterwards");
    assert!(kept <= MOST_KIB, "{kept} KiB are kept");
}
