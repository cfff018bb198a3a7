//! A worker's connections to the backends: at work, or idle in the pool.
//!
//! Knows sockets, not HTTP. Entry points: [`Upstreams::take`], [`Upstreams::keep`],
//! [`Upstreams::close`]. Note: `notes/lb.md`.

use super::balance::backends::Backends;
use super::balance::counters::Counters;
use crate::net::Filled;
use crate::net::connection::{BufferPool, Connection};
use crate::net::event_loop::EventLoop;
use crate::net::poller::{Interest, Token};
use crate::net::slots::Slots;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Instant;

/// Idle connections kept per backend, until their time is up.
const IDLE: usize = 256;

pub struct Upstream {
    pub connection: Connection,
    pub backend_id: usize,
    /// The clients that it works for, by their slots, in the order of their requests: the first
    /// one's answer comes next. None: it is idle, in the pool. Many: only with `--pipeline`.
    pub queue: VecDeque<usize>,
    pub connecting: bool,  // the handshake has not ended
    pub ended: bool,       // nothing more comes from the backend
    pub broken: bool,      // it takes nothing more, and an answer that ends with it is cut
    pub reused: bool,      // it has served: the backend may close it just as a request is sent
    pub close_after: bool, // close it after the first answer: the clients behind that one have left
    next_address: usize,   // of the backend's, should this one refuse
    idle_since: Instant,   // if it is in the pool
}

impl Upstream {
    pub fn read(&mut self, buffers: &mut BufferPool) {
        let filled = self.connection.fill(buffers);
        self.broken |= filled.is_err();
        self.ended |= !matches!(filled, Ok(Filled::Bytes | Filled::Nothing));
    }
}

pub struct Upstreams<'a> {
    pub slots: Slots<Upstream>,
    /// The idle ones, by backend. The one used last is used next: it is the least likely to
    /// have been closed by its peer.
    pool: Vec<Vec<usize>>,
    pub counters: &'a [Counters], // by backend
    backends: &'a Backends,
}

/// The token of the connection in this slot; even ones, see `worker`.
pub fn token(slot: usize) -> Token {
    2 * slot + 2
}

impl<'a> Upstreams<'a> {
    pub fn new(backends: &'a Backends, worker_id: usize) -> Upstreams<'a> {
        let (counters, pool) = (&*backends.counters[worker_id], vec![vec![]; backends.list.len()]);
        Upstreams { slots: Slots::new(), pool, counters, backends }
    }

    /// A connection to the backend for the client: an idle one, or a new one that connects; a
    /// new one in any case if it must be `fresh`. `check_first`: what is sent on it cannot be
    /// repeated, so an idle one is used only if the backend has not closed it by now.
    pub fn take(
        &mut self,
        backend_id: usize,
        client: usize,
        fresh: bool,
        check_first: bool,
        events: &mut EventLoop,
    ) -> io::Result<usize> {
        if !fresh && let Some(slot) = self.take_idle(backend_id, client) {
            if !check_first || self.slots[slot].connection.is_quiet() {
                return Ok(slot);
            }
            self.close(slot, events);
        }
        let (connection, next_address) = connect(&self.backends.list[backend_id].addresses, 0)?;
        self.counters[backend_id].open.up();
        Ok(self.slots.insert(Upstream {
            connection,
            backend_id,
            queue: VecDeque::from([client]),
            connecting: true,
            reused: false,
            ended: false,
            broken: false,
            close_after: false,
            next_address,
            idle_since: events.clock.now,
        }))
    }

    /// An idle connection to the backend, for the client.
    pub fn take_idle(&mut self, backend_id: usize, client: usize) -> Option<usize> {
        let slot = self.pool[backend_id].pop()?;
        let upstream = &mut self.slots[slot];
        upstream.queue.push_back(client);
        upstream.reused = true;
        self.counters[backend_id].idle.down();
        Some(slot)
    }

    /// After a refusal: connects to the next of the backend's addresses. False: there is none.
    pub fn connect_next_address(&mut self, slot: usize, events: &mut EventLoop) -> bool {
        let upstream = &mut self.slots[slot];
        let addresses = &self.backends.list[upstream.backend_id].addresses;
        let Ok((new, next)) = connect(addresses, upstream.next_address) else { return false };
        upstream.next_address = next;
        std::mem::replace(&mut upstream.connection, new).close(&mut events.poller, token(slot));
        true
    }

    /// Its work is done: keeps it for another request, or closes it if there are enough.
    pub fn keep(&mut self, slot: usize, events: &mut EventLoop) {
        let upstream = &mut self.slots[slot];
        upstream.idle_since = events.clock.now;
        upstream.connection.release(&mut events.buffers);
        // Its end must be noticed also while nobody uses it.
        let watched = upstream.connection.wait_for(Interest::READ, &mut events.poller, token(slot));
        let pool = &mut self.pool[upstream.backend_id];
        if pool.len() >= IDLE || watched.is_err() {
            return self.close(slot, events);
        }
        pool.push(slot);
        self.counters[upstream.backend_id].idle.up();
    }

    /// Closes the connections that have been idle since then or longer.
    pub fn close_idle(&mut self, since: Instant, events: &mut EventLoop) {
        for backend_id in 0..self.pool.len() {
            // Last in, first out: the one that has been idle longest is the first.
            while let Some(&slot) = self.pool[backend_id].first()
                && self.slots[slot].idle_since <= since
            {
                self.close(slot, events);
            }
        }
    }

    pub fn close(&mut self, slot: usize, events: &mut EventLoop) {
        let Some(mut upstream) = self.slots.remove(slot) else { return };
        let pool = &mut self.pool[upstream.backend_id];
        let counters = &self.counters[upstream.backend_id];
        if upstream.queue.is_empty()
            && let Some(i) = pool.iter().position(|&pooled| pooled == slot)
        {
            pool.remove(i);
            counters.idle.down();
        }
        counters.open.down();
        upstream.connection.release(&mut events.buffers);
        upstream.connection.close(&mut events.poller, token(slot));
    }
}

/// Begins to connect to the first of the addresses, from `next` on, that does not refuse at once.
/// Returns also which one is next.
fn connect(addresses: &[SocketAddr], next: usize) -> io::Result<(Connection, usize)> {
    let mut failure = ErrorKind::ConnectionRefused.into();
    for (i, &address) in addresses.iter().enumerate().skip(next) {
        let stream = crate::net::sys::connect(address);
        match stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok((Connection::new(stream), i + 1)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Whether the handshake has ended; the error is its outcome.
pub fn is_connected(connection: &Connection) -> io::Result<bool> {
    let stream = connection.stream();
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        // Nobody listens, but the port lies among those that the system gives to those who
        // connect, and it gave us just that one: TCP connects such a socket to itself.
        Ok(peer) if stream.local_addr()? == peer => Err(ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a failure to connect speaks against the backend, not against this process.
pub fn is_the_backends_fault(error: &io::Error) -> bool {
    use ErrorKind::*;
    [ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, NetworkDown, TimedOut]
        .contains(&error.kind())
}
