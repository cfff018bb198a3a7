//! A backend given by a name that stands for two addresses, of which one refuses.
//!
//! The name stands in a hosts file that only the load balancer of the test sees: that takes a
//! mount namespace (`unshare`), and an IPv6 loopback.
#![cfg(target_os = "linux")]

use crate::support::{Folder, Server, eventually, free_port};
use std::net::{Ipv6Addr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;

const NAME: &str = "two-addresses";

/// A folder with the hosts file; None: it cannot be tested here, which is said.
fn hosts() -> Option<Folder> {
    let folder = Folder::new();
    let text = format!("127.0.0.1 {NAME}\n::1 {NAME}\n");
    folder.write("hosts", text.as_bytes());
    let found = with_hosts(&folder, &["getent", "ahosts", NAME]).output();
    let found = found.map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).into());
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if has_ipv6 && found.contains("127.0.0.1") && found.contains("::1") {
        return Some(folder);
    }
    println!("left out: no IPv6 loopback, or no mount namespaces (unshare -rm)");
    None
}

/// The command, with the folder's hosts file in place of the system's.
fn with_hosts(folder: &Folder, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let mount = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    command.args(["-rm", "sh", "-c", mount]);
    command.arg(folder.path().join("hosts")).args(words);
    command.stdin(Stdio::null());
    command
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_progjar");

#[test]
fn a_backend_whose_name_has_two_addresses_serves_on_either() {
    let Some(folder) = hosts() else { return };
    let four = Server::start("async_server", &["--host", "127.0.0.1"]);
    let six = Server::start("async_server", &["--host", "::1"]);
    let names = [&four, &six].map(|server| format!("{NAME}:{}", server.address.port()));
    for checks in [&["--check-interval", "50ms"][..], &["--no-checks"]] {
        let start = [PROGRAM, "lb", "0", "--quiet", "--backend", &names[0]];
        let start = [&start[..], &["--backend", &names[1]], checks].concat();
        let lb = Server::run("lb", with_hosts(&folder, &start));
        // A connection for each request, on both sides: kept ones would prove less.
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        assert_eq!(lb.get("/").status, 200, "{checks:?}");
                    }
                });
            }
        });
        let status = lb.status();
        assert!(status.get("events").items().is_empty(), "{status:?}");
        for backend in status.get("backends").items() {
            let count = |name| backend.get(name).number();
            assert_eq!((count("answered"), count("failures")), (40.0, 0.0));
        }
    }
}

#[test]
fn when_all_addresses_of_a_name_refuse_its_backend_has_failed() {
    let Some(folder) = hosts() else { return };
    let dead = format!("{NAME}:{}", free_port());
    let start = [PROGRAM, "lb", "0", "--quiet", "--backend", &dead];
    let lb = Server::run("lb", with_hosts(&folder, &start));
    eventually("it is ejected", || {
        lb.status().get("backends").items()[0].get("state").text() == "down"
    });
    assert_eq!(lb.get("/").status, 503);
}

#[test]
fn a_twin_and_the_load_balancer_itself_are_found_by_any_address() {
    let Some(folder) = hosts() else { return };
    let refusal = |words: &[&str]| {
        let words = [&["timeout", "20"], words].concat();
        let ended = with_hosts(&folder, &words).output();
        let Output { status, stderr, .. } = ended.expect("it runs");
        let text = String::from_utf8_lossy(&stderr).into_owned();
        assert_eq!(text.lines().count(), 1, "{words:?}: {text}");
        (status.code(), text)
    };
    let named = format!("{NAME}:9");
    for twin in ["127.0.0.1:9", "[::1]:9"] {
        let lb = [PROGRAM, "lb", "0", "--backend", &named, "--backend", twin];
        let (code, text) = refusal(&lb);
        assert!(code == Some(2) && text.contains("listed twice"), "{text}");
    }
    for host in ["127.0.0.1", "::1"] {
        // A port that was free a moment ago; somebody may take it, so it tries again.
        let is_told = (0..5).any(|_| {
            let free = TcpListener::bind((host, 0)).expect("a port is free");
            let port = free.local_addr().expect("it is bound").port().to_string();
            drop(free);
            let own = format!("{NAME}:{port}");
            let (code, text) = refusal(&[PROGRAM, "lb", &port, "--host", host, "--backend", &own]);
            code == Some(1) && text.contains("itself")
        });
        assert!(is_told, "{host}");
    }
}
