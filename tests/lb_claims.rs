//! What the load balancer claims of its connections to backends: one is used again only if
//! nothing is left of its last exchange, and shared only by those who may share it.
#![cfg(target_os = "linux")] // reads /proc

use crate::support::backend::{Backend, before, ok, read_head, switch, wait_while};
use crate::support::client::Client;
use crate::support::{Server, eventually};
use std::io::{BufReader, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

/// All of these arrive in one turn of the event loop.
fn send_at_once(lb: &Server, clients: &mut [Client], request: impl Fn(usize) -> String) {
    lb.freeze();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&request(number));
    }
    lb.signal("CONT");
}

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
            let _ = reader.by_ref().take(length.unwrap_or(0)).read_to_string(&mut content);
            seen.lock().expect("nobody panics with it").push(content);
        }
    });
    let lb = before(&[&backend], &["--workers", "1", "--response-timeout", "2s"]);
    let mut client = Client::new(&lb);
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
    assert_eq!(client.ask(half).text(), "early");
    assert_eq!(lb.get("/next").text(), "early");
    eventually("the connection ends with what the client sent", || {
        contents.lock().is_ok_and(|all| all.contains(&"half".to_owned()))
    });
}

#[test]
fn a_backend_connection_whose_answer_said_close_is_not_used_again() {
    // It says so, and stays all the same.
    let backend = Backend::start(|request, stream| {
        let head = match request.target() {
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
    let empty = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    // Of seven requests three share the idle connection; or one takes it, since none shares it.
    for (request, depth, connections) in
        [(get, "3", 5), (get, "7", 1), (get, "1", 7), (post, "3", 7), (empty, "3", 7)]
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
fn with_pipeline_nobody_waits_behind_content_that_is_not_here() {
    let backend = Backend::start(|request, stream| {
        let content = String::from_utf8_lossy(&request.content);
        stream.write_all(&ok(&content)).is_ok()
    });
    let lb = before(&[&backend], &["--workers", "1", "--pipeline", "8"]);
    let mut clients: Vec<_> = (0..3).map(|_| Client::new(&lb)).collect();
    for client in &mut clients {
        assert_eq!(client.get().text(), "");
    }
    send_at_once(&lb, &mut clients, |number| match number {
        0 => "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha".to_owned(),
        _ => "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    });
    for client in &mut clients[1..] {
        assert_eq!(client.0.answer(false).expect("it comes").text(), "");
    }
    assert_eq!(clients[0].ask("lf").text(), "half");
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
        let is_first = request.target() != "/" && slow.is_none();
        if is_first {
            *slow = connection;
        }
        let is_other = !is_first && *slow == connection;
        drop(slow);
        wait_while(&first, is_first);
        wait_while(&others, is_other);
        stream.write_all(&ok(request.target())).is_ok()
    });
    let options = ["--workers", "1", "--pipeline", "8", "--response-timeout", "60s"];
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
        eventually("all but the slow one are answered", || answered.load(SeqCst) == CLIENTS - 1);
        holds_first.store(false, SeqCst);
    });
    // What the backend may still say on that connection is for nobody: it is not used again.
    for (number, client) in clients.iter_mut().enumerate() {
        let number = CLIENTS + number;
        assert_eq!(client.ask(&request(number)).text(), format!("/{number}"));
    }
    let first = &backend.requests()[CLIENTS].head;
    let asked = backend.requests().iter().filter(|r| r.head == *first).count();
    assert_eq!(asked, 1, "the slow one stayed where it was");
    let in_flight = lb.status().get("backends").items()[0].get("in_flight").number();
    assert_eq!(in_flight, 0.0, "nobody waits any more");
    holds_others.store(false, SeqCst);
}
