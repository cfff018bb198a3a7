//! A worker's wait on behalf of a client: which phase it is in, on which side something must
//! happen next, for how long, and what follows when the time is up.
//!
//! [`phase`] and [`upstream_interest`] are decisions without sockets. Note: `notes/lb.md`.

use super::super::exchange::Exchange;
use super::super::retry::Fault;
use super::super::upstreams::{self, Upstream};
use super::{Step, Worker, client_token};
use crate::cli::limits::{LAST_CHANCE, LINGER};
use crate::http::{ParseError, request};
use crate::net::event_loop::EventLoop;
use crate::net::poller::Interest;
use std::time::Duration;

/// How long a request waits behind others on a shared connection. An answer takes less than a
/// millisecond, so if this one takes longer, another connection serves those behind it sooner.
const BEHIND: Duration = Duration::from_millis(50);

/// How long a connection to a backend must stay open to show that the backend lives: while a
/// process ends, its connections may be closed before it stops listening.
const SIGN_OF_LIFE: Duration = Duration::from_millis(50);

/// The event that is waited for on behalf of a client, which decides for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Idle,     // a request
    Head,     // the rest of its head: the time runs from its first byte
    Content,  // more of its content: the time runs from the last piece
    Connect,  // the handshake with a backend
    Check,    // a new connection stays open, so the backend that lost the answer lives
    Send,     // the backend's socket takes more of the request
    Response, // the head of the answer
    Behind,   // the answers to earlier requests on a shared connection
    Relay,    // more of the answer's content
    Write,    // the client reads on
    Linger,   // the client has its last answer and may still be sending
}

/// The phase of a client. `drained`: its output is empty, and no request in its input waits for the
/// next turn. `begun`: the first bytes of a request are here. `stage`: how far its exchange is, if
/// there is one.
pub fn phase(drained: bool, closing: bool, begun: bool, stage: Option<Phase>) -> Phase {
    match stage {
        Some(Phase::Behind) => Phase::Behind,
        _ if !drained => Phase::Write,
        Some(stage) => stage,
        None if closing => Phase::Linger,
        None if begun => Phase::Head,
        None => Phase::Idle,
    }
}

/// How far an exchange is, for the client in this slot; `upstream`: its connection, if it has one.
fn stage_of(exchange: &Exchange, upstream: Option<&Upstream>, slot: usize) -> Phase {
    match upstream {
        Some(upstream) if upstream.queue.front() != Some(&slot) => Phase::Behind,
        Some(upstream) if upstream.connecting => Phase::Connect,
        _ if exchange.has_begun() => Phase::Relay,
        _ if exchange.history.checking => Phase::Check,
        _ if !exchange.unsent().is_empty() => Phase::Send,
        _ if !exchange.content.is_done() => Phase::Content,
        _ => Phase::Response,
    }
}

/// The state of a connection to a backend.
#[derive(Debug, Default, Clone, Copy)]
pub struct State {
    pub connecting: bool, // the handshake has not ended
    pub unsent: bool,     // something is left to be sent on it
    pub ended: bool,      // nothing more comes from the backend
    pub broken: bool,     // the backend takes nothing more
}

/// Whether reading, and writing, is waited for on a connection to a backend. `drained`: see
/// [`phase`]; while the client has not read what it got, the backend must wait.
pub fn upstream_interest(at: State, drained: bool) -> (bool, bool) {
    let readable = !at.connecting && !at.ended && drained;
    (readable, at.connecting || (at.unsent && !at.ended && !at.broken))
}

impl Worker<'_> {
    /// Decides what to wait for on the client's side and on its backend's, and for how long.
    /// `has_more`: requests are left in the input for the next turn.
    pub fn watch(&mut self, slot: usize, has_more: bool) {
        let client = &mut self.clients[slot];
        let EventLoop { buffers, poller, .. } = &mut self.events;
        client.connection.release(buffers);
        // If requests are left for the next turn, a socket that can be written to brings it.
        let drained = client.connection.output.is_empty() && !has_more;
        let (mut reads, mut reached) = (drained || client.closing.is_some(), None);
        if let Some(exchange) = &client.exchange {
            reads = exchange.has_room();
            let upstream = exchange.upstream.map(|index| &mut self.upstreams.slots[index]);
            let stage = stage_of(exchange, upstream.as_deref(), slot);
            reached = Some(stage);
            if let (Some(upstream), Some(upstream_slot)) = (upstream, exchange.upstream)
                && stage != Phase::Behind
            {
                let to_send = !exchange.unsent().is_empty() && stage != Phase::Check;
                let unsent = to_send || !upstream.connection.output.is_empty();
                let Upstream { connecting, ended, broken, .. } = *upstream;
                let state = State { connecting, unsent, ended, broken };
                let (readable, writable) = upstream_interest(state, drained);
                let interest = Interest { readable, writable };
                let token = upstreams::token(upstream_slot);
                if interest == Interest::NONE {
                    upstream.connection.unwatch(poller, token);
                } else if upstream.connection.wait_for(interest, poller, token).is_err() {
                    return self.close(slot);
                }
                upstream.connection.release(buffers);
            }
        }
        let readable = reads && !client.ended && !client.connection.input_is_full();
        let interest = Interest { readable, writable: !drained };
        if client.connection.wait_for(interest, poller, client_token(slot)).is_err() {
            return self.close(slot);
        }
        let begun = request::has_begun(client.connection.input.unused());
        let next = phase(drained, client.closing.is_some(), begun, reached);
        if std::mem::take(&mut client.progress) || next != client.phase {
            self.begin_phase(slot, next);
        }
    }

    fn begin_phase(&mut self, slot: usize, phase: Phase) {
        let (shared, limits) = (self.shared, &self.shared.limits);
        let limit = match phase {
            Phase::Idle if self.events.is_stopping() => LAST_CHANCE,
            Phase::Idle => limits.idle_timeout,
            Phase::Head => limits.header_timeout,
            Phase::Content => limits.content_timeout,
            Phase::Connect => shared.connect_timeout,
            Phase::Check => SIGN_OF_LIFE,
            Phase::Send | Phase::Response => shared.response_timeout,
            Phase::Behind => BEHIND,
            Phase::Relay => shared.relay_timeout,
            Phase::Write => limits.write_timeout,
            Phase::Linger => LINGER,
        };
        let client = &mut self.clients[slot];
        client.phase = phase;
        let mut until = self.events.clock.now + limit;
        // All attempts at a request have one response timeout together.
        if let Some(exchange) = &mut client.exchange {
            let due = &mut exchange.history.due;
            until = match phase {
                Phase::Response => *due.get_or_insert(until),
                Phase::Connect | Phase::Send => due.map_or(until, |due| due.min(until)),
                _ => until,
            };
        }
        self.events.timers.set(client_token(slot), Some(until));
    }

    /// The time of a client's phase is up.
    pub fn expire(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let now = self.events.clock.now;
        let history = client.exchange.as_ref().map(|exchange| &exchange.history);
        let is_overdue = history.and_then(|history| history.due).is_some_and(|due| due <= now);
        let step = match client.phase {
            Phase::Idle | Phase::Write | Phase::Linger => Step::Cut,
            Phase::Head => self.refuse(slot, ParseError::HeadTimeout),
            Phase::Content => self.refuse(slot, ParseError::ContentTimeout),
            Phase::Connect if !is_overdue => self.drop_upstream(slot, Fault::ConnectTimeout),
            Phase::Send => self.drop_upstream(slot, Fault::SendTimeout),
            Phase::Connect | Phase::Response | Phase::Relay => {
                self.drop_upstream(slot, Fault::ResponseTimeout)
            }
            Phase::Check => match history.and_then(|history| history.checked_backend()) {
                // It lives, so it is the request that no backend answers.
                Some((backend_id, fault)) => self.answer_fault(slot, 502, backend_id, fault),
                None => Step::Wait,
            },
            Phase::Behind => return self.leave_queue(slot),
        };
        self.go_on(slot, step);
    }

    /// An idle client's request may be on its way: the client gets a moment for it.
    pub fn begin_drain(&mut self) {
        for (slot, client) in self.clients.iter_mut() {
            if client.phase == Phase::Idle {
                self.events.set_deadline(client_token(slot), LAST_CHANCE);
            }
        }
    }
}
