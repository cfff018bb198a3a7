//! One thread waits for one client: blocking reads round [`Session`].
//!
//! With `--pool N`, one of N threads serves a client at a time. Knows how to wait, not what is
//! said. Entry points: [`run`], `Server::serve`. Note: `notes/thread_server.md`.

// the clients that are connected, each in a slot; which one makes room when all slots are taken
mod clients;
// blocking sockets with an end to each wait
mod socket;

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::limits::{self, LAST_CHANCE, Limits};
use crate::cli::log::Log;
use crate::cli::shutdown::{Stop, TICK};
use crate::http::date;
use crate::net::Filled;
use crate::net::clock::Clock;
use crate::net::listener::announce;
use crate::net::output::Output;
use crate::site::session::{Context, Session, Wait};
use crate::site::{Site, serve};
use clients::{Client, Clients, Slot, State};
use socket::{BUFFER, Socket};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use threadpool::ThreadPool;

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
    listener.set_nonblocking(true)?;
    let clients = Clients::new(limits.connections.min(pool.unwrap_or(usize::MAX)));
    let pool = pool.map(start_pool).transpose()?;
    let (log, stop) = (log.clone(), stop.clone());
    let server = Arc::new(Server { site, limits, log, stop, pool, clients });
    announce(TOPIC.name, address);

    // One at a time: the others wait in the backlog.
    let mut newcomer = None;
    while !server.stop.is_raised() {
        newcomer = newcomer.or_else(|| socket::accept(&listener, TICK));
        server.admit(&mut newcomer);
    }
    let give_up = Instant::now() + server.limits.drain_timeout;
    // The clients in the backlog have connected, and may have asked already.
    let backlog = std::iter::from_fn(|| socket::accept(&listener, Duration::ZERO));
    let mut waiting: VecDeque<_> = backlog.take(server.limits.connections).collect();
    drop(listener);
    newcomer = newcomer.or_else(|| waiting.pop_front());
    while newcomer.is_some() && Instant::now() < give_up {
        server.admit(&mut newcomer);
        newcomer = newcomer.or_else(|| waiting.pop_front());
    }
    server.clients.drain(give_up);
    Ok(())
}

impl Server {
    /// Gives the newcomer, if there is one, a thread; if there is no slot soon, leaves it there.
    fn admit(self: &Arc<Self>, newcomer: &mut Option<(TcpStream, SocketAddr)>) {
        if newcomer.is_some()
            && self.clients.make_room(TICK)
            && let Some((stream, peer)) = newcomer.take()
        {
            self.spawn(self.clients.enter(stream, peer));
        }
    }

    /// A thread of the pool, or a new one, serves the client.
    fn spawn(self: &Arc<Self>, slot: Slot) {
        let (server, client) = (Arc::clone(self), Arc::clone(&slot.client));
        let job = move || {
            // The client has left or will leave; how, changes nothing. A panic that reached the pool
            // would cost a thread, and the whole process if the pool cannot start another one.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| server.serve(&slot.client)));
            drop(slot);
            // And the thread returns. The reference's does not: see notes/wrong-table.md.
        };
        if let Some(pool) = &self.pool {
            pool.execute(job);
        } else if thread::Builder::new().stack_size(STACK).spawn(job).is_err() {
            // The system has no more threads: an error for this client alone. The job has been dropped,
            // and with it the slot; the socket is still here. A few hundred bytes fit into its empty
            // buffer, so this write cannot block.
            let date = date::format(Clock::read().second);
            let refusal = self.site.refusal("start another thread", &date);
            let _ = (&client.stream).write_all(&refusal);
        }
    }

    /// The client's conversation, from the first byte to the last.
    fn serve(&self, client: &Client) -> io::Result<()> {
        let mut socket = Socket::new(&client.stream, self.limits.write_timeout)?;
        let (mut session, mut clock) = (Session::default(), Clock::read());
        let mut date = date::Cached::new(clock.second);
        let (mut input, mut output, mut lines) = (Vec::new(), Output::default(), Vec::new());
        let mut head_since = clock.now;
        loop {
            let wait = session.waits_for();
            let patience = match wait {
                Wait::Request => self.idle_time(client),
                Wait::Head => self.limits.header_timeout.saturating_sub(head_since.elapsed()),
                Wait::Content => self.limits.content_timeout,
                Wait::Close { linger } => return socket.close(linger),
            };
            let received = socket.read(&mut input, patience)?;
            clock = Clock::read();
            let mut context = Context {
                site: &self.site,
                limits: &self.limits,
                now: clock.now,
                date: date.at(clock.second),
                log: (!self.log.is_quiet()).then_some(&mut lines),
                peer: client.peer,
                last_answer: self.is_last_answer(),
            };
            match received {
                Filled::Bytes => client.set(State::Busy),
                Filled::End => session.end(&mut output, &mut context),
                Filled::Nothing => session.time_out(&mut output, &mut context),
            }
            let mut used = 0;
            while used < input.len() {
                let n = session.answer(&input[used..], &mut output, &mut context);
                used += n;
                if n == 0 {
                    break; // the rest is the beginning of a request
                }
                if output.is_full() {
                    output.write_to(&mut &client.stream)?;
                }
            }
            output.write_to(&mut &client.stream)?;
            input.drain(..used);
            // The next head's time runs from the read that brought its first byte.
            if used > 0 || wait != Wait::Head {
                head_since = clock.now;
            }
            self.log.add(&mut lines);
            // Thousands of threads wait at the same time, so each holds little meanwhile.
            for buffer in [&mut input, &mut output.bytes, &mut lines] {
                buffer.shrink_to(BUFFER);
            }
        }
    }

    /// How long the client may be idle from now on.
    fn idle_time(&self, client: &Client) -> Duration {
        client.set(State::Idle(Instant::now()));
        // First the state, then the look: a newcomer that comes after the look finds this client
        // idle; one that came before is seen by it.
        let most = if self.is_last_answer() { LAST_CHANCE } else { Duration::MAX };
        self.limits.idle_timeout.min(most)
    }

    /// Whether a client must not keep its slot for another request: others wait, or the server stops.
    fn is_last_answer(&self) -> bool {
        self.stop.is_raised() || self.clients.somebody_waits()
    }
}

/// A thread's stack: what a session needs, with room to spare. The usual 2 MiB would cost address
/// space alone, but a machine with 32 bits has that for some thousand threads only.
const STACK: usize = 128 * 1024;

/// The package panics where it cannot start a thread, and only there: an error with a sentence.
fn start_pool(size: usize) -> io::Result<ThreadPool> {
    let pool = threadpool::Builder::new().num_threads(size).thread_stack_size(STACK);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {})); // it would print the panic; nobody is served yet
    let started = panic::catch_unwind(|| pool.build());
    panic::set_hook(hook);
    started.map_err(|_| {
        io::Error::other(format!("the system cannot start {size} threads (ulimit -u)"))
    })
}

pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let limits = Limits::from(given)?;
    let pool = given.number("--pool", 1..=10_000)?.map(|n| n as usize);
    serve::start(given, |listener, site, log| run(listener, site, limits, pool, log, stop))
}

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
