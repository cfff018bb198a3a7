//! What the load balancer claims of its connections to backends, and of whom it blames, each
//! claim by itself: a connection is used again only if nothing is left of its last exchange, and
//! a backend is passed over only for what it did itself.
#![cfg(target_os = "linux")] // reads /proc

mod support;

use std::io::{BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::backend::{Backend, Request, before, ok, read_head};
use support::client::Client;
use support::json::{self, Json};
use support::{PATIENCE, Server, eventually};

/// The request-target.
fn target(request: &Request) -> &str {
    request.head.split(' ').nth(1).unwrap_or_default()
}

/// On until it is turned off.
fn switch() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

/// Waits without a deadline of its own: whoever waits for this backend has one.
fn wait_while(switch: &AtomicBool, is_concerned: bool) {
    while is_concerned && switch.load(SeqCst) {
        thread::sleep(Duration::from_millis(1)); // between two looks
    }
}

/// Everyone is up, and nobody was ever told to be down.
fn nobody_is_ejected(status: &Json) {
    for backend in status.get("backends").items() {
        assert_eq!(backend.get("state").text(), "up", "{status:?}");
    }
    assert_eq!(status.get("events").items(), [], "{status:?}");
}

fn nobody_is_blamed(status: &Json) {
    nobody_is_ejected(status);
    for backend in status.get("backends").items() {
        assert_eq!(backend.get("failures").number(), 0.0, "{status:?}");
    }
}

/// All of these arrive in one turn of the event loop.
fn send_at_once(lb: &Server, clients: &mut [Client], request: impl Fn(usize) -> String) {
    lb.freeze();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&request(number));
    }
    lb.signal("CONT");
}

// Connections that are kept, and those that are not.

#[test]
fn a_backend_connection_that_still_awaits_content_is_not_used_again() {
    let contents: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&contents);
    // It answers when it has read the head, then reads the content.
    let backend = Backend::raw(move |stream| {
        let mut reader = BufReader::new(stream);
        while let Some(head) = read_head(&mut reader) {
            let length = head.split_once("Content-Length: ");
            let length = length.and_then(|(_, rest)| rest.lines().next()?.parse().ok());
            let mut content = String::new();
            let _ = reader.get_mut().write_all(&ok("early"));
            let _ = reader
                .by_ref()
                .take(length.unwrap_or(0))
                .read_to_string(&mut content);
            seen.lock().expect("nobody panics with it").push(content);
        }
    });
    let lb = before(&[&backend], &["--workers", "1", "--response-timeout", "2s"]);
    let mut client = Client::new(&lb);
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
    assert_eq!(client.ask(half).text(), "early");
    assert_eq!(lb.get("/next").text(), "early");
    eventually("the connection ends with what the client sent", || {
        contents
            .lock()
            .is_ok_and(|all| all.contains(&"half".to_owned()))
    });
}

#[test]
fn a_backend_connection_whose_answer_said_close_is_not_used_again() {
    // It says so, and stays all the same.
    let backend = Backend::start(|request, stream| {
        let head = match target(request) {
            "/1.1" => "HTTP/1.1 200 OK\r\nConnection: close\r\n",
            _ => "HTTP/1.0 200 OK\r\n", // which says it without a word
        };
        let answer = format!("{head}Content-Length: 2\r\n\r\nhi");
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let lb = before(&[&backend], &["--workers", "1"]);
    for path in ["/1.1", "/1.0", "/1.1", "/1.0"] {
        assert_eq!(lb.get(path).text(), "hi");
    }
    let before: Vec<_> = backend.requests().iter().map(|r| r.before).collect();
    assert_eq!(before, [0; 4], "each is the first on its connection");
}

#[test]
fn with_pipeline_requests_share_a_connection_up_to_the_depth_and_a_post_never_does() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    // Of seven requests three share the idle connection; or one takes it, since none shares it.
    for (request, depth, connections) in
        [(get, "3", 5), (get, "7", 1), (get, "1", 7), (post, "3", 7)]
    {
        let backend = Backend::honest("hello");
        let lb = before(&[&backend], &["--workers", "1", "--pipeline", depth]);
        let mut clients: Vec<_> = (0..7).map(|_| Client::new(&lb)).collect();
        for client in &mut clients {
            assert_eq!(client.get().text(), "hello");
        }
        assert_eq!(backend.connections.load(SeqCst), 1);
        send_at_once(&lb, &mut clients, |_| request.to_owned());
        for client in &mut clients {
            assert_eq!(client.0.answer(false).expect("it comes").text(), "hello");
        }
        let used = backend.connections.load(SeqCst);
        assert_eq!(used, connections, "{request:?}, depth {depth}");
    }
}

#[test]
fn those_queued_behind_a_slow_answer_move_elsewhere() {
    const CLIENTS: usize = 4;
    let (holds_first, holds_others) = (switch(), switch());
    let (first, others) = (Arc::clone(&holds_first), Arc::clone(&holds_others));
    let slow = Mutex::new(None);
    // The first that is not `/` waits for its answer, and all behind it on its connection wait
    // for theirs even longer.
    let backend = Backend::start(move |request, stream| {
        let connection = stream.peer_addr().ok();
        let mut slow = slow.lock().expect("nobody panics with it");
        let is_first = target(request) != "/" && slow.is_none();
        if is_first {
            *slow = connection;
        }
        let is_other = !is_first && *slow == connection;
        drop(slow);
        wait_while(&first, is_first);
        wait_while(&others, is_other);
        stream.write_all(&ok(target(request))).is_ok()
    });
    let options = [
        "--workers",
        "1",
        "--pipeline",
        "8",
        "--response-timeout",
        "60s",
    ];
    let lb = before(&[&backend], &options);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::new(&lb)).collect();
    for client in &mut clients {
        assert_eq!(client.get().text(), "/");
    }
    let request = |n: usize| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    send_at_once(&lb, &mut clients, request);
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            let answered = &answered;
            scope.spawn(move || {
                let answer = client.0.answer(false).expect("it comes");
                assert_eq!(answer.text(), format!("/{number}"));
                answered.fetch_add(1, SeqCst);
            });
        }
        eventually("all but the slow one are answered", || {
            answered.load(SeqCst) == CLIENTS - 1
        });
        holds_first.store(false, SeqCst);
    });
    // What the backend may still say on that connection is for nobody: it is not used again.
    for (number, client) in clients.iter_mut().enumerate() {
        let number = CLIENTS + number;
        assert_eq!(client.ask(&request(number)).text(), format!("/{number}"));
    }
    let first = &backend.requests()[CLIENTS].head;
    let asked = backend
        .requests()
        .iter()
        .filter(|r| r.head == *first)
        .count();
    assert_eq!(asked, 1, "the slow one stayed where it was");
    holds_others.store(false, SeqCst);
}

// Who is passed over, and who is not.

#[test]
fn those_who_wait_for_an_ejected_backend_move_on_long_before_the_response_timeout() {
    // From the first `/wait` on it takes what comes and never answers, probes included.
    let is_silent = AtomicBool::new(false);
    let silent = Backend::start(move |request, stream| {
        is_silent.fetch_or(target(request) == "/wait", SeqCst);
        if is_silent.load(SeqCst) {
            let _ = stream.read(&mut [0]); // until the other side gives up
            return false;
        }
        stream.write_all(&ok("was well")).is_ok()
    });
    let well = Backend::honest("well");
    let (one, other) = (silent.text(), well.text());
    let backends = ["--backend", &one, "--backend", &other, "--workers", "1"];
    let times = ["--response-timeout", "60s", "--check-interval", "100ms"];
    let lb = Server::start("lb", &[&backends[..], &times].concat());
    let mut clients: Vec<_> = (0..4).map(|_| Client::new(&lb)).collect();
    let begun = Instant::now();
    for client in &mut clients {
        client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        let answer = client.0.answer(false).expect("it comes");
        assert_eq!(answer.text(), "well");
    }
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    let waited = silent.requests().iter().any(|r| target(r) == "/wait");
    assert!(waited, "somebody waited for it");
}

#[test]
fn a_stale_connection_ejects_nobody_and_costs_no_retry() {
    // More than there are retries to spend, were each stale connection to cost one.
    const REQUESTS: usize = 300;
    // It closes when it has read the second request of a connection.
    let backends = [(); 2].map(|()| {
        Backend::start(|request, stream| {
            request.before == 0 && stream.write_all(&ok("hello")).is_ok()
        })
    });
    let lb = before(&[&backends[0], &backends[1]], &["--workers", "1"]);
    let mut client = Client::new(&lb);
    for number in 0..REQUESTS {
        let answer = client.get();
        assert_eq!(answer.text(), "hello", "request {number}: {answer:?}");
    }
    let requests = backends.iter().flat_map(Backend::requests);
    let stale = requests.filter(|r| r.before > 0).count();
    assert!(stale > REQUESTS / 3, "only {stale} met a stale connection");
    nobody_is_blamed(&lb.status());
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
    assert!(
        statuses.iter().all(|s| [200, 503].contains(s)),
        "{statuses:?}"
    );
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
                    target(request) != "/die" && stream.write_all(&ok("hello")).is_ok()
                })
            })
            .collect();
        let lb = before(&backends.iter().collect::<Vec<_>>(), &["--workers", "1"]);
        let asked = |path: &str| -> Vec<usize> {
            let of = |b: &Backend| b.requests().iter().filter(|r| target(r) == path).count();
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
