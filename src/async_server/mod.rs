//! One thread waits for all clients: a poller round [`Session`].
//!
//! Knows how to wait and whom to wake, not what is said. Entry point: [`run`].
//! Note: `notes/async_server.md`.

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::limits::{self, LAST_CHANCE, LINGER, Limits};
use crate::cli::log::Log;
use crate::cli::shutdown::Stop;
use crate::http::date;
use crate::net::Filled;
use crate::net::connection::{BufferPool, Connection};
use crate::net::event_loop::{ANSWERS, EventLoop, Next};
use crate::net::listener::announce;
use crate::net::poller::{Interest, Kind, Token};
use crate::net::slots::Slots;
use crate::site::session::{Context, Session, Wait};
use crate::site::{Site, serve};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A client's token; 0 is the listener's.
fn token(slot: usize) -> Token {
    slot + 1
}

struct Server<'a> {
    events: EventLoop,
    clients: Slots<Client>,
    site: &'a Site,
    limits: &'a Limits,
    date: date::Cached,
    delay: Duration, // see `--delay`
    log: &'a Log,
    lines: Vec<u8>, // lines of the log of this turn
}

struct Client {
    connection: Connection,
    session: Session,
    peer: SocketAddr,
    phase: Phase,
    progress: bool, // something moved, so the time of the phase begins anew
    delay: Delay,
    has_more: bool, // requests are left in the input for the next turn
    ended: bool,    // it has sent all it will send
}

/// The event that is waited for on behalf of a client, which decides for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,    // a request
    Head,    // the rest of a head: the time runs from its first byte
    Held,    // that `--delay` passes
    Content, // more content: the time runs from the last piece
    Write,   // that it reads its answer, or that the others have had their turn
    Linger,  // it has its last answer; whatever it still sends is thrown away
}

/// How `--delay` stands to the request that comes next or is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    Never, // there is no `--delay`
    Due,   // it begins with the first byte
    Over,  // it has passed
}

/// Serves until the stop flag is raised and the answers in flight have been given.
pub fn run(
    listener: TcpListener,
    site: &Site,
    limits: &Limits,
    kind: Kind,
    delay: Duration,
    log: &Log,
    stop: &Stop,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let events = EventLoop::new(listener, kind, limits.connections, limits.drain_timeout)?;
    announce(TOPIC.name, address);
    let (clients, lines) = (Slots::new(), Vec::new());
    let date = date::Cached::new(events.clock.second);
    let mut server = Server { events, clients, site, limits, date, delay, log, lines };
    // There is one loop, so its share of the clients is all of them.
    while let Some(next) = server.events.next(stop, server.clients.len(), limits.connections)? {
        match next {
            Next::Accepted(stream, peer) => server.accept(stream, peer),
            Next::Ready(event) => server.ready(event.token - 1, event.readable),
            Next::Expired(token) => server.expire(token - 1),
            Next::TurnEnd => server.end_turn(),
            Next::Stopping => server.begin_drain(),
        }
    }
    Ok(())
}

impl Server<'_> {
    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let client = Client {
            connection: Connection::new(stream),
            session: Session::default(),
            peer,
            phase: Phase::Idle,
            progress: true,
            delay: if self.delay.is_zero() { Delay::Never } else { Delay::Due },
            has_more: false,
            ended: false,
        };
        let slot = self.clients.insert(client);
        // The request has often arrived with the connection; if not, the read says so.
        self.ready(slot, true);
    }

    fn ready(&mut self, slot: usize, readable: bool) {
        self.act(slot, |client, buffers, context| client.go_on(readable, buffers, context));
    }

    fn expire(&mut self, slot: usize) {
        self.act(slot, Client::expire);
    }

    /// Lets a client do what can be done now, then waits for what it needs next.
    fn act(
        &mut self,
        slot: usize,
        work: impl FnOnce(&mut Client, &mut BufferPool, &mut Context) -> io::Result<()>,
    ) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let mut context = Context {
            site: self.site,
            limits: self.limits,
            now: self.events.clock.now,
            date: self.date.at(self.events.clock.second),
            log: (!self.log.is_quiet()).then_some(&mut self.lines),
            peer: client.peer,
            last_answer: self.events.is_stopping(),
        };
        let done = work(client, &mut self.events.buffers, &mut context);
        if done.and_then(|()| self.watch(slot)).is_err() {
            self.close(slot);
        }
    }

    /// Decides what to wait for, and for how long. An error: the connection is to be closed.
    fn watch(&mut self, slot: usize) -> io::Result<()> {
        let client = &mut self.clients[slot];
        client.connection.release(&mut self.events.buffers);
        let Some(phase) = client.next_phase() else {
            self.close(slot); // it has had its last answer
            return Ok(());
        };
        let interest = match phase {
            Phase::Write => Interest::WRITE,
            Phase::Held => Interest::NONE,
            _ => Interest::READ,
        };
        client.connection.wait_for(interest, &mut self.events.poller, token(slot))?;
        let is_new = phase != client.phase;
        if phase == Phase::Linger && is_new {
            client.connection.end_output()?;
        }
        client.phase = phase;
        if std::mem::take(&mut client.progress) || is_new {
            let limits = self.limits;
            let limit = match phase {
                Phase::Idle if self.events.is_stopping() => LAST_CHANCE,
                Phase::Idle => limits.idle_timeout,
                Phase::Head => limits.header_timeout,
                Phase::Held => self.delay,
                Phase::Content => limits.content_timeout,
                Phase::Write => limits.write_timeout,
                Phase::Linger => LINGER,
            };
            self.events.set_deadline(token(slot), limit);
        }
        Ok(())
    }

    fn close(&mut self, slot: usize) {
        if let Some(mut client) = self.clients.remove(slot) {
            client.connection.release(&mut self.events.buffers);
            self.events.timers.set(token(slot), None);
            client.connection.close(&mut self.events.poller, token(slot));
        }
    }

    fn end_turn(&mut self) {
        self.clients.end_turn();
        self.log.add(&mut self.lines);
    }

    /// An idle client's request may be on its way: the client gets a moment for it.
    fn begin_drain(&mut self) {
        for (slot, client) in self.clients.iter_mut() {
            if client.phase == Phase::Idle {
                self.events.set_deadline(token(slot), LAST_CHANCE);
            }
        }
    }
}

impl Client {
    /// Its socket is ready: writes what was left over, reads once, answers.
    fn go_on(
        &mut self,
        readable: bool,
        buffers: &mut BufferPool,
        context: &mut Context,
    ) -> io::Result<()> {
        if self.phase == Phase::Held {
            return Err(ErrorKind::ConnectionReset.into()); // with no interest, only that is told
        }
        let connection = &mut self.connection;
        // That it is called ready is no progress: scan calls everybody ready, always.
        self.progress |= connection.flush()?;
        if !connection.output.is_empty() {
            return Ok(());
        }
        if readable && !self.ended {
            self.ended = connection.fill(buffers)? == Filled::End;
        }
        self.answer(buffers, context)
    }

    /// Answers what has been read, a turn's share at most.
    fn answer(&mut self, buffers: &mut BufferPool, context: &mut Context) -> io::Result<()> {
        let connection = &mut self.connection;
        self.has_more = !connection.input.unused().is_empty();
        let most = match self.delay {
            Delay::Never => ANSWERS,
            Delay::Due if self.has_more => return Ok(()),
            Delay::Due | Delay::Over => 1,
        };
        connection.borrow_output(buffers);
        for _ in 0..most {
            let (input, output) = (&mut connection.input, &mut connection.output);
            let used = self.session.answer(input.unused(), output, context);
            input.consume(used);
            // Bytes that are thrown away behind the last answer are no progress.
            self.progress |= used > 0 && !matches!(self.session.waits_for(), Wait::Close { .. });
            self.has_more = used > 0 && !input.unused().is_empty();
            if output.is_full() {
                connection.flush()?;
            }
            if !self.has_more || connection.output.is_full() {
                break;
            }
        }
        if self.delay == Delay::Over && self.session.waits_for() == Wait::Request {
            self.delay = Delay::Due;
        }
        if self.ended && !self.has_more && !connection.output.is_full() {
            self.session.end(&mut connection.output, context);
        }
        connection.flush().map(drop)
    }

    /// The time of its phase is up: it is told so if it has begun to say something.
    fn expire(&mut self, buffers: &mut BufferPool, context: &mut Context) -> io::Result<()> {
        match self.phase {
            Phase::Write | Phase::Linger => return Err(ErrorKind::TimedOut.into()),
            Phase::Held => {
                self.delay = Delay::Over;
                return self.answer(buffers, context);
            }
            Phase::Idle | Phase::Head | Phase::Content => {}
        }
        self.connection.borrow_output(buffers);
        self.session.time_out(&mut self.connection.output, context);
        self.connection.flush().map(drop)
    }

    /// The phase that follows; None: it has had its last answer.
    fn next_phase(&self) -> Option<Phase> {
        Some(match self.session.waits_for() {
            _ if !self.connection.output.is_empty() => Phase::Write,
            Wait::Close { linger } => return (linger && !self.ended).then_some(Phase::Linger),
            _ if self.has_more && self.delay == Delay::Due => Phase::Held,
            // A socket that can be written to is reported in the next turn. One that waits to
            // read more, with requests unanswered in its input, may wait for ever.
            _ if self.has_more => Phase::Write,
            Wait::Request => Phase::Idle,
            Wait::Head => Phase::Head,
            Wait::Content => Phase::Content,
        })
    }
}

pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let limits = Limits::from(given)?;
    let kind = match given.text("--poller") {
        None => Kind::BEST,
        Some(name) => Kind::ALL.iter().copied().find(|k| k.name() == name).ok_or_else(|| {
            let known: Vec<_> = Kind::ALL.iter().map(|k| k.name()).collect();
            format!("async_server: --poller {name}: this system has {}", known.join(", "))
        })?,
    };
    let delay = given.duration("--delay")?.unwrap_or_default();
    serve::start(given, |listener, site, log| run(listener, &site, &limits, kind, delay, log, stop))
}

pub const TOPIC: Topic = Topic {
    name: "async_server",
    summary: "an HTTP server: one thread waits for all clients (step 2)",
    operand: "PORT",
    operand_default: "9002",
    flags: &[
        &[
            serve::HOST,
            serve::ROOT,
            flag("--poller", "KIND", "", "epoll, poll or scan [the best there is]"),
            flag("--name", "NAME", "", "X-Served-By [async_server:PORT]"),
            serve::QUIET,
            flag("--delay", "TIME", "0", "answer late, to show what a slow backend does"),
            limits::connections("20000", "more wait until one leaves"),
            limits::CONTENT,
        ],
        limits::FLAGS,
    ],
    more: "The port 0 picks a free one. Ctrl-C stops it.",
};
