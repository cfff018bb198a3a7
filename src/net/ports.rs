//! Whose is a port that cannot be bound: another server's, or a client's connection's?
//!
//! Whoever connects gets a port too, for its own end: an *ephemeral* one, from a range that the
//! system keeps for that. On Linux it reaches from 32768 to 60999, and servers use some of these.
//! Knows the tables below /proc alone; where there are none, it knows of no such connection.
//! Entry point: [`is_held_by_a_client`]. Note: `notes/lb.md`.

use std::fs;

/// The sentence for a port that [`is_held_by_a_client`], without its end: what else to do.
pub const WHAT_TO_DO: &str = "held by a client's connection: it is an ephemeral port, one of those that the system gives to whoever connects somewhere; wait a few seconds (a closed connection keeps its port for up to a minute)";

/// Whether no server listens on the port, but a client's connection has it.
pub fn is_held_by_a_client(port: u16) -> bool {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let sockets = read("/proc/net/tcp") + &read("/proc/net/tcp6");
    is_ephemeral(&read("/proc/sys/net/ipv4/ip_local_port_range"), port)
        && is_connected_only(&sockets, port)
}

/// Whether the port lies in the range: two numbers.
fn is_ephemeral(range: &str, port: u16) -> bool {
    let mut ends = range.split_whitespace().map_while(|n| n.parse().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => (first..=last).contains(&port),
        _ => false,
    }
}

/// Whether sockets have the port at this end and none of them listens. A row of the table:
/// number, local address, remote address, state, and more; addresses and states in hex.
fn is_connected_only(sockets: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let mut states = sockets.lines().filter_map(|row| {
        let columns: Vec<&str> = row.split_whitespace().take(4).collect();
        let [_, local, _, state] = columns[..] else {
            return None;
        };
        let (_, number) = local.rsplit_once(':')?;
        (u16::from_str_radix(number, 16) == Ok(port)).then_some(state)
    });
    states.next().is_some_and(|first| first != LISTEN) && states.all(|state| state != LISTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_and_a_connection_are_told_apart() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        let listens = "   0: 0100007F:AD9C 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
        let connected = "   1: 0100007F:AD9C 0100007F:0050 01 00000000:00000000 00:00000000";
        let time_wait = "  99: 0100007F:AD9C 0100007F:0050 06 00000000:00000000 03:00001722";
        let its_peer = "   2: 0100007F:0050 0100007F:AD9C 01 00000000:00000000 00:00000000";
        let ipv6 = "   0: 00000000000000000000000001000000:AD9C \
            00000000000000000000000001000000:0050 01 00000000:00000000 00:00000000";
        for (rows, is_so) in [
            (&[][..], false),
            (&[head], false),
            (&[head, listens], false),
            (&[head, connected], true),
            (&[head, time_wait], true),
            (&[head, its_peer], false),
            (&[head, its_peer, connected, head, ipv6], true),
            (&[head, ipv6], true),
            (&[head, connected, listens], false),
            (&[head, listens, connected], false),
            (&["rubbish", "1: x y 01", "1: x:AD9C y"], false),
        ] {
            assert_eq!(is_connected_only(&rows.join("\n"), 44444), is_so, "{rows:?}");
        }
    }

    #[test]
    fn a_port_is_ephemeral_if_it_lies_in_the_range() {
        for (range, port, is_so) in [
            ("32768\t60999\n", 44444, true),
            ("32768\t60999\n", 32768, true),
            ("32768\t60999\n", 60999, true),
            ("32768\t60999\n", 9002, false),
            ("32768\t60999\n", 61000, false),
            ("", 44444, false),
            ("32768", 44444, false),
        ] {
            assert_eq!(is_ephemeral(range, port), is_so, "{port} in {range:?}");
        }
    }
}
