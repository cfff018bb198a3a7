//! What the load balancer makes of a head: field by field, at the limits, and who may read what
//! it says of itself.

use crate::support::backend::{Backend, before};
use crate::support::{Answer, Reader, Server};
use std::io::Write;
use std::net::TcpListener;

fn ask(server: &Server, bytes: &[u8]) -> Answer {
    let mut stream = server.connect();
    // What is refused at its beginning need not be taken to its end.
    let _ = stream.write_all(bytes);
    let answer = Reader::new(stream).answer(bytes.starts_with(b"HEAD"));
    answer.unwrap_or_else(|e| panic!("no answer to {}: {e}", bytes.escape_ascii()))
}

/// Whether a value is `before`, if there is one, then this gateway's name in Via.
fn is_via(value: &str, before: &str) -> bool {
    let own = match before {
        "" => Some(value),
        _ => value.strip_prefix(before).and_then(|v| v.strip_prefix(", ")),
    };
    let name = own.and_then(|own| own.strip_prefix("1.1 progjar-lb-"));
    name.is_some_and(|n| n.len() == 8 && n.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[test]
fn what_the_gateway_writes_anew_is_written_once() {
    let backend = Backend::honest("hello");
    let lb = before(&[&backend], &[]);
    let length = "Content-Length";
    // The method, fields, and what the backend gets under a name.
    for (method, fields, name, values) in [
        ("PUT", "Content-Length: 2\r\nExpect: 100-continue", "Expect", &["100-continue"][..]),
        (
            "PUT",
            "Content-Length: 2\r\nExpect: 100-continue\r\nexpect: 100-Continue",
            "Expect",
            &["100-continue"],
        ),
        ("GET", "Expect: 100-continue", "Expect", &[]),
        ("OPTIONS", "Max-Forwards: 5", "Max-Forwards", &["4"]),
        ("GET", "max-forwards: 1", "Max-Forwards", &["0"]),
        ("GET", "Max-Forwards: 0", "Max-Forwards", &["0"]),
        ("GET", "A: b", "Max-Forwards", &[]),
        ("POST", "A: b", length, &["0"]),
        ("PUT", "A: b", length, &["0"]),
        ("PATCH", "A: b", length, &["0"]),
        ("POST", "Content-Length: 0", length, &["0"]),
        ("POST", "Content-Length: 2", length, &["2"]),
        ("POST", "Content-Length: 002", length, &["2"]),
        ("GET", "A: b", length, &[]),
        ("DELETE", "Content-Length: 0", length, &[]),
        ("POST", "Transfer-Encoding: Chunked", length, &[]),
        ("POST", "Transfer-Encoding: Chunked", "Transfer-Encoding", &["chunked"]),
        ("GET", "Connection: host", "Host", &["a"]),
    ] {
        let content = match fields {
            f if f.contains("Chunked") => "2\r\nhi\r\n0\r\n\r\n",
            f if f.contains('2') => "hi",
            _ => "",
        };
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let answer = ask(&lb, format!("{head}{content}").as_bytes());
        assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()), "{head}");
        let got = backend.requests().pop().expect("it was forwarded");
        assert_eq!(got.fields(name), values, "{head} became {}", got.head);
    }
}

#[test]
fn a_list_grows_by_one_member_and_no_empty_one_is_passed_on() {
    let backend = Backend::start(|request, stream| {
        let via = request.fields("x-via").join("\r\nVia: ");
        let head = format!("HTTP/1.1 200 OK\r\nVia: {via}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).is_ok()
    });
    let lb = before(&[&backend], &[]);
    for (values, members) in [
        (&[""][..], ""),
        (&[","], ""),
        (&[" , \t,, "], ""),
        (&["", ","], ""),
        (&["1.0 a"], "1.0 a"),
        (&["1.0 a,,1.1 b,"], "1.0 a, 1.1 b"),
        (&[",1.0 a", "", "1.1 b , "], "1.0 a, 1.1 b"),
    ] {
        let lines = |name: &str| -> String {
            let line = |value: &&str| format!("{name}: {value}\r\n");
            values.iter().map(line).collect()
        };
        let (via, forwarded) = (lines("Via"), lines("X-Forwarded-For"));
        let told = lines("X-Via");
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{via}{forwarded}{told}\r\n");
        let answer = ask(&lb, request.as_bytes());
        let got = backend.requests().pop().expect("it was forwarded");
        let via = got.fields("via").join(" and ");
        assert!(is_via(&via, members), "{values:?}: Via: {via}");
        let separator = if members.is_empty() { "" } else { ", " };
        let forwarded = got.fields("x-forwarded-for").join(" and ");
        assert_eq!(forwarded, format!("{members}{separator}127.0.0.1"), "{values:?}");
        // The same in the answer.
        let via = answer.field("via").unwrap_or_default();
        assert!(is_via(via, members), "{values:?}: Via: {via} in the answer");
    }
}

#[test]
fn an_answer_has_one_date_also_when_connection_takes_the_backends() {
    let theirs = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, is_theirs) in [
        (format!("Date: {theirs}\r\n"), true),
        (String::new(), false),
        (format!("Connection: date\r\nDate: {theirs}\r\n"), false),
        (format!("Date: {theirs}\r\nConnection: x, DATE\r\n"), false),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
        let backend = Backend::start(move |_, stream| stream.write_all(head.as_bytes()).is_ok());
        let lb = before(&[&backend], &[]);
        let answer = ask(&lb, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let is_date = |line: &&str| line.to_ascii_lowercase().starts_with("date:");
        assert_eq!(answer.head.lines().filter(is_date).count(), 1, "{fields:?}");
        let date = answer.field("date").unwrap_or_default();
        assert_eq!(date == theirs, is_theirs, "{fields:?}: {date}");
        assert!(date.ends_with(" GMT") && date.len() == theirs.len(), "{date}");
    }
}

/// A request whose field section, after `first`, has so many fields of this size in all.
fn head_of(first: &str, fields: usize, bytes: usize) -> Vec<u8> {
    let mut head = first.as_bytes().to_vec();
    let start = first.find("\r\n").map_or(0, |end| end + 2);
    let given = first[start..].matches("\r\n").count();
    for n in given..fields {
        let last = n + 1 == fields;
        let long = if last { bytes.saturating_sub(head.len() - start + 4) } else { 0 };
        head.extend_from_slice(b"a:");
        head.extend(std::iter::repeat_n(b'b', long));
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Requests at the limits: as many fields as allowed and about it, and as many bytes.
fn at_the_limits() -> Vec<Vec<u8>> {
    let long_host = format!("GET http://{}/ HTTP/1.1\r\nHost: a\r\n", "h".repeat(8000));
    let long_via = format!("GET / HTTP/1.1\r\nHost: a\r\nVia:{}\r\n", "a,".repeat(6000));
    let mut all = Vec::new();
    for first in [
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.0\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\n",
        "GET /?a HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: y\r\nMax-Forwards: 9\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 a\r\nX-Forwarded-For: 192.0.2.1\r\n",
        &long_host,
        &long_via,
    ] {
        all.extend((90..=102).map(|fields| head_of(first, fields, 0)));
        // The long Host grows the section by itself.
        let sizes = (8_250..=8_390).chain(16_250..=16_390);
        all.extend(sizes.map(|bytes| head_of(first, 12, bytes)));
    }
    all
}

#[test]
fn what_a_gateway_accepts_its_backend_with_the_same_limits_accepts_too() {
    let host = match TcpListener::bind("[::1]:0") {
        Ok(_) => "::1",
        Err(_) => {
            eprintln!("SKIPPED: no IPv6 here, so no long address in X-Forwarded-For");
            "127.0.0.1"
        }
    };
    let backend = Server::start("async_server", &[]);
    let lb = Server::start_lb(&[&backend], &["--host", host, "--workers", "1"]);
    let (lb_name, backend_name) = (lb.name("lb"), backend.name("async_server"));
    let (mut served, mut refused) = (0, 0);
    for head in at_the_limits() {
        let answer = ask(&lb, &head);
        let by = answer.field("x-served-by").unwrap_or_default();
        let beginning = head[..head.len().min(60)].escape_ascii();
        match answer.status {
            200 if by == backend_name => served += 1,
            431 if by == lb_name => refused += 1,
            status => panic!("{status} by {by} for {} bytes: {beginning}", head.len()),
        }
    }
    assert!(served > 100 && refused > 100, "{served} served, {refused} refused");
    // No more room than is needed: Via and X-Forwarded-For are two fields.
    for (fields, status) in [(98, 200), (99, 431), (100, 431), (101, 431)] {
        let head = head_of("GET / HTTP/1.1\r\nHost: a\r\n", fields, 0);
        assert_eq!(ask(&lb, &head).status, status, "{fields} fields");
    }
}

#[test]
fn the_gateway_answers_itself_what_is_too_large_to_forward() {
    let backend = Backend::honest("hello");
    let lb = before(&[&backend], &[]);
    let head = head_of("GET /lb-status HTTP/1.1\r\nHost: localhost\r\n", 100, 16_384);
    assert_eq!(ask(&lb, &head).status, 200, "nothing of it is forwarded");
    let content = "Content-Length: 2\r\n";
    let mut upload = head_of(&format!("PUT / HTTP/1.1\r\nHost: a\r\n{content}"), 100, 0);
    upload.extend_from_slice(b"hi");
    let mut reader = Reader::new(lb.connect());
    reader.get_mut().write_all(&upload).expect("it is sent");
    assert_eq!(reader.answer(false).expect("an answer").status, 431);
    assert!(reader.is_at_end(), "the content is not taken for a request");
    assert!(backend.requests().is_empty());
}

#[test]
fn the_status_is_for_those_who_ask_this_machine_by_its_own_name() {
    let backend = Backend::honest("hello");
    let mine = before(&[&backend], &[]);
    let public = before(&[&backend], &["--status-public"]);
    let port = mine.address.port();
    let rebound = format!("evil.example:{port}");
    for path in ["/lb-status", "/lb-status.json", "/metrics", "/lb-status?a=b"] {
        for (host, status) in [
            ("localhost", 200),
            ("127.0.0.1", 200),
            ("[::1]:44444", 200),
            ("evil.example", 403),
            (&rebound, 403),
            ("localhost.evil.example", 403),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = ask(&mine, request.as_bytes());
            assert_eq!(answer.status, status, "{path} of {host}");
            let says = ["Host: localhost", "--status-public"].map(|w| answer.text().contains(w));
            assert!(status == 200 || says == [true; 2], "{}", answer.text());
            assert_eq!(ask(&public, request.as_bytes()).status, 200, "{path} of {host}");
        }
        let old = format!("GET {path} HTTP/1.0\r\n\r\n");
        assert_eq!(ask(&mine, old.as_bytes()).status, 200, "HTTP/1.0 without Host");
    }
    let elsewhere = ask(&mine, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(elsewhere.text(), "hello", "all else is for every Host");
}

#[test]
fn only_the_last_fifty_events_are_kept() {
    // Sixty backends that nobody is behind: each is tried, refuses, and is told as ejected.
    let names: Vec<_> = (1..=60).map(|n| format!("127.0.0.{n}:1")).collect();
    let mut arguments = vec!["--no-checks", "--workers", "1"];
    for name in &names {
        arguments.extend(["--backend", name]);
    }
    let lb = Server::start("lb", &arguments);
    assert_eq!(lb.get("/").status, 503);
    let status = lb.status();
    let events = status.get("events").items();
    let told: Vec<_> = events.iter().map(|e| e.get("text").text().to_owned()).collect();
    let ejected = |name: &String| format!("{name} ejected: it refused the connection");
    let last_fifty: Vec<_> = names[10..].iter().rev().map(ejected).collect();
    assert_eq!(told, last_fifty);
}
