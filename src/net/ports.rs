//! Whose is a port that cannot be bound: another server's, or a client's connection's?
//!
//! A client that connects gets a port too, for its own end: an *ephemeral* one, from a range that
//! the system keeps for that. On Linux it reaches from 32768 to 60999, and servers use some of these.
//! Knows the tables below /proc alone; where there are none, it knows of no such connection.
//! Entry point: [`is_held_by_a_client`]. Note: `notes/lb.md`.

use std::fs;

/// The sentence for a port that [`is_held_by_a_client`], without its end: what else to do.
pub const WHAT_TO_DO: &str = "held by a client's connection: it is an ephemeral port, one of those that the system gives to whoever connects somewhere; wait a few seconds (a closed connection keeps its port for up to a minute)";

/// Whether no server listens on the port, but a client's connection has it.
pub fn is_held_by_a_client(port: u16) -> bool {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let sockets = read("/proc/net/tcp") + &read("/proc/net/tcp6");
    is_held(&read("/proc/sys/net/ipv4/ip_local_port_range"), &sockets, port)
}

/// The same by the range of ephemeral ports, two numbers, and the table of sockets. A row of it:
/// number, local address, remote address, state, and more; addresses and states in hex.
pub fn is_held(range: &str, sockets: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let range: Vec<u16> = range.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let local = format!(":{port:04X}");
    let states = sockets.lines().filter_map(|row| {
        let mut columns = row.split_whitespace().skip(1);
        columns.next().filter(|address| address.ends_with(&local)).and(columns.nth(1))
    });
    let states: Vec<&str> = states.collect();
    matches!(range[..], [first, last] if (first..=last).contains(&port))
        && !states.is_empty()
        && !states.contains(&LISTEN)
}
