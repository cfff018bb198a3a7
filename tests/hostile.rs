//! Clients that lie, dribble, vanish and flood, against the real servers: each gets what our servers
//! promise, and afterwards descriptors, threads and memory are back where they were. What the
//! others feel meanwhile, the judge measures: `judge.rs`.

use crate::support::{
    Folder, PATIENCE, Random, Reader, Server, allow_many_descriptors, eventually, half_close,
    read_to_close,
};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server under attack, with what stands behind it.
struct Target {
    topic: &'static str,
    server: Server,
    /// The load balancer's backends.
    _behind: Vec<Server>,
    _root: Folder,
}

const LARGE: usize = 8 << 20;
const ONE: usize = (1 << 20) + 1;
const MIDDLE: usize = 10_000;

/// The same attack on each server, started with these options, at the same time.
fn against_all(options: &[&str], attack: impl Fn(Target) + Sync) {
    against(&["async_server", "thread_server", "lb"], options, attack);
}

fn against(topics: &[&'static str], options: &[&str], attack: impl Fn(Target) + Sync) {
    thread::scope(|scope| {
        for topic in topics {
            scope.spawn(|| attack(start(topic, options)));
        }
    });
}

fn start(topic: &'static str, options: &[&str]) -> Target {
    allow_many_descriptors();
    let root = Folder::new();
    root.write("large.bin", &vec![b'x'; LARGE]);
    root.write("one.bin", &vec![b'z'; ONE]);
    root.write("middle.bin", &vec![b'y'; MIDDLE]);
    let with_root = ["--root", root.text()];
    let (behind, server) = if topic == "lb" {
        // They close what the load balancer keeps open to them, so that it is back at nothing.
        let soon = [&with_root[..], &["--idle-timeout", "500ms"]].concat();
        let behind = vec![Server::start("async_server", &soon)];
        let lb = Server::start_lb(&[&behind[0]], options);
        (behind, lb)
    } else {
        (Vec::new(), Server::start(topic, &[&with_root, options].concat()))
    };
    Target { topic, server, _behind: behind, _root: root }
}

const REQUEST: &[u8] = b"GET /santai HTTP/1.1\r\nHost: a\r\n\r\n";
const FOR_LARGE: &[u8] = b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n";

impl Target {
    /// An ordinary client is served.
    fn serves(&self) {
        let answer = self.server.get("/santai");
        assert_eq!(answer.content, b"santai saja", "{}: {answer:?}", self.topic);
    }

    /// What it holds: descriptors and threads.
    fn holds(&self) -> (usize, usize) {
        (self.server.descriptors(), self.server.threads())
    }

    /// As before the attack, but for a few that are kept for the next client.
    fn is_back_to(&self, (descriptors, threads): (usize, usize)) {
        let is_back = || {
            let (d, t) = self.holds();
            d <= descriptors + 4 && t <= threads + 2
        };
        eventually(&format!("{} gives everything back", self.topic), is_back);
    }

    /// Serves somebody, so that what is made once is made, and tells what it holds then.
    fn at_rest(&self) -> (usize, usize) {
        self.serves();
        // A file that is kept holds a descriptor.
        self.server.get("/large.bin");
        self.holds()
    }
}

/// Attackers who do one thing and stay.
fn crowd(target: &Target, size: usize, act: impl Fn(usize, &mut TcpStream)) -> Vec<TcpStream> {
    let join = |number| {
        let mut stream = target.server.connect();
        act(number, &mut stream);
        stream
    };
    (0..size).map(join).collect()
}

#[test]
fn hundreds_of_slow_headers_end_in_408() {
    against_all(&["--header-timeout", "2s"], |target| {
        let rest = target.at_rest();
        let mut slow = crowd(&target, 400, |_, stream| {
            stream.write_all(b"GET / HTTP/1.1\r\nX: ").expect("it is sent");
        });
        for stream in &mut slow {
            let _ = stream.write_all(b"y");
        }
        for stream in slow {
            let mut reader = Reader::new(stream);
            let answer = reader.answer(false).expect("who is slow is told so");
            assert_eq!(answer.status, 408, "{}", target.topic);
            assert!(reader.is_at_end(), "{}: the connection is closed", target.topic);
        }
        target.is_back_to(rest);
    });
}

#[test]
fn who_falls_silent_in_the_middle_of_content_is_told_408_after_the_content_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    against_all(&["--content-timeout", "1s"], |target| {
        let mut stream = target.server.connect();
        let begun = Instant::now();
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhe")
            .expect("it is sent");
        let mut reader = Reader::new(stream);
        let answer = reader.answer(false).expect("who is slow is told so");
        let took = begun.elapsed();
        assert_eq!(answer.status, 408, "{}", target.topic);
        let bound = TIMEOUT..2 * TIMEOUT;
        assert!(bound.contains(&took), "{}: after {took:?}", target.topic);
        assert!(reader.is_at_end(), "{}: the connection is closed", target.topic);
    });
}

#[test]
fn content_may_dribble_for_longer_than_the_content_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    // None: this client itself was held up for too long between two bytes.
    let dribble = |target: &Target| {
        let mut stream = target.server.connect();
        let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n";
        stream.write_all(head).expect("it is sent");
        let (begun, mut last) = (Instant::now(), Instant::now());
        for byte in b"dribble" {
            thread::sleep(TIMEOUT / 5); // so slow is this client
            let _ = stream.write_all(&[*byte]);
            if last.elapsed() > TIMEOUT / 2 {
                return None;
            }
            last = Instant::now();
        }
        assert!(begun.elapsed() > TIMEOUT);
        Some(Reader::new(stream).answer(false).expect("it is answered"))
    };
    against_all(&["--content-timeout", "1s"], |target| {
        let answer = (0..10).find_map(|_| dribble(&target));
        let answer = answer.expect("once in ten times it is on time");
        let got = (answer.status, answer.text());
        assert_eq!(got, (200, "dribble".to_owned()), "{}", target.topic);
    });
}

#[test]
fn no_poller_takes_readiness_for_progress() {
    for poller in ["epoll", "poll", "scan"] {
        let times = ["--content-timeout", "500ms", "--write-timeout", "500ms"];
        let target = start("async_server", &[&times[..], &["--poller", poller]].concat());
        let (rest, _) = target.at_rest();
        let half = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhe";
        let mut silent = target.server.connect();
        silent.write_all(half).expect("it is sent");
        let mut blind = target.server.connect();
        blind.write_all(FOR_LARGE).expect("it is sent");
        let mut some = [0; 1000];
        blind.read_exact(&mut some).expect("the answer begins");
        let answer = Reader::new(silent).answer(false).expect("who is slow is told so");
        assert_eq!(answer.status, 408, "{poller}");
        eventually(&format!("{poller}: who does not read is closed"), || {
            target.server.descriptors() <= rest
        });
    }
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    against_all(&["--idle-timeout", "300ms", "--header-timeout", "20s"], |target| {
        for before in [b"".as_slice(), REQUEST] {
            let mut stream = target.server.connect();
            stream.write_all(before).expect("it is sent");
            let mut reader = Reader::new(stream);
            if !before.is_empty() {
                reader.answer(false).expect("it is answered");
            }
            assert!(reader.is_at_end(), "{}: a word", target.topic);
        }
    });
}

#[test]
fn those_who_ask_for_a_large_file_and_read_nothing_cost_little_and_are_closed() {
    const CROWD: usize = 20;
    against_all(&["--write-timeout", "2s"], |target| {
        let rest = target.at_rest();
        let mut readers = Vec::new();
        let grown = target.server.growth_kib(|| {
            readers = crowd(&target, CROWD, |_, stream| {
                stream.write_all(FOR_LARGE).expect("it is sent");
            });
            (0..100).for_each(|_| target.serves());
        });
        assert!(
            grown < CROWD as u64 * 512,
            "{}: {CROWD} who do not read cost {grown} KiB",
            target.topic
        );
        target.is_back_to(rest);
        drop(readers); // they were there all the time
    });
}

#[test]
fn resets_in_the_middle_of_an_answer_cost_nothing() {
    against_all(&[], |target| {
        let rest = target.at_rest();
        let before = target.server.memory_kib();
        for _ in 0..10 {
            let mut half_read = crowd(&target, 20, |_, stream| {
                stream.write_all(FOR_LARGE).expect("it is sent");
            });
            for stream in &mut half_read {
                let mut some = [0; 200];
                let begins = stream.read_exact(&mut some).map_err(|e| e.kind());
                assert_eq!(begins, Ok(()), "{}", target.topic);
                let text = String::from_utf8_lossy(&some);
                assert!(text.starts_with("HTTP/1.1 200"), "{}: {text}", target.topic);
            }
            drop(half_read); // unread bytes make a reset of the close
            target.serves();
        }
        target.is_back_to(rest);
        let grown = target.server.memory_kib().saturating_sub(before);
        assert!(grown < 8 * 1024, "{}: they left {grown} KiB behind", target.topic);
    });
}

#[test]
fn those_who_connect_and_vanish_cost_nothing() {
    against_all(&[], |target| {
        let rest = target.at_rest();
        let before = target.server.memory_kib();
        for round in 0..20 {
            // Some say nothing, some half a request, some a whole one.
            let words = [b"".as_slice(), b"GET /", REQUEST][round % 3];
            drop(crowd(&target, 100, |_, stream| {
                let _ = stream.write_all(words);
            }));
            target.serves();
        }
        target.is_back_to(rest);
        let grown = target.server.memory_kib().saturating_sub(before);
        assert!(grown < 8 * 1024, "{}: they left {grown} KiB behind", target.topic);
    });
}

#[test]
fn random_bytes_get_an_answer_or_a_close() {
    against_all(&[], |target| {
        let rest = target.at_rest();
        let mut random = Random::new(9);
        for number in 0..300 {
            let mut bytes: Vec<u8> = (0..random.below(400)).map(|_| random.next() as u8).collect();
            if number % 2 == 0 {
                bytes.splice(..0, REQUEST.iter().copied().take(random.below(30)));
            }
            let mut stream = target.server.connect();
            let _ = stream.write_all(&bytes);
            half_close(&stream);
            let said = read_to_close(&mut stream);
            assert_eq!(said.is_empty(), bytes.is_empty(), "{}: {bytes:?}", target.topic);
            let refuses =
                |said: &[u8]| said.starts_with(b"HTTP/1.1 4") || said.starts_with(b"HTTP/1.1 5");
            assert!(said.is_empty() || refuses(&said), "{}: {bytes:?} got {said:?}", target.topic);
        }
        target.is_back_to(rest);
    });
}

#[test]
fn who_has_said_all_and_ended_gets_the_whole_answer() {
    against_all(&[], |target| {
        for (request, length) in [(REQUEST, 11), (FOR_LARGE, LARGE)] {
            let mut stream = target.server.connect();
            stream.write_all(request).expect("it is sent");
            half_close(&stream);
            let mut reader = Reader::new(stream);
            let answer = reader.answer(false).expect("it is answered");
            assert_eq!(answer.content.len(), length, "{}", target.topic);
            assert!(reader.is_at_end(), "{}", target.topic);
        }
    });
}

#[test]
fn the_line_end_that_old_clients_send_behind_content_is_no_half_request() {
    against_all(&[], |target| {
        let mut stream = target.server.connect();
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\n")
            .expect("it is sent");
        half_close(&stream);
        let mut reader = Reader::new(stream);
        assert_eq!(reader.answer(false).expect("it is answered").content, b"hi");
        assert!(reader.is_at_end(), "{}: there is a second answer", target.topic);
    });
}

#[test]
fn what_a_client_sends_on_does_not_cost_it_its_last_answer() {
    against_all(&[], |target| {
        let mut stream = target.server.connect();
        stream
            .write_all(b"GET /one.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .expect("it is sent");
        // Much more than the server reads at once. A server that closes on what it has not read
        // resets the connection, and what the client has not yet received is lost.
        write_on(&mut stream, &vec![b'z'; 1 << 20]);
        half_close(&stream);
        let answer = Reader::new(stream).answer(false);
        let length = answer.map(|a| a.content.len()).map_err(|e| e.kind());
        assert_eq!(length, Ok(ONE), "{}", target.topic);
    });
}

/// Writes until the server takes no more for a moment, or everything is sent.
fn write_on(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout can be set");
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            // It takes no more now, or never.
            Err(_) => break,
        }
    }
    sent
}

#[test]
fn thousands_of_requests_at_once_are_all_answered_in_bounded_memory() {
    const COUNT: usize = 5000;
    against_all(&[], |target| {
        target.serves();
        let request = |n: usize| format!("GET /middle.bin?{n} HTTP/1.1\r\nHost: a\r\n\r\n");
        let all: String = (0..COUNT).map(request).collect();
        let grown = target.server.growth_kib(|| {
            let mut stream = target.server.connect();
            let sent = write_on(&mut stream, all.as_bytes());
            // The client has not read a byte; the server waits for it, and serves others.
            target.serves();
            let mut rest = stream.try_clone().expect("a descriptor is left");
            rest.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
            let writer = thread::spawn(move || rest.write_all(&all.as_bytes()[sent..]));
            let mut reader = Reader::new(stream);
            for number in 0..COUNT {
                let answer = reader.answer(false);
                let answer = answer.unwrap_or_else(|e| panic!("{}: {number}: {e}", target.topic));
                assert_eq!(answer.content.len(), MIDDLE, "{}: {number}", target.topic);
            }
            let written = writer.join().expect("the writer ends");
            written.expect("everything is sent");
        });
        assert!(grown < 4 * 1024, "{}: the pipeline costs {grown} KiB", target.topic);
    });
}

#[test]
fn who_asks_for_thousands_and_never_reads_is_closed() {
    against_all(&["--write-timeout", "500ms"], |target| {
        let rest = target.at_rest();
        let mut stream = target.server.connect();
        let all = REQUEST.repeat(300_000);
        // The server stops reading, so this ends with would-block or with the server's close.
        // The answers must fill all buffers first, which takes a busy machine long.
        let give_up = Instant::now() + PATIENCE * 3;
        let mut sent = 0;
        stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        let closed = loop {
            assert!(Instant::now() < give_up, "{}: it is never closed", target.topic);
            assert!(sent < all.len(), "{}: the server reads without bound", target.topic);
            match stream.write(&all[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => break e.kind(),
            }
        };
        assert!(
            matches!(closed, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{}: {closed:?}",
            target.topic
        );
        target.is_back_to(rest);
    });
}

#[test]
fn each_limit_of_size_has_its_status() {
    let line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(900));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: \r\n".repeat(100));
    let with_content = |length: usize| {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        head + &"a".repeat(length)
    };
    let (most, content) = (with_content(1000), with_content(1001));
    let chunks = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "a".repeat(1001)
    );
    let expecting =
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n";
    let options =
        &["--max-request-line", "100", "--max-header-size", "800", "--max-content", "1000"];
    against_all(options, |target| {
        let topic = target.topic;
        let mut stream = target.server.connect();
        stream.write_all(most.as_bytes()).expect("it is sent");
        let answer = Reader::new(stream).answer(false).expect("it is answered");
        let got = (answer.status, answer.content.len());
        assert_eq!(got, (200, 1000), "{topic}: the most is not too much");
        for (request, status) in [
            (line.as_str(), 414),
            (&fields, 431),
            (&many, 431),
            (&content, 413),
            (&chunks, 413),
            (expecting, 413),
        ] {
            let mut stream = target.server.connect();
            let _ = stream.write_all(request.as_bytes());
            let mut reader = Reader::new(stream);
            // Without an interim 100: the client is spared the trip.
            let answer = reader.answer(false).expect("it is answered");
            assert_eq!(answer.status, status, "{topic}: {answer:?}");
            assert!(reader.is_at_end(), "{topic}: {status} closes");
        }
        target.serves();
    });
}

#[test]
fn beyond_the_most_connections_newcomers_wait_for_a_place() {
    for topic in ["async_server", "thread_server", "lb"] {
        let one_loop: &[_] = if topic == "lb" { &["--workers", "1"] } else { &[] };
        let target = start(topic, &[&["--max-connections", "8"], one_loop].concat());
        // Half a request, and the server has said that it knows of it: not idle, so nobody may be
        // dismissed for a newcomer.
        let mut inside = crowd(&target, 8, |_, stream| {
            let half = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
                Expect: 100-continue\r\n\r\n";
            stream.write_all(half).expect("it is sent");
            let mut said = [0; 25];
            stream.read_exact(&mut said).expect("an interim answer");
            assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
        });
        let mut outside = target.server.connect();
        outside.write_all(REQUEST).expect("the kernel keeps it");
        outside.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout can be set");
        let too_early = outside.read(&mut [0; 1]).map_err(|e| e.kind());
        assert_eq!(too_early, Err(ErrorKind::WouldBlock), "{topic}");
        inside.pop();
        outside.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let answer = Reader::new(outside).answer(false).expect("a place is free now");
        assert_eq!(answer.status, 200, "{topic}");
    }
}

#[test]
fn with_few_descriptors_the_servers_serve_whom_they_can_and_recover() {
    allow_many_descriptors();
    // It closes what the load balancer keeps open to it.
    let behind = Server::start("async_server", &["--idle-timeout", "500ms"]);
    let backend = behind.address.to_string();
    for topic in ["async_server", "thread_server", "lb"] {
        // The load balancer leaves half of them free: each client may need one to a backend.
        let (options, all): (&[_], _) = match topic {
            "lb" => (&["--backend", &backend], 32),
            _ => (&[], 64),
        };
        let server = Server::start_limited("ulimit -n 64", topic, options);
        let mut crowd: Vec<TcpStream> = (0..150).map(|_| server.connect()).collect();
        for stream in &mut crowd {
            stream.write_all(REQUEST).expect("the kernel keeps it");
        }
        let mut waiting: Vec<Reader<TcpStream>> = crowd.into_iter().map(Reader::new).collect();
        let first = waiting.remove(0);
        let mut inside = first;
        assert_eq!(inside.answer(false).expect("it is answered").status, 200);
        eventually("the descriptors are used up", || server.descriptors() >= all);

        // A file that nobody has asked for cannot be opened now: that is no 404.
        let for_file = b"GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n";
        inside.get_mut().write_all(for_file).expect("it is sent");
        let answer = inside.answer(false).expect("it is answered");
        assert!([200, 503].contains(&answer.status), "{topic}: {answer:?}");

        // Waiting for a descriptor costs no CPU: this naps, for there is no event to wait for.
        let before = server.cpu_time();
        thread::sleep(Duration::from_millis(600));
        let spent = server.cpu_time() - before;
        assert!(spent < Duration::from_millis(200), "{topic}: it spins: {spent:?} of 600 ms");

        // Whoever is served leaves, and makes room for the next.
        drop(inside);
        for mut client in waiting {
            let answer = client.answer(false).expect("everybody has a turn");
            assert_eq!(answer.status, 200, "{topic}");
        }
        eventually("the descriptors come back", || server.descriptors() < 16);
        assert_eq!(server.get("/page.html").status, 200, "{topic}");
    }
}

#[test]
fn a_thread_that_cannot_be_spawned_is_an_error_for_one_client() {
    // The limit of processes binds nobody who is root, so root becomes somebody else first:
    // a user of this test alone, whose processes nobody else adds to.
    let nobody = 700_000 + std::process::id() % 100_000;
    let limits = format!(
        "if [ \"$(id -u)\" = 0 ]; then \
           exec setpriv --reuid {nobody} --clear-groups prlimit --nproc=24 -- \"$0\" \"$@\"; fi; \
         ulimit -u 24"
    );
    if !can_limit_threads(nobody) {
        println!("left out: threads cannot be limited here");
        return;
    }
    let server = Server::start_limited(&limits, "thread_server", &[]);
    let mut refused = 0;
    let mut served = Vec::new();
    for _ in 0..60 {
        let mut stream = server.connect();
        stream.write_all(REQUEST).expect("it is sent");
        let mut reader = Reader::new(stream);
        match reader.answer(false).expect("everybody gets an answer").status {
            200 => served.push(reader),
            503 => {
                refused += 1;
                assert!(reader.is_at_end(), "who is refused is closed");
            }
            status => panic!("{status}"),
        }
    }
    assert!(refused > 0 && !served.is_empty(), "{refused} refused, {} served", served.len());
    // Those who have a thread keep it; when they leave, others are served.
    for reader in &mut served {
        reader.get_mut().write_all(REQUEST).expect("it is sent");
        assert_eq!(reader.answer(false).expect("it is answered").status, 200);
    }
    drop(served);
    eventually("the threads end", || server.threads() <= 2);
    assert_eq!(server.get("/santai").status, 200);
}

/// Whether this is root and may become `nobody`; for others `ulimit -u` counts all that the user
/// runs, and nothing can be said of one process.
fn can_limit_threads(nobody: u32) -> bool {
    let try_it = Command::new("setpriv")
        .args(["--reuid", &nobody.to_string(), "--clear-groups"])
        .args([env!("CARGO_BIN_EXE_progjar"), "help"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    try_it.is_ok_and(|status| status.success())
}

#[test]
fn idle_connections_cost_little_memory() {
    let size = allow_many_descriptors().min(2000);
    // Generous bounds in KiB; what it really is, is printed.
    for (topic, bound) in [("async_server", 2), ("lb", 3), ("thread_server", 48)] {
        let target = start(topic, &["--max-connections", "5000"]);
        target.serves();
        let ask = |reader: &mut Reader<TcpStream>| {
            reader.get_mut().write_all(REQUEST).expect("it is sent");
            let answer = reader.answer(false).expect("it is answered");
            assert_eq!(answer.status, 200, "{topic}");
        };
        let before = target.server.memory_kib();
        let idle = crowd(&target, size, |_, _| {});
        let mut idle: Vec<_> = idle.into_iter().map(Reader::new).collect();
        idle.iter_mut().for_each(ask);
        let grown = target.server.memory_kib().saturating_sub(before);
        println!("{topic}: {:.2} KiB per idle connection", grown as f64 / size as f64);
        assert!(grown < bound * size as u64, "{topic}: {size} idle connections cost {grown} KiB");
        // They are all alive.
        idle.iter_mut().for_each(ask);
    }
}
