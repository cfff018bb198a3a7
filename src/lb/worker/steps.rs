//! The steps of a request's way through a worker: begun, sent on, answered. Each says with a
//! [`Step`] how it goes on.
//!
//! Note: `notes/lb.md`.

use super::super::exchange::{Exchange, Gateway, Relayed};
use super::super::retry::Fault;
use super::super::rewrite::From;
use super::{Closing, EARNED, RETRIES, Step, Worker};
use crate::http::ParseError;
use crate::http::framing::Framing;
use crate::http::request::{self, Method, Partial};
use crate::http::response::{self, Response};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

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
        let (buffer, now) = (self.lender.take(), self.clock.now);
        let exchange = match Exchange::begin(&request, &from, &limits.head, buffer, now, logs) {
            Ok(exchange) => exchange,
            Err(error) => return self.refuse(slot, error),
        };
        let local = self.shared.answer_locally(&request, client.peer.ip());
        client.connection.input.consume(used);
        client.exchange = Some(Box::new(exchange));
        match local {
            Some(response) => self.answer(slot, response, ""),
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
                // It leaves with the others of this turn: see `send_gathered`.
                upstream.connection.borrow_output(&mut self.lender);
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
                    Err(_) => upstream.ended = upstream.connection.fill(&mut self.lender).is_err(),
                }
            }
        }
        if !upstream.serves_first(slot) {
            return Step::Wait;
        }
        client.connection.borrow_output(&mut self.lender);
        let gateway = Gateway {
            limits: &self.shared.limits,
            via: &self.shared.via,
            date: &self.clock.date,
            stopping: self.stopping,
        };
        let before = upstream.connection.input.unused().len();
        let output = &mut client.connection.output;
        let relayed = exchange.relay(
            &mut upstream.connection.input,
            upstream.ended,
            output,
            &gateway,
        );
        let moved = upstream.connection.input.unused().len() != before;
        if moved {
            let now_ms = self.shared.backends.ms(self.clock.now);
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
        if !exchange.client_persists() {
            client.closing = Closing::when(exchange.lingers());
        }
        if let Some(place) = exchange.upstream {
            let upstream = &self.upstreams[place];
            let number = upstream.backend;
            // Bytes that nobody asked for would be taken for the next answer.
            let in_order =
                upstream.connection.input.unused().is_empty() || upstream.queue.len() > 1;
            let keep = exchange.upstream_persists() && in_order && !upstream.ended;
            self.release(place, slot, keep);
            let took = self.clock.now.saturating_duration_since(exchange.started);
            self.counters[number].answered(took);
            self.shared.backends.succeeded(number, self.clock.now);
            if let Some((loser, fault)) = exchange.history.loser()
                && loser != number
            {
                let backends = &self.shared.backends;
                backends.failed(loser, &fault, false, self.clock.now);
            }
            let most = RETRIES.max(self.clients.len() as f32);
            self.retries = (self.retries + EARNED).min(most);
            if !self.shared.log.is_quiet() {
                let peer = self.clients[slot].peer;
                self.write_line(peer, &exchange, number, exchange.status().unwrap_or(0));
            }
        }
        self.lender.give(exchange.into_buffer());
        Step::Again
    }

    /// An error of this gateway's own, in place of the backend's answer.
    pub(super) fn answer_instead(
        &mut self,
        slot: usize,
        status: u16,
        sentence: &str,
        why: &str,
    ) -> Step {
        let retry: &[_] = if status == 503 {
            &[("Retry-After", "1")]
        } else {
            &[]
        };
        let response = Response::text(status, &self.shared.served_by, retry, sentence);
        self.answer(slot, response, why)
    }

    /// Answers a request without a backend, and ends its exchange.
    fn answer(&mut self, slot: usize, response: Response, why: &str) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = client.exchange.take() else {
            return Step::Wait;
        };
        client.connection.borrow_output(&mut self.lender);
        // After CONNECT the client would speak to whom it asked for, not to us.
        let persists =
            exchange.client_persists() && !self.stopping && exchange.method != Method::Connect;
        let says = response::Connection::says(exchange.version(), persists);
        response.write_head(&mut client.connection.output.bytes, &self.clock.date, says);
        let status = response.status;
        if exchange.method != Method::Head {
            client.connection.output.send(response.content);
        }
        if !persists {
            client.closing = Closing::when(exchange.lingers());
        }
        client.progress = true;
        if !self.shared.log.is_quiet() {
            let (what, ms) = (
                String::from_utf8_lossy(&exchange.what),
                ms_since(exchange.started),
            );
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(" ({why})")
            };
            // Writing into a Vec cannot fail.
            let _ = writeln!(
                self.lines,
                "{} {what} -> - {status} {ms:.1} ms{why}",
                client.peer
            );
        }
        if let Some(place) = exchange.upstream {
            self.release(place, slot, false);
        }
        Step::Again
    }

    /// Answers what is wrong with a request, and nothing after it.
    pub(super) fn refuse(&mut self, slot: usize, error: ParseError) -> Step {
        let client = &mut self.clients[slot];
        let mut to_head = request::is_head(client.connection.input.unused());
        if let Some(exchange) = client.exchange.take() {
            to_head = exchange.method == Method::Head;
            let has_begun = exchange.has_begun_answer();
            if let Some(place) = exchange.upstream {
                self.release(place, slot, false);
            }
            if has_begun {
                return Step::Cut;
            }
        }
        let client = &mut self.clients[slot];
        client.connection.borrow_output(&mut self.lender);
        let response = Response::error(error, &self.shared.served_by);
        let out = &mut client.connection.output;
        response.write_head(
            &mut out.bytes,
            &self.clock.date,
            response::Connection::Close,
        );
        let status = response.status;
        if !to_head {
            out.send(response.content);
        }
        (client.closing, client.progress) = (Closing::when(true), true);
        if !self.shared.log.is_quiet() {
            let _ = writeln!(self.lines, "{} - -> - {status} ({error})", client.peer);
        }
        Step::Again
    }

    pub(super) fn log(&mut self, slot: usize, number: usize, what: &str) {
        if let (false, Some(exchange)) = (self.shared.log.is_quiet(), &self.clients[slot].exchange)
        {
            let (request, ms) = (
                String::from_utf8_lossy(&exchange.what),
                ms_since(exchange.started),
            );
            let (peer, backend) = (
                self.clients[slot].peer,
                &self.shared.backends.get(number).name,
            );
            let _ = writeln!(
                self.lines,
                "{peer} {request} -> {backend} {what} {ms:.1} ms"
            );
        }
    }

    fn write_line(&mut self, peer: SocketAddr, exchange: &Exchange, number: usize, status: u16) {
        let backend = &self.shared.backends.get(number).name;
        let _ = write!(self.lines, "{peer} ");
        self.lines.extend_from_slice(&exchange.what);
        let _ = writeln!(
            self.lines,
            " -> {backend} {status} {:.1} ms",
            ms_since(exchange.started)
        );
    }
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
