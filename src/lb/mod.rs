//! The load balancer: clients on one side, backends on the other; round robin per request.
//!
//! A reverse proxy that understands what it forwards. `--workers` event loops share one
//! listener and, in [`Shared`], the index that makes the backends take turns.
//! Entry point: [`run`]. Note: `notes/lb.md`.

// which backend is next, and who is down
mod backends;
// this gateway's own words for either side
mod rewrite;
// one request and its answer, without sockets
mod exchange;
// one event loop: the sockets of both sides
mod worker;

use crate::args::{Failure, Flag, Given, Topic, flag};
use crate::http::fields;
use crate::http::request::{Method, Request};
use crate::http::response::Response;
use crate::limits::{self, Limits};
use crate::listener;
use crate::log::Log;
use crate::shutdown::Stop;
use backends::Backends;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
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
    more: "The port 0 picks a free one. Ctrl-C stops it. /?",
};

const FLAGS: &[Flag] = &[
    flag("--host", "ADDR", "127.0.0.1", "the address to listen on"),
    flag(
        "--backend",
        "HOST:PORT",
        "",
        "once per backend [127.0.0.1:9002 to 9005]",
    ),
    flag("--workers", "N", "", "event loops [the number of cores]"),
    flag(
        "--connect-timeout",
        "TIME",
        "1s",
        "for a backend to take a connection",
    ),
    flag(
        "--response-timeout",
        "TIME",
        "5s",
        "for a backend to begin its answer, else 504",
    ),
    flag(
        "--relay-timeout",
        "TIME",
        "30s",
        "between bytes of an answer",
    ),
    flag("--quiet", "", "", "no log"),
    flag(
        "--max-connections",
        "N",
        "20000",
        "per worker; more wait until one leaves",
    ),
];

/// The assignment's backends.
const BACKENDS: [&str; 4] = [
    "127.0.0.1:9002",
    "127.0.0.1:9003",
    "127.0.0.1:9004",
    "127.0.0.1:9005",
];

/// How long a backend may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// To take a connection.
    pub connect: Duration,
    /// To begin its answer.
    pub response: Duration,
    /// Between two pieces of its answer.
    pub idle: Duration,
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    backends: Backends,
    limits: Limits,
    times: Times,
    log: Log,
    /// This gateway's name in Via: it knows its own requests by it, should they come back.
    via: String,
    /// Its name in X-Served-By, when it answers itself.
    served_by: String,
}

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let (port, limits) = (given.port()?, Limits::from(given)?);
    let time = |name| given.duration(name).map(Option::unwrap_or_default);
    let times = Times {
        connect: time("--connect-timeout")?,
        response: time("--response-timeout")?,
        idle: time("--relay-timeout")?,
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = given
        .number("--workers", 1..=256)?
        .map_or(cores, |n| n as usize);
    let mut names: Vec<&str> = given.all("--backend").collect();
    if names.is_empty() {
        names.extend(BACKENDS);
    }
    let backends = names
        .iter()
        .map(|name| parse_backend(name))
        .collect::<Result<Vec<_>, _>>()?;
    let host = given.text("--host").unwrap_or_default();
    let start = || {
        let listener = listener::bind("lb", host, port)?;
        let address = listener.local_addr().map_err(|e| format!("lb: {e}"))?;
        let (log, _writer) = Log::start(given.has("--quiet"))?;
        let _ = crate::sys::raise_descriptor_limit();
        let shared = Shared {
            backends: Backends::new(backends),
            limits,
            times,
            log,
            via: format!(
                "progjar-lb-{:08x}",
                RandomState::new().hash_one(address) as u32
            ),
            served_by: format!("lb:{}", address.port()),
        };
        listener::announce("lb", address);
        run(listener, &shared, workers, stop).map_err(|e| format!("lb: {e}"))
    };
    start().map_err(Failure::CannotWork)
}

fn parse_backend(text: &str) -> Result<(String, SocketAddr), String> {
    let wrong = |why: &str| format!("lb: --backend {text}: {why}; see: progjar help lb");
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| wrong("give HOST:PORT"))?;
    let port = port
        .parse()
        .ok()
        .filter(|&port| port > 0)
        .ok_or_else(|| wrong("the port is no number from 1 to 65535"))?;
    let addresses =
        listener::resolve(host, port).map_err(|e| wrong(&format!("cannot find the host: {e}")))?;
    let address = addresses
        .first()
        .ok_or_else(|| wrong("the host has no address"))?;
    Ok((text.to_owned(), *address))
}

/// Serves with so many event loops until the stop flag is raised.
pub fn run(listener: TcpListener, shared: &Shared, workers: usize, stop: &Stop) -> io::Result<()> {
    thread::scope(|scope| {
        let mut running = Vec::new();
        for _ in 0..workers {
            let (worker, listener) = (Worker::new(shared)?, listener.try_clone()?);
            running.push(scope.spawn(move || worker.run(listener, stop)));
        }
        // Each loop has its own copy; with this one open the port would stay taken.
        drop(listener);
        running.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
        })
    })
}

impl Shared {
    /// The answer to a request that is not to be forwarded.
    fn answer_locally(&self, request: &Request) -> Option<Response> {
        let text = |status, fields: &[_], sentence| {
            Some(Response::text(status, &self.served_by, fields, sentence))
        };
        let allow = ("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        match request.method {
            // A tunnel is not this gateway's business, and a TRACE would show what it adds.
            Method::Connect | Method::Trace => {
                return text(
                    405,
                    &[allow],
                    "This gateway forwards neither CONNECT nor TRACE.\n",
                );
            }
            Method::Options if request.max_forwards == Some(0) => return text(204, &[allow], ""),
            _ => {}
        }
        let mut via = request.fields.values("via").flat_map(fields::list);
        let is_loop = via.any(|member| {
            member
                .split(|&b| b == b' ')
                .any(|word| word == self.via.as_bytes())
        });
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
