//! Whom the load balancer blames, and who is told what: a backend is passed over only for what
//! it did itself, and whoever waits for one that was ejected moves on.
#![cfg(target_os = "linux")] // reads /proc

use crate::support::backend::{
    Backend, before, nobody_is_ejected, ok, read_head, switch, wait_while,
};
use crate::support::client::Client;
use crate::support::json::{self, Json};
use crate::support::{PATIENCE, Server, allow_many_descriptors, eventually};
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn nobody_is_blamed(status: &Json) {
    nobody_is_ejected(status);
    for backend in status.get("backends").items() {
        assert_eq!(backend.get("failures").number(), 0.0, "{status:?}");
    }
}

#[test]
fn those_who_wait_for_an_ejected_backend_move_on_long_before_the_response_timeout() {
    // Half of them wait: more than there are retries to spend, were each to cost one.
    const CLIENTS: usize = 400;
    allow_many_descriptors();
    // From the first `/wait` on it takes what comes and never answers, probes included.
    let is_silent = AtomicBool::new(false);
    let silent = Backend::start(move |request, stream| {
        is_silent.fetch_or(request.target() == "/wait", SeqCst);
        if is_silent.load(SeqCst) {
            let _ = stream.read(&mut [0]); // until the other side gives up
            return false;
        }
        stream.write_all(&ok("was well")).is_ok()
    });
    let well = Backend::honest("well");
    let (one, other) = (silent.text(), well.text());
    let backends = ["--backend", &one, "--backend", &other, "--workers", "1"];
    let times = ["--response-timeout", "60s", "--check-interval", "500ms"];
    let lb = Server::start("lb", &[&backends[..], &times].concat());
    let waits = |backend: &Backend| {
        let requests = backend.requests();
        requests.iter().filter(|r| r.target() == "/wait").count()
    };
    let begun = Instant::now();
    let mut clients = Vec::new();
    while clients.len() < CLIENTS {
        let mut client = Client::new(&lb);
        client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        clients.push(client);
        eventually("one of them has it", || waits(&silent) + waits(&well) >= clients.len());
    }
    assert!(waits(&silent) > 0, "somebody waits for it");
    for client in &mut clients {
        let answer = client.0.answer(false).expect("it comes");
        assert_eq!(answer.text(), "well");
    }
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}

#[test]
fn an_ejection_ends_neither_an_answer_that_has_begun_nor_a_post() {
    let (holds, posted) = (switch(), Arc::new(AtomicBool::new(false)));
    let (hold, seen) = (Arc::clone(&holds), Arc::clone(&posted));
    // From the POST on it answers nobody until it is released.
    let ejected = Backend::start(move |request, stream| {
        seen.fetch_or(request.method() == "POST", SeqCst);
        if request.target() == "/half" {
            let half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
            let is_sent = stream.write_all(half).is_ok();
            wait_while(&hold, true);
            return is_sent && stream.write_all(b"half").is_ok();
        }
        wait_while(&hold, seen.load(SeqCst));
        stream.write_all(&ok("late")).is_ok()
    });
    let address = ejected.text();
    let options = ["--backend", &address, "--workers", "1", "--check-interval", "100ms"];
    let lb = Server::start("lb", &[&options[..], &["--response-timeout", "60s"]].concat());
    let mut download = Client::new(&lb);
    download.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    download.0.get_mut().peek(&mut [0]).expect("it has begun");
    let mut post = Client::new(&lb);
    post.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    eventually("it has the POST", || posted.load(SeqCst));
    eventually("it is ejected", || lb.state_of(ejected.address) == "down");
    // By then whoever had to leave has left.
    let _ = lb.get("/lb-status.json");
    holds.store(false, SeqCst);
    let halves = download.0.answer(false).map(|answer| answer.text());
    assert_eq!(halves.map_err(|e| e.kind()), Ok("halfhalf".to_owned()));
    let late = post.0.answer(false).expect("it comes");
    assert_eq!((late.status, late.text()), (200, "late".to_owned()));
}

#[test]
fn a_request_that_nobody_answers_is_504_on_kept_connections_too() {
    let backends = [(); 2].map(|()| {
        Backend::start(|request, stream| match request.target() {
            "/" => stream.write_all(&ok("well")).is_ok(),
            _ => stream.read(&mut [0]).is_err(),
        })
    });
    let options = ["--workers", "1", "--response-timeout", "300ms"];
    let lb = before(&[&backends[0], &backends[1]], &options);
    for _ in 0..4 {
        assert_eq!(lb.get("/").text(), "well");
    }
    let begun = Instant::now();
    assert_eq!(lb.get("/silent").status, 504);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}

#[test]
fn without_a_backend_it_is_503_whatever_befell_the_request_before() {
    let backend = Backend::raw(|stream| {
        let mut reader = BufReader::new(stream);
        let _ = read_head(&mut reader).map(|_| reader.read(&mut [0]));
    });
    let lb = before(&[&backend], &["--workers", "1", "--response-timeout", "300ms"]);
    let mut client = Client::new(&lb);
    assert_eq!(client.get().status, 504);
    drop(backend); // from now on the connection is refused
    eventually("nobody is there", || {
        let answer = client.get();
        answer.status == 503 && answer.field("retry-after").is_some()
    });
}

#[test]
fn a_stale_connection_ejects_nobody_and_costs_no_retry() {
    // More than there are retries to spend, were each stale connection to cost one.
    const REQUESTS: usize = 300;
    // It closes when it has read the second request of a connection: the worst moment, since no
    // proxy can know.
    let backends = [(); 2].map(|()| {
        Backend::start(|request, stream| {
            request.before == 0 && stream.write_all(&ok("hello")).is_ok()
        })
    });
    // With one alone, no other one can help.
    for backends in [&backends[..1], &backends] {
        let lb = before(&backends.iter().collect::<Vec<_>>(), &["--workers", "1"]);
        let stale = || {
            let requests = backends.iter().flat_map(Backend::requests);
            requests.filter(|r| r.before > 0).count()
        };
        let (mut client, before) = (Client::new(&lb), stale());
        for number in 0..REQUESTS {
            let answer = client.get();
            assert_eq!(answer.text(), "hello", "request {number}: {answer:?}");
        }
        let stale = stale() - before;
        assert!(stale > REQUESTS / 3, "only {stale} met a stale connection");
        nobody_is_blamed(&lb.status());
    }
}

#[test]
fn a_kept_connection_excuses_nothing_but_that_it_was_closed() {
    let backend = Backend::start(|request, stream| match request.target() {
        "/" => stream.write_all(&ok("well")).is_ok(),
        "/garbage" => stream.write_all(b"220 mail.example ESMTP\r\n\r\n").is_ok(),
        "/silent" => stream.read(&mut [0]).is_err(),
        _ => {
            let half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
            let _ = stream.write_all(half);
            false
        }
    });
    let address = backend.text();
    let options = ["--workers", "1", "--response-timeout", "300ms", "--no-checks"];
    let lb = Server::start_with_log("lb", &[&["--backend", &address], &options[..]].concat());
    let failures = || lb.status().get("backends").items()[0].get("failures").number();
    for (path, status) in [("/garbage", Some(502)), ("/silent", Some(504)), ("/half", None)] {
        assert_eq!(lb.get("/").text(), "well");
        let before = failures();
        let mut client = Client::new(&lb);
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.0.answer(false).ok();
        assert_eq!(answer.map(|a| a.status), status, "{path}");
        let requests = backend.requests();
        let asked: Vec<_> = requests.iter().filter(|r| r.target() == path).collect();
        assert_eq!(asked.len(), 1, "{path} is asked once");
        assert!(asked[0].before > 0, "{path} met a kept connection");
        assert_eq!(failures(), before + 1.0, "{path} counts");
    }
    let cut = format!("GET /half -> {address} cut");
    eventually("the cut is told", || lb.lines().iter().any(|line| line.contains(&cut)));
}

/// A listener whose backlog is full, and those who fill it: nobody else gets in.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let moment = Duration::from_millis(100);
    let inside = std::iter::from_fn(|| TcpStream::connect_timeout(&address, moment).ok());
    let inside: Vec<_> = inside.take(5000).collect();
    (listener, inside)
}

#[test]
fn backends_that_take_no_connection_are_ejected_even_if_they_are_most() {
    allow_many_descriptors();
    let good = Backend::honest("good");
    let (full, full_too) = (full(), full());
    let address = |(listener, _): &(TcpListener, _)| {
        let address = listener.local_addr().expect("it is bound");
        address.to_string()
    };
    let (one, other) = (address(&full), address(&full_too));
    let full = ["--backend", &one, "--backend", &other];
    let times = ["--workers", "1", "--connect-timeout", "200ms"];
    let lb = before(&[&good], &[full, times].concat());
    for _ in 0..3 {
        assert_eq!(lb.get("/").text(), "good");
    }
    let status = lb.status();
    for address in [&one, &other] {
        let told = format!("{address} ejected: it did not take the connection in time");
        let mut events = status.get("events").items().iter();
        assert!(events.any(|e| e.get("text").text() == told), "{status:?}");
    }
    let alone =
        Server::start("lb", &["--no-checks", "--backend", &one, "--connect-timeout", "200ms"]);
    assert_eq!(alone.get("/").status, 504);
}

#[test]
fn an_lb_without_descriptors_blames_no_backend() {
    const LIMIT: usize = 32;
    let held = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
    let backends = held.each_ref().map(|held| {
        let held = Arc::clone(held);
        Backend::start(move |_, stream| {
            wait_while(&held, true);
            stream.write_all(&ok("hello")).is_ok()
        })
    });
    let addresses = backends.each_ref().map(Backend::text);
    let mut arguments = vec!["--no-checks", "--workers", "1"];
    for address in &addresses {
        arguments.extend(["--backend", address]);
    }
    let lb = Server::start_limited(&format!("ulimit -n {LIMIT}"), "lb", &arguments);
    let mut clients: Vec<_> = (0..8).map(|_| Client::new(&lb)).collect();
    let mut statuses = Vec::new();
    let mut most = 0;
    // All clients wait for the same backend, then for the next one, while the first one's
    // connections are kept: in the end there is no descriptor left for another.
    for (backend, held) in backends.iter().zip(&held) {
        held.store(true, SeqCst);
        let mut waiting = Vec::new();
        for client in &mut clients {
            // Its request goes to one of the others first, as a rule.
            for _ in 0..4 * backends.len() {
                let before = backend.requests().len();
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                let is_held = || backend.requests().len() > before;
                eventually("it is held or answered", || is_held() || has_answer(client));
                if is_held() {
                    waiting.push(client);
                    break;
                }
                statuses.push(client.0.answer(false).expect("it comes").status);
            }
        }
        most = most.max(lb.descriptors());
        held.store(false, SeqCst);
        for client in waiting {
            statuses.push(client.0.answer(false).expect("it comes").status);
        }
    }
    assert!(most >= LIMIT, "its descriptors are used up: {most}");
    assert!(statuses.iter().all(|s| [200, 503].contains(s)), "{statuses:?}");
    // A newcomer might not get in.
    let status = clients[0].ask("GET /lb-status.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    nobody_is_blamed(&json::parse(&status.text()).expect("it is JSON"));
}

/// Whether something can be read by now.
fn has_answer(client: &mut Client) -> bool {
    let stream = client.0.get_mut();
    stream.set_nonblocking(true).expect("it can be set");
    let is_there = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).expect("it can be set");
    is_there
}

#[test]
fn without_probes_a_backend_that_answers_again_is_told_as_back() {
    let mut server = Server::start("async_server", &[]);
    let other = Backend::honest("other");
    let address = server.address.to_string();
    let lb = before(&[&other], &["--backend", &address]);
    let told = || -> Vec<String> {
        let status = lb.status();
        let events = status.get("events").items().iter();
        events.map(|e| e.get("text").text().to_owned()).collect()
    };
    let ejected = format!("{address} ejected: it refused the connection");
    server.kill();
    eventually("it is told as ejected", || {
        assert_eq!(lb.get("/santai").status, 200);
        told() == [ejected.as_str()]
    });
    let server = Server::start_at(server.address, "async_server", &[]);
    let back = format!("{address} is back");
    eventually("it is told as back", || {
        assert_eq!(lb.get("/santai").status, 200);
        told() == [back.as_str(), &ejected]
    });
    assert_eq!(lb.state_of(server.address), "up");
}

#[test]
fn a_request_that_closes_the_connection_at_every_backend_ejects_nobody_who_answers_others() {
    for count in [2, 8] {
        let backends: Vec<_> = (0..count)
            .map(|_| {
                Backend::start(|request, stream| {
                    request.target() != "/die" && stream.write_all(&ok("hello")).is_ok()
                })
            })
            .collect();
        let lb = before(&backends.iter().collect::<Vec<_>>(), &["--workers", "1"]);
        let asked = |path: &str| -> Vec<usize> {
            let of = |b: &Backend| b.requests().iter().filter(|r| r.target() == path).count();
            backends.iter().map(of).collect()
        };
        for round in 1..=3 {
            for _ in 0..count {
                assert_eq!(lb.get("/").text(), "hello", "of {count}, round {round}");
            }
            assert!(asked("/").iter().all(|&n| n >= 1), "{:?}", asked("/"));
            let answer = lb.get("/die");
            assert_eq!(answer.status, 502, "of {count}, round {round}: {answer:?}");
            nobody_is_ejected(&lb.status());
        }
        // A kept connection that may have been closed by itself, and two tries in earnest.
        let deaths: usize = asked("/die").iter().sum();
        assert!(deaths <= 3 * 3, "of {count}: {deaths} in three rounds");
    }
}
