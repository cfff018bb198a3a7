//! HAProxy and nginx before this project's servers, configured as `notes/growing.md` says, and
//! this load balancer before nginx. Only ports are changed in what the note shows.
#![cfg(unix)]

use crate::support::load::Load;
use crate::support::neighbour::{ROOT, configuration, start_haproxy, start_nginx};
use crate::support::{Answer, Reader, Server, connect, tool};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

/// Four servers, and the configuration with their ports in it.
fn with_four_servers(name: &str) -> ([Server; 4], String) {
    let servers = [(); 4].map(|()| Server::start("async_server", &[]));
    let mut text = configuration(name);
    for (port, server) in (9002..).zip(&servers) {
        let old = format!("127.0.0.1:{port}");
        assert!(text.contains(&old), "{name} names {old}");
        text = text.replace(&old, &server.address.to_string());
    }
    (servers, text)
}

fn ask(reader: &mut Reader<TcpStream>, request: &str) -> Answer {
    let sent = reader.get_mut().write_all(request.as_bytes());
    sent.expect("the request is sent");
    let answer = reader.answer(request.starts_with("HEAD"));
    answer.unwrap_or_else(|e| panic!("no answer to {request:?}: {e}"))
}

/// Turns, methods, and a backend that dies under load.
fn drive(address: SocketAddr, mut servers: [Server; 4]) {
    let mut reader = Reader::new(connect(address).expect("it takes a connection"));
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..40 {
        let answer = ask(&mut reader, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer.status, 200);
        let name = answer.field("x-served-by").unwrap_or_default();
        *served.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(served.values().copied().collect::<Vec<_>>(), [10; 4], "{served:?}");

    let page = ask(&mut reader, "GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n");
    let on_disk = fs::read(Path::new(ROOT).join("www/page.html")).expect("it is there");
    assert!(page.content == on_disk, "{} bytes", page.content.len());
    let head = ask(&mut reader, "HEAD /page.html HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.field("content-length"), page.field("content-length"));
    let tag = page.field("etag").expect("it has a tag");
    let again = format!("GET /page.html HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(ask(&mut reader, &again).status, 304);
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(ask(&mut reader, post).text(), "hello");
    let chunks = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    assert_eq!(ask(&mut reader, chunks).text(), "hello");

    let load = Load::start(address, 4, |answer| answer.status == 200);
    load.wait_for(100);
    servers[1].kill();
    load.wait_for(400);
    let figures = load.end();
    println!("a backend killed: {figures}");
    assert_eq!(figures.failures, Vec::<String>::new());
}

#[test]
fn haproxy_balances_the_same_four_servers_as_the_note_says() {
    let Some(program) = tool("haproxy", "haproxy") else {
        return;
    };
    let (servers, text) = with_four_servers("haproxy.cfg");
    let haproxy = start_haproxy(&program, &text);
    drive(haproxy.address, servers);
}

#[test]
fn nginx_balances_the_same_four_servers_as_the_note_says() {
    let Some(program) = tool("nginx", "nginx-light") else { return };
    let (servers, text) = with_four_servers("nginx.conf");
    let nginx = start_nginx(&program, &text, 44444);
    drive(nginx.address, servers);
}

#[test]
fn the_load_balancer_stands_before_nginx_as_well() {
    let Some(program) = tool("nginx", "nginx-light") else { return };
    let text = configuration("nginx-backend.conf");
    let mut backends = [(); 2].map(|()| start_nginx(&program, &text, 9002));
    let addresses = backends.each_ref().map(|b| b.address.to_string());
    let [one, other] = &addresses;
    let lb = Server::start("lb", &["--backend", one, "--backend", other]);
    let mut reader = Reader::new(lb.connect());
    let mut served = Vec::new();
    let on_disk = fs::read(Path::new(ROOT).join("www/page.html")).expect("it is there");
    for _ in 0..10 {
        let answer = ask(&mut reader, "GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status, answer.field("content-type")), (200, Some("text/html")));
        assert!(answer.content == on_disk, "{} bytes", answer.content.len());
        served.push(answer.field("x-served-by").unwrap_or_default().to_owned());
    }
    assert!(served.windows(2).all(|two| two[0] != two[1]), "{served:?}");
    assert!(addresses.iter().all(|a| served.contains(a)), "{served:?}");
    let tag = ask(&mut reader, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let tag = tag.field("etag").expect("it has a tag").to_owned();
    let again = format!("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(ask(&mut reader, &again).status, 304);
    let part = ask(&mut reader, "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n");
    assert_eq!((part.status, &part.content[..]), (206, &on_disk[..10]));
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(ask(&mut reader, post).status, 405, "nginx's own answer is passed on");

    let load = Load::start(lb.address, 4, |answer| answer.status == 200);
    load.wait_for(100);
    backends[0].child.kill().expect("it is a child of ours");
    load.wait_for(300);
    let figures = load.end();
    println!("an nginx killed: {figures}");
    assert_eq!(figures.failures, Vec::<String>::new());
}
