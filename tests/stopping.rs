//! A graceful stop, of all three servers: what is in flight is answered, the exit code is 0,
//! and whoever is in a hurry sends a second signal. With `--nocapture`: the figures.
#![cfg(unix)]

use crate::support::{Answer, PATIENCE, Reader, Server, eventually};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 16;

/// What nobody waits for takes less, on a busy machine too: a signal is sent and an exit seen.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A server and what stands behind it, which outlives it.
struct Setup {
    name: &'static str,
    server: Server,
    behind: Vec<Server>,
}

fn setups(arguments: &[&str]) -> Vec<Setup> {
    let pool = [&["--pool", "16"][..], arguments].concat();
    let behind: Vec<_> = (0..2).map(|_| Server::start("async_server", &[])).collect();
    let lb = Server::start_lb(&behind.iter().collect::<Vec<_>>(), arguments);
    let alone = |name, server| Setup { name, server, behind: Vec::new() };
    vec![
        Setup { name: "lb", server: lb, behind },
        alone("async_server", Server::start("async_server", arguments)),
        alone("thread_server", Server::start("thread_server", arguments)),
        alone("thread_server --pool", Server::start("thread_server", &pool)),
    ]
}

/// What a client saw of a stop.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its last answer said so.
    Told,
    /// The connection was closed before it asked again.
    Between,
    /// It asked in time and got no whole answer.
    Cut(String),
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    in_flight: AtomicUsize,
}

/// Asks again and again until the server ends it.
fn client(stream: TcpStream, counts: &Counts) -> End {
    let mut reader = Reader::new(stream);
    let mut asked = Instant::now();
    loop {
        let asked_before = asked;
        asked = Instant::now();
        let request = b"GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n";
        counts.in_flight.fetch_add(1, SeqCst);
        let sent = reader.get_mut().write_all(request);
        // Idle connections are closed a moment after the stop, and this one was idle no longer than
        // since it asked before. A busy machine may have held this client up for longer than that
        // moment; then its request came too late, and was not in flight.
        let asked_in_time = asked_before.elapsed() < Duration::from_millis(100);
        let answer = sent.and_then(|()| reader.answer(false));
        counts.in_flight.fetch_sub(1, SeqCst);
        match answer {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{answer:?}");
                counts.answered.fetch_add(1, SeqCst);
                if answer.field("connection") == Some("close") {
                    return match reader.is_at_end() {
                        true => End::Told,
                        false => End::Cut("more after the last answer".to_owned()),
                    };
                }
            }
            Err(e) if asked_in_time => return End::Cut(e.to_string()),
            Err(_) => return End::Between,
        }
    }
}

#[test]
fn a_stop_under_load_cuts_no_request() {
    for signal in ["TERM", "INT"] {
        for mut setup in setups(&[]) {
            let counts = Arc::new(Counts::default());
            let start = |_| {
                let (stream, counts) = (setup.server.connect(), Arc::clone(&counts));
                thread::spawn(move || client(stream, &counts))
            };
            let clients: Vec<_> = (0..CLIENTS).map(start).collect();
            eventually("there is load", || counts.answered.load(SeqCst) > 20 * CLIENTS as u64);
            let mut in_flight = 0;
            eventually("requests are in flight", || {
                in_flight = counts.in_flight.load(SeqCst);
                in_flight > 0
            });
            setup.server.signal(signal);
            let begun = Instant::now();
            let join = |c: thread::JoinHandle<End>| c.join().expect("it counts");
            let ends: Vec<_> = clients.into_iter().map(join).collect();
            let took = begun.elapsed();
            let begun = Instant::now();
            let code = setup.server.exit_code();
            let took = took + begun.elapsed();
            let cut: Vec<_> = ends.iter().filter(|e| matches!(e, End::Cut(_))).collect();
            let told = ends.iter().filter(|e| **e == End::Told).count();
            println!(
                "{} SIG{signal}: {} answered, {in_flight} in flight at the signal, {} cut, {told} told, ended after {} ms",
                setup.name,
                counts.answered.load(SeqCst),
                cut.len(),
                took.as_millis()
            );
            assert!(told > 0, "{}: the stop met no request", setup.name);
            assert!(cut.is_empty(), "{} SIG{signal}: {cut:?}", setup.name);
            assert_eq!(code, Some(0), "{}", setup.name);
            assert!(took < Duration::from_secs(5), "{}: {took:?}", setup.name);
        }
    }
}

/// Sends a signal and waits until the server takes nobody any more.
fn stop(server: &Server) {
    server.signal("TERM");
    eventually("it takes nobody any more", || {
        TcpStream::connect_timeout(&server.address, PATIENCE)
            .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    });
}

fn send(stream: &mut TcpStream, bytes: &str) {
    stream.write_all(bytes.as_bytes()).expect("it is taken");
}

fn is_last(answer: &Answer) -> bool {
    answer.status == 200 && answer.field("connection") == Some("close")
}

#[test]
fn a_slow_answer_is_given_whole_before_the_end() {
    let delay = ["--delay", "700ms"];
    let behind = Server::start("async_server", &delay);
    let lb = Server::start_lb(&[&behind], &["--no-checks"]);
    let slow = Server::start("async_server", &delay);
    for mut server in [lb, slow] {
        let mut stream = server.connect();
        send(&mut stream, "GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n");
        stop(&server);
        let mut reader = Reader::new(stream);
        let answer = reader.answer(false).expect("it is answered");
        assert!(is_last(&answer), "{}", answer.head);
        let page = std::fs::read("www/page.html").expect("it is there");
        assert!(answer.content == page, "{} bytes", answer.content.len());
        assert!(reader.is_at_end());
        drop(reader); // else it is given time to read, up to 2 s
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn a_request_that_has_begun_may_be_finished() {
    for mut setup in setups(&[]) {
        let mut stream = setup.server.connect();
        send(&mut stream, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello");
        stop(&setup.server);
        send(&mut stream, ", world");
        let mut reader = Reader::new(stream);
        let answer = reader.answer(false).expect("it is answered");
        assert!(is_last(&answer), "{}: {answer:?}", setup.name);
        assert_eq!(answer.text(), "hello, world", "{}", setup.name);
        drop(reader); // else it is given time to read, up to 2 s
        assert_eq!(setup.server.exit_code(), Some(0), "{}", setup.name);
        drop(setup.behind);
    }
}

#[test]
fn a_client_that_never_ends_its_request_holds_nobody_up_for_longer_than_the_drain_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    for mut setup in setups(&["--drain-timeout", "1s"]) {
        let mut stream = setup.server.connect();
        send(&mut stream, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello");
        let begun = Instant::now();
        stop(&setup.server);
        assert_eq!(setup.server.exit_code(), Some(0), "{}", setup.name);
        let took = begun.elapsed();
        println!("{}: {took:?}", setup.name);
        let bound = TIMEOUT..2 * TIMEOUT;
        assert!(bound.contains(&took), "{}: {took:?}", setup.name);
    }
}

#[test]
fn idle_clients_hold_nobody_up() {
    for mut setup in setups(&["--drain-timeout", "60s"]) {
        let idle: Vec<_> = (0..CLIENTS).map(|_| setup.server.connect()).collect();
        let mut kept = Reader::new(setup.server.connect());
        send(kept.get_mut(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(kept.answer(false).expect("it is answered").status, 200);
        let begun = Instant::now();
        stop(&setup.server);
        assert_eq!(setup.server.exit_code(), Some(0), "{}", setup.name);
        let took = begun.elapsed();
        println!("{}: {took:?}", setup.name);
        assert!(took < AT_ONCE, "{}: {took:?}", setup.name);
        assert!(kept.is_at_end(), "{}", setup.name);
        drop(idle);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for mut setup in setups(&["--drain-timeout", "60s"]) {
        let mut stream = setup.server.connect();
        send(&mut stream, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello");
        stop(&setup.server);
        assert!(setup.server.is_running(), "{}: it waits for the rest", setup.name);
        let begun = Instant::now();
        setup.server.signal("TERM");
        assert_eq!(setup.server.exit_code(), Some(1), "{}", setup.name);
        let took = begun.elapsed();
        println!("{}: {took:?}", setup.name);
        assert!(took < AT_ONCE, "{}: {took:?}", setup.name);
    }
}
