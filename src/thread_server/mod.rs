//! One thread waits for one client: blocking reads round [`Session`].
//!
//! With `--pool N`, one of N threads serves a client at a time. Knows how to wait, not what is
//! said. Entry points: [`run`], `Server::serve`. Note: `notes/thread_server.md`.

// the clients of now, each in a place; who makes room when all places are taken
mod clients;
// blocking sockets with an end to each wait
mod socket;

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::limits::{self, LAST_CHANCE, Limits};
use crate::cli::log::Log;
use crate::cli::shutdown::{Stop, TICK};
use crate::http::Version;
use crate::http::response::Response;
use crate::net::clock::Clock;
use crate::net::listener::announce;
use crate::net::output::Output;
use crate::site::Site;
use crate::site::serve;
use crate::site::session::{Context, Session, Wait};
use clients::{Client, Clients, Place};
use socket::{Door, Received, Socket};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use threadpool::ThreadPool;

/// `progjar thread_server`
pub const TOPIC: Topic = Topic {
    name: "thread_server",
    summary: "an HTTP server: one thread waits for one client (step 6)",
    operand: "PORT",
    operand_default: "46000",
    flags: &[
        &[
            serve::HOST,
            serve::ROOT,
            flag("--pool", "N", "", "serve from N threads [a thread per client]"),
            flag("--name", "NAME", "", "X-Served-By [thread_server:PORT]"),
            serve::QUIET,
            limits::connections("2000", "more wait until one leaves"),
            limits::CONTENT,
        ],
        limits::FLAGS,
    ],
    more: "The port 0 picks a free one. Ctrl-C stops it.",
};

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let limits = Limits::from(given)?;
    let pool = given.number("--pool", 1..=10_000)?.map(|n| n as usize);
    serve::start(given, |listener, site, log| run(listener, site, limits, pool, log, stop))
}

/// A thread's stack: what a session needs, with room to spare. The usual 2 MiB would be only
/// address space, but of that a machine with 32 bits has no more than a thousand times as much.
const STACK: usize = 128 * 1024;

/// What all threads share.
struct Server {
    site: Site,
    limits: Limits,
    log: Log,
    stop: Stop,
    pool: Option<ThreadPool>,
    clients: Arc<Clients>,
}

/// Serves until the stop flag is raised and the answers in flight have been given.
pub fn run(
    listener: TcpListener,
    site: Site,
    limits: Limits,
    pool: Option<usize>,
    log: &Log,
    stop: &Stop,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let places = limits.connections.min(pool.unwrap_or(usize::MAX));
    let (connections, drain_timeout) = (limits.connections, limits.drain_timeout);
    let pool = pool.map(start_pool).transpose()?;
    let server = Arc::new(Server {
        site,
        limits,
        log: log.clone(),
        stop: stop.clone(),
        pool,
        clients: Clients::new(places),
    });

    let mut door = Door::new(listener)?;
    announce(TOPIC.name, address);
    // At most one, until the server stops: the others wait in the backlog.
    let mut waiting = VecDeque::new();
    while !stop.is_raised() {
        if waiting.is_empty() {
            waiting.extend(door.wait()?);
        }
        server.admit(&mut waiting);
    }
    let give_up = Instant::now() + drain_timeout;
    // They have connected, and may have asked already.
    waiting.extend(std::iter::from_fn(|| door.accept()).take(connections));
    drop(door);
    while !waiting.is_empty() && Instant::now() < give_up {
        server.admit(&mut waiting);
    }
    server.clients.wait_for_all(LAST_CHANCE.min(drain_timeout));
    server.clients.dismiss_idle();
    let left = give_up.saturating_duration_since(Instant::now());
    server.clients.wait_for_all(left);
    Ok(())
}

/// Threads tried out beyond those of the pool: some may still be on their way out when it begins.
const SPARE_THREADS: usize = 8;

/// The package panics where it cannot start a thread, so it is tried first whether all can be.
fn start_pool(size: usize) -> io::Result<ThreadPool> {
    let gate = Mutex::new(());
    let closed = gate.lock();
    thread::scope(|scope| {
        let thread = || thread::Builder::new().stack_size(STACK);
        let wait = || drop(gate.lock());
        let tried = (0..size + SPARE_THREADS)
            .try_for_each(|_| thread().spawn_scoped(scope, wait).map(drop));
        drop(closed);
        tried
    })?;
    let pool = threadpool::Builder::new().num_threads(size);
    Ok(pool.thread_stack_size(STACK).build())
}

impl Server {
    /// Gives the first of those who wait a thread, as soon as there is a place for it.
    fn admit(self: &Arc<Self>, waiting: &mut VecDeque<(TcpStream, SocketAddr)>) {
        if !waiting.is_empty()
            && self.clients.make_room(TICK)
            && let Some((stream, peer)) = waiting.pop_front()
        {
            self.employ(self.clients.enter(stream, peer));
        }
    }

    /// Finds a thread for the client.
    fn employ(self: &Arc<Self>, place: Place) {
        let server = Arc::clone(self);
        let client = Arc::clone(&place.client);
        let job = move || {
            // The client has left or will leave; how, changes nothing.
            let _ = server.serve(&place.client);
            drop(place); // also if it panics
            // And the thread returns. The reference's does not: see notes/wrong-table.md.
        };
        if let Some(pool) = &self.pool {
            pool.execute(job);
        } else if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(job) {
            self.refuse(&client, &error);
        }
    }

    /// The system has no more threads: an error for this client alone.
    fn refuse(&self, client: &Client, error: &io::Error) {
        let text =
            format!("This server has no thread for another client now ({}).\n", error.kind());
        let response = Response::text(503, &self.site.name, &[("Retry-After", "1")], &text);
        let mut bytes = Vec::new();
        response.write_head(&mut bytes, &Clock::new().date, Version::Http11, false);
        bytes.extend_from_slice(text.as_bytes());
        // A few hundred bytes fit into the socket's empty buffer, so this cannot block.
        let _ = (&client.stream).write_all(&bytes);
    }

    /// The client's conversation, from the first byte to the last.
    fn serve(&self, client: &Client) -> io::Result<()> {
        let mut socket = Socket::new(&client.stream, self.limits.write_timeout)?;
        let (mut session, mut input) = (Session::default(), Vec::new());
        let (mut clock, mut head_since) = (Clock::new(), None);
        loop {
            let patience = match session.waits_for() {
                Wait::Request => self.patience_with_idle(client),
                Wait::Head => {
                    let since = *head_since.get_or_insert(clock.now);
                    self.limits.header_timeout.saturating_sub(since.elapsed())
                }
                Wait::Content => self.limits.content_timeout,
                Wait::Close { linger } => return socket.close(linger),
            };
            let received = socket.read(&mut input, patience)?;
            clock.refresh();
            let (mut output, mut lines) = (Output::default(), Vec::new());
            let mut context = self.context(client, &clock, &mut lines);
            match received {
                Received::Bytes => client.is_busy(),
                Received::End => session.end(&mut output, &mut context),
                Received::TooLate => session.time_out(&mut output, &mut context),
            }
            loop {
                let mut used = 0;
                while let n @ 1.. = session.answer(&input[used..], &mut output, &mut context) {
                    used += n;
                }
                socket.write(&mut output)?;
                if used == 0 {
                    break;
                }
                input.drain(..used);
                head_since = None;
            }
            self.log.add(&mut lines);
            // Whoever waits holds nothing but what is not answered yet.
            input.shrink_to_fit();
        }
    }

    /// How long a client may be idle, from now on.
    fn patience_with_idle(&self, client: &Client) -> Duration {
        client.is_idle();
        // Asked after that: whoever comes to wait later than this finds an idle client.
        match self.others_wait() {
            true => LAST_CHANCE.min(self.limits.idle_timeout),
            false => self.limits.idle_timeout,
        }
    }

    /// Whether a client must not keep its place for another request.
    fn others_wait(&self) -> bool {
        self.stop.is_raised() || self.clients.somebody_waits()
    }

    /// What the session needs from the world for one turn.
    fn context<'a>(
        &'a self,
        client: &Client,
        clock: &'a Clock,
        lines: &'a mut Vec<u8>,
    ) -> Context<'a> {
        Context {
            site: &self.site,
            limits: &self.limits,
            clock,
            log: (!self.log.is_quiet()).then_some(lines),
            peer: client.peer,
            last_answer: self.others_wait(),
        }
    }
}
