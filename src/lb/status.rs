//! What the load balancer shows of itself: a page, JSON, and Prometheus' text format.
//!
//! Computed when somebody looks; nothing is done for it otherwise. Entry point: [`respond`].
//! Note: `notes/lb.md`.

use super::Shared;
use super::stats::Sum;
use crate::http::response::{Bytes, Content, Response};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Instant;

/// Asks for the JSON again and again and draws it.
const PAGE: &str = include_str!("status.html");

/// The paths that are answered here.
pub const PATHS: [&str; 3] = ["/lb-status", "/lb-status.json", "/metrics"];

/// Told to everyone else, if the status is not public.
pub const FORBIDDEN: &str = "Only this machine may see this, and only by its own name: \
     ask from it with Host: localhost, or start the lb with --status-public.\n";

/// Whether a client on this machine asks for this machine. The address alone does not tell: a
/// browser here lets any web page ask `evil.example`, a name that its owner may let point to
/// 127.0.0.1 (DNS rebinding). But then the browser says so in Host.
pub fn is_asked_from_here(host: Option<&str>, peer: IpAddr) -> bool {
    let is_here = match host {
        // Only HTTP/1.0 goes without, and no browser speaks that.
        None => true,
        Some(authority) => {
            let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
            let name = match authority.rsplit_once(':') {
                Some((name, port)) if is_port(port) => name,
                _ => authority,
            };
            let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
            let address = address.unwrap_or(name).parse::<IpAddr>();
            name.eq_ignore_ascii_case("localhost")
                || address.is_ok_and(|a| a.to_canonical().is_loopback())
        }
    };
    is_here && peer.to_canonical().is_loopback()
}

/// The answer to one of [`PATHS`].
pub fn respond(path: &str, shared: &Shared) -> Response {
    let (media_type, text) = match path {
        "/lb-status.json" => ("application/json", json(shared)),
        "/metrics" => ("text/plain; version=0.0.4; charset=utf-8", prometheus(shared)),
        _ => ("text/html; charset=utf-8", PAGE.to_owned()),
    };
    let fields = [("Content-Type", media_type), ("Cache-Control", "no-store")];
    Response::new(200, &shared.served_by, &fields, Content::Memory(Bytes::new(text)))
}

/// The numbers of every backend.
fn sums(shared: &Shared) -> Vec<Sum> {
    (0..shared.backends.len()).map(|number| shared.backends.sum(number)).collect()
}

// Writing into a String cannot fail.

fn json(shared: &Shared) -> String {
    let (now, sums) = (Instant::now(), sums(shared));
    let all: u64 = sums.iter().map(|sum| sum.answered).sum();
    let uptime = shared.backends.ms(now) as f64 / 1000.0;
    let mut out = String::new();
    let _ = write!(
        out,
        "{{\"name\":{},\"policy\":{},\"workers\":{},\"uptime_s\":{uptime:.1},\"answered\":{all},\"backends\":[",
        quoted(&shared.served_by),
        quoted(&shared.policy),
        shared.workers
    );
    for (number, sum) in sums.iter().enumerate() {
        let backend = shared.backends.get(number);
        let state = if shared.backends.is_up(number, now) { "up" } else { "down" };
        let share = if all == 0 { 0.0 } else { sum.answered as f64 / all as f64 };
        let ms = |share| sum.percentile(share).map_or("null".to_owned(), |ms| format!("{ms:.3}"));
        let _ = write!(
            out,
            "{}{{\"name\":{},\"state\":\"{state}\",\"weight\":{},\"answered\":{},\"share\":{share:.4},\
             \"failures\":{},\"in_flight\":{},\"open\":{},\"idle\":{},\"p50_ms\":{},\"p99_ms\":{}}}",
            if number == 0 { "" } else { "," },
            quoted(&backend.name),
            backend.weight,
            sum.answered,
            sum.failures,
            sum.in_flight,
            sum.open,
            sum.idle,
            ms(0.5),
            ms(0.99)
        );
    }
    out.push_str("],\"events\":[");
    for (i, event) in shared.backends.events().iter().enumerate() {
        let ago = now.saturating_duration_since(event.at).as_secs_f64();
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{{\"seconds_ago\":{ago:.1},\"text\":{}}}", quoted(&event.text));
    }
    out.push_str("]}\n");
    out
}

/// A string as JSON writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A row of the metrics: name, type, help, and where the number is.
type Metric = (&'static str, &'static str, &'static str, fn(&Sum) -> f64);

const METRICS: [Metric; 6] = [
    ("progjar_lb_answered_total", "counter", "Answers passed on.", |sum| sum.answered as f64),
    ("progjar_lb_failures_total", "counter", "Attempts that the backend failed.", |sum| {
        sum.failures as f64
    }),
    ("progjar_lb_in_flight", "gauge", "Requests under way.", |sum| sum.in_flight as f64),
    ("progjar_lb_connections_open", "gauge", "Connections, idle ones included.", |sum| {
        sum.open as f64
    }),
    ("progjar_lb_connections_idle", "gauge", "Connections in the pool.", |sum| sum.idle as f64),
    (
        "progjar_lb_response_p99_seconds",
        "gauge",
        "Within this time 99 % of all answers were passed on.",
        |sum| sum.percentile(0.99).unwrap_or(f64::NAN) / 1000.0,
    ),
];

fn prometheus(shared: &Shared) -> String {
    let (now, sums) = (Instant::now(), sums(shared));
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> f64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for number in 0..sums.len() {
            let backend = quoted(&shared.backends.get(number).name);
            let value = value(number);
            let _ = writeln!(out, "{name}{{backend={backend}}} {value}");
        }
    };
    let up = |number| f64::from(u8::from(shared.backends.is_up(number, now)));
    family("progjar_lb_up", "gauge", "Whether the backend may be picked.", &up);
    for (name, kind, help, of) in METRICS {
        family(name, kind, help, &|number| of(&sums[number]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_json_wants() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }

    #[test]
    fn the_status_is_shown_to_a_loopback_peer_that_asks_for_a_loopback_host() {
        let here = [
            "localhost",
            "localhost:44444",
            "LocalHost:1",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.255.0.9",
            "[::1]",
            "[::1]:44444",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
        ];
        let elsewhere = [
            "",
            "evil.example",
            "evil.example:44444",
            "localhost.evil.example",
            "evil-localhost",
            "localhost.",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0.0.0.0",
            "128.0.0.1",
            "192.0.2.1:80",
            "[::]",
            "[::2]",
            "[fe80::1]",
            "::",
            "localhost:44444:1",
        ];
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"].map(address) {
            assert!(is_asked_from_here(None, peer), "HTTP/1.0 from {peer}");
            for host in here {
                assert!(is_asked_from_here(Some(host), peer), "{host} from {peer}");
            }
            for host in elsewhere {
                assert!(!is_asked_from_here(Some(host), peer), "{host} from {peer}");
            }
        }
        for peer in ["192.0.2.1", "10.0.0.1", "0.0.0.0", "fe80::1", "::ffff:192.0.2.1"].map(address)
        {
            for host in here.iter().copied().map(Some).chain([None]) {
                assert!(!is_asked_from_here(host, peer), "{host:?} from {peer}");
            }
        }
    }
}
