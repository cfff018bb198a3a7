//! The assignment's ports: which they are, and whether they are free.
//!
//! Entry point: [`check_free`]. Note: `notes/README.md`.

use crate::cli::shutdown::Stop;
use crate::lab::process::{pause, say};
use crate::net::ports::{WHAT_TO_DO, is_held_by_a_client};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// How long to wait for a port that a client's connection holds.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// Where the servers listen; 0 is any free port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub async_servers: [u16; 4],
    pub lb: u16,
    pub thread_server: u16,
}

impl Ports {
    pub const ASSIGNED: Ports =
        Ports { async_servers: [9002, 9003, 9004, 9005], lb: 44444, thread_server: 46000 };
    pub const FREE: Ports = Ports { async_servers: [0; 4], lb: 0, thread_server: 0 };
}

/// Tries each port before anything is started, so that the error can name all that are in use.
/// What a client's connection holds may be free in a moment: that is waited for.
pub(super) fn check_free(ports: &Ports, stop: &Stop) -> Result<(), String> {
    let deadline = Instant::now() + PORT_PATIENCE;
    let mut told = false;
    loop {
        let taken = taken(ports);
        if taken.is_empty() {
            return Ok(());
        }
        let will_pass = taken.iter().all(|(port, _)| is_held_by_a_client(*port));
        // A port may have been left while the system's long list was read.
        if (!will_pass || Instant::now() > deadline) && self::taken(ports) == taken {
            return Err(in_use(&taken, will_pass));
        }
        if will_pass && !told {
            say("all: a client's connection holds a port; waiting for its end");
            told = true;
        }
        pause(stop)?;
    }
}

/// The ports that cannot be bound, and for whom they are.
fn taken(ports: &Ports) -> Vec<(u16, &'static str)> {
    let named = ports.async_servers.map(|port| (port, "async_server"));
    let others = [(ports.lb, "lb"), (ports.thread_server, "thread_server")];
    let is_taken = |(port, _): &(u16, _)| {
        let tried = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
        tried.is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
    };
    named.into_iter().chain(others).filter(is_taken).collect()
}

fn in_use(taken: &[(u16, &str)], by_clients: bool) -> String {
    let names: Vec<_> = taken.iter().map(|(p, t)| format!("{p} ({t})")).collect();
    let ports = if names.len() == 1 { ("port", "is") } else { ("ports", "are") };
    let why = if by_clients { WHAT_TO_DO } else { "in use; stop the other program" };
    let (noun, names, verb) = (ports.0, names.join(", "), ports.1);
    format!("{noun} {names} {verb} {why}, or take any free ports: progjar all --free-ports")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    /// Waits for a port that a client's connection leaves meanwhile.
    fn wait_for_a_port() -> Result<(), String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let there = listener.local_addr().expect("bound");
        let client = TcpStream::connect(there).expect("it listens");
        let peer = listener.accept().expect("it has come");
        let mut ports = Ports::FREE;
        ports.lb = client.local_addr().expect("connected").port();
        if !is_held_by_a_client(ports.lb) {
            eprintln!("SKIPPED: this system does not tell who holds a port");
            return Ok(());
        }
        let stop = Stop::new();
        let waits = std::thread::spawn(move || check_free(&ports, &stop));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waits.is_finished(), "the port is held");
        // The end that closes last, and knows it, keeps nothing of the connection.
        drop(peer);
        assert!(matches!((&client).read(&mut [0]), Ok(0)), "it is closed");
        drop(client);
        waits.join().expect("it does not panic")
    }

    #[test]
    fn a_port_that_a_clients_connection_holds_is_waited_for() {
        // On a busy machine another connection is given just this port when it is free: then it is
        // that one which is told of in the end. Or another program listens there: then once more.
        let holds = |waited: &Result<(), String>| match waited {
            Ok(()) => true,
            Err(why) => why.contains(WHAT_TO_DO),
        };
        assert!((0..5).any(|_| holds(&wait_for_a_port())));
    }
}
