//! The load balancer: clients on one side, backends on the other; round robin per request.
//!
//! A reverse proxy that understands what it forwards. `--workers` event loops share one
//! listener and, in [`Shared`], the index that makes the backends take turns.
//! Entry point: [`run`]. Note: `notes/lb.md`.

// which backend is next: three policies
mod policy;
// who the backends are, and who is down
mod backends;
// what the status page counts
mod stats;
// active checks
mod health;
// this gateway's own words for either side
pub mod rewrite;
// what follows when a backend does not serve
pub mod retry;
// one request and its answer, without sockets
pub mod exchange;
// connections to the backends
mod upstreams;
// one event loop: the sockets of both sides
mod worker;
// the status page
mod status;

use crate::cli::args::{Failure, Flag, Given, Topic, flag};
use crate::cli::limits::{self, Limits};
use crate::cli::log::Log;
use crate::cli::shutdown::Stop;
use crate::http::fields;
use crate::http::request::{Method, Request};
use crate::http::response::Response;
use crate::net::listener;
use backends::{Backend, Backends};
use health::Check;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;
use worker::Worker;

/// `progjar lb`
pub const TOPIC: Topic = Topic {
    name: "lb",
    summary: "a load balancer: each request to the next backend (step 3)",
    operand: "PORT",
    operand_default: "44444",
    flags: &[FLAGS, limits::FLAGS],
    more: "The port 0 picks a free one. Ctrl-C lets the answers in flight end; a second one does not.\n/lb-status, /lb-status.json and /metrics show what it does.\nThe limits of a head hold for what is forwarded: Host, X-Forwarded-For and Via count.",
};

const FLAGS: &[Flag] = &[
    flag("--host", "ADDR", "127.0.0.1", "the address to listen on"),
    flag(
        "--backend",
        "HOST:PORT",
        "",
        "once per backend; HOST:PORT,weight=N [127.0.0.1:9002 to 9005]",
    ),
    flag("--policy", "NAME", "round-robin", "or least-connections, or two-choices"),
    flag("--workers", "N", "", "event loops [the number of cores]"),
    flag("--connect-timeout", "TIME", "1s", "for a backend to take a connection"),
    flag(
        "--response-timeout",
        "TIME",
        "5s",
        "for an answer to begin, all attempts together, else 504",
    ),
    flag("--relay-timeout", "TIME", "30s", "between bytes of an answer"),
    flag(
        "--upstream-idle-timeout",
        "TIME",
        "10s",
        "of a kept connection to a backend, then closed",
    ),
    flag("--check-interval", "TIME", "1s", "between probes of a backend"),
    flag("--pipeline", "DEPTH", "1", "requests of one wake-up sent to a backend in one write"),
    flag("--no-checks", "", "", "no probes: only failed requests eject a backend"),
    flag(
        "--status-public",
        "",
        "",
        "show /lb-status and /metrics to all, not only to http://localhost here",
    ),
    flag("--max-content", "SIZE", "", "largest request content, else 413 [the backends' affair]"),
    flag("--quiet", "", "", "no log"),
    limits::connections("20000", "per worker; more wait until one leaves"),
];

/// The assignment's backends.
const BACKENDS: [&str; 4] =
    ["127.0.0.1:9002", "127.0.0.1:9003", "127.0.0.1:9004", "127.0.0.1:9005"];

/// How long a backend may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// To take a connection.
    pub connect: Duration,
    /// To take more of a request; and, all attempts together, to begin the answer.
    pub response: Duration,
    /// Between two pieces of its answer.
    pub relay: Duration,
    /// Until the next request on a kept connection.
    pub upstream_idle: Duration,
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    backends: Backends,
    limits: Limits,
    times: Times,
    /// None: no probes.
    check: Option<Check>,
    log: Log,
    /// This gateway's name in Via: it knows its own requests by it, should they come back.
    via: String,
    /// Where it listens.
    authority: String,
    /// Its name in X-Served-By, when it answers itself.
    served_by: String,
    policy: String,
    workers: usize,
    /// How many each worker has, by its number, as of its last turn.
    clients: Vec<AtomicUsize>,
    status_public: bool,
    /// Requests that may wait for their answers on one connection.
    pipeline: usize,
}

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let (port, limits) = (given.port()?, Limits::from(given)?);
    let time = |name| given.duration(name).map(Option::unwrap_or_default);
    let times = Times {
        connect: time("--connect-timeout")?,
        response: time("--response-timeout")?,
        relay: time("--relay-timeout")?,
        upstream_idle: time("--upstream-idle-timeout")?,
    };
    // Two probes that stay without an answer, and the wait before them, take less than three
    // intervals.
    let interval = time("--check-interval")?.max(Duration::from_millis(10));
    let check = Check {
        interval,
        timeout: (interval * 3 / 4).max(Duration::from_millis(100)).min(times.response),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = given.number("--workers", 1..=256)?.map_or(cores, |n| n as usize);
    let list = parse_backends(given)?;
    let weights: Vec<u32> = list.iter().map(|backend| backend.weight).collect();
    let policy = given.text("--policy").unwrap_or_default();
    let by_name = policy::by_name(policy, &weights)
        .ok_or_else(|| format!("lb: --policy {policy}: there are {}", policy::NAMES.join(", ")))?;
    let pipeline = given.number("--pipeline", 1..=1000)?.unwrap_or(1) as usize;
    let host = given.text("--host").unwrap_or_default();
    let start = || {
        let listener = listener::bind("lb", host, port)?;
        let address = listener.local_addr().map_err(|e| format!("lb: {e}"))?;
        let (log, _writer) = Log::start(given.has("--quiet"))?;
        let limits = fit(limits, workers, list.len())?;
        let shared = Shared {
            backends: Backends::new(list, by_name, workers),
            limits,
            times,
            check: (!given.has("--no-checks")).then_some(check),
            log,
            via: format!("progjar-lb-{:08x}", RandomState::new().hash_one(address) as u32),
            authority: address.to_string(),
            served_by: format!("lb:{}", address.port()),
            policy: policy.to_owned(),
            workers,
            clients: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            status_public: given.has("--status-public"),
            pipeline,
        };
        refuse_self(&shared.backends, address)?;
        run(listener, &shared, stop).map_err(|e| format!("lb: {e}"))
    };
    start().map_err(Failure::CannotWork)
}

/// A client may need a connection to a backend: if clients took all descriptors, everyone would
/// be let in and nobody served. An error if there are too few for one client per worker.
fn fit(limits: Limits, workers: usize, backends: usize) -> Result<Limits, String> {
    let Ok(descriptors) = crate::net::sys::raise_descriptor_limit() else {
        return Ok(limits);
    };
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

fn parse_backends(given: &Given) -> Result<Vec<Backend>, String> {
    let mut names: Vec<&str> = given.all("--backend").collect();
    if names.is_empty() {
        names.extend(BACKENDS);
    }
    let mut list: Vec<Backend> = Vec::new();
    for name in names {
        let backend = parse_backend(name)?;
        if let Some(twin) = list.iter().find(|other| has_one_of(other, &backend)) {
            return Err(format!(
                "lb: --backend {name} is listed twice ({} has the same address); to give it more requests: --backend {},weight=2",
                twin.name, twin.name
            ));
        }
        list.push(backend);
    }
    Ok(list)
}

/// Whether two backends have an address in common.
fn has_one_of(one: &Backend, other: &Backend) -> bool {
    one.addresses.iter().any(|a| other.addresses.contains(a))
}

fn parse_backend(text: &str) -> Result<Backend, String> {
    let wrong = |why: &str| format!("lb: --backend {text}: {why}; see: progjar help lb");
    let (name, weight) = match text.split_once(',') {
        None => (text, 1),
        Some((name, option)) => {
            let weight = option.strip_prefix("weight=").and_then(|n| n.parse().ok());
            let weight = weight.filter(|n| (1..=100).contains(n));
            (
                name,
                weight
                    .ok_or_else(|| wrong("behind the comma, give weight=N with N from 1 to 100"))?,
            )
        }
    };
    let (host, port) = name.rsplit_once(':').ok_or_else(|| wrong("give HOST:PORT"))?;
    let port = port.parse().ok().filter(|&port| port > 0);
    let port = port.ok_or_else(|| wrong("the port is no number from 1 to 65535"))?;
    let addresses =
        listener::resolve(host, port).map_err(|e| wrong(&format!("cannot find the host: {e}")))?;
    Ok(Backend::new(name.to_owned(), addresses, weight))
}

/// An error if a backend is the load balancer itself.
fn refuse_self(backends: &Backends, own: SocketAddr) -> Result<(), String> {
    // Whoever listens on all addresses is reached by each address of this machine; those of
    // its networks are found out at run time, by Via.
    let is_self = |address: &SocketAddr| {
        let same_host = address.ip() == own.ip()
            || (own.ip().is_unspecified()
                && (address.ip().is_loopback() || address.ip().is_unspecified()));
        address.port() == own.port() && same_host
    };
    match (0..backends.len())
        .map(|number| backends.get(number))
        .find(|backend| backend.addresses.iter().any(is_self))
    {
        Some(backend) => Err(format!(
            "lb: --backend {} is the load balancer itself; give it another port or name another backend",
            backend.name
        )),
        None => Ok(()),
    }
}

/// Serves until the stop flag is raised and the answers in flight have been given. All that can
/// fail at the start is done before the line that says that clients may come.
pub fn run(listener: TcpListener, shared: &Shared, stop: &Stop) -> io::Result<()> {
    let address = listener.local_addr()?;
    let workers = (0..shared.workers)
        .map(|number| Worker::new(shared, number, listener.try_clone()?))
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
            if let Some(check) = shared.check {
                for number in 0..shared.backends.len() {
                    let watch = move || health::watch(&shared.backends, number, check, done);
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

impl Shared {
    /// The answer to a request that is not to be forwarded.
    fn answer_locally(&self, request: &Request, peer: IpAddr) -> Option<Response> {
        let text = |status, fields: &[_], sentence| {
            Some(Response::text(status, &self.served_by, fields, sentence))
        };
        let path = request.target.split('?').next().unwrap_or_default();
        if status::PATHS.contains(&path) {
            if !self.status_public && !status::is_asked_from_here(request.host, peer) {
                return text(403, &[], status::FORBIDDEN);
            }
            if !matches!(request.method, Method::Get | Method::Head) {
                return text(405, &[("Allow", "GET, HEAD")], "This page can only be read.\n");
            }
            return Some(status::respond(path, self));
        }
        let allow = ("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        match request.method {
            // A tunnel is not this gateway's business, and a TRACE would show what it adds.
            Method::Connect | Method::Trace => {
                return text(405, &[allow], "This gateway forwards neither CONNECT nor TRACE.\n");
            }
            Method::Options if request.max_forwards == Some(0) => return text(204, &[allow], ""),
            _ => {}
        }
        let mut via = request.fields.values("via").flat_map(fields::list);
        let is_loop =
            via.any(|member| member.split(|&b| b == b' ').any(|word| word == self.via.as_bytes()));
        if is_loop {
            return text(
                508,
                &[],
                "The request has come back to this gateway: its backends lead to itself.\n",
            );
        }
        None
    }
}
