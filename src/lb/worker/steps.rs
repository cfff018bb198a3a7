//! The steps of a request's way through a worker: begun, sent to a backend, answered, or moved
//! to another backend. Each says with a [`Step`] how it goes on.
//!
//! Note: `notes/lb.md`.

use super::super::exchange::{Exchange, Fault, Gateway, Relayed};
use super::super::rewrite::From;
use super::super::upstreams::is_the_backends_fault;
use super::{Client, Closing, EARNED, RETRIES, Step, Worker};
use crate::http::ParseError;
use crate::http::request::{self, Method};
use crate::http::response::{self, Response};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

impl Worker<'_> {
    /// Reads the next request and begins its exchange.
    pub(super) fn begin(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let parsed =
            match request::parse(client.connection.input.unused(), &self.shared.limits.head) {
                Ok(Some(parsed)) => parsed,
                Ok(None) if !client.ended => return Step::Wait,
                Ok(None) if !request::has_begun(client.connection.input.unused()) => {
                    return Step::Cut;
                }
                Ok(None) => return self.refuse(slot, ParseError::EndedEarly),
                Err(error) => return self.refuse(slot, error),
            };
        let (request, used) = parsed;
        client.progress = true;
        let logs = !self.shared.log.is_quiet();
        let mut exchange = self
            .spare
            .pop()
            .unwrap_or_else(|| Box::new(Exchange::new()));
        let from = From {
            peer: client.peer.ip(),
            via: &self.shared.via,
            authority: &self.shared.authority,
        };
        exchange.begin(&request, &from, self.clock.now, logs);
        let local = self.shared.answer_locally(&request, client.peer.ip());
        client.connection.input.consume(used);
        client.exchange = Some(exchange);
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
        match exchange.take_content(&mut client.connection.input) {
            Ok(any) => client.progress |= any,
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
        if !upstream.ended && !exchange.unsent().is_empty() {
            if self.shared.pipeline > 1 && upstream.reused && exchange.may_share() {
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
                        client.progress |= !exchange.has_all_content();
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
        client.progress |= moved && exchange.has_begun_answer();
        match relayed {
            Ok(Relayed::Done) => self.finish(slot),
            Ok(Relayed::Waits) => Step::Wait,
            Err(fault) => self.after_fault(slot, fault),
        }
    }

    /// Finds a connection to the next backend: an idle one, or a new one.
    fn attempt(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = &mut client.exchange else {
            return Step::Wait;
        };
        let backends = &self.shared.backends;
        // Each backend once, and once more for a kept connection that was closed.
        let next = match exchange.attempts <= backends.len() {
            true => backends.next(&exchange.tried, self.clock.now),
            false => None,
        };
        let Some(number) = next else {
            let sentence = "No backend can serve the request now.\n";
            return self.answer_instead(slot, 503, sentence, "no backend is up");
        };
        exchange.attempts += 1;
        client.progress = true;
        let address = backends.get(number).address;
        let gathered = match self.shared.pipeline {
            depth if depth > 1 && exchange.may_share() => {
                self.upstreams.gather(number, slot, depth)
            }
            _ => None,
        };
        let taken = match gathered {
            Some(place) => Ok(place),
            None => self.upstreams.take(number, address, slot),
        };
        match taken {
            Ok(place) => {
                exchange.upstream = Some(place);
                self.counters[number].in_flight.up();
                Step::Again
            }
            Err(error) if is_the_backends_fault(&error) => {
                exchange.tried.push(number);
                self.counters[number].failures.up();
                backends.failed(number, &Fault::Refused, false, self.clock.now);
                Step::Again
            }
            Err(error) => {
                let why = format!("cannot connect: {error}");
                self.answer_instead(
                    slot,
                    503,
                    "The load balancer is out of connections.\n",
                    &why,
                )
            }
        }
    }

    /// Ends a client's use of a connection to a backend. `keep`: it was first in the queue and
    /// has its answer; the next one is served, or the connection waits in the pool. Else it is
    /// closed, and whoever shares it begins anew elsewhere.
    pub(super) fn release(&mut self, place: usize, client: usize, keep: bool) {
        let upstream = &mut self.upstreams[place];
        let in_flight = &self.counters[upstream.backend].in_flight;
        in_flight.down();
        upstream.queue.retain(|&other| other != client);
        if keep && !upstream.spoilt {
            match upstream.queue.front() {
                Some(&next) => self.follow.push(next),
                None => self
                    .upstreams
                    .keep(place, &mut self.lender, &mut self.poller),
            }
            return;
        }
        for other in std::mem::take(&mut upstream.queue) {
            in_flight.down();
            if let Some(exchange) = &mut self.clients[other].exchange {
                exchange.rewind();
            }
            self.follow.push(other);
        }
        self.upstreams
            .close(place, &mut self.lender, &mut self.poller);
    }

    /// Takes those further who waited behind others.
    pub(super) fn follow_up(&mut self) {
        while let Some(slot) = self.follow.pop() {
            if self.clients.get_mut(slot).is_some() {
                self.advance(slot);
            }
        }
    }

    /// The end of a turn: sends what was gathered for each backend in one write.
    pub(super) fn send_gathered(&mut self) {
        self.follow_up();
        while let gathered = self.upstreams.take_gathered()
            && !gathered.is_empty()
        {
            for place in gathered {
                let Some(upstream) = self.upstreams.get_mut(place) else {
                    continue;
                };
                if upstream.connection.flush().is_err() {
                    upstream.ended = upstream.connection.fill(&mut self.lender).is_err();
                }
                upstream.connection.settle(&mut self.lender);
                let first = upstream.queue.front().copied();
                if (upstream.ended || !upstream.connection.output.is_empty())
                    && let Some(first) = first
                {
                    self.advance(first);
                }
            }
            self.follow_up();
        }
    }

    /// The answer before its own is slow: all who wait behind it move to other connections. What
    /// the backend still answers them on this one is for nobody, so it ends with that answer.
    pub(super) fn leave_queue(&mut self, slot: usize) {
        let Some(exchange) = &self.clients[slot].exchange else {
            return;
        };
        let Some(place) = exchange.upstream else {
            return;
        };
        let upstream = &mut self.upstreams[place];
        upstream.spoilt = true;
        for other in upstream.queue.split_off(1) {
            self.counters[upstream.backend].in_flight.down();
            if let Some(exchange) = &mut self.clients[other].exchange {
                exchange.rewind();
            }
            self.follow.push(other);
        }
    }

    /// When a backend has been ejected, those who wait for its answer move to another.
    pub(super) fn leave_ejected(&mut self) {
        let ejections = self.shared.backends.ejections();
        if std::mem::replace(&mut self.ejections, ejections) == ejections {
            return;
        }
        let (upstreams, backends, now) = (&self.upstreams, &self.shared.backends, self.clock.now);
        let waits_in_vain = |client: &Client| {
            let Some(exchange) = &client.exchange else {
                return false;
            };
            let Some(place) = exchange.upstream else {
                return false;
            };
            exchange.may_retry() && !backends.is_up(upstreams[place].backend, now)
        };
        let slots: Vec<_> = self
            .clients
            .iter_mut()
            .filter(|(_, client)| waits_in_vain(client))
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            self.fail(slot, Fault::Ejected);
        }
    }

    pub(super) fn fail(&mut self, slot: usize, fault: Fault) {
        match self.after_fault(slot, fault) {
            Step::Cut => self.cut(slot),
            _ => self.advance(slot),
        }
    }

    /// The backend did not serve: another one gets the request if that does no harm.
    pub(super) fn after_fault(&mut self, slot: usize, fault: Fault) -> Step {
        let Some(exchange) = &mut self.clients[slot].exchange else {
            return Step::Wait;
        };
        let Some(place) = exchange.upstream else {
            return Step::Wait;
        };
        let upstream = &self.upstreams[place];
        let number = upstream.backend;
        // That a kept connection was closed says nothing about the backend: it was idle too long.
        let is_stale = upstream.reused && fault == Fault::Closed && !exchange.has_begun_answer();
        if !is_stale {
            exchange.tried.push(number);
            self.counters[number].failures.up();
        }
        if !is_stale && fault != Fault::Ejected {
            let doubtful = !matches!(fault, Fault::Refused | Fault::ConnectTimeout);
            self.shared
                .backends
                .failed(number, &fault, doubtful, self.clock.now);
        }
        let has_begun = exchange.has_begun_answer();
        let may_retry = exchange.may_retry() && self.retries >= 1.0;
        exchange.rewind();
        self.release(place, slot, false);
        if has_begun {
            // Half an answer has gone out: only a cut connection tells the client so.
            self.log(slot, number, "cut");
            return Step::Cut;
        }
        if may_retry {
            self.retries -= 1.0;
            return Step::Again;
        }
        let status = match fault {
            Fault::ConnectTimeout | Fault::ResponseTimeout | Fault::Ejected => 504,
            _ => 502,
        };
        let why = format!("{} {fault}", self.shared.backends.get(number).name);
        self.answer_instead(
            slot,
            status,
            "The backend did not serve the request.\n",
            &why,
        )
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
            self.retries = (self.retries + EARNED).min(RETRIES);
            if !self.shared.log.is_quiet() {
                let peer = self.clients[slot].peer;
                self.write_line(peer, &exchange, number, exchange.status().unwrap_or(0));
            }
        }
        self.spare.push(exchange);
        Step::Again
    }

    /// An error of this gateway's own, in place of the backend's answer.
    fn answer_instead(&mut self, slot: usize, status: u16, sentence: &str, why: &str) -> Step {
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
        self.spare.push(exchange);
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
            self.spare.push(exchange);
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

    fn log(&mut self, slot: usize, number: usize, what: &str) {
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
