//! What a server holds when its clients have gone: as little as before they came.

use crate::support::{Reader, Server, allow_many_descriptors};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// How far from its rest a server may stay, and how long it may take to come back.
const MEMORY_KIB: u64 = 12 * 1024;
const DESCRIPTORS: usize = 5;
const TIME: Duration = Duration::from_secs(15);

/// Clients that are there at the same time, and uploads likewise.
const CLIENTS: usize = 2000;
const UPLOADS: usize = 400;
const UPLOAD: usize = 250_000;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What it holds: memory in KiB, descriptors.
fn held(server: &Server) -> (u64, usize) {
    (server.memory_kib(), server.descriptors())
}

/// Every client has its answer while all the others are there too.
fn many_clients(server: &Server) {
    let size = allow_many_descriptors().min(CLIENTS);
    let mut clients: Vec<TcpStream> = (0..size).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(REQUEST).expect("it is sent");
    }
    for client in clients {
        let answer = Reader::new(client).answer(false).expect("it is answered");
        assert_eq!(answer.status, 200);
    }
}

/// All uploads lack their last byte before one of them gets it.
fn many_uploads(server: &Server) {
    let content = vec![b'x'; UPLOAD];
    let begin = |_| {
        let mut stream = server.connect();
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it is sent");
        stream.write_all(&content[1..]).expect("it is sent");
        stream
    };
    let uploads: Vec<TcpStream> = (0..UPLOADS).map(begin).collect();
    for mut stream in uploads {
        stream.write_all(b"x").expect("it is sent");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("it is answered");
        // What all hold together has a bound; those over it are told so.
        let is_answered = [b"HTTP/1.1 200", b"HTTP/1.1 503"].contains(&&status);
        assert!(is_answered, "{}", status.escape_ascii());
    }
}

fn comes_back(topic: &str, server: &Server, storm: fn(&Server)) {
    assert_eq!(server.get("/").status, 200, "{topic}");
    let rest = held(server);
    storm(server);
    let (over, peak) = (Instant::now(), held(server));
    let is_back = |(memory, descriptors): (u64, usize)| {
        memory <= rest.0 + MEMORY_KIB && descriptors <= rest.1 + DESCRIPTORS
    };
    while !is_back(held(server)) && over.elapsed() < TIME {
        thread::sleep(Duration::from_millis(20)); // between two looks
    }
    let now = held(server);
    println!("{topic}: KiB and descriptors {rest:?} at rest, {peak:?} at the end, {now:?} now");
    assert!(is_back(now), "{topic}: {rest:?}, {peak:?}, {now:?}");
}

fn both_come_back(storm: fn(&Server)) {
    allow_many_descriptors();
    let backends = [(); 4].map(|()| Server::start("async_server", &[]));
    let backends: Vec<&Server> = backends.iter().collect();
    let lb = Server::start_lb(&backends, &["--upstream-idle-timeout", "1s"]);
    comes_back("lb", &lb, storm);
    drop(lb);
    comes_back("async_server", &Server::start("async_server", &[]), storm);
}

#[test]
fn after_two_thousand_clients_a_server_is_back_at_its_rest() {
    both_come_back(many_clients);
}

#[test]
fn after_four_hundred_uploads_a_server_is_back_at_its_rest() {
    both_come_back(many_uploads);
}
