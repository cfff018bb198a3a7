//! One event loop of the load balancer: clients on one side, backends on the other, and
//! exchanges between them.
//!
//! Each worker owns its clients and its connections to backends; all that workers share is in
//! [`Shared`]. Entry point: [`Worker::run`]. Note: `notes/lb.md`.

// a request's way through the worker
mod steps;
// a backend that fails, and answers of this gateway's own
mod faults;
// which events are waited for, and for how long
pub mod wait;
// requests that share a connection: see `--pipeline`
mod sharing;

use super::Shared;
use super::exchange::Exchange;
use super::retry::Fault;
use super::upstreams::{Upstreams, is_connected};
use crate::cli::shutdown::Stop;
use crate::http::date;
use crate::http::request::Partial;
use crate::net::Filled;
use crate::net::connection::Connection;
use crate::net::event_loop::{ANSWERS, EventLoop, Next};
use crate::net::poller::{Kind, Token};
use crate::net::slots::Slots;
use crate::net::sys;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use wait::Phase;

/// A client's token: odd. A backend connection's is even, see [`super::upstreams::token`]; 0 is
/// the listener's.
fn client_token(slot: usize) -> Token {
    2 * slot + 1
}

/// A worker takes no newcomers while it has so many clients more than another one: a thousand
/// idle ones in one worker would leave all that are active to the others.
const AHEAD: usize = 8;

/// A retry's cost in the worker's budget; each answer adds 1 to it. The budget grows up to a retry
/// for each client, or [`FIRST_BUDGET`]: so all that wait on a backend that dies get another try, but
/// when backends fail one after the other, retries do not multiply the load on those that are left.
const RETRY_COST: usize = 5;
const FIRST_BUDGET: usize = 100 * RETRY_COST;

/// Exchanges kept for the next ones.
const SPARES: usize = 64;

/// A client's connection.
struct Client {
    connection: Connection,
    peer: SocketAddr,
    address: String, // the peer's, as it is forwarded
    head: Partial,   // of a request, that has not arrived as a whole
    phase: Phase,
    progress: bool, // something moved, so the time of the phase begins anew
    ended: bool,    // it has sent all it will send
    exchange: Option<Box<Exchange>>,
    closing: Option<Closing>, // its output is the last that it gets
}

struct Closing {
    lingers: bool, // the client may be sending on: it is given time to read (RFC 9112 §9.6)
}

/// How a step of a request's way ended.
#[derive(PartialEq, Eq)]
pub(super) enum Step {
    Again, // there may be more to do
    Wait,  // nothing more can be done now
    Cut,   // the client's connection is to be closed
}

pub(super) struct Worker<'a> {
    shared: &'a Shared,
    worker_id: usize,
    events: EventLoop,
    clients: Slots<Client>,
    upstreams: Upstreams<'a>,
    date: date::Cached,
    /// Exchanges that have ended, for the next ones: a few dozen requests are under way at once, more
    /// blocks of one size than the allocator has at hand.
    #[allow(clippy::vec_box)] // the boxes are what is used again
    spares: Vec<Box<Exchange>>,
    budget: usize, // in [`RETRY_COST`]s and answers
    /// Clients to be taken further before the turn ends: the wait for their turn on a shared
    /// connection is over.
    ready: Vec<usize>,
    /// Connections on which requests wait for the end of this turn, to leave together.
    batches: Vec<usize>,
    ejections: usize, // how many there were when this was last looked at
    share: usize,     // how many clients it takes before it leaves newcomers to the others
    lines: Vec<u8>,   // of the log, in this turn
}

impl<'a> Worker<'a> {
    pub fn new(shared: &'a Shared, worker_id: usize, listener: TcpListener) -> io::Result<Self> {
        let limits = &shared.limits;
        let events =
            EventLoop::new(listener, Kind::BEST, limits.connections, limits.drain_timeout)?;
        Ok(Worker {
            shared,
            worker_id,
            date: date::Cached::new(events.clock.second),
            events,
            clients: Slots::new(),
            upstreams: Upstreams::new(&shared.backends, worker_id),
            spares: Vec::new(),
            budget: FIRST_BUDGET,
            ready: Vec::new(),
            batches: Vec::new(),
            ejections: 0,
            share: AHEAD,
            lines: Vec::new(),
        })
    }

    /// Serves until the stop flag is raised and the answers in flight have been given.
    pub fn run(mut self, stop: &Stop) -> io::Result<()> {
        while let Some(next) = self.events.next(stop, self.clients.len(), self.share)? {
            match next {
                Next::Accepted(stream, peer) => self.accept(stream, peer),
                Next::Ready(event) if event.token % 2 == 1 => {
                    self.client_ready((event.token - 1) / 2, event.readable);
                }
                Next::Ready(event) => self.upstream_ready((event.token - 2) / 2, event.readable),
                Next::Expired(token) => self.expire((token - 1) / 2),
                Next::TurnEnd => self.end_turn(),
                Next::Stopping => self.begin_drain(),
            }
        }
        Ok(())
    }

    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let slot = self.clients.insert(Client {
            connection: Connection::new(stream),
            peer,
            address: peer.ip().to_string(),
            head: Partial::default(),
            phase: Phase::Idle,
            progress: true,
            ended: false,
            exchange: None,
            closing: None,
        });
        // The request has often arrived with the connection; if not, the read says so.
        self.client_ready(slot, true);
    }

    fn client_ready(&mut self, slot: usize, readable: bool) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        match client.connection.flush() {
            Ok(moved) => client.progress |= moved,
            Err(_) => return self.close(slot),
        }
        if client.ended || client.connection.input_is_full() {
            // Nothing can be read: if it is called ready all the same, it may have been reset.
            if readable && client.connection.is_broken() {
                return self.close(slot);
            }
        } else if readable {
            match client.connection.fill(&mut self.events.buffers) {
                Ok(filled) => client.ended = filled == Filled::End,
                Err(_) => return self.close(slot),
            }
        }
        self.advance(slot);
    }

    fn upstream_ready(&mut self, upstream_slot: usize, readable: bool) {
        let Some(upstream) = self.upstreams.slots.get_mut(upstream_slot) else { return };
        let Some(&slot) = upstream.queue.front() else {
            // It is idle, so the backend has closed it, or sent bytes that no request asked for.
            return self.upstreams.close(upstream_slot, &mut self.events);
        };
        if upstream.connecting {
            match is_connected(&upstream.connection) {
                Ok(true) => upstream.connecting = false,
                Ok(false) => return,
                Err(_) if self.upstreams.connect_next_address(upstream_slot, &mut self.events) => {}
                Err(_) => {
                    let step = self.drop_upstream(slot, Fault::Refused);
                    return self.go_on(slot, step);
                }
            }
        } else if !upstream.ended {
            // If the write fails, the backend may have answered before it closed: read first.
            upstream.broken |= upstream.connection.flush().is_err();
            if readable {
                upstream.read(&mut self.events.buffers);
            }
        }
        self.advance(slot);
        self.advance_ready();
    }

    /// Takes a client as far as it gets now, then decides what to wait for.
    fn advance(&mut self, slot: usize) {
        let (mut begun, mut has_more) = (0, false);
        loop {
            let client = &mut self.clients[slot];
            let step = if client.closing.is_some() {
                self.end_client(slot)
            } else if client.exchange.is_some() {
                self.send(slot)
            } else if !client.connection.output.is_empty() {
                Step::Wait
            } else if begun == ANSWERS {
                has_more = !client.connection.input.unused().is_empty();
                break;
            } else {
                begun += 1;
                self.begin(slot)
            };
            let connection = &mut self.clients[slot].connection;
            let was_empty = connection.output.is_empty();
            if step == Step::Cut || connection.flush().is_err() {
                return self.close(slot);
            }
            // An output that was just emptied has room for what still waits at the backend.
            if step == Step::Wait && (was_empty || !connection.output.is_empty()) {
                break;
            }
        }
        self.watch(slot, has_more);
    }

    /// Goes on after a step that was taken outside [`Worker::advance`].
    fn go_on(&mut self, slot: usize, step: Step) {
        if step == Step::Cut { self.close(slot) } else { self.advance(slot) }
    }

    /// After the last answer: what still comes is dropped, and at last the connection is closed.
    fn end_client(&mut self, slot: usize) -> Step {
        let Client { connection, phase, ended, closing, .. } = &mut self.clients[slot];
        connection.input.consume(connection.input.unused().len());
        if !connection.output.is_empty() {
            return Step::Wait;
        }
        let lingers = !*ended && closing.as_ref().is_some_and(|closing| closing.lingers);
        let waits = lingers && (*phase == Phase::Linger || connection.end_output().is_ok());
        if waits { Step::Wait } else { Step::Cut }
    }

    /// Closes a client's connection, and ends what is done on its behalf.
    fn close(&mut self, slot: usize) {
        let Some(mut client) = self.clients.remove(slot) else { return };
        let token = client_token(slot);
        self.events.timers.set(token, None);
        client.connection.release(&mut self.events.buffers);
        if client.exchange.as_ref().is_some_and(|exchange| exchange.ends_with_close()) {
            // An orderly end would say that the answer is complete.
            let _ = sys::reset_on_close(client.connection.stream());
        }
        client.connection.close(&mut self.events.poller, token);
        if let Some(upstream_slot) = client.exchange.and_then(|exchange| exchange.upstream) {
            self.leave_upstream(upstream_slot, slot, false);
        }
    }

    fn end_turn(&mut self) {
        self.retry_ejected();
        self.send_batches();
        if let Some(since) = self.events.clock.now.checked_sub(self.shared.upstream_idle_timeout) {
            self.upstreams.close_idle(since, &mut self.events);
        }
        self.clients.end_turn();
        self.upstreams.slots.end_turn();
        let counts = &self.shared.clients;
        counts[self.worker_id].store(self.clients.len(), Relaxed);
        let least = counts.iter().map(|count| count.load(Relaxed)).min();
        self.share = least.unwrap_or_default().saturating_add(AHEAD);
        self.shared.log.add(&mut self.lines);
    }
}

/// A worker that has ended takes nobody, so the others do not wait for it to have as many.
impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.shared.clients[self.worker_id].store(usize::MAX, Relaxed);
    }
}
