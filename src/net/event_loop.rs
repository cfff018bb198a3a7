//! The loop of one thread that waits for many sockets: who is ready, who is new, whose time is
//! up, and when to stop. It is pulled like an iterator, so each topic keeps its own `match`.
//!
//! Knows no HTTP and none of its clients; a turn is one wait and all that follows from it.
//! Entry point: [`EventLoop::next`]. Note: `notes/async_server.md`.

use super::clock::Clock;
use super::connection::BufferPool;
use super::listener::Acceptor;
use super::poller::{Event, Kind, Poller, Token};
use super::sys;
use super::timers::Timers;
use crate::cli::shutdown::{Stop, TICK};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The listener's token; the topics number their sockets from 1.
const LISTENER: Token = 0;

/// How long a loop that has its share sleeps at first before it looks whether the others have
/// caught up; twice as long each time that nothing has happened.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Where the poller naps before each turn, one share per turn would make a download slow.
const SHARES_PER_NAP: usize = 16;

/// Requests of one client that a topic answers by itself per turn at most: then the others have
/// theirs. Bytes have their own bound, [`super::output::SHARE`]; this one is for small answers,
/// each of which may cost a look at the disk.
pub const ANSWERS: usize = 64;

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// A client has connected. Its request has often arrived with it.
    Accepted(TcpStream, SocketAddr),
    /// A socket is ready.
    Ready(Event),
    /// The deadline that was set for this token has passed.
    Expired(Token),
    /// Everyone who was ready has been served: work that is shared by a turn is done now.
    TurnEnd,
    /// The stop flag was raised: nobody is accepted any more, and the loop ends with the last
    /// client, or after the drain timeout.
    Stopping,
}

/// How far the turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Wait,
    /// The next event to be looked at.
    Ready(usize),
    Expired,
    Door,
    /// After the stop: everyone in the backlog has connected and may have asked already.
    Backlog,
}

/// See the module.
#[derive(Debug)]
pub struct EventLoop {
    /// Who is ready.
    pub poller: Poller,
    /// Whose time is up.
    pub timers: Timers,
    /// Lent to the connections that are at work.
    pub buffers: BufferPool,
    /// The time of this turn.
    pub clock: Clock,
    events: Vec<Event>,
    step: Step,
    /// None: nobody is accepted any more.
    acceptor: Option<Acceptor>,
    /// When to try again to accept, after a shortage.
    resume_at: Option<Instant>,
    /// How long to sleep at most: less than a tick only while it has its share and they may not.
    nap: Duration,
    /// The most clients at once; beyond it newcomers wait in the backlog.
    limit: usize,
    drain_timeout: Duration,
    /// When to end although clients are left.
    give_up: Option<Instant>,
}

impl EventLoop {
    /// A loop that watches the listener; several loops may watch clones of one.
    pub fn new(
        listener: TcpListener,
        kind: Kind,
        limit: usize,
        drain_timeout: Duration,
    ) -> io::Result<EventLoop> {
        let (mut poller, mut buffers) = (Poller::new(kind)?, BufferPool::new());
        if poller.naps() {
            buffers.share *= SHARES_PER_NAP;
        }
        let acceptor = Some(Acceptor::new(listener, &mut poller, LISTENER)?);
        Ok(EventLoop {
            poller,
            timers: Timers::new(),
            buffers,
            clock: Clock::new(),
            events: Vec::new(),
            step: Step::Door,
            acceptor,
            resume_at: None,
            nap: TICK,
            limit,
            drain_timeout,
            give_up: None,
        })
    }

    /// Whether the stop flag has been seen.
    pub fn is_stopping(&self) -> bool {
        self.acceptor.is_none()
    }

    /// Sets the token's deadline, that much later than now.
    pub fn set_deadline(&mut self, token: Token, after: Duration) {
        self.timers.set(token, Some(self.clock.now + after));
    }

    /// What to do next, for an owner who has so many clients; waits for it if need be. From
    /// `share` clients on, newcomers are left to the other loops that watch the listener. None:
    /// the stop flag was raised, and the last client has left or the drain timeout has passed.
    pub fn next(&mut self, stop: &Stop, clients: usize, share: usize) -> io::Result<Option<Next>> {
        loop {
            match self.step {
                Step::Wait => {
                    if self.give_up.is_some_and(|at| clients == 0 || at <= self.clock.now) {
                        return Ok(None);
                    }
                    self.wait()?;
                    self.step = Step::Ready(0);
                }
                Step::Ready(index) => {
                    let Some(&event) = self.events.get(index) else {
                        self.step = Step::Expired;
                        continue;
                    };
                    let accepted = match event.token {
                        LISTENER => self.accept(clients, share),
                        _ => Some(Next::Ready(event)),
                    };
                    // One newcomer a turn, if the poller tells again when more wait: asking until
                    // nobody is left would cost a call in vain in each turn.
                    let again = event.token == LISTENER && self.poller.naps() && accepted.is_some();
                    self.step = Step::Ready(if again { index } else { index + 1 });
                    if accepted.is_some() {
                        return Ok(accepted);
                    }
                }
                Step::Expired => {
                    let expired = self.timers.pop_expired(self.clock.now);
                    if expired.is_none() {
                        self.step = Step::Door;
                    }
                    return Ok(Some(expired.map_or(Next::TurnEnd, Next::Expired)));
                }
                Step::Door if stop.is_raised() && !self.is_stopping() => self.step = Step::Backlog,
                Step::Door => {
                    if self.buffers.drop_spares(self.clock.now) {
                        sys::return_free_memory();
                    }
                    if let Some(acceptor) = &mut self.acceptor {
                        let has_room = clients < share.min(self.limit);
                        self.nap = match clients < self.limit && clients >= share {
                            true if self.events.is_empty() => (2 * self.nap).min(TICK),
                            true => FIRST_LOOK,
                            false => TICK,
                        };
                        self.resume_at =
                            acceptor.resume(&mut self.poller, has_room, self.clock.now);
                    }
                    self.step = Step::Wait;
                }
                Step::Backlog => {
                    if let Some(accepted) = self.accept(clients, usize::MAX) {
                        return Ok(Some(accepted));
                    }
                    if let Some(acceptor) = self.acceptor.take() {
                        acceptor.close(&mut self.poller);
                    }
                    let give_up = self.clock.now + self.drain_timeout;
                    (self.resume_at, self.give_up) = (None, Some(give_up));
                    self.step = Step::Wait;
                    return Ok(Some(Next::Stopping));
                }
            }
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let wakes = [self.timers.next(), self.resume_at, self.give_up];
        let timeout = match wakes.into_iter().flatten().min() {
            Some(at) => at.saturating_duration_since(Instant::now()).min(self.nap),
            None => self.nap,
        };
        self.poller.wait(&mut self.events, Some(timeout))?;
        self.clock.refresh();
        Ok(())
    }

    fn accept(&mut self, clients: usize, share: usize) -> Option<Next> {
        let acceptor = self.acceptor.as_mut()?;
        if clients >= self.limit {
            acceptor.pause_full(&mut self.poller);
            return None;
        }
        let (stream, peer) = acceptor.accept(&mut self.poller, self.clock.now)?;
        // At once, not when the next one comes: the kernel would wake this loop for it and no other.
        if clients + 1 >= share.min(self.limit) {
            acceptor.pause_full(&mut self.poller);
        }
        Some(Next::Accepted(stream, peer))
    }
}
