//! One thread waits for all clients: a poller round [`Session`].
//!
//! Knows how to wait and whom to wake, not what is said. Entry point: [`run`].
//! Note: `notes/async_server.md`.

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::limits::{self, LAST_CHANCE, LINGER, Limits};
use crate::cli::log::Log;
use crate::cli::shutdown::{Stop, TICK};
use crate::net::clock::Clock;
use crate::net::connection::{Connection, Filled, Lender};
use crate::net::listener::{Acceptor, announce};
use crate::net::poller::{Event, Interest, Kind, Poller, Token};
use crate::net::slots::Slots;
use crate::net::sys;
use crate::net::timers::Timers;
use crate::site::Site;
use crate::site::serve;
use crate::site::session::{Session, Turn, Wait};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// `progjar async_server`
pub const TOPIC: Topic = Topic {
    name: "async_server",
    summary: "an HTTP server: one thread waits for all clients (step 2)",
    operand: "PORT",
    operand_default: "9002",
    flags: &[
        &[
            serve::HOST,
            serve::ROOT,
            flag(
                "--poller",
                "KIND",
                "",
                "epoll, poll or scan [the best there is]",
            ),
            flag("--name", "NAME", "", "X-Served-By [async_server:PORT]"),
            serve::QUIET,
            flag(
                "--delay",
                "TIME",
                "0",
                "answer late, to show what a slow backend does",
            ),
            limits::connections("20000", "more wait until one leaves"),
            limits::CONTENT,
        ],
        limits::FLAGS,
    ],
    more: "The port 0 picks a free one. Ctrl-C stops it.",
};

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let limits = Limits::from(given)?;
    let kind = match given.text("--poller") {
        None => Kind::BEST,
        Some(name) => Kind::ALL
            .iter()
            .copied()
            .find(|k| k.name() == name)
            .ok_or_else(|| {
                let known: Vec<_> = Kind::ALL.iter().map(|k| k.name()).collect();
                format!(
                    "async_server: --poller {name}: this system has {}",
                    known.join(", ")
                )
            })?,
    };
    let delay = given.duration("--delay")?.unwrap_or_default();
    serve::start(given, |listener, site, log| {
        run(listener, &site, &limits, kind, delay, log, stop)
    })
}

/// The listener's token; a client's is its slot plus one.
const LISTENER: Token = 0;

/// One client.
#[derive(Debug)]
struct Client {
    connection: Connection,
    session: Session,
    peer: SocketAddr,
    phase: Phase,
    delay: Delay,
    /// It has sent all it will send.
    ended: bool,
}

/// Requests of one client answered per turn at most: then the others have theirs. Bytes have
/// their own bound, [`crate::net::output::SHARE`]; this one is for small answers, each of which
/// may cost a look at the disk.
const ANSWERS: usize = 64;

/// Where the poller naps before each turn, one share per turn would make a download slow.
const SHARES_PER_NAP: usize = 16;

/// How `--delay` stands to the request that comes next or is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    /// There is no `--delay`.
    Never,
    /// It is to be held when its first byte has come.
    Due,
    /// It has been held.
    Over,
}

/// What a client is waited for, which decides for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request.
    Idle,
    /// The rest of a head: the time runs from its first byte.
    Head,
    /// That `--delay` passes.
    Held,
    /// More content: the time runs from the last piece.
    Content,
    /// That it reads its answer.
    Write,
    /// It has its last answer; whatever it still sends is thrown away.
    Linger,
}

/// What becomes of a client after its turn.
#[derive(Debug)]
enum Next {
    /// It is waited for; `renew`: the time begins anew even if the phase is the same.
    Wait {
        phase: Phase,
        renew: bool,
    },
    Close,
}

/// The loop and all it knows.
struct Server<'a> {
    poller: Poller,
    clients: Slots<Client>,
    timers: Timers,
    lender: Lender,
    world: World<'a>,
}

/// What a session may know of the world.
struct World<'a> {
    site: &'a Site,
    limits: &'a Limits,
    log: &'a Log,
    clock: Clock,
    /// Lines of the log of this turn.
    lines: Vec<u8>,
    stopping: bool,
    /// See `--delay`.
    delay: Duration,
}

impl World<'_> {
    fn turn(&mut self, peer: SocketAddr) -> Turn<'_> {
        Turn {
            site: self.site,
            limits: self.limits,
            clock: &self.clock,
            log: if self.log.is_quiet() {
                None
            } else {
                Some(&mut self.lines)
            },
            peer,
            last_answer: self.stopping,
        }
    }
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
    let mut poller = Poller::new(kind)?;
    let mut acceptor = Some(Acceptor::new(listener, &mut poller, LISTENER)?);
    announce(TOPIC.name, address);
    let world = World {
        site,
        limits,
        log,
        clock: Clock::new(),
        lines: Vec::new(),
        stopping: false,
        delay,
    };
    let (clients, timers, mut lender) = (Slots::new(), Timers::new(), Lender::new());
    if poller.naps() {
        lender.share *= SHARES_PER_NAP;
    }
    let mut server = Server {
        poller,
        clients,
        timers,
        lender,
        world,
    };
    let mut events = Vec::new();
    let mut give_up = None;
    let mut retry_accept = None;
    loop {
        let wakes = [server.timers.next(), retry_accept, give_up]
            .into_iter()
            .flatten()
            .min();
        let now = Instant::now();
        let wait = wakes.map_or(TICK, |at| at.saturating_duration_since(now).min(TICK));
        server.poller.wait(&mut events, Some(wait))?;
        server.world.clock.refresh();
        let now = server.world.clock.now;
        for event in &events {
            match (event.token, &mut acceptor) {
                (LISTENER, Some(acceptor)) => server.accept_some(acceptor),
                (LISTENER, None) => {}
                (token, _) => server.ready(token - 1, *event),
            }
        }
        server.ring_alarms();
        server.clients.end_turn();
        if server.lender.drop_spares(now) {
            sys::return_free_memory();
        }
        if let Some(acceptor) = &mut acceptor {
            let has_room = server.clients.len() < limits.connections;
            retry_accept = acceptor.resume(&mut server.poller, has_room, now);
        }
        if stop.is_raised()
            && let Some(mut acceptor) = acceptor.take()
        {
            // Whoever is in the backlog has connected and may have asked already.
            while server.accept(&mut acceptor) {}
            acceptor.close(&mut server.poller);
            server.begin_to_stop();
            (retry_accept, give_up) = (None, Some(now + limits.drain_timeout));
        }
        log.add(&mut server.world.lines);
        if give_up.is_some_and(|at| server.clients.is_empty() || at <= now) {
            return Ok(());
        }
    }
}

impl Server<'_> {
    fn accept_some(&mut self, acceptor: &mut Acceptor) {
        for _ in 0..acceptor.per_turn {
            if !self.accept(acceptor) {
                return;
            }
        }
    }

    /// Takes a newcomer; false: nobody waits, or nobody can be taken now.
    fn accept(&mut self, acceptor: &mut Acceptor) -> bool {
        if self.clients.len() >= self.world.limits.connections {
            acceptor.pause_full(&mut self.poller);
            return false;
        }
        let Some((stream, peer)) = acceptor.accept(&mut self.poller, self.world.clock.now) else {
            return false;
        };
        let token = self.clients.next() + 1;
        let connection = Connection::new(stream);
        let session = Session::new();
        let phase = Phase::Idle;
        let delay = match self.world.delay.is_zero() {
            true => Delay::Never,
            false => Delay::Due,
        };
        let client = Client {
            connection,
            session,
            peer,
            phase,
            delay,
            ended: false,
        };
        let slot = self.clients.insert(client);
        let patience = self.world.limits.idle_timeout;
        self.timers.set(slot, Some(self.world.clock.now + patience));
        // The request has often arrived with the connection; if not, that is no harm.
        self.ready(
            slot,
            Event {
                token,
                readable: true,
                writable: false,
            },
        );
        true
    }

    /// A socket is ready: do what can be done now, then wait for what comes next.
    fn ready(&mut self, slot: usize, event: Event) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        let mut turn = self.world.turn(client.peer);
        let next = client.go_on(event, &mut self.lender, &mut turn);
        self.wait_or_close(slot, next.unwrap_or(Next::Close));
    }

    fn ring_alarms(&mut self) {
        while let Some(slot) = self.timers.ring(self.world.clock.now) {
            let Some(client) = self.clients.get_mut(slot) else {
                continue;
            };
            let mut turn = self.world.turn(client.peer);
            let next = client.time_out(&mut self.lender, &mut turn);
            self.wait_or_close(slot, next.unwrap_or(Next::Close));
        }
    }

    fn wait_or_close(&mut self, slot: usize, next: Next) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        client.connection.settle(&mut self.lender);
        let Next::Wait { phase, renew } = next else {
            return self.close(slot);
        };
        let interest = match phase {
            Phase::Write => Interest::WRITE,
            Phase::Held => Interest::NONE,
            _ => Interest::READ,
        };
        if client
            .connection
            .wait_for(interest, &mut self.poller, slot + 1)
            .is_err()
        {
            return self.close(slot);
        }
        if renew || phase != client.phase {
            let limits = self.world.limits;
            let limit = match phase {
                Phase::Idle if self.world.stopping => LAST_CHANCE,
                Phase::Idle => limits.idle_timeout,
                Phase::Head => limits.header_timeout,
                Phase::Held => self.world.delay,
                Phase::Content => limits.content_timeout,
                Phase::Write => limits.write_timeout,
                Phase::Linger => LINGER,
            };
            client.phase = phase;
            self.timers.set(slot, Some(self.world.clock.now + limit));
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(client) = self.clients.remove(slot) {
            self.timers.set(slot, None);
            client.connection.close(&mut self.poller, slot + 1);
        }
    }

    fn begin_to_stop(&mut self) {
        self.world.stopping = true;
        let last = self.world.clock.now + LAST_CHANCE;
        for (slot, client) in self.clients.iter_mut() {
            if client.phase == Phase::Idle {
                self.timers.set(slot, Some(last));
            }
        }
    }
}

impl Client {
    /// Reads what is there, answers it, writes what can be written.
    fn go_on(&mut self, event: Event, lender: &mut Lender, turn: &mut Turn) -> io::Result<Next> {
        let connection = &mut self.connection;
        let taken = connection.output.taken();
        connection.flush()?;
        if !connection.output.is_empty() {
            // That it is called ready renews nothing: scan calls everybody ready, always.
            return Ok(Next::Wait {
                phase: Phase::Write,
                renew: connection.output.taken() > taken,
            });
        }
        if event.readable && !self.ended {
            self.ended = connection.fill(lender)? == Filled::End;
        } else if self.phase == Phase::Held {
            return Ok(Next::Close); // it has gone for good
        }
        if self.phase == Phase::Linger {
            connection.input.consume(connection.input.unused().len());
            return Ok(if self.ended {
                Next::Close
            } else {
                Next::Wait {
                    phase: Phase::Linger,
                    renew: false,
                }
            });
        }
        if self.delay == Delay::Due && !connection.input.unused().is_empty() {
            let renew = self.phase != Phase::Held;
            return Ok(Next::Wait {
                phase: Phase::Held,
                renew,
            });
        }
        self.answer(lender, turn)
    }

    /// Answers what has been read, a turn's share at most.
    fn answer(&mut self, lender: &mut Lender, turn: &mut Turn) -> io::Result<Next> {
        let connection = &mut self.connection;
        connection.borrow_output(lender);
        let most = match self.delay {
            Delay::Never => ANSWERS,
            _ => 1,
        };
        let (mut progress, mut has_more) = (false, false);
        for _ in 0..most {
            let (input, output) = (&mut connection.input, &mut connection.output);
            let used = self.session.answer_one(input.unused(), output, turn);
            input.consume(used);
            progress |= used > 0;
            has_more = used > 0 && !input.unused().is_empty();
            if output.is_full() {
                connection.flush()?;
            }
            if !has_more || connection.output.is_full() {
                break;
            }
        }
        if self.delay == Delay::Over && self.session.waits_for() == Wait::Request {
            self.delay = Delay::Due;
        }
        if self.ended && !has_more && !connection.output.is_full() {
            self.session.end(&mut connection.output, turn);
        }
        self.what_next(progress, has_more)
    }

    /// Its time is up: it is told so if it has begun to say something.
    fn time_out(&mut self, lender: &mut Lender, turn: &mut Turn) -> io::Result<Next> {
        match self.phase {
            Phase::Write | Phase::Linger => return Ok(Next::Close),
            Phase::Held => {
                self.delay = Delay::Over;
                return self.answer(lender, turn);
            }
            Phase::Idle | Phase::Head | Phase::Content => {}
        }
        self.connection.borrow_output(lender);
        self.session.time_out(&mut self.connection.output, turn);
        self.what_next(false, false)
    }

    /// Writes what is left, and tells what to wait for. `has_more`: requests are left in the
    /// input, for the next turn. Whoever waits for more input with these unanswered may wait for
    /// ever; a socket that can be written to is reported in the next turn.
    fn what_next(&mut self, progress: bool, has_more: bool) -> io::Result<Next> {
        self.connection.flush()?;
        if !self.connection.output.is_empty() || has_more {
            let held = self.connection.output.is_empty() && self.delay == Delay::Due;
            return Ok(Next::Wait {
                phase: if held { Phase::Held } else { Phase::Write },
                renew: true,
            });
        }
        Ok(match self.session.waits_for() {
            Wait::Request => Next::Wait {
                phase: Phase::Idle,
                renew: progress,
            },
            Wait::Head => Next::Wait {
                phase: Phase::Head,
                renew: progress,
            },
            Wait::Content => Next::Wait {
                phase: Phase::Content,
                renew: progress,
            },
            Wait::Close { linger } if linger && !self.ended => {
                self.connection.end_output()?;
                Next::Wait {
                    phase: Phase::Linger,
                    renew: true,
                }
            }
            Wait::Close { .. } => Next::Close,
        })
    }
}
