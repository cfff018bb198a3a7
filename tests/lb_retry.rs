//! What the load balancer does when a backend does not serve a request: who waits for how long,
//! who is asked next, what the client is told in the end, and whom it speaks against.
#![cfg(target_os = "linux")] // reads /proc

use crate::support::backend::{Backend, NOBODY, Request, before, nobody_is_ejected, ok, read_head};
use crate::support::client::Client;
use crate::support::{Answer, PATIENCE, Reader, Server, eventually};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// More than the sockets on the way to a backend take without being read.
const LARGE: usize = 32 << 20;

fn asks_for(request: &Request, path: &str) -> bool {
    request.head.contains(&format!(" {path} "))
}

/// Says nothing until the other side gives up.
fn hold(stream: &mut TcpStream) -> bool {
    let _ = stream.read(&mut [0]);
    false
}

/// Answers `/`, and holds everything else.
fn slow_on_one_path(request: &Request, stream: &mut TcpStream) -> bool {
    match asks_for(request, "/") {
        true => stream.write_all(&ok("well")).is_ok(),
        false => hold(stream),
    }
}

fn failures(lb: &Server, backends: &[Backend]) -> f64 {
    backends.iter().map(|b| lb.status_of(b.address, "failures").number()).sum()
}

fn asked_for(backends: &[Backend], path: &str) -> usize {
    let requests = backends.iter().flat_map(Backend::requests);
    requests.filter(|request| asks_for(request, path)).count()
}

/// Sends a large upload, as far as it is taken, and returns what comes.
fn upload(lb: &Server) -> Answer {
    let stream = lb.connect();
    let mut writer = stream.try_clone().expect("it can be cloned");
    let sending = thread::spawn(move || {
        let head = format!("PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
        // Whoever is refused need not send it all.
        let _ = writer.write_all(head.as_bytes());
        let _ = writer.write_all(&vec![b'x'; LARGE]);
    });
    let answer = Reader::new(stream).answer(false).expect("an answer comes");
    sending.join().expect("the sender does not panic");
    answer
}

/// A load balancer with probes and its log before this backend.
fn probed(backends: &[&str], options: &[&str]) -> Server {
    let mut all = Vec::new();
    for backend in backends {
        all.extend(["--backend", backend]);
    }
    all.extend(options);
    Server::start_with_log("lb", &all)
}

// Whose wait it is.

#[test]
fn a_backend_that_stops_taking_an_upload_gives_504_and_is_named_and_counted() {
    let gives_up = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&gives_up);
    let backend = Backend::raw(move |stream| {
        let mut reader = BufReader::new(stream);
        if read_head(&mut reader).is_some() {
            eventually("the test ends", || end.load(SeqCst));
        }
    });
    // On a busy machine the client itself may pause for longer than the backend may.
    let times = ["--content-timeout", "5s", "--response-timeout", "500ms"];
    let options = [&["--no-checks", "--workers", "1"], &times[..]].concat();
    let lb = probed(&[&backend.text()], &options);
    let answer = upload(&lb);
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(failures(&lb, std::slice::from_ref(&backend)), 1.0);
    eventually("the log names it", || {
        let is_it = |line: &String| line.contains(" 504 ") && line.contains(&backend.text());
        lb.lines().iter().any(is_it)
    });
    gives_up.store(true, SeqCst);
}

#[test]
fn the_content_timeout_does_not_run_while_the_backend_takes_nothing() {
    let backend = Backend::raw(|stream| {
        let mut reader = BufReader::new(stream);
        if read_head(&mut reader).is_some() {
            thread::sleep(Duration::from_secs(5)); // what it does is to be slow
            let all = reader.read_exact(&mut vec![0; LARGE]);
            let _ = all.and_then(|()| reader.get_mut().write_all(&ok("all of it")));
        }
    });
    let lb = before(&[&backend], &["--content-timeout", "3s"]);
    assert_eq!(upload(&lb).text(), "all of it");
}

#[test]
fn a_backend_that_falls_silent_in_its_answer_is_named_and_counted() {
    let backend = Backend::start(|_, stream| {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf";
        stream.write_all(half.as_bytes()).is_ok() && hold(stream)
    });
    let options = ["--no-checks", "--relay-timeout", "300ms"];
    let lb = probed(&[&backend.text()], &options);
    let mut client = Client::new(&lb);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.0.answer(false).is_err(), "half an answer is cut");
    assert_eq!(failures(&lb, std::slice::from_ref(&backend)), 1.0);
    let cut = format!("-> {} cut", backend.text());
    eventually("the log names it", || lb.lines().iter().any(|line| line.contains(&cut)));
}

// One response timeout for each request.

#[test]
fn a_slow_request_is_asked_once_and_ends_with_504_after_one_response_timeout() {
    let timeout = Duration::from_secs(1);
    for count in [1, 4] {
        let backends: Vec<_> = (0..count).map(|_| Backend::start(slow_on_one_path)).collect();
        let lb = before(&backends.iter().collect::<Vec<_>>(), &["--response-timeout", "1s"]);
        let begun = Instant::now();
        assert_eq!(lb.get("/slow").status, 504);
        let took = begun.elapsed();
        assert!((timeout..2 * timeout).contains(&took), "{took:?}");
        assert_eq!(asked_for(&backends, "/slow"), 1);
        assert_eq!(failures(&lb, &backends), 1.0);
        nobody_is_ejected(&lb.status());
    }
}

#[test]
fn all_attempts_at_a_request_share_one_response_timeout() {
    // One closes when three quarters are over, the other says nothing.
    let timeout = Duration::from_secs(2);
    let closes = Backend::start(move |_, _| {
        thread::sleep(timeout * 3 / 4);
        false
    });
    let silent = Backend::start(|_, stream| hold(stream));
    let options = ["--response-timeout", "2s", "--workers", "1"];
    let lb = before(&[&closes, &silent], &options);
    let begun = Instant::now();
    assert_eq!(lb.get("/").status, 504);
    let took = begun.elapsed();
    assert!(took >= timeout && took < timeout * 3 / 2, "{took:?}");
    let asked = [&closes, &silent].map(|b| b.requests().len());
    assert_eq!(asked, [1, 1]);
}

#[test]
fn a_slow_url_ejects_no_backend_that_answers_others() {
    const CLIENTS: usize = 6;
    let backends = [(); 2].map(|()| Backend::start(slow_on_one_path));
    let lb = before(&backends.each_ref(), &["--response-timeout", "1s"]);
    let late = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let answer = lb.get("/slow");
                late.fetch_add(1, SeqCst);
                assert_eq!(answer.status, 504);
            });
        }
        let mut other = Client::new(&lb);
        let give_up = Instant::now() + PATIENCE;
        while late.load(SeqCst) < CLIENTS && Instant::now() < give_up {
            assert_eq!(other.get().text(), "well");
        }
    });
    assert_eq!(failures(&lb, &backends), CLIENTS as f64);
    nobody_is_ejected(&lb.status());
}

#[test]
fn a_backend_that_answers_nobody_is_passed_over_without_probes_too() {
    let silent = Backend::start(|_, stream| hold(stream));
    let good = Backend::honest("good");
    let options = ["--response-timeout", "500ms", "--workers", "1"];
    let lb = before(&[&silent, &good], &options);
    let mut clients = [(); 8].map(|()| Client::new(&lb));
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        let answer = client.0.answer(false).expect("it comes");
        assert!([200, 504].contains(&answer.status), "{answer:?}");
    }
    let told = format!("{} ejected: it did not answer in time", silent.text());
    let status = lb.status();
    let events = status.get("events").items();
    assert!(events.iter().any(|e| e.get("text").text() == told), "{events:?}");
}

// A request whose answer is lost.

#[test]
fn a_request_that_kills_its_answer_is_sent_twice_then_502_and_the_pool_stays_as_it_was() {
    const ROUNDS: usize = 20;
    for checks in [&["--no-checks"][..], &["--check-interval", "100ms"]] {
        let backends = [(); 4].map(|()| {
            Backend::start(|request, stream| {
                !asks_for(request, "/die") && stream.write_all(&ok("well")).is_ok()
            })
        });
        let names = backends.each_ref().map(Backend::text);
        let lb = probed(&names.each_ref().map(String::as_str), checks);
        for round in 1..=ROUNDS {
            // On kept connections, and on new ones.
            for _ in 0..4 * (round % 2) {
                assert_eq!(lb.get("/").text(), "well");
            }
            let answer = lb.get("/die");
            assert_eq!(answer.status, 502, "{answer:?}");
            assert!(asked_for(&backends, "/die") <= 2 * round);
        }
        assert!(asked_for(&backends, "/die") > ROUNDS, "and one more is tried");
        nobody_is_ejected(&lb.status());
        assert_eq!(lb.get("/").text(), "well");
    }
}

#[test]
fn the_only_backend_that_lost_an_answer_gives_502_if_it_lives_and_503_if_it_died() {
    let lives = Backend::start(|_, _| false);
    let lb = before(&[&lives], &[]);
    let answer = lb.get("/");
    assert_eq!(answer.status, 502, "{answer:?}");
    nobody_is_ejected(&lb.status());

    // It stops listening when the request is there, and only then closes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the load balancer connects");
        let mut reader = BufReader::new(stream);
        let _ = read_head(&mut reader);
        drop(listener);
    });
    let lb = Server::start("lb", &["--no-checks", "--backend", &address]);
    let answer = lb.get("/");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.field("retry-after").is_some());
}

#[test]
fn with_one_healthy_backend_left_no_idempotent_request_fails() {
    let closes = Backend::start(|_, _| false);
    let good = Backend::honest("good");
    let refuse = ["--backend", NOBODY, "--backend", "127.0.0.2:1"];
    let lb = before(&[&closes, &good], &refuse);
    let mut client = Client::new(&lb);
    // More than there are retries to spend.
    for number in 0..400 {
        let answer = client.get();
        assert_eq!(answer.text(), "good", "request {number}: {answer:?}");
    }
    assert!(!closes.requests().is_empty());
}

// The last resort.

/// Answers everyone but the probes.
fn silent_to_probes(request: &Request, stream: &mut TcpStream) -> bool {
    match request.fields("user-agent").first() {
        Some(&"progjar-lb-check") => hold(stream),
        _ => stream.write_all(&ok("well")).is_ok(),
    }
}

#[test]
fn if_nobody_is_up_those_that_were_only_silent_are_asked_all_the_same() {
    let silent = Backend::start(silent_to_probes);
    let lb = probed(&[&silent.text(), NOBODY], &["--check-interval", "100ms"]);
    eventually("it is passed over", || lb.state_of(silent.address) == "down");
    for _ in 0..4 {
        let answer = lb.get("/");
        assert_eq!(answer.text(), "well", "{answer:?}");
    }
    assert_eq!(lb.state_of(silent.address), "down", "as the probes say");
}

#[test]
fn while_somebody_is_up_those_that_were_silent_are_left_alone() {
    let silent = Backend::start(silent_to_probes);
    let good = Backend::honest("good");
    let options = ["--check-interval", "100ms"];
    let lb = probed(&[&silent.text(), &good.text()], &options);
    eventually("it is passed over", || lb.state_of(silent.address) == "down");
    for _ in 0..8 {
        assert_eq!(lb.get("/").text(), "good");
    }
}

#[test]
fn if_all_refuse_clients_are_told_at_once_when_to_come_back() {
    for checks in [&["--check-interval", "100ms"][..], &[], &["--no-checks"]] {
        for backends in [&[NOBODY][..], &[NOBODY, "127.0.0.2:1"]] {
            let lb = probed(backends, checks);
            // An error of the gateway's own does not cost the connection.
            let mut client = Client::new(&lb);
            for _ in 0..20 {
                let begun = Instant::now();
                let answer = client.get();
                assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
                assert!(begun.elapsed() < Duration::from_millis(500));
            }
        }
    }
}

// What must not be sent twice.

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_post_is_not_sent_on_a_kept_connection_that_its_backend_has_closed() {
    for _ in 0..5 {
        let (may_close, closed) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (end, count): (_, Arc<AtomicUsize>) = (Arc::clone(&may_close), Arc::clone(&closed));
        // It answers once, and closes when it is told to.
        let backend = Backend::raw(move |stream| {
            let mut reader = BufReader::new(stream);
            if let Some(head) = read_head(&mut reader) {
                let length = if head.starts_with("POST") { 2 } else { 0 };
                let _ = reader.read_exact(&mut vec![0; length]);
                let _ = reader.get_mut().write_all(&ok("well"));
                eventually("it is told to close", || end.load(SeqCst));
            }
            drop(reader);
            count.fetch_add(1, SeqCst);
        });
        let lb = before(&[&backend], &["--workers", "1"]);
        let mut client = Client::new(&lb);
        assert_eq!(client.get().text(), "well");
        // The request arrives first, then the end of the connection; both are met in one turn.
        lb.freeze();
        client.send(POST);
        may_close.store(true, SeqCst);
        eventually("it is closed", || closed.load(SeqCst) == 1);
        lb.signal("CONT");
        let answer = client.0.answer(false).expect("it comes");
        assert_eq!(answer.text(), "well", "{answer:?}");
    }
}

/// POSTs to backends that close a connection after a millisecond without a request.
#[test]
#[ignore = "prints figures only"]
fn figures_of_posts_to_backends_that_close_kept_connections() {
    let backends = [(); 4].map(|()| {
        Backend::start(|_, stream| {
            let _ = stream.write_all(&ok("well"));
            let idle = Some(Duration::from_millis(1));
            let _ = stream.set_read_timeout(idle);
            stream.peek(&mut [0]).is_ok()
        })
    });
    let lb = before(&backends.each_ref(), &["--workers", "1"]);
    let (sent, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let until = Instant::now() + Duration::from_secs(10);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::new(&lb);
                while Instant::now() < until {
                    sent.fetch_add(1, SeqCst);
                    let status = client.ask(POST).status;
                    failed.fetch_add(usize::from(status != 200), SeqCst);
                }
            });
        }
    });
    println!("{sent:?} POSTs, {failed:?} failed");
}
