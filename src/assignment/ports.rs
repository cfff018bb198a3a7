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

/// The servers of the assignment and where they listen; 0 is any free port.
pub(super) const ASSIGNED: [(&str, u16); 6] = [
    ("async_server", 9002),
    ("async_server", 9003),
    ("async_server", 9004),
    ("async_server", 9005),
    ("lb", 44444),
    ("thread_server", 46000),
];

/// Tries each port before anything is started, so that the error can name all that are in use.
/// What a client's connection holds may be free in a moment: that is waited for.
pub fn check_free(servers: &[(&str, u16)], stop: &Stop) -> Result<(), String> {
    let deadline = Instant::now() + PORT_PATIENCE;
    let mut told = false;
    loop {
        let taken = taken(servers);
        if taken.is_empty() {
            return Ok(());
        }
        let will_pass = taken.iter().all(|(_, port)| is_held_by_a_client(*port));
        // A port may have been left while the system's long list was read.
        if (!will_pass || Instant::now() > deadline) && self::taken(servers) == taken {
            return Err(in_use(&taken, will_pass));
        }
        if will_pass && !told {
            say("all: a client's connection holds a port; waiting for its end");
            told = true;
        }
        pause(stop)?;
    }
}

/// Those whose ports cannot be bound.
fn taken<'a>(servers: &[(&'a str, u16)]) -> Vec<(&'a str, u16)> {
    let is_taken = |(_, port): &(_, u16)| {
        let tried = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
        tried.is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
    };
    servers.iter().copied().filter(is_taken).collect()
}

fn in_use(taken: &[(&str, u16)], by_clients: bool) -> String {
    let names: Vec<_> = taken.iter().map(|(topic, port)| format!("{port} ({topic})")).collect();
    let ports = if names.len() == 1 { ("port", "is") } else { ("ports", "are") };
    let why = if by_clients { WHAT_TO_DO } else { "in use; stop the other program" };
    let (noun, names, verb) = (ports.0, names.join(", "), ports.1);
    format!("{noun} {names} {verb} {why}, or take any free ports: progjar all --free-ports")
}
