//! The loop of one thread that waits for many sockets: who is ready, who is new, whose time is
//! up, and when to stop. It is pulled like an iterator, so each topic keeps its own `match`.
//!
//! Knows no HTTP and none of its clients; a turn is one wait and all that follows from it.
//! Entry point: [`EventLoop::next`]. Note: `notes/async_server.md`.

use super::clock::Clock;
use super::connection::BufferPool;
use super::listener;
use super::poller::{Event, Kind, Poller, Token};
use super::sys;
use super::timers::Timers;
use crate::cli::shutdown::{Stop, TICK};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The listener's token; the topics number their sockets from 1.
const LISTENER: Token = 0;

/// How long to wait before another try when the system is short of something.
const SHORTAGE: Duration = Duration::from_millis(100);

/// How long a loop that has its share sleeps at first before it looks whether the others have
/// caught up; twice as long each time that nothing has happened.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Requests of one client that a topic answers by itself per turn at most: then the others have
/// theirs. Bytes have their own bound, [`super::output::SHARE`]; this one is for small answers,
/// each of which may cost a look at the disk.
pub const ANSWERS: usize = 64;

/// How often unused memory is returned: soon after a rush, and too seldom to cost anything in one.
const TRIM_EVERY: Duration = Duration::from_secs(3);

pub enum Next {
    /// A client has connected. Its request has often arrived with it.
    Accepted(TcpStream, SocketAddr),
    Ready(Event),   // a socket is ready
    Expired(Token), // the deadline that was set for this token has passed
    TurnEnd, // everyone who was ready has been served: what is done once per turn is done now
    /// The stop flag was raised: nobody is accepted any more, and the loop ends with the last
    /// client, or after the drain timeout.
    Stopping,
}

pub struct EventLoop {
    pub poller: Poller,
    pub timers: Timers,
    pub buffers: BufferPool, // lent to the connections that are at work
    pub clock: Clock,        // the time of this turn
    events: Vec<Event>,
    next_event: Option<usize>, // which of them comes next; None: the turn has ended
    listener: Option<TcpListener>, // None: nobody is accepted any more
    listens: bool,             // whether the poller watches the listener
    /// The listener is not watched before this time: the system was short of something.
    retry_at: Instant,
    /// Less than a tick only while this loop has its share of the clients and
    /// others may not have theirs.
    longest_wait: Duration,
    trim_at: Instant,
    limit: usize, // the most clients at once; beyond it newcomers wait in the backlog
    drain_timeout: Duration,
    give_up: Option<Instant>, // when to end although clients are left
}

impl EventLoop {
    /// A loop that watches the listener; several loops may watch clones of one.
    pub fn new(
        listener: TcpListener,
        kind: Kind,
        limit: usize,
        drain_timeout: Duration,
    ) -> io::Result<EventLoop> {
        listener::prepare(&listener)?;
        let (mut poller, clock) = (kind.poller()?, Clock::read());
        poller.add_shared(&listener, LISTENER)?;
        Ok(EventLoop {
            poller,
            timers: Timers::default(),
            buffers: BufferPool::default(),
            clock,
            events: Vec::new(),
            next_event: None,
            listener: Some(listener),
            listens: true,
            retry_at: clock.now,
            longest_wait: TICK,
            trim_at: clock.now,
            limit,
            drain_timeout,
            give_up: None,
        })
    }

    /// Whether the stop has begun: only after the clients in the backlog have been taken.
    pub fn is_stopping(&self) -> bool {
        self.listener.is_none()
    }

    /// Sets the token's deadline, that much later than now.
    pub fn set_deadline(&mut self, token: Token, after: Duration) {
        self.timers.set(token, Some(self.clock.now + after));
    }

    /// The next event, for an owner that has so many clients; waits for it if need be. From
    /// `share` clients on, newcomers are left to the other loops that watch the listener. None:
    /// the stop flag was raised, and the last client has left or the drain timeout has passed.
    pub fn next(&mut self, stop: &Stop, clients: usize, share: usize) -> io::Result<Option<Next>> {
        loop {
            let Some(index) = self.next_event else {
                if stop.is_raised() && !self.is_stopping() {
                    // All in the backlog have connected, and may have asked already.
                    let newcomer = self.accept(clients, usize::MAX);
                    return Ok(Some(newcomer.unwrap_or_else(|| self.begin_to_stop())));
                }
                if self.give_up.is_some_and(|at| clients == 0 || at <= self.clock.now) {
                    return Ok(None);
                }
                self.wait(clients, share)?;
                self.next_event = Some(0);
                continue;
            };
            let Some(&event) = self.events.get(index) else {
                let expired = self.timers.pop_expired(self.clock.now);
                if expired.is_none() {
                    self.next_event = None;
                }
                return Ok(Some(expired.map_or(Next::TurnEnd, Next::Expired)));
            };
            self.next_event = Some(index + 1);
            if event.token != LISTENER {
                return Ok(Some(Next::Ready(event)));
            }
            if let Some(newcomer) = self.accept(clients, share) {
                // One newcomer a turn: the poller tells again if more wait. Only a poller that naps
                // between two looks has all of them taken now, at the cost of a call in vain.
                if self.poller.naps() {
                    self.next_event = Some(index);
                }
                return Ok(Some(newcomer));
            }
        }
    }

    /// Waits for events, and for newcomers if there is room for them.
    fn wait(&mut self, clients: usize, share: usize) -> io::Result<()> {
        let now = self.clock.now;
        if self.trim_at <= now {
            self.trim_at = now + TRIM_EVERY;
            self.buffers.drop_spares();
            sys::return_free_memory();
        }
        if let Some(listener) = &self.listener
            && !self.listens
            && clients < share.min(self.limit)
            && self.retry_at <= now
        {
            self.listens = self.poller.add_shared(listener, LISTENER).is_ok();
        }
        let has_share = clients < self.limit && clients >= share && !self.is_stopping();
        let longer = (2 * self.longest_wait).min(TICK);
        let next_look = if self.events.is_empty() { longer } else { FIRST_LOOK };
        self.longest_wait = if has_share { next_look } else { TICK };
        let retry_at = Some(self.retry_at).filter(|&at| at > now);
        let wakes = [self.timers.next(), retry_at, self.give_up];
        let timeout = match wakes.into_iter().flatten().min() {
            Some(at) => at.saturating_duration_since(Instant::now()).min(self.longest_wait),
            None => self.longest_wait,
        };
        self.poller.wait(&mut self.events, Some(timeout))?;
        self.clock = Clock::read();
        Ok(())
    }

    /// The next newcomer; None: nobody waits, or nobody can be taken now.
    fn accept(&mut self, clients: usize, share: usize) -> Option<Next> {
        let mut newcomer = None;
        if clients < self.limit {
            match listener::accept(self.listener.as_ref()?) {
                Ok(None) => return None,
                Ok(accepted) => newcomer = accepted,
                Err(_) => self.retry_at = self.clock.now + SHORTAGE,
            }
        }
        // Stop before the next one comes: woken for it, this loop could not take it, and the kernel
        // wakes no other.
        if newcomer.is_none() || clients + 1 >= share.min(self.limit) {
            self.stop_listening();
        }
        newcomer.map(|(stream, peer)| Next::Accepted(stream, peer))
    }

    /// Until there is room again.
    fn stop_listening(&mut self) {
        if self.listens
            && let Some(listener) = &self.listener
        {
            self.listens = self.poller.remove(listener, LISTENER).is_err();
        }
    }

    /// The end of accepting, for good.
    fn begin_to_stop(&mut self) -> Next {
        self.stop_listening();
        self.listener = None;
        self.give_up = Some(self.clock.now + self.drain_timeout);
        Next::Stopping
    }
}
