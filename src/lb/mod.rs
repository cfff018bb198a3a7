//! The load balancer: clients on one side, backends on the other; each request to the next backend.
//!
//! A reverse proxy that understands what it forwards. `--workers` event loops share one
//! listener and, in [`Shared`], the backends: whose turn it is, which are up, how busy each is.
//! Entry point: [`run`]. Note: `notes/lb.md`.

// which backend is next, and which are up: three policies; the list; its numbers; active checks
pub mod balance {
    pub mod backends;
    pub mod counters;
    pub(super) mod health;
    pub mod policy;
}
// this gateway's own words for either side
pub mod rewrite;
// decisions after a backend did not serve
pub mod retry;
// one request and its answer, without sockets
pub mod exchange;
// connections to the backends
mod upstreams;
// one event loop: the sockets of both sides
pub mod worker;
// the status page
pub mod status;

use crate::cli::args::{Failure, Flag, Given, Topic, flag};
use crate::cli::limits::{self, Limits};
use crate::cli::log::Log;
use crate::cli::shutdown::Stop;
use crate::http::fields;
use crate::http::request::{Method, Request};
use crate::http::response::Response;
use crate::net::{listener, sys};
use balance::backends::{Backend, Backends};
use balance::health;
use balance::policy::{self, Policy};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;
use worker::Worker;

/// Serves until the stop flag is raised and the answers in flight have been given. All that can
/// fail at the start is done before the line that says that clients may come.
fn run(listener: TcpListener, shared: &Shared, stop: &Stop) -> io::Result<()> {
    let address = listener.local_addr()?;
    let workers = (0..shared.clients.len())
        .map(|worker_id| Worker::new(shared, worker_id, listener.try_clone()?))
        .collect::<io::Result<Vec<_>>>()?;
    // Each loop has its own copy; with this one open the port would stay taken.
    drop(listener);
    // The probes go on while the last answers are given, and end with them.
    let done = &Stop::new();
    thread::scope(|scope| {
        let mut running = Vec::new();
        let start = || {
            for worker in workers {
                let run = move || worker.run(stop);
                running.push(thread::Builder::new().spawn_scoped(scope, run)?);
            }
            if let Some(interval) = shared.check_interval {
                for backend_id in 0..shared.backends.list.len() {
                    let watch = move || health::watch(shared, backend_id, interval, done);
                    thread::Builder::new().spawn_scoped(scope, watch)?;
                }
            }
            Ok(())
        };
        let started = start();
        match &started {
            Ok(()) => listener::announce("lb", address),
            Err(_) => stop.raise(), // those that run already
        }
        let result = running.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
        });
        done.raise();
        started.and(result)
    })
}

struct Shared {
    backends: Backends,
    limits: Limits,
    connect_timeout: Duration,
    response_timeout: Duration, // also to take more of a request
    relay_timeout: Duration,
    upstream_idle_timeout: Duration,
    check_interval: Option<Duration>, // None: no probes
    log: Log,
    via: String,               // its name in Via, by which it knows its own requests
    authority: String,         // where it listens
    served_by: String,         // its name in X-Served-By, when it answers itself
    clients: Vec<AtomicUsize>, // of each worker, as of its last turn
    status_public: bool,
    pipeline: usize, // requests that may wait for their answers on one connection
}

impl Shared {
    /// The answer to a request that is not to be forwarded.
    fn answer_locally(&self, request: &Request, peer: IpAddr) -> Option<Response> {
        if let Some(response) = status::respond(request, peer, self) {
            return Some(response);
        }
        let allow = ("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        let is_mine =
            |via: &[u8]| via.split(|&b| b == b' ').any(|word| word == self.via.as_bytes());
        let (status, fields, sentence) = match request.method {
            // A tunnel is not this gateway's business, and a TRACE would show what it adds.
            Method::Connect | Method::Trace => {
                (405, &[allow][..], "This gateway forwards neither CONNECT nor TRACE.\n")
            }
            Method::Options if request.max_forwards == Some(0) => (204, &[allow][..], ""),
            _ if request.fields.values("via").flat_map(fields::list).any(is_mine) => (
                508,
                &[][..],
                "The request has come back to this gateway: its backends lead to itself.\n",
            ),
            _ => return None,
        };
        Some(Response::text(status, &self.served_by, fields, sentence))
    }
}

pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let (port, limits) = (given.port()?, Limits::from(given)?);
    let time = |name| given.duration(name).map(Option::unwrap_or_default);
    let (connect_timeout, relay_timeout) = (time("--connect-timeout")?, time("--relay-timeout")?);
    let response_timeout = time("--response-timeout")?;
    let upstream_idle_timeout = time("--upstream-idle-timeout")?;
    let check_interval = time("--check-interval")?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = given.number("--workers", 1..=256)?.map_or(cores, |n| n as usize);
    let pipeline = given.number("--pipeline", 1..=1000)?.unwrap_or(1) as usize;
    let backends = parse_backends(given, workers)?;
    let start = || {
        let listener = listener::bind("lb", given.text("--host").unwrap_or_default(), port)?;
        let address = listener.local_addr().map_err(|e| format!("lb: {e}"))?;
        refuse_self(&backends, address)?;
        let (log, _writer) = Log::start(given.has("--quiet"))?;
        let shared = Shared {
            limits: cap(limits, workers, backends.list.len())?,
            backends,
            connect_timeout,
            response_timeout,
            relay_timeout,
            upstream_idle_timeout,
            check_interval: (!given.has("--no-checks")).then_some(check_interval),
            log,
            via: format!("progjar-lb-{:08x}", RandomState::new().hash_one(address) as u32),
            authority: address.to_string(),
            served_by: format!("lb:{}", address.port()),
            clients: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            status_public: given.has("--status-public"),
            pipeline,
        };
        run(listener, &shared, stop).map_err(|e| format!("lb: {e}"))
    };
    start().map_err(Failure::CannotWork)
}

/// `--backend` and `--policy`.
fn parse_backends(given: &Given, workers: usize) -> Result<Backends, String> {
    let mut names: Vec<&str> = given.all("--backend").collect();
    if names.is_empty() {
        // The assignment's.
        names.extend(["127.0.0.1:9002", "127.0.0.1:9003", "127.0.0.1:9004", "127.0.0.1:9005"]);
    }
    let mut list: Vec<Backend> = Vec::new();
    for name in names {
        let backend = parse_backend(name)?;
        let is_one = |address| backend.addresses.contains(address);
        if let Some(twin) = list.iter().find(|other| other.addresses.iter().any(is_one)) {
            return Err(format!(
                "lb: --backend {name} is listed twice ({twin} has the same address); to give it more requests: --backend {twin},weight=2",
                twin = twin.name
            ));
        }
        list.push(backend);
    }
    let name = given.text("--policy").unwrap_or_default();
    let policy = Policy::new(name, list.iter().map(|backend| backend.weight).collect())
        .ok_or_else(|| format!("lb: --policy {name}: there are {}", policy::NAMES.join(", ")))?;
    Ok(Backends::new(list, policy, workers))
}

fn parse_backend(text: &str) -> Result<Backend, String> {
    let wrong = |why: &str| format!("lb: --backend {text}: {why}; see: progjar help lb");
    let (name, weight) = match text.split_once(',') {
        None => (text, Some(1)),
        Some((name, option)) => (name, option.strip_prefix("weight=").and_then(|n| n.parse().ok())),
    };
    let weight = weight
        .filter(|n| (1..=100).contains(n))
        .ok_or_else(|| wrong("behind the comma, give weight=N with N from 1 to 100"))?;
    let (host, port) = name.rsplit_once(':').ok_or_else(|| wrong("give HOST:PORT"))?;
    let port = port.parse().ok().filter(|&port| port > 0);
    let port = port.ok_or_else(|| wrong("the port is no number from 1 to 65535"))?;
    let addresses =
        listener::resolve(host, port).map_err(|e| wrong(&format!("cannot find the host: {e}")))?;
    Ok(Backend::new(name.to_owned(), addresses, weight))
}

/// An error if a backend is the load balancer itself.
fn refuse_self(backends: &Backends, own: SocketAddr) -> Result<(), String> {
    // A listener on all addresses is reached by each address of this machine; those of its
    // networks are found out at run time, by Via.
    let is_self = |address: &SocketAddr| {
        let ip = address.ip();
        let is_any = own.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
        address.port() == own.port() && (ip == own.ip() || is_any)
    };
    match backends.list.iter().find(|backend| backend.addresses.iter().any(is_self)) {
        None => Ok(()),
        Some(Backend { name, .. }) => Err(format!(
            "lb: --backend {name} is the load balancer itself; give it another port or name another backend"
        )),
    }
}

/// Leaves each client a descriptor for its connection to a backend: if clients took all, everyone
/// would be let in and nobody served. An error if there are too few for one client per worker.
fn cap(limits: Limits, workers: usize, backends: usize) -> Result<Limits, String> {
    let Ok(descriptors) = sys::raise_descriptor_limit() else { return Ok(limits) };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    // The standard streams, the listener, and what waits for Ctrl-C; a worker's poller and its
    // copy of the listener; a probe's connection.
    let taken = 8 + 2 * workers + backends;
    let each = descriptors.saturating_sub(taken) / 2 / workers;
    if each == 0 {
        let needed = taken + 2 * workers;
        return Err(format!(
            "lb: --workers {workers} with {backends} backends takes {needed} descriptors, and the limit is {descriptors}: raise it (ulimit -n), or give fewer workers"
        ));
    }
    Ok(Limits { connections: limits.connections.min(each), ..limits })
}

pub const TOPIC: Topic = Topic {
    name: "lb",
    summary: "a load balancer: each request to the next backend (step 3)",
    operand: "PORT",
    operand_default: "44444",
    flags: &[FLAGS, limits::FLAGS],
    more: "The port 0 picks a free one. Ctrl-C lets the answers in flight end; a second one does not.\n/lb-status, /lb-status.json and /metrics show what it does.\nThe limits of a head hold for what is forwarded: Host, X-Forwarded-For and Via count.",
};

#[rustfmt::skip] // one flag a line
const FLAGS: &[Flag] = &[
    flag("--host", "ADDR", "127.0.0.1", "the address to listen on"),
    flag("--backend", "HOST:PORT", "", "once per backend; HOST:PORT,weight=N [127.0.0.1:9002 to 9005]"),
    flag("--policy", "NAME", "round-robin", "or least-connections, or two-choices"),
    flag("--workers", "N", "", "event loops [the number of cores]"),
    flag("--connect-timeout", "TIME", "1s", "for a backend to take a connection"),
    flag("--response-timeout", "TIME", "5s", "for an answer to begin, all attempts together, else 504"),
    flag("--relay-timeout", "TIME", "30s", "between bytes of an answer"),
    flag("--upstream-idle-timeout", "TIME", "10s", "of a kept connection to a backend, then closed"),
    flag("--check-interval", "TIME", "1s", "between probes of a backend"),
    flag("--pipeline", "DEPTH", "1", "requests of one wake-up sent to a backend in one write"),
    flag("--no-checks", "", "", "no probes: only failed requests eject a backend"),
    flag("--status-public", "", "", "show /lb-status and /metrics to all, not only to http://localhost here"),
    flag("--max-content", "SIZE", "", "largest request content, else 413 [the backends' affair]"),
    flag("--quiet", "", "", "no log"),
    limits::connections("20000", "per worker; more wait until one leaves"),
];
