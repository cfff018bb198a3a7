//! How servers come to their clients: newcomers who leave before they are taken, and a port that
//! a client's connection holds.

use crate::support::Server;
use progjar::net::{ports, sys};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The three servers at this address; an lb needs somebody behind it.
fn start_all(host: &str) -> Vec<Server> {
    let host = ["--host", host];
    let origin = Server::start("async_server", &host);
    let lb = Server::start_lb(&[&origin], &host);
    vec![origin, Server::start("thread_server", &host), lb]
}

/// Connects and resets at once, so often. std cannot ask for a reset, so Perl does.
fn reset(port: u16, times: usize) -> bool {
    let script = r#"
        use Socket qw(:all);
        my $there = pack_sockaddr_in6($ARGV[0], inet_pton(AF_INET6, "::1"));
        for (1..$ARGV[1]) {
            socket(my $s, PF_INET6, SOCK_STREAM, 0) or die "socket: $!";
            setsockopt($s, SOL_SOCKET, SO_LINGER, pack("ii", 1, 0)) or die "linger: $!";
            connect($s, $there) or die "connect: $!";
            close($s);
        }"#;
    let mut command = Command::new("perl");
    command.args(["-e", script, &port.to_string(), &times.to_string()]);
    match command.status() {
        Ok(status) => status.success(),
        Err(e) => panic!("perl does not start: {e}"),
    }
}

#[test]
fn clients_that_reset_before_they_are_taken_cost_the_next_one_nothing() {
    let missing = match Command::new("perl").arg("-e1").status() {
        _ if TcpListener::bind("[::1]:0").is_err() => "[::1]",
        Err(_) => "perl",
        Ok(_) => "",
    };
    if !missing.is_empty() {
        eprintln!("SKIPPED: there is no {missing} here, so nobody resets an IPv6 connection");
        return;
    }
    for server in &start_all("::1") {
        assert_eq!(server.get("/").status, 200);
        assert!(reset(server.address.port(), 100), "the resets are sent");
        let start = Instant::now();
        assert_eq!(server.get("/").status, 200);
        let taken = start.elapsed();
        // A pause of 100 ms for each would be 10 s, or 5 s with two loops.
        assert!(taken < Duration::from_secs(1), "the next one: {taken:?}");
    }
}

#[test]
fn a_port_that_a_clients_connection_holds_is_said_to_be_so_in_one_line() {
    let there = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let there = (there.local_addr().expect("it is bound"), there);
    let client = TcpStream::connect(there.0).expect("it listens");
    let ephemeral = client.local_addr().expect("it is connected").port();
    for topic in ["async_server", "thread_server", "lb"] {
        // The port at the other end is one where somebody listens.
        for (port, says) in [
            (ephemeral, "a client's connection"),
            (there.0.port(), "in use; stop the other program"),
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_progjar"))
                .args([topic, &port.to_string(), "--quiet"])
                .stdin(Stdio::null())
                .output()
                .expect("the program starts");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{topic}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{topic}: {stderr}");
            if cfg!(target_os = "linux") {
                assert!(stderr.contains(says), "{topic} {port}: {stderr}");
            }
            assert!(stderr.contains("(0 picks a free one)"), "{topic}: {stderr}");
        }
    }
}

#[test]
fn a_listener_and_a_clients_connection_are_told_apart() {
    let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
    let listens = "   0: 0100007F:AD9C 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
    let connected = "   1: 0100007F:AD9C 0100007F:0050 01 00000000:00000000 00:00000000";
    let time_wait = "  99: 0100007F:AD9C 0100007F:0050 06 00000000:00000000 03:00001722";
    let its_peer = "   2: 0100007F:0050 0100007F:AD9C 01 00000000:00000000 00:00000000";
    let ipv6 = "   0: 00000000000000000000000001000000:AD9C \
        00000000000000000000000001000000:0050 01 00000000:00000000 00:00000000";
    let usual = "32768\t60999\n";
    for (range, rows, is_so) in [
        (usual, &[][..], false),
        (usual, &[head], false),
        (usual, &[head, listens], false),
        (usual, &[head, connected], true),
        (usual, &[head, time_wait], true),
        (usual, &[head, its_peer], false),
        (usual, &[head, its_peer, connected, head, ipv6], true),
        (usual, &[head, connected, listens], false),
        (usual, &[head, listens, connected], false),
        (usual, &["rubbish", "1: x y 01", "1: x:AD9C y"], false),
        ("44444 60999", &[connected], true),
        ("32768 44444", &[connected], true),
        ("44445 60999", &[connected], false),
        ("32768 44443", &[connected], false),
        ("32768", &[connected], false),
        ("", &[connected], false),
    ] {
        assert_eq!(ports::is_held(range, &rows.join("\n"), 44444), is_so, "{range:?} {rows:?}");
    }
}

#[test]
fn only_missing_descriptors_and_memory_are_a_shortage() {
    let is = |code| sys::is_shortage(&io::Error::from_raw_os_error(code));
    let found: Vec<i32> = (0..200).filter(|&code| is(code)).collect();
    let [enomem, enfile, emfile] = [12, 23, 24];
    let enobufs = if cfg!(target_os = "linux") { 105 } else { 55 };
    assert_eq!(found, [enomem, enfile, emfile, enobufs]);
    assert!(!sys::is_shortage(&io::ErrorKind::NotConnected.into()));
}

#[test]
fn a_client_is_named_by_its_own_address() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(host) else {
            eprintln!("SKIPPED: this machine has no {host}");
            continue;
        };
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it is taken");
        let (_, peer) = sys::accept(&listener).expect("somebody is there");
        assert_eq!(peer, client.local_addr().expect("it is connected"));
    }
}
