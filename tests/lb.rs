//! The load balancer as an operator relies on it: turns, connections kept, heads rewritten,
//! failures retried, mistakes told, and what it shows of itself.

use crate::support::backend::{Backend, NOBODY, before, ok};
use crate::support::client::Client;
use crate::support::json::Json;
use crate::support::{PATIENCE, Reader, Server, connect, eventually, free_port};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

fn async_servers<const N: usize>() -> [Server; N] {
    [(); N].map(|()| Server::start("async_server", &[]))
}

fn fields_of(head: &str) -> BTreeSet<String> {
    let names = head.lines().skip(1).filter_map(|l| l.split_once(':'));
    names.map(|(name, _)| name.to_ascii_lowercase()).collect()
}

// Turns and connections.

#[test]
fn forty_requests_on_one_connection_are_ten_for_each_backend_and_never_two_in_a_row() {
    let backends = async_servers::<4>();
    let lb = Server::start_lb(&backends.each_ref(), &["--workers", "2"]);
    let mut client = Client::new(&lb);
    let mut served = Vec::new();
    for _ in 0..40 {
        let answer = client.get();
        assert_eq!(answer.status, 200);
        served.push(answer.field("x-served-by").unwrap_or_default().to_owned());
    }
    for backend in &backends {
        let name = backend.name("async_server");
        assert_eq!(served.iter().filter(|s| **s == name).count(), 10, "{served:?}");
    }
    assert!(served.windows(2).all(|two| two[0] != two[1]), "{served:?}");
}

#[test]
fn the_turns_go_on_from_client_to_client_and_over_all_workers() {
    let backends = async_servers::<4>();
    let lb = Server::start_lb(&backends.each_ref(), &["--workers", "2"]);
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..40 {
        let answer = lb.get("/");
        let name = answer.field("x-served-by").unwrap_or_default();
        *served.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(served.values().copied().collect::<Vec<_>>(), [10; 4], "{served:?}");
}

#[test]
fn a_worker_that_is_full_leaves_newcomers_to_the_others() {
    let [backend] = async_servers();
    let places = ["--workers", "2", "--max-connections", "4"];
    for together in [false, true] {
        let lb = Server::start_lb(&[&backend], &places);
        let ask = |client: &mut Client| assert_eq!(client.get().status, 200);
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..8 {
            clients.push(Client::new(&lb));
            if !together {
                clients.last_mut().into_iter().for_each(ask);
            }
        }
        clients.iter_mut().for_each(ask);
    }
}

#[test]
fn connections_to_backends_are_kept_for_whoever_comes_next() {
    let backends = [Backend::honest("a"), Backend::honest("b")];
    let lb = before(&[&backends[0], &backends[1]], &["--workers", "1"]);
    for _ in 0..40 {
        assert_eq!(lb.get("/").status, 200); // each on a connection of its own
    }
    for backend in &backends {
        assert_eq!(backend.requests().len(), 20);
        assert_eq!(backend.connections.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn weights_are_turns() {
    let backends = async_servers::<2>();
    let [heavy, light] = backends.each_ref().map(|b| b.address.to_string());
    let heavy = format!("{heavy},weight=3");
    let lb = Server::start("lb", &["--backend", &heavy, "--backend", &light]);
    let mut client = Client::new(&lb);
    let names = backends.each_ref().map(|b| b.name("async_server"));
    let served: Vec<_> =
        (0..40).map(|_| client.get().field("x-served-by").map(str::to_owned)).collect();
    let count = |name: &String| served.iter().flatten().filter(|s| *s == name).count();
    assert_eq!(names.each_ref().map(count), [30, 10], "{served:?}");
    for round in served.chunks(4) {
        assert_eq!(round.iter().flatten().filter(|s| **s == names[1]).count(), 1);
    }
}

/// How many of the requests of eight clients each of the four servers got.
fn shares(policy: &str, delays: [&str; 4], weights: [u32; 4]) -> [usize; 4] {
    const REQUESTS: usize = 50;
    let servers = delays.map(|delay| Server::start("async_server", &["--delay", delay]));
    let names = servers.each_ref().map(|s| s.name("async_server"));
    let mut arguments = vec!["--policy".to_owned(), policy.to_owned()];
    for (server, weight) in servers.iter().zip(weights) {
        let backend = format!("{},weight={weight}", server.address);
        arguments.extend(["--backend".to_owned(), backend]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let lb = Server::start("lb", &arguments);
    let counts = [(); 4].map(|()| AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::new(&lb);
                for _ in 0..REQUESTS {
                    let answer = client.get();
                    assert_eq!(answer.status, 200, "{policy}: {answer:?}");
                    let name = answer.field("x-served-by").unwrap_or_default();
                    let number = names.iter().position(|n| n == name);
                    counts[number.expect("one of them")].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let counts = counts.map(AtomicUsize::into_inner);
    assert_eq!(counts.iter().sum::<usize>(), 8 * REQUESTS);
    counts
}

#[test]
fn a_slow_backend_keeps_its_turns_under_round_robin_alone() {
    let delays = ["40ms", "2ms", "2ms", "2ms"];
    let fair = shares("round-robin", delays, [1; 4]);
    assert_eq!(fair, [100; 4]);
    // Left with the turns of three, the others are busy too now and then.
    let least = shares("least-connections", delays, [1; 4]);
    assert!(least[0] < 60, "{least:?}");
    let two = shares("two-choices", delays, [1; 4]);
    assert!(two[0] < 80, "{two:?}");
}

#[test]
fn who_weighs_five_times_as_much_gets_at_least_about_five_times_as_much() {
    // Its turns are 250 of 400. Of two that are drawn it is nearly always one, and the one that
    // is less busy for its weight.
    for (policy, bounds) in
        [("round-robin", 250..=250), ("least-connections", 220..=270), ("two-choices", 250..=325)]
    {
        // How many are busy at once is another number on a busy machine; whose turn it is, is not.
        let plays = if policy == "round-robin" { 1 } else { 3 };
        let play = |_| shares(policy, ["4ms"; 4], [5, 1, 1, 1]);
        let is_kept = (0..plays).map(play).any(|counts| {
            println!("{policy}: {counts:?}");
            bounds.contains(&counts[0])
        });
        assert!(is_kept, "{policy}");
    }
}

// What is rewritten.

#[test]
fn the_backend_gets_the_message_and_nothing_that_was_meant_for_the_connection() {
    let backend = Backend::honest("hello");
    let lb = before(&[&backend], &[]);
    let mut client = Client::new(&lb);
    let answer = client.ask(
        "GET /a?b=%20c HTTP/1.1\r\nHost: www.example:8080\r\nConnection: keep-alive, X-Secret\r\n\
         X-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
         Trailer: X\r\nUpgrade: h2c\r\nX-Kept: a, b\r\nX-Kept: c\r\nCookie: d=e\r\n\
         X-Forwarded-For: 192.0.2.9\r\nVia: 1.0 fred\r\nAuthorization: Basic eDp5\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));
    let request = &backend.requests()[0];
    assert!(request.head.starts_with("GET /a?b=%20c HTTP/1.1\r\n"), "{request:?}");
    let names = ["authorization", "cookie", "host", "via", "x-forwarded-for", "x-kept"];
    assert_eq!(fields_of(&request.head), names.map(str::to_owned).into(), "{request:?}");
    assert_eq!(request.fields("host"), ["www.example:8080"]);
    assert_eq!(request.fields("x-kept"), ["a, b", "c"]);
    assert_eq!(request.fields("x-forwarded-for"), ["192.0.2.9, 127.0.0.1"]);
    let via = request.fields("via").join(", ");
    assert!(via.starts_with("1.0 fred, 1.1 progjar-lb"), "{via}");
}

#[test]
fn the_client_gets_the_answer_and_nothing_that_was_meant_for_the_connection() {
    let backend = Backend::start(|_, stream| {
        let head = "HTTP/1.1 203 Well, yes\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nServer: mine\r\n\
             Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nVia: 1.1 inner\r\nContent-Length: 2\r\n\r\nhi";
        stream.write_all(head.as_bytes()).is_ok()
    });
    let lb = before(&[&backend], &[]);
    let answer = Client::new(&lb).get();
    assert_eq!((answer.status, answer.text()), (203, "hi".to_owned()));
    assert!(answer.head.starts_with("HTTP/1.1 203 Well, yes\r\n"), "{answer:?}");
    let names = ["content-length", "date", "server", "set-cookie", "via"];
    assert_eq!(fields_of(&answer.head), names.map(str::to_owned).into(), "{answer:?}");
    assert_eq!(answer.head.matches("Set-Cookie: ").count(), 2);
    let via = answer.field("via").unwrap_or_default();
    assert!(via.starts_with("1.1 inner, 1.1 progjar-lb"), "{via}");
}

#[test]
fn a_client_of_1_0_keeps_its_connection_only_if_it_asks() {
    let backend = Backend::honest("hello");
    let lb = before(&[&backend], &[]);
    let mut keeps = Client::new(&lb);
    for _ in 0..3 {
        let answer = keeps.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    let mut leaves = Client::new(&lb);
    let answer = leaves.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.text(), "hello");
    assert!(leaves.0.is_at_end());
}

#[test]
fn chunks_pass_both_ways_and_end_where_they_end() {
    let backend = Backend::start(|request, stream| {
        let (head, end) = ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n");
        let chunk = format!("{:x}\r\n", request.content.len());
        let bytes = [head.as_bytes(), chunk.as_bytes(), &request.content, b"\r\n", end.as_bytes()];
        stream.write_all(&bytes.concat()).is_ok()
    });
    let lb = before(&[&backend], &[]);
    let mut client = Client::new(&lb);
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\nTrailer: 1\r\n\r\n";
    for _ in 0..2 {
        let answer = client.ask(upload);
        assert_eq!(answer.text(), "hello, world");
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    }
    assert_eq!(backend.requests()[1].content, b"hello, world");
    assert_eq!(backend.requests()[1].fields("transfer-encoding"), ["chunked"]);
    // Who speaks 1.0 knows no chunks: the end of the connection is the end.
    let old =
        lb.exchange(b"POST / HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi");
    let old = String::from_utf8_lossy(&old);
    assert!(old.ends_with("\r\n\r\nhi") && !old.contains("chunked"), "{old}");
}

#[test]
fn an_answer_that_ends_with_its_connection_gets_chunks() {
    let backend = Backend::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end");
        false
    });
    let lb = before(&[&backend], &[]);
    let mut client = Client::new(&lb);
    for _ in 0..2 {
        let answer = client.get();
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.text(), "until the end");
    }
}

#[test]
fn answers_without_content_leave_the_connection_usable() {
    let backend = Backend::start(|request, stream| {
        let head = match request.head.split(' ').nth(1) {
            Some("/304") => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        };
        let content = if request.method() == "GET" && head.contains("200") { "hello" } else { "" };
        stream.write_all(format!("{head}{content}").as_bytes()).is_ok()
    });
    let lb = before(&[&backend], &["--workers", "1"]);
    let mut client = Client::new(&lb);
    for _ in 0..2 {
        let head = client.ask("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.status, head.field("content-length")), (200, Some("5")));
        let same = client.ask("GET /304 HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n");
        assert_eq!((same.status, same.field("etag")), (304, Some("\"x\"")));
        assert_eq!(client.ask("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n").status, 204);
        assert_eq!(client.get().text(), "hello");
    }
    assert_eq!(backend.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_from_the_backend() {
    // The test says when the backend may send it.
    let (asked, is_asked) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let play = Mutex::new((asked, may_go_on));
    let backend = Backend::raw(move |mut stream| {
        let Ok(play) = play.lock() else { return };
        let mut content = [0; 2];
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => return,
                }
            }
            let _ = (play.0.send(head), play.1.recv());
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            let _ = stream.read_exact(&mut content);
            let _ = stream.write_all(&ok(&String::from_utf8_lossy(&content)));
        }
    });
    let lb = before(&[&backend], &["--workers", "1"]);
    let mut client = Client::new(&lb);
    // More often than one request may have interim answers.
    for _ in 0..20 {
        client
            .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        let head = is_asked.recv_timeout(PATIENCE).expect("it is asked");
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
        // The one worker has answered another since: what it says of its own would be here.
        lb.status();
        let stream = client.0.get_mut();
        stream.set_nonblocking(true).expect("it can be set");
        let too_early = stream.peek(&mut [0]).map_err(|e| e.kind());
        assert_eq!(too_early, Err(ErrorKind::WouldBlock), "it is invented");
        stream.set_nonblocking(false).expect("it can be set");
        go_on.send(()).expect("the backend waits");
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).expect("it comes before the content");
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(client.ask("hi").text(), "hi");
    }
}

#[test]
fn a_client_that_waits_for_100_continue_may_be_refused_instead() {
    let backend = Backend::raw(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let lb = before(&[&backend], &[]);
    let mut client = Client::new(&lb);
    let answer = client
        .ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    // The content that was promised may still come: it must not be taken for a request.
    assert_eq!((answer.status, answer.field("connection")), (417, Some("close")));
}

// Failures.

#[test]
fn a_backend_that_refuses_is_passed_over_and_nobody_notices() {
    let good = Backend::honest("good");
    let lb = before(&[&good], &["--backend", NOBODY, "--backend", "127.0.0.2:1"]);
    let mut client = Client::new(&lb);
    for _ in 0..12 {
        assert_eq!(client.get().text(), "good");
        // A POST too: not a byte of it was sent.
        let post = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(post.text(), "good");
    }
}

/// Two backends that read a request and close.
fn closers() -> [Backend; 2] {
    [(); 2].map(|()| Backend::start(|_, _| false))
}

#[test]
fn a_post_is_not_sent_twice_but_what_is_idempotent_is() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "POST", "PATCH"] {
        let backends = closers();
        let lb = before(&[&backends[0], &backends[1]], &["--workers", "1"]);
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        let answer = Client::new(&lb).ask(&request);
        let sent: usize = backends.iter().map(|b| b.requests().len()).sum();
        if ["POST", "PATCH"].contains(&method) {
            assert_eq!((answer.status, sent), (502, 1), "{method}");
        } else {
            assert_eq!(answer.status, 502, "{method}: {answer:?}");
            assert_eq!(sent, 2, "{method}");
        }
        for request in backends.iter().flat_map(Backend::requests) {
            assert_eq!(request.content, b"hi", "{method}: all of it, from its first byte");
        }
    }
}

#[test]
fn many_kept_connections_that_were_closed_fail_nobody() {
    for depth in ["1", "8"] {
        many_kept_connections_are_closed(depth);
    }
}

fn many_kept_connections_are_closed(depth: &str) {
    // A dozen connections in the pool, all of which are dead when the next request comes.
    let barrier = Arc::new(AtomicUsize::new(0));
    let gather = Arc::clone(&barrier);
    let backend = Backend::start(move |request, stream| {
        if request.before == 0 && request.head.contains(" /gather ") {
            gather.fetch_add(1, Ordering::SeqCst);
            eventually("all twelve are here", || gather.load(Ordering::SeqCst) >= 12);
        }
        request.before == 0 && stream.write_all(&ok("hello")).is_ok()
    });
    let lb = before(&[&backend], &["--workers", "1", "--pipeline", depth]);
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| assert_eq!(lb.get("/gather").text(), "hello"));
        }
    });
    assert_eq!(backend.connections.load(Ordering::SeqCst), 12);
    let answer = lb.get("/");
    assert_eq!(answer.text(), "hello", "{answer:?}");
}

#[test]
fn retries_have_a_budget_so_that_a_dying_pool_is_not_finished_off() {
    const CLIENTS: usize = 10;
    const REQUESTS: usize = 30;
    let backends: Vec<_> = (0..8).map(|_| Backend::start(|_, _| false)).collect();
    let all: Vec<_> = backends.iter().collect();
    let lb = before(&all, &["--workers", "1"]);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::new(&lb);
                for _ in 0..REQUESTS {
                    let answer = client.get();
                    assert_eq!(answer.status, 502, "{answer:?}");
                }
            });
        }
    });
    let attempts: usize = backends.iter().map(|b| b.requests().len()).sum();
    // A hundred in hand, and no success that would earn more.
    assert_eq!(attempts, CLIENTS * REQUESTS + 100);
}

// Mistakes.

/// The exit code and stderr of an lb that cannot start.
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
    command.args(["lb", "0", "--quiet"]).args(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program starts");
    eventually(&format!("{arguments:?} is refused"), || !matches!(child.try_wait(), Ok(None)));
    let output = child.wait_with_output().expect("it has ended");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[test]
fn mistakes_are_told_at_the_start_in_one_line() {
    let two = ["--backend", "127.0.0.1:9", "--backend"];
    let one = |name| vec!["--backend", name];
    let cases: Vec<(Vec<&str>, i32, &str)> = vec![
        ([&two[..], &["127.0.0.1:9"]].concat(), 2, "listed twice"),
        ([&two[..], &["localhost:9"]].concat(), 2, "listed twice"),
        ([&two[..], &["127.0.0.1:9,weight=2"]].concat(), 2, "listed twice"),
        (one("no-such-host.invalid:9"), 2, "no-such-host.invalid:9"),
        (one("127.0.0.1"), 2, "HOST:PORT"),
        (one("127.0.0.1:0"), 2, "port"),
        (one("127.0.0.1:65536"), 2, "port"),
        (one("127.0.0.1:9,weight=0"), 2, "weight=N"),
        (one("127.0.0.1:9,weight=101"), 2, "weight=N"),
        (one("127.0.0.1:9,weight=x"), 2, "weight=N"),
        (one("127.0.0.1:9,height=1"), 2, "weight=N"),
        (one(""), 2, "HOST:PORT"),
        (vec!["--policy", "fastest"], 2, "least-connections"),
        (vec!["--workers", "0"], 2, "--workers"),
        (vec!["--host", "no-such-host.invalid"], 1, "no-such-host.invalid"),
    ];
    for (arguments, code, word) in cases {
        let (exit, stderr) = refusal(&arguments);
        // `localhost` may be ::1 first, which is another address.
        if arguments.contains(&"localhost:9") && exit.is_none() {
            continue;
        }
        assert_eq!(exit, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_load_balancer_is_not_its_own_backend() {
    for host in ["127.0.0.1", "0.0.0.0"] {
        // Somebody may take the port, so it tries again.
        let is_told = (0..5).any(|_| {
            let port = free_port().to_string();
            let own = format!("127.0.0.1:{port}");
            let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
            command.args(["lb", &port, "--host", host, "--backend", &own]);
            let output = command.stdin(Stdio::null()).output().expect("it runs");
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            output.status.code() == Some(1) && stderr.contains("itself")
        });
        assert!(is_told, "{host}");
    }
}

#[test]
fn a_request_that_comes_back_by_way_of_others_is_answered_508() {
    // A backend that is nothing but a way back to the load balancer.
    let target: Arc<OnceLock<SocketAddr>> = Arc::default();
    let way_back = Arc::clone(&target);
    let relay = Backend::raw(move |mut from| {
        let Some(Ok(mut to)) = way_back.get().map(|address| connect(*address)) else {
            return;
        };
        let (Ok(mut from_too), Ok(mut to_too)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        thread::spawn(move || std::io::copy(&mut to_too, &mut from_too));
        let _ = std::io::copy(&mut from, &mut to);
    });
    let inner = before(&[&relay], &[]);
    let outer = Server::start("lb", &["--no-checks", "--backend", &inner.address.to_string()]);
    let _ = target.set(outer.address);
    let answer = outer.get("/");
    assert_eq!(answer.status, 508, "{answer:?}");
    // Both go on.
    assert_eq!(inner.get("/").status, 508);
    assert_eq!(outer.get("/lb-status.json").status, 200);
}

// What it shows.

#[test]
fn the_status_page_counts_what_happened_and_tells_it_in_three_ways() {
    let good = Backend::honest("good");
    let lb = before(&[&good], &["--backend", NOBODY, "--policy", "round-robin"]);
    for _ in 0..10 {
        assert_eq!(lb.get("/").status, 200);
    }
    let status = lb.status();
    assert_eq!(status.get("policy").text(), "round-robin");
    assert_eq!(status.get("answered").number(), 10.0);
    let [up, down] = status.get("backends").items() else { panic!("{status:?}") };
    assert_eq!(up.get("name").text(), good.text());
    assert_eq!((up.get("state").text(), up.get("answered").number()), ("up", 10.0));
    assert_eq!((up.get("share").number(), up.get("failures").number()), (1.0, 0.0));
    assert_eq!(up.get("in_flight").number(), 0.0);
    assert!(up.get("open").number() >= 1.0 && up.get("idle") == up.get("open"), "{up:?}");
    assert!(up.get("p50_ms").number() > 0.0);
    assert!(up.get("p99_ms").number() >= up.get("p50_ms").number());
    assert_eq!(down.get("name").text(), NOBODY);
    assert_eq!((down.get("answered").number(), down.get("p50_ms")), (0.0, &Json::Null));
    assert!(down.get("failures").number() >= 1.0);
    let events = status.get("events").items();
    let told = format!("{NOBODY} ejected: it refused the connection");
    assert!(events.iter().any(|e| e.get("text").text() == told), "{events:?}");

    let page = lb.get("/lb-status");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let html = page.text();
    assert!(html.starts_with("<!doctype html>") || html.starts_with("<!DOCTYPE html>"));
    assert!(html.contains("lb-status.json"));

    let metrics = lb.get("/metrics");
    assert!(
        metrics.field("content-type").is_some_and(|t| t.starts_with("text/plain; version=0.0.4"))
    );
    let samples = prometheus(&metrics.text());
    let sample = |name: &str, backend: &str| samples[&format!("{name}{{backend=\"{backend}\"}}")];
    assert_eq!(sample("progjar_lb_answered_total", &good.text()), 10.0);
    assert_eq!(sample("progjar_lb_up", &good.text()), 1.0);
    assert_eq!(sample("progjar_lb_answered_total", NOBODY), 0.0);
    assert!(sample("progjar_lb_failures_total", NOBODY) >= 1.0);

    let head = Client::new(&lb).ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(head.status, 200);
    let post = Client::new(&lb)
        .ask("POST /lb-status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
    assert_eq!(good.requests().len(), 10, "none of this went to a backend");
}

/// The samples of Prometheus' text format, each of a family that was announced with its type.
fn prometheus(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family = "";
    let is_name = |name: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        !name.is_empty()
            && name.chars().all(is_part)
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').is_some_and(|(name, _)| is_name(name)), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(is_name(name) && ["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = name;
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
        let labels = sample.strip_prefix(family).expect("the family stands above its samples");
        assert!(labels.starts_with("{backend=\"") && labels.ends_with("\"}"), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(sample.to_owned(), value).is_none(), "{line}");
    }
    assert!(!samples.is_empty());
    samples
}

/// An address of this machine that is not loopback. Nothing is sent to find it.
fn address_in_a_network() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?; // an address for documentation
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn others_see_the_status_page_only_if_they_may() {
    let Some(ip) = address_in_a_network() else {
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let backend = Backend::honest("hello");
    let paths = ["/lb-status", "/lb-status.json", "/metrics"];
    for (arguments, expected) in
        [(&["--host", "0.0.0.0"][..], 403), (&["--host", "0.0.0.0", "--status-public"], 200)]
    {
        let lb = before(&[&backend], arguments);
        for path in paths {
            let outside = SocketAddr::new(ip, lb.address.port());
            let mut client = Client(Reader::new(connect(outside).expect("it takes a connection")));
            // Whatever the client says of itself, its address counts.
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
            );
            assert_eq!(client.ask(&request).status, expected, "{path} {arguments:?}");
            assert_eq!(client.get().text(), "hello", "all else is for everyone");
            let inside = SocketAddr::new([127, 0, 0, 1].into(), lb.address.port());
            let mut client = Client(Reader::new(connect(inside).expect("it takes a connection")));
            assert_eq!(client.ask(&request).status, 200, "{path} {arguments:?}");
        }
    }
}

#[test]
fn the_log_has_a_line_per_request_that_names_the_backend() {
    let [backend] = async_servers::<1>();
    let address = backend.address.to_string();
    let lb = Server::start_with_log("lb", &["--backend", &address, "--no-checks"]);
    let mut client = Client::new(&lb);
    let me = client.0.get_mut().local_addr().expect("it is connected");
    client.ask("GET /page.html?a=b HTTP/1.1\r\nHost: a\r\n\r\n");
    client.ask("HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    client.ask("GET /lb-status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    drop(backend);
    client.ask("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("four lines", || lb.lines().len() == 4);
    let lines = lb.lines();
    let starts = [
        format!("{me} GET /page.html?a=b -> {address} 200 "),
        format!("{me} HEAD /nowhere -> {address} 404 "),
        format!("{me} GET /lb-status -> - 200 "),
        format!("{me} GET /late -> - 503 "),
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&start), "{line} for {start}");
        let rest = &line[start.len()..];
        let (ms, behind) = rest.split_once(" ms").unwrap_or_else(|| panic!("{line}"));
        assert!(ms.parse::<f64>().is_ok_and(|ms| ms < 20_000.0), "{line}");
        assert!(behind.is_empty() || behind.starts_with(" ("), "{line}");
    }
}
