//! The steps of a request's way through a worker: its head is read, it is sent, for which first a
//! backend is picked and an idle or new connection taken, the answer is relayed, and both
//! connections are free again. Each says with a [`Step`] how it goes on; failures stand in `faults`.
//!
//! Note: `notes/lb.md`.

use super::super::balance::backends::DOWN_FOR;
use super::super::exchange::{End, Exchange, HEAD_ROOM};
use super::super::retry::Fault;
use super::super::rewrite::{ToBackend, ToClient};
use super::super::upstreams::is_the_backends_fault;
use super::faults::NOBODY;
use super::{Closing, FIRST_BUDGET, RETRY_COST, SPARES, Step, Worker};
use crate::http::framing::Framing;
use crate::http::request::{self, Method, Partial};
use crate::http::{Limits, ParseError};

impl Worker<'_> {
    /// Reads the next request and begins its exchange.
    pub fn begin(&mut self, slot: usize) -> Step {
        let (client, shared) = (&mut self.clients[slot], self.shared);
        let (input, limits) = (client.connection.input.unused(), &shared.limits);
        if client.head.is_still_partial(input) && !client.ended {
            return Step::Wait;
        }
        let (request, used) = match request::parse(input, &limits.head) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if !client.ended => {
                client.head = Partial::of(input, &limits.head);
                return Step::Wait;
            }
            Ok(None) if !request::has_begun(input) => return Step::Cut,
            Ok(None) => return self.refuse(slot, ParseError::EndedEarly),
            Err(error) => return self.refuse(slot, error),
        };
        client.head = Partial::default();
        if matches!(request.framing, Framing::Length(length) if length > limits.content) {
            return self.refuse(slot, ParseError::ContentTooLarge);
        }
        client.progress = true;
        let to =
            ToBackend { peer: &client.address, via: &shared.via, authority: &shared.authority };
        let local = shared.answer_locally(&request, client.peer.ip());
        // Of a request that is answered here nothing is forwarded.
        let head_limits = if local.is_some() { Limits::NONE } else { limits.head };
        let now = self.events.clock.now;
        let logs = !shared.log.is_quiet();
        let begin = |buffer| Exchange::begin(buffer, &request, &to, &head_limits, now, logs);
        let exchange = match new_exchange(self.spares.pop(), begin) {
            Ok(exchange) => exchange,
            Err(error) => return self.refuse(slot, error),
        };
        client.connection.input.consume(used);
        client.exchange = Some(exchange);
        match local {
            Some(response) => self.respond(slot, response, ""),
            None => Step::Again,
        }
    }

    /// One step of an exchange: content to the backend, then its answer to the client.
    pub fn send(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = &mut client.exchange else { return Step::Wait };
        let input = &mut client.connection.input;
        // While something is unsent the wait is the backend's, whatever the client does.
        let awaits_client = exchange.unsent().is_empty();
        match exchange.take_content(input.unused(), self.shared.limits.content) {
            Ok(taken) => {
                input.consume(taken);
                client.progress |= taken > 0 && awaits_client;
            }
            Err(error) => return self.refuse(slot, error),
        }
        if client.ended && !exchange.content.is_done() && input.unused().is_empty() {
            return self.refuse(slot, ParseError::EndedEarly);
        }
        let Some(upstream_slot) = exchange.upstream else { return self.attempt(slot) };
        let upstream = &mut self.upstreams.slots[upstream_slot];
        let buffers = &mut self.events.buffers;
        if upstream.connecting || (exchange.history.checking && !upstream.ended) {
            return Step::Wait;
        }
        if exchange.history.checking {
            return self.drop_upstream(slot, Fault::Closed);
        }
        if !exchange.unsent().is_empty() && !upstream.ended && !upstream.broken {
            if exchange.is_batched {
                // It leaves with the others of this turn: see `send_batches`.
                upstream.connection.borrow_output(buffers);
                upstream.connection.output.bytes.extend_from_slice(exchange.unsent());
                exchange.sent(exchange.unsent().len());
            } else if let Ok(n) = upstream.connection.write(exchange.unsent()) {
                exchange.sent(n);
                client.progress |= n > 0;
            } else {
                // The backend may have answered before it closed: read first.
                upstream.broken = true;
                upstream.read(buffers);
            }
        }
        if upstream.queue.front() == Some(&slot) { self.relay(slot) } else { Step::Wait }
    }

    /// Finds a connection to the next backend: an idle one, or a new one.
    fn attempt(&mut self, slot: usize) -> Step {
        let (client, shared) = (&mut self.clients[slot], self.shared);
        let Some(exchange) = &mut client.exchange else { return Step::Wait };
        let next = match exchange.history.checked_backend() {
            Some((backend_id, _)) => Some(backend_id),
            None => shared.backends.next(&exchange.history.tried, self.events.clock.now),
        };
        let Some(backend_id) = next else {
            return self.respond_error(slot, 503, NOBODY, "no backend is up");
        };
        client.progress = true;
        let (fresh, may_pipeline) = (exchange.history.fresh, exchange.may_pipeline);
        // Such a request has content, or must not be repeated, or has lost a connection before.
        let check_first = !may_pipeline;
        let batch = if may_pipeline { self.join_batch(backend_id, slot) } else { None };
        let taken = match batch {
            Some(upstream_slot) => Ok(upstream_slot),
            None => self.upstreams.take(backend_id, slot, fresh, check_first, &mut self.events),
        };
        match taken {
            Ok(upstream_slot) => {
                if let Some(exchange) = &mut self.clients[slot].exchange {
                    exchange.upstream = Some(upstream_slot);
                    exchange.is_batched = batch.is_some();
                }
                self.upstreams.counters[backend_id].in_flight.up();
                Step::Again
            }
            Err(error) if is_the_backends_fault(&error) => {
                self.recover(slot, backend_id, Fault::Refused, false)
            }
            Err(error) => {
                let why = format!("cannot connect: {error}");
                self.respond_error(slot, 503, "The load balancer is out of connections.\n", &why)
            }
        }
    }

    /// Passes on the part of the answer that has come.
    fn relay(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = &mut client.exchange else { return Step::Wait };
        let Some(upstream_slot) = exchange.upstream else { return Step::Wait };
        let upstream = &mut self.upstreams.slots[upstream_slot];
        client.connection.borrow_output(&mut self.events.buffers);
        let to = ToClient {
            version: exchange.version,
            keep_alive: exchange.client_keep_alive() && !self.events.is_stopping(),
            to_head: exchange.method == Method::Head,
            via: &self.shared.via,
            date: self.date.at(self.events.clock.second),
        };
        let (input, output) = (&mut upstream.connection.input, &mut client.connection.output);
        let before = input.unused().len();
        let end = if upstream.broken { End::Broken } else { End::Orderly };
        let end = upstream.ended.then_some(end);
        let relayed = exchange.relay(input, end, output, to);
        if input.unused().len() != before {
            let now_ms = self.shared.backends.ms(self.events.clock.now);
            self.upstreams.counters[upstream.backend_id].heard.set(now_ms);
            client.progress |= exchange.has_begun();
        }
        match relayed {
            Ok(true) => self.finish(slot),
            Ok(false) => Step::Wait,
            Err(fault) => self.drop_upstream(slot, fault),
        }
    }

    /// The answer is complete: both connections are free for the next request.
    fn finish(&mut self, slot: usize) -> Step {
        let (shared, now) = (self.shared, self.events.clock.now);
        let Some(exchange) = &self.clients[slot].exchange else { return Step::Wait };
        let Some(upstream_slot) = exchange.upstream else { return Step::Wait };
        let (backend_id, status) =
            (self.upstreams.slots[upstream_slot].backend_id, exchange.status());
        let name = &shared.backends.list[backend_id].name;
        self.log(slot, format_args!("{name} {}", status.unwrap_or_default()), "");
        let client = &mut self.clients[slot];
        let Some(exchange) = client.exchange.take() else { return Step::Wait };
        client.progress = true;
        if !exchange.client_keep_alive() {
            client.closing = Some(Closing { lingers: exchange.lingers() });
        }
        let upstream = &self.upstreams.slots[upstream_slot];
        // Bytes behind the answer that belong to no request would be taken for the next answer.
        let in_order = upstream.connection.input.unused().is_empty() || upstream.queue.len() > 1;
        let keep = exchange.upstream_keep_alive() && in_order && !upstream.ended;
        self.leave_upstream(upstream_slot, slot, keep);
        let took = now.saturating_duration_since(exchange.started);
        self.upstreams.counters[backend_id].answered(took);
        shared.backends.succeeded(backend_id, false, now);
        if let Some((loser, fault)) = exchange.history.lost
            && loser != backend_id
        {
            shared.backends.eject(loser, &fault, false, Some(now + DOWN_FOR));
        }
        self.budget = (self.budget + 1).min(FIRST_BUDGET.max(RETRY_COST * self.clients.len()));
        if self.spares.len() < SPARES && exchange.request.capacity() <= HEAD_ROOM {
            self.spares.push(exchange);
        }
        Step::Again
    }

    /// Ends a client's use of a connection to a backend. `keep`: it was first in the queue and
    /// has its answer; the next one is served, or the connection waits in the pool. Else it is
    /// closed, and all that share it begin anew elsewhere.
    pub fn leave_upstream(&mut self, upstream_slot: usize, client: usize, keep: bool) {
        let upstream = &mut self.upstreams.slots[upstream_slot];
        self.upstreams.counters[upstream.backend_id].in_flight.down();
        upstream.queue.retain(|&other| other != client);
        if !keep || upstream.close_after {
            self.empty_queue(upstream_slot, 0);
            return self.upstreams.close(upstream_slot, &mut self.events);
        }
        match upstream.queue.front() {
            Some(&next) => self.ready.push(next),
            None => self.upstreams.keep(upstream_slot, &mut self.events),
        }
    }
}

/// An exchange, in the memory of the `spare` one if there is one.
fn new_exchange(
    spare: Option<Box<Exchange>>,
    begin: impl FnOnce(Vec<u8>) -> Result<Exchange, ParseError>,
) -> Result<Box<Exchange>, ParseError> {
    let Some(mut spare) = spare else { return begin(Vec::new()).map(Box::new) };
    *spare = begin(std::mem::take(&mut spare.request))?;
    Ok(spare)
}
