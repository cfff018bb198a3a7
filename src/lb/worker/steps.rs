//! The steps of a request's way through a worker: begun, sent on, answered. Each says with a
//! [`Step`] how it goes on.
//!
//! Note: `notes/lb.md`.

use super::super::exchange::{Exchange, Gateway, Relayed};
use super::super::retry::Fault;
use super::super::rewrite::From;
use super::{Closing, RETRIES, RETRY, Step, Worker};
use crate::http::framing::Framing;
use crate::http::request::{self, Method, Partial};
use crate::http::response::{Content, Response};
use crate::http::{self, ParseError, Version};
use std::io::Write;
use std::net::SocketAddr;

impl Worker<'_> {
    /// Reads the next request and begins its exchange.
    pub(super) fn begin(&mut self, slot: usize) -> Step {
        let (client, limits) = (&mut self.clients[slot], &self.shared.limits);
        let input = client.connection.input.unused();
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
        if let Framing::Length(length) = request.framing
            && length > limits.content
        {
            return self.refuse(slot, ParseError::ContentTooLarge);
        }
        client.progress = true;
        let logs = !self.shared.log.is_quiet();
        let from = From {
            peer: client.peer.ip(),
            via: &self.shared.via,
            authority: &self.shared.authority,
        };
        let local = self.shared.answer_locally(&request, client.peer.ip());
        let most = match local {
            Some(_) => http::Limits::NONE, // nothing of it is forwarded
            None => limits.head,
        };
        let (buffer, now) = (self.events.buffers.take(), self.events.clock.now);
        let exchange = match Exchange::begin(&request, &from, &most, buffer, now, logs) {
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
        let Some(exchange) = &mut client.exchange else {
            return Step::Wait;
        };
        // While something is unsent the wait is the backend's, whatever the client does.
        let awaits_client = exchange.unsent().is_empty();
        match exchange.take_content(&mut client.connection.input, self.shared.limits.content) {
            Ok(any) => client.progress |= any && awaits_client,
            Err(error) => return self.refuse(slot, error),
        }
        if client.ended
            && !exchange.has_all_content()
            && client.connection.input.unused().is_empty()
        {
            return self.refuse(slot, ParseError::EndedEarly);
        }
        let Some(place) = exchange.upstream else {
            return self.attempt(slot);
        };
        let upstream = &mut self.upstreams[place];
        if upstream.connecting {
            return Step::Wait;
        }
        if exchange.history.suspect().is_some() {
            return match upstream.ended {
                true => self.after_fault(slot, Fault::Closed),
                false => Step::Wait,
            };
        }
        if !upstream.ended && !exchange.unsent().is_empty() {
            if exchange.shares {
                // It leaves with the others of this turn: see `send_batches`.
                upstream.connection.borrow_output(&mut self.events.buffers);
                let bytes = exchange.unsent();
                upstream.connection.output.bytes.extend_from_slice(bytes);
                exchange.sent(bytes.len());
            } else {
                match upstream.connection.write(exchange.unsent()) {
                    Ok(0) => {}
                    Ok(n) => {
                        exchange.sent(n);
                        client.progress = true;
                    }
                    // It may have answered before it closed: read first, judge then.
                    Err(_) => {
                        upstream.ended = upstream.connection.fill(&mut self.events.buffers).is_err()
                    }
                }
            }
        }
        if !upstream.serves_first(slot) {
            return Step::Wait;
        }
        client.connection.borrow_output(&mut self.events.buffers);
        let gateway = Gateway {
            limits: &self.shared.limits,
            via: &self.shared.via,
            date: self.date.at(self.events.clock.second),
            stopping: self.events.is_stopping(),
        };
        let before = upstream.connection.input.unused().len();
        let output = &mut client.connection.output;
        let relayed =
            exchange.relay(&mut upstream.connection.input, upstream.ended, output, &gateway);
        let moved = upstream.connection.input.unused().len() != before;
        if moved {
            let now_ms = self.shared.backends.ms(self.events.clock.now);
            self.counters[upstream.backend].heard.set(now_ms);
        }
        client.progress |= moved && exchange.has_begun_answer();
        match relayed {
            Ok(Relayed::Done) => self.finish(slot),
            Ok(Relayed::Waits) => Step::Wait,
            Err(fault) => self.after_fault(slot, fault),
        }
    }

    /// The answer is complete: both connections are free for the next request.
    fn finish(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = client.exchange.take() else {
            return Step::Wait;
        };
        client.progress = true;
        if !exchange.client_keep_alive() {
            client.closing = Some(Closing::when(exchange.lingers()));
        }
        if let Some(place) = exchange.upstream {
            let upstream = &self.upstreams[place];
            let number = upstream.backend;
            // Bytes that nobody asked for would be taken for the next answer.
            let in_order =
                upstream.connection.input.unused().is_empty() || upstream.queue.len() > 1;
            let keep = exchange.upstream_keep_alive() && in_order && !upstream.ended;
            self.release(place, slot, keep);
            let took = self.events.clock.now.saturating_duration_since(exchange.started);
            self.counters[number].answered(took);
            self.shared.backends.succeeded(number, self.events.clock.now);
            if let Some((loser, fault)) = exchange.history.loser()
                && loser != number
            {
                let backends = &self.shared.backends;
                backends.failed(loser, &fault, false, self.events.clock.now);
            }
            self.budget = (self.budget + 1).min(RETRIES.max(RETRY * self.clients.len()));
            if !self.shared.log.is_quiet() {
                let (peer, shared) = (self.clients[slot].peer, self.shared);
                let status = exchange.status().unwrap_or(0).to_string();
                self.log_line(
                    peer,
                    Some(&exchange),
                    &shared.backends.get(number).name,
                    &status,
                    "",
                );
            }
        }
        self.events.buffers.give(exchange.into_buffer());
        Step::Again
    }

    /// Answers in this gateway's own words, and ends the exchange if there is one.
    pub(super) fn respond(&mut self, slot: usize, response: Response, why: &str) -> Step {
        let client = &mut self.clients[slot];
        let exchange = client.exchange.take();
        let is_head = request::is_head(client.connection.input.unused());
        let (to_head, version, mut keep_alive, lingers) = match &exchange {
            Some(exchange) => (
                exchange.method == Method::Head,
                exchange.version(),
                exchange.client_keep_alive() && !self.events.is_stopping(),
                exchange.lingers(),
            ),
            None => (is_head, Version::Http11, false, true),
        };
        // After CONNECT the client would speak to whom it asked for, not to us.
        keep_alive &= exchange.as_ref().is_some_and(|e| e.method != Method::Connect);
        client.connection.borrow_output(&mut self.events.buffers);
        let output = &mut client.connection.output;
        let date = self.date.at(self.events.clock.second);
        response.write_head(&mut output.bytes, date, version, keep_alive);
        let status = response.status;
        if !to_head && let Content::Memory(bytes) = response.content {
            output.send_shared(bytes.0);
        }
        if !keep_alive {
            client.closing = Some(Closing::when(lingers));
        }
        client.progress = true;
        let peer = client.peer;
        self.log_line(peer, exchange.as_deref(), "-", &status.to_string(), why);
        if let Some(place) = exchange.and_then(|exchange| exchange.upstream) {
            self.release(place, slot, false);
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
        if exchange.as_ref().is_some_and(|exchange| exchange.has_begun_answer()) {
            return Step::Cut;
        }
        let response = Response::error(error, &self.shared.served_by);
        self.respond(slot, response, &error.to_string())
    }

    /// `127.0.0.1:50000 GET / -> 127.0.0.1:9002 200 0.3 ms`, and why, if there is a reason.
    pub(super) fn log_line(
        &mut self,
        peer: SocketAddr,
        exchange: Option<&Exchange>,
        whom: &str,
        outcome: &str,
        why: &str,
    ) {
        if self.shared.log.is_quiet() {
            return;
        }
        // Writing into a Vec cannot fail.
        let _ = write!(self.lines, "{peer} ");
        match exchange {
            Some(exchange) => {
                self.lines.extend_from_slice(&exchange.what);
                let ms = exchange.started.elapsed().as_secs_f64() * 1000.0;
                let _ = write!(self.lines, " -> {whom} {outcome} {ms:.1} ms");
            }
            None => drop(write!(self.lines, "- -> {whom} {outcome}")),
        }
        if !why.is_empty() {
            let _ = write!(self.lines, " ({why})");
        }
        self.lines.push(b'\n');
    }
}
