//! What the judge's level hostile finds: our servers keep its bound, and a server that serves one
//! client after the other does not.
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use support::Server;

/// The report of `judge server ADDRESS --level hostile`, and whether nothing fails.
fn judge(address: &str, arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
    command.args(["judge", "server", address, "--level", "hostile"]).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (said, output.status.success())
}

#[test]
fn our_servers_pass() {
    for topic in ["async_server", "thread_server"] {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/www");
        let server = Server::start(topic, &["--root", root]);
        let (said, is_well) = judge(&server.address.to_string(), &["-v"]);
        assert!(is_well, "{topic}: {said}");
        assert!(said.contains("PASS  what the others feel: slow heads"), "{topic}: {said}");
        assert!(!said.contains("NOT APPLICABLE"), "{topic}: {said}");
    }
}

#[test]
fn a_server_that_serves_one_client_after_the_other_is_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let answer = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let (said, is_well) = judge(&address, &[]);
    assert!(!is_well, "{said}");
    for name in ["slow heads", "idle connections"] {
        let line = format!("FAIL  what the others feel: {name}");
        assert!(said.contains(&line), "{said}");
    }
}
