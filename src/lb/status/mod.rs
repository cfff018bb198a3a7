//! The load balancer's view of itself: a page, JSON, and Prometheus' text format.
//!
//! Computed when somebody looks; nothing is done for it otherwise. Entry point: [`respond`].
//! Note: `notes/lb.md`.

use super::Shared;
use super::balance::counters::{SHOWN, Sum};
use crate::cli::quoted;
use crate::http::request::{Method, Request};
use crate::http::response::{Content, Response};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The answer to a request for one of the three paths; None: it is for another one.
pub(super) fn respond(request: &Request, peer: IpAddr, shared: &Shared) -> Option<Response> {
    let path = request.target.split('?').next().unwrap_or_default();
    let (media_type, text): (_, fn(&Shared) -> String) = match path {
        // The page asks for the JSON again and again and draws it.
        "/lb-status" => ("text/html; charset=utf-8", |_| include_str!("page.html").to_owned()),
        "/lb-status.json" => ("application/json", json),
        "/metrics" => ("text/plain; version=0.0.4; charset=utf-8", prometheus),
        _ => return None,
    };
    let served_by = &shared.served_by;
    Some(if !shared.status_public && !is_asked_from_here(request.host, peer) {
        let forbidden = "Only this machine may see this, and only by its own name: \
            ask from it with Host: localhost, or start the lb with --status-public.\n";
        Response::text(403, served_by, &[], forbidden)
    } else if !matches!(request.method, Method::Get | Method::Head) {
        let allow = [("Allow", "GET, HEAD")];
        Response::text(405, served_by, &allow, "This page can only be read.\n")
    } else {
        let fields = [("Content-Type", media_type), ("Cache-Control", "no-store")];
        Response::new(200, served_by, &fields, Content::Memory(Arc::new(text(shared))))
    })
}

/// Whether a client on this machine asks for this machine. The address alone does not tell: a
/// browser here lets any web page ask `evil.example`, a name that its owner may let point to
/// 127.0.0.1 (DNS rebinding). But then the browser says so in Host.
pub fn is_asked_from_here(host: Option<&str>, peer: IpAddr) -> bool {
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let is_here = |authority: &str| {
        let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if is_port(port) => name,
            _ => authority,
        };
        name.eq_ignore_ascii_case("localhost")
            || name.trim_matches(['[', ']']).parse().is_ok_and(is_loopback)
    };
    // Only HTTP/1.0 goes without Host, and no browser speaks that.
    is_loopback(peer) && host.is_none_or(is_here)
}

fn json(shared: &Shared) -> String {
    let (backends, now, sums) = (&shared.backends, Instant::now(), shared.backends.sums());
    let all: u64 = sums.iter().map(Sum::answered).sum();
    let backend = |(backend_id, sum): (usize, &Sum)| {
        let backend = &backends.list[backend_id];
        let state = if backends.is_up(backend_id, now) { "up" } else { "down" };
        let share = sum.answered() as f64 / all.max(1) as f64;
        let ms = |share| sum.percentile(share).map_or("null".to_owned(), |ms| format!("{ms:.3}"));
        let counts = SHOWN.iter().zip(sum.counts);
        let counts: String = counts.map(|([name, ..], n)| format!(r#""{name}":{n},"#)).collect();
        format!(
            r#"{{"name":{},"state":"{state}","weight":{},"share":{share:.4},{counts}"p50_ms":{},"p99_ms":{}}}"#,
            quoted(&backend.name),
            backend.weight,
            ms(0.5),
            ms(0.99)
        )
    };
    let event = |(at, text): &(Instant, String)| {
        let ago = now.saturating_duration_since(*at).as_secs_f64();
        format!(r#"{{"seconds_ago":{ago:.1},"text":{}}}"#, quoted(text))
    };
    let list: Vec<String> = sums.iter().enumerate().map(backend).collect();
    let events: Vec<String> = backends.events().iter().map(event).collect();
    format!(
        r#"{{"name":{},"policy":"{}","workers":{},"uptime_s":{:.1},"answered":{all},"backends":[{}],"events":[{}]}}"#,
        quoted(&shared.served_by),
        backends.policy.name,
        shared.clients.len(),
        backends.ms(now) as f64 / 1000.0,
        list.join(","),
        events.join(",")
    ) + "\n"
}

fn prometheus(shared: &Shared) -> String {
    let (backends, now, sums) = (&shared.backends, Instant::now(), shared.backends.sums());
    let mut out = String::new();
    let mut family = |name: &str, help: &str, value: &dyn Fn(usize) -> f64| {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let _ = writeln!(out, "# HELP progjar_lb_{name} {help}\n# TYPE progjar_lb_{name} {kind}");
        for backend_id in 0..sums.len() {
            let backend = quoted(&backends.list[backend_id].name);
            let _ = writeln!(out, "progjar_lb_{name}{{backend={backend}}} {}", value(backend_id));
        }
    };
    let up = |backend_id| f64::from(u8::from(backends.is_up(backend_id, now)));
    family("up", "Whether the backend may be picked.", &up);
    for (n, [_, name, help]) in SHOWN.iter().enumerate() {
        family(name, help, &|backend_id| sums[backend_id].counts[n] as f64);
    }
    let help = "Within this time 99 % of all answers were passed on.";
    let p99 = |backend_id: usize| sums[backend_id].percentile(0.99).unwrap_or(f64::NAN) / 1000.0;
    family("response_p99_seconds", help, &p99);
    out
}
