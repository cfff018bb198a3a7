//! What a thread per client costs, and who makes room for whom when all places are taken.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{Reader, Server, eventually};

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
        stream
            .set_read_timeout(Some(support::PATIENCE))
            .expect("it can");
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
    for places in THREE_PLACES {
        let server = Server::start("thread_server", &places);
        let mut inside: Vec<_> = (0..3).map(|_| Client::new(&server)).collect();
        // From the longest idle to the last one that asked; not the order in which they came.
        for number in [1, 2, 0, 1, 0, 2] {
            inside[number].ask();
        }
        for longest in [1, 0, 2, 1] {
            let mut newcomer = Client::new(&server);
            newcomer.ask();
            let mut left = std::mem::replace(&mut inside[longest], newcomer);
            assert!(left.0.is_at_end(), "{places:?}: the one idle longest left");
            for (number, client) in inside.iter_mut().enumerate() {
                let stays = client.stays(Duration::from_millis(150));
                assert!(stays, "{places:?}: client {number} stays");
            }
        }
    }
}

#[test]
fn two_thousand_clients_that_came_and_went_leave_less_than_30_mib_after_15_seconds() {
    const MOST_KIB: u64 = 30 * 1024;
    let size = support::allow_many_descriptors().min(2000);
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
