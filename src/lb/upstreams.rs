//! A worker's connections to the backends: at work, or idle in the pool.
//!
//! Knows sockets, not HTTP. Entry points: [`Upstreams::take`], [`Upstreams::keep`],
//! [`Upstreams::close`]. Note: `notes/lb.md`.

use super::status::counters::Counters;
use crate::net::connection::{BufferPool, Connection};
use crate::net::poller::{Interest, Poller, Token};
use crate::net::slots::Slots;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::{Index, IndexMut};
use std::time::Instant;

/// Idle connections kept per backend, until their time is up.
const KEPT: usize = 256;

/// A connection to a backend.
#[derive(Debug)]
pub struct Upstream {
    /// Its socket and buffers.
    pub connection: Connection,
    /// To which backend.
    pub backend: usize,
    /// The clients that it works for, by their slots, in the order of their requests; nobody:
    /// it is idle, in the pool. More than one only with `--pipeline`.
    pub queue: VecDeque<usize>,
    /// The handshake has not ended.
    pub connecting: bool,
    /// It has served before: the backend may close it just when the next request is sent.
    pub reused: bool,
    /// The backend has sent all it will send.
    pub ended: bool,
    /// Answers will come that nobody waits for any more: it serves nobody after the first.
    pub spoilt: bool,
    /// Which of the backend's addresses is next, should this one refuse.
    next_address: usize,
    /// Since when it has been in the pool, if it is there.
    idle_since: Instant,
}

impl Upstream {
    /// Whether the answer that comes next is this client's.
    pub fn serves_first(&self, client: usize) -> bool {
        self.queue.front() == Some(&client)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Upstreams<'a> {
    all: Slots<Upstream>,
    /// The idle ones, by backend. The one used last is used next: it is the least likely to
    /// have been closed by its peer.
    pool: Vec<Vec<usize>>,
    /// By backend: the connection on which the requests of this turn are gathered.
    gathering: Vec<Option<usize>>,
    gathered: Vec<usize>,
    counters: &'a [Counters],
}

/// The token of the connection at this place; even ones, see `worker`.
pub fn token(place: usize) -> Token {
    2 * place + 2
}

impl<'a> Upstreams<'a> {
    /// No connections yet; `counters` by backend.
    pub fn new(counters: &'a [Counters]) -> Upstreams<'a> {
        Upstreams {
            all: Slots::new(),
            pool: vec![Vec::new(); counters.len()],
            gathering: vec![None; counters.len()],
            gathered: Vec::new(),
            counters,
        }
    }

    /// The connection at this place, if there is one.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut Upstream> {
        self.all.get_mut(place)
    }

    /// A connection to the backend for the client: an idle one, or a new one that connects; a
    /// new one in any case if it must be `fresh`.
    pub fn take(
        &mut self,
        backend: usize,
        addresses: &[SocketAddr],
        client: usize,
        fresh: bool,
    ) -> io::Result<usize> {
        if !fresh && let Some(place) = self.take_idle(backend, client) {
            return Ok(place);
        }
        let (connection, next_address) = connect(addresses, 0)?;
        let upstream = Upstream {
            connection,
            backend,
            queue: VecDeque::from([client]),
            connecting: true,
            reused: false,
            ended: false,
            spoilt: false,
            next_address,
            idle_since: Instant::now(),
        };
        self.counters[backend].open.up();
        Ok(self.all.insert(upstream))
    }

    /// After a refusal: connects to the next of the backend's addresses. False: there is none.
    pub fn connect_elsewhere(
        &mut self,
        place: usize,
        addresses: &[SocketAddr],
        poller: &mut Poller,
    ) -> bool {
        let upstream = &mut self.all[place];
        let Ok((connection, next)) = connect(addresses, upstream.next_address) else {
            return false;
        };
        upstream.next_address = next;
        std::mem::replace(&mut upstream.connection, connection).close(poller, token(place));
        true
    }

    /// A connection to the backend on which the client's request can follow the others of this
    /// turn, so that all leave in one write: one with fewer than `depth` of them, or an idle one.
    pub fn gather(&mut self, backend: usize, client: usize, depth: usize) -> Option<usize> {
        if let Some(place) = self.gathering[backend]
            && let Some(upstream) = self.all.get_mut(place)
            && upstream.queue.len() < depth
            && !upstream.spoilt
        {
            upstream.queue.push_back(client);
            return Some(place);
        }
        let place = self.take_idle(backend, client)?;
        self.gathering[backend] = Some(place);
        self.gathered.push(place);
        Some(place)
    }

    /// The connections on which requests were gathered in this turn; from now on, of the next.
    pub fn take_batches(&mut self) -> Vec<usize> {
        self.gathering.fill(None);
        std::mem::take(&mut self.gathered)
    }

    fn take_idle(&mut self, backend: usize, client: usize) -> Option<usize> {
        let place = self.pool[backend].pop()?;
        let upstream = &mut self.all[place];
        upstream.queue.push_back(client);
        upstream.reused = true;
        self.counters[backend].idle.down();
        Some(place)
    }

    /// Its work is done: keeps it for another request, or closes it if there are enough.
    pub fn keep(
        &mut self,
        place: usize,
        buffers: &mut BufferPool,
        poller: &mut Poller,
        now: Instant,
    ) {
        let upstream = &mut self.all[place];
        upstream.idle_since = now;
        upstream.connection.release(buffers);
        // Its end must be noticed also while nobody uses it.
        let watched = upstream.connection.wait_for(Interest::READ, poller, token(place));
        let pool = &mut self.pool[upstream.backend];
        if pool.len() >= KEPT || watched.is_err() {
            return self.close(place, buffers, poller);
        }
        pool.push(place);
        self.counters[upstream.backend].idle.up();
    }

    /// Closes those that have been idle since then or longer.
    pub fn close_idle(&mut self, since: Instant, buffers: &mut BufferPool, poller: &mut Poller) {
        for backend in 0..self.pool.len() {
            // Last in, first out: the one that has been idle longest is the first.
            while let Some(&place) = self.pool[backend].first()
                && self.all[place].idle_since <= since
            {
                self.close(place, buffers, poller);
            }
        }
    }

    /// Closes it.
    pub fn close(&mut self, place: usize, buffers: &mut BufferPool, poller: &mut Poller) {
        let Some(mut upstream) = self.all.remove(place) else {
            return;
        };
        let pool = &mut self.pool[upstream.backend];
        if upstream.queue.is_empty()
            && let Some(i) = pool.iter().position(|&p| p == place)
        {
            pool.remove(i);
            self.counters[upstream.backend].idle.down();
        }
        self.counters[upstream.backend].open.down();
        upstream.connection.release(buffers);
        upstream.connection.close(poller, token(place));
    }

    /// See [`Slots::end_turn`].
    pub fn end_turn(&mut self) {
        self.all.end_turn();
    }
}

/// For places that are known to be taken.
impl Index<usize> for Upstreams<'_> {
    type Output = Upstream;

    fn index(&self, place: usize) -> &Upstream {
        &self.all[place]
    }
}

impl IndexMut<usize> for Upstreams<'_> {
    fn index_mut(&mut self, place: usize) -> &mut Upstream {
        &mut self.all[place]
    }
}

/// Begins to connect to the first of the addresses, from `next` on, that does not refuse at once.
/// Returns also which one is next.
fn connect(addresses: &[SocketAddr], next: usize) -> io::Result<(Connection, usize)> {
    let mut failure: Option<io::Error> = None;
    for (number, &address) in addresses.iter().enumerate().skip(next) {
        let stream = crate::net::sys::connect(address)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        match stream {
            Ok(stream) => return Ok((Connection::new(stream), number + 1)),
            // That one address refuses counts more than what we lack for another.
            Err(error) if failure.as_ref().is_none_or(|f| !is_the_backends_fault(f)) => {
                failure = Some(error);
            }
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| ErrorKind::ConnectionRefused.into()))
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

/// Whether a failure to connect speaks against the backend, not against us.
pub fn is_the_backends_fault(error: &io::Error) -> bool {
    use ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
            | TimedOut
    )
}
