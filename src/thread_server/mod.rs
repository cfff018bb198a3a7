//! One thread waits for one client: blocking reads round [`Session`].
//!
//! With `--pool N`, one of N threads serves a client at a time. Knows how to wait, not what is
//! said. Entry point: [`run`]. Note: `notes/thread_server.md`.

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::limits::{self, LAST_CHANCE, LINGER, Limits, READ};
use crate::cli::log::Log;
use crate::cli::shutdown::{Stop, TICK};
use crate::http::response::{self, Response};
use crate::net::clock::Clock;
use crate::net::listener::{Acceptor, announce};
use crate::net::output::Output;
use crate::net::poller::{Kind, Poller};
use crate::site::Site;
use crate::site::serve;
use crate::site::session::{Session, Turn, Wait};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
            flag(
                "--pool",
                "N",
                "",
                "serve from N threads [a thread per client]",
            ),
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
    serve::start(given, |listener, site, log| {
        run(listener, site, limits, pool, log, stop)
    })
}

/// A thread's stack: what a session needs, with room to spare. The usual 2 MiB would be only
/// address space, but of that a machine with 32 bits has no more than a thousand times as much.
const STACK: usize = 128 * 1024;

/// A waiting thread's buffer; it grows while a client sends more.
const BUFFER: usize = 4 * 1024;

/// What all threads share.
struct Shared {
    site: Site,
    limits: Limits,
    log: Log,
    stop: Stop,
    pool: Option<ThreadPool>,
    clients: Mutex<HashMap<u64, Arc<Client>>>,
    left: Condvar,
}

/// A client and the thread that serves it.
struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    /// Its thread waits for a request that has not begun.
    idle: AtomicBool,
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
    let pool = pool.map(start_pool).transpose()?;
    let (clients, left) = (Mutex::default(), Condvar::new());
    let shared = Arc::new(Shared {
        site,
        limits,
        log: log.clone(),
        stop: stop.clone(),
        pool,
        clients,
        left,
    });

    let mut poller = Poller::new(Kind::BEST)?;
    let mut acceptor = Acceptor::new(listener, &mut poller, 0)?.with_blocking_clients();
    announce(TOPIC.name, address);
    let mut events = Vec::new();
    let mut next_id = 0..;
    while !stop.is_raised() {
        poller.wait(&mut events, Some(TICK))?;
        shared.accept(&mut acceptor, &mut poller, &mut next_id);
        acceptor.resume(&mut poller, shared.has_room(), Instant::now());
    }
    shared.accept(&mut acceptor, &mut poller, &mut next_id);
    acceptor.close(&mut poller);
    shared.wait_for_all(LAST_CHANCE);
    shared.dismiss_idle(usize::MAX);
    shared.wait_for_all(shared.limits.drain_timeout.saturating_sub(LAST_CHANCE));
    Ok(())
}

/// The package panics where it cannot start a thread, so it is tried first whether all can be.
fn start_pool(size: usize) -> io::Result<ThreadPool> {
    let gate = Mutex::new(());
    let closed = gate.lock();
    thread::scope(|scope| {
        let thread = || thread::Builder::new().stack_size(STACK);
        let wait = || drop(gate.lock());
        let tried = (0..size).try_for_each(|_| thread().spawn_scoped(scope, wait).map(drop));
        drop(closed);
        tried
    })?;
    let pool = threadpool::Builder::new().num_threads(size);
    Ok(pool.thread_stack_size(STACK).build())
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        self.clients().len() < self.limits.connections
    }

    fn accept(
        self: &Arc<Self>,
        acceptor: &mut Acceptor,
        poller: &mut Poller,
        next_id: &mut std::ops::RangeFrom<u64>,
    ) {
        loop {
            if !self.has_room() {
                // Somebody may be waiting outside: one who only keeps a place makes room.
                self.dismiss_idle(1);
                return acceptor.pause_full(poller);
            }
            let Some((stream, peer)) = acceptor.accept(poller, Instant::now()) else {
                return;
            };
            let Some(id) = next_id.next() else { return };
            let client = Arc::new(Client {
                stream,
                peer,
                idle: AtomicBool::new(false),
            });
            self.clients().insert(id, Arc::clone(&client));
            self.employ(id, client);
        }
    }

    /// Finds a thread for the client.
    fn employ(self: &Arc<Self>, id: u64, client: Arc<Client>) {
        let shared = Arc::clone(self);
        let for_thread = Arc::clone(&client);
        let job = move || {
            // The client has left or will leave; how, changes nothing.
            let _ = shared.serve(&for_thread);
            shared.clients().remove(&id);
            shared.left.notify_all();
            // And the thread returns. The reference's does not: see notes/wrong-table.md.
        };
        if let Some(pool) = &self.pool {
            pool.execute(job);
            // Not the queue's length: it counts a job until a free thread has taken it.
            let waiting = self.clients().len().saturating_sub(pool.max_count());
            self.dismiss_idle(waiting);
        } else if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(job) {
            // The system has no more threads: an error for this client alone.
            let text = format!(
                "This server has no thread for another client now ({}).\n",
                error.kind()
            );
            let response = Response::text(503, self.site.name(), &[("Retry-After", "1")], &text);
            let mut bytes = Vec::new();
            response.write_head(&mut bytes, &Clock::new().date, response::Connection::Close);
            bytes.extend_from_slice(text.as_bytes());
            // A few hundred bytes fit into the socket's empty buffer, so this cannot block.
            let _ = (&client.stream).write_all(&bytes);
            self.clients().remove(&id);
        }
    }

    /// Ends the waiting of up to `most` idle clients: their read returns, and their thread is free.
    fn dismiss_idle(&self, most: usize) {
        if most == 0 {
            return;
        }
        for client in self
            .clients()
            .values()
            .filter(|c| c.idle.swap(false, SeqCst))
            .take(most)
        {
            let _ = client.stream.shutdown(Shutdown::Read);
        }
    }

    fn wait_for_all(&self, most: Duration) {
        let waited = self
            .left
            .wait_timeout_while(self.clients(), most, |clients| !clients.is_empty());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether a client must not keep its thread for another request.
    fn others_wait(&self) -> bool {
        self.stop.is_raised()
            || self
                .pool
                .as_ref()
                .is_some_and(|pool| pool.queued_count() > 0)
    }

    /// The client's conversation, from the first byte to the last.
    fn serve(&self, client: &Client) -> io::Result<()> {
        let mut stream = &client.stream;
        stream.set_write_timeout(Some(self.limits.write_timeout))?;
        let (mut session, mut output, mut lines) = (Session::new(), Output::default(), Vec::new());
        let (mut buffer, mut end) = (vec![0; BUFFER], 0);
        let mut clock = Clock::new();
        let mut head_since = None;
        let mut timeout = Timeout(None);
        loop {
            // Who waits behind an idle client is served first.
            let idle = session.waits_for() == Wait::Request;
            let patience = match session.waits_for() {
                Wait::Request => self.limits.idle_timeout,
                Wait::Content => self.limits.content_timeout,
                Wait::Head => {
                    let since = *head_since.get_or_insert(clock.now);
                    self.limits.header_timeout.saturating_sub(since.elapsed())
                }
                Wait::Close { linger } => return if linger { last_words(stream) } else { Ok(()) },
            };
            timeout.set(stream, patience)?;
            client.idle.store(idle, SeqCst);
            if idle && self.others_wait() {
                timeout.set(stream, LAST_CHANCE)?;
            }
            let received = read(stream, &mut buffer[end..]);
            client.idle.store(false, SeqCst);

            clock.refresh();
            let mut turn = Turn {
                site: &self.site,
                limits: &self.limits,
                clock: &clock,
                log: if self.log.is_quiet() {
                    None
                } else {
                    Some(&mut lines)
                },
                peer: client.peer,
                last_answer: self.others_wait(),
            };
            match received {
                Ok(0) => session.end(&mut output, &mut turn),
                Ok(n) => end += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    session.time_out(&mut output, &mut turn)
                }
                Err(e) => return Err(e),
            }
            let mut start = 0;
            loop {
                let used = session.answer(&buffer[start..end], &mut output, &mut turn);
                output.write_to(&mut stream)?;
                start += used;
                if used > 0 {
                    head_since = None;
                }
                if used == 0 || start == end {
                    break;
                }
            }
            self.log.add(&mut lines);
            buffer.copy_within(start..end, 0);
            end -= start;
            if end == 0 && buffer.len() > BUFFER && session.waits_for() == Wait::Request {
                buffer = vec![0; BUFFER];
            } else if end == buffer.len() || session.waits_for() == Wait::Content {
                buffer.resize(READ, 0);
            }
        }
    }
}

/// The socket's read timeout, set only when it changes.
struct Timeout(Option<Duration>);

impl Timeout {
    fn set(&mut self, stream: &TcpStream, patience: Duration) -> io::Result<()> {
        // Zero would mean "for ever" to the kernel.
        let patience = patience.max(Duration::from_millis(1));
        if self.0 != Some(patience) {
            stream.set_read_timeout(Some(patience))?;
            self.0 = Some(patience);
        }
        Ok(())
    }
}

fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Windows has another name for a read that took too long.
            Err(e) if e.kind() == ErrorKind::TimedOut => return Err(ErrorKind::WouldBlock.into()),
            result => return result,
        }
    }
}

/// Lets a client that may still be sending read its last answer: closed on it at once, the
/// connection would be reset, and the reset would overtake the answer.
fn last_words(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let give_up = Instant::now() + LINGER;
    let mut waste = [0; 512];
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        if read(stream, &mut waste)? == 0 {
            return Ok(());
        }
    }
}
