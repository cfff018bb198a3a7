//! The steps of a request's way through a worker: begun, sent on, answered. Each says with a
//! [`Step`] how it goes on.
//!
//! Note: `notes/lb.md`.

use super::super::exchange::Exchange;
use super::super::retry::Fault;
use super::super::rewrite::{Forwarded, ToClient};
use super::{Closing, RETRIES, RETRY, Step, Worker};
use crate::http::framing::Framing;
use crate::http::request::{self, Method, Partial};
use crate::http::response::{Connection, Response};
use crate::http::{Limits, ParseError, Version};
use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;

impl Worker<'_> {
    /// Reads the next request and begins its exchange.
    pub(super) fn begin(&mut self, slot: usize) -> Step {
        let (client, shared) = (&mut self.clients[slot], self.shared);
        let (input, limits) = (client.connection.input.unused(), &shared.limits);
        if client.head.still(input) && !client.ended {
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
        let peer = client.peer.ip();
        let forwarded = Forwarded { peer, via: &shared.via, authority: &shared.authority };
        let local = shared.answer_locally(&request, peer);
        // Of a request that is answered here nothing is forwarded.
        let most = if local.is_some() { Limits::NONE } else { limits.head };
        let (buffer, now) = (self.events.buffers.take(), self.events.clock.now);
        let logs = !shared.log.is_quiet();
        let exchange = match Exchange::begin(&request, &forwarded, &most, buffer, now, logs) {
            Ok(exchange) => exchange,
            Err(error) => return self.refuse(slot, error),
        };
        client.connection.input.consume(used);
        client.exchange = Some(Box::new(exchange));
        match local {
            Some(response) => self.respond(slot, response, ""),
            None => Step::Again,
        }
    }

    /// One step of an exchange: content to the backend, then its answer to the client.
    pub(super) fn exchange(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = &mut client.exchange else { return Step::Wait };
        let input = &mut client.connection.input;
        // While something is unsent the wait is the backend's, whatever the client does.
        let awaits_client = exchange.unsent().is_empty();
        match exchange.take_content(input, self.shared.limits.content) {
            Ok(any) => client.progress |= any && awaits_client,
            Err(error) => return self.refuse(slot, error),
        }
        if client.ended && !exchange.content.is_done() && input.unused().is_empty() {
            return self.refuse(slot, ParseError::EndedEarly);
        }
        let Some(upstream_slot) = exchange.upstream else { return self.attempt(slot) };
        let upstream = &mut self.upstreams.slots[upstream_slot];
        let buffers = &mut self.events.buffers;
        match exchange.history.checks {
            _ if upstream.connecting => return Step::Wait,
            true if upstream.ended => return self.after_fault(slot, Fault::Closed),
            true => return Step::Wait,
            false => {}
        }
        if !exchange.unsent().is_empty() && !upstream.ended {
            if exchange.shares {
                // It leaves with the others of this turn: see `send_batches`.
                upstream.connection.borrow_output(buffers);
                upstream.connection.output.bytes.extend_from_slice(exchange.unsent());
                exchange.sent(exchange.unsent().len());
            } else if let Ok(n) = upstream.connection.write(exchange.unsent()) {
                exchange.sent(n);
                client.progress |= n > 0;
            } else {
                // It may have answered before it closed: read first, judge then.
                upstream.ended = upstream.connection.fill(buffers).is_err();
            }
        }
        match upstream.serves_first(slot) {
            true => self.relay(slot),
            false => Step::Wait,
        }
    }

    /// Passes on what has come of the answer.
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
            date: &self.events.clock.date,
        };
        let (input, output) = (&mut upstream.connection.input, &mut client.connection.output);
        let (before, limits) = (input.unused().len(), &self.shared.limits.head);
        let relayed = exchange.relay(input, upstream.ended, output, limits, to);
        if input.unused().len() != before {
            let now_ms = self.shared.backends.ms(self.events.clock.now);
            self.upstreams.counters[upstream.backend_id].heard.set(now_ms);
            client.progress |= exchange.status().is_some();
        }
        match relayed {
            Ok(true) => self.finish(slot),
            Ok(false) => Step::Wait,
            Err(fault) => self.after_fault(slot, fault),
        }
    }

    /// The answer is complete: both connections are free for the next request.
    fn finish(&mut self, slot: usize) -> Step {
        let (client, shared, now) = (&mut self.clients[slot], self.shared, self.events.clock.now);
        let Some(exchange) = client.exchange.take() else { return Step::Wait };
        let Some(upstream_slot) = exchange.upstream else { return Step::Wait };
        client.progress = true;
        if !exchange.client_keep_alive() {
            client.closing = Some(Closing::when(exchange.lingers()));
        }
        let peer = client.peer;
        let upstream = &self.upstreams.slots[upstream_slot];
        let backend_id = upstream.backend_id;
        // Bytes behind the answer that belong to no request would be taken for the next answer.
        let in_order = upstream.connection.input.unused().is_empty() || upstream.queue.len() > 1;
        let keep = exchange.upstream_keep_alive() && in_order && !upstream.ended;
        self.release(upstream_slot, slot, keep);
        let took = now.saturating_duration_since(exchange.started);
        self.upstreams.counters[backend_id].answered(took);
        shared.backends.succeeded(backend_id, now);
        if let Some((loser, fault)) = exchange.history.lost
            && loser != backend_id
        {
            shared.backends.failed(loser, &fault, false, now);
        }
        self.budget = (self.budget + 1).min(RETRIES.max(RETRY * self.clients.len()));
        let (name, status) = (&shared.backends.get(backend_id).name, exchange.status());
        self.log(peer, Some(&exchange), name, &status.unwrap_or_default(), "");
        self.events.buffers.give(exchange.request);
        Step::Again
    }

    /// Answers in this gateway's own words, and ends the exchange if there is one.
    fn respond(&mut self, slot: usize, response: Response, why: &str) -> Step {
        let client = &mut self.clients[slot];
        let exchange = client.exchange.take();
        let (to_head, version, keep_alive, lingers) = match &exchange {
            Some(exchange) => (
                exchange.method == Method::Head,
                exchange.version,
                // After CONNECT the client would speak to the host that it asked for.
                exchange.client_keep_alive() && exchange.method != Method::Connect,
                exchange.lingers(),
            ),
            None => {
                (request::is_head(client.connection.input.unused()), Version::Http11, false, true)
            }
        };
        let keep_alive = keep_alive && !self.events.is_stopping();
        client.connection.borrow_output(&mut self.events.buffers);
        let output = &mut client.connection.output;
        let says = Connection::says(version, keep_alive);
        response.write_head(&mut output.bytes, &self.events.clock.date, says);
        if !to_head {
            output.send(response.content);
        }
        if !keep_alive {
            client.closing = Some(Closing::when(lingers));
        }
        client.progress = true;
        let peer = client.peer;
        self.log(peer, exchange.as_deref(), "-", &response.status, why);
        if let Some(upstream_slot) = exchange.and_then(|exchange| exchange.upstream) {
            self.release(upstream_slot, slot, false);
        }
        Step::Again
    }

    /// Answers an error of this gateway's own.
    pub(super) fn respond_error(
        &mut self,
        slot: usize,
        status: u16,
        text: &str,
        why: &str,
    ) -> Step {
        let retry: &[_] = if status == 503 { &[("Retry-After", "1")] } else { &[] };
        let response = Response::text(status, &self.shared.served_by, retry, text);
        self.respond(slot, response, why)
    }

    /// Answers what is wrong with a request, and nothing after it.
    pub(super) fn refuse(&mut self, slot: usize, error: ParseError) -> Step {
        let exchange = &self.clients[slot].exchange;
        if exchange.as_ref().is_some_and(|exchange| exchange.status().is_some()) {
            return Step::Cut;
        }
        let response = Response::error(error, &self.shared.served_by);
        self.respond(slot, response, &error.to_string())
    }

    /// `127.0.0.1:50000 GET / -> 127.0.0.1:9002 200 0.3 ms`, and why, if there is a reason.
    pub(super) fn log(
        &mut self,
        peer: SocketAddr,
        exchange: Option<&Exchange>,
        backend: &str,
        outcome: &dyn Display,
        why: &str,
    ) {
        if self.shared.log.is_quiet() {
            return;
        }
        let lines = &mut self.lines;
        // Writing into a Vec cannot fail.
        let _ = write!(lines, "{peer} ");
        lines.extend_from_slice(exchange.map_or(b"-", |exchange| &exchange.log_line));
        let _ = write!(lines, " -> {backend} {outcome}");
        if let Some(exchange) = exchange {
            let _ = write!(lines, " {:.1} ms", exchange.started.elapsed().as_secs_f64() * 1000.0);
        }
        if !why.is_empty() {
            let _ = write!(lines, " ({why})");
        }
        lines.push(b'\n');
    }
}
