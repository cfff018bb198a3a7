//! A worker's part when a backend does not serve, and the answers in this gateway's own words.
//!
//! [`Worker::drop_upstream`] ends the attempt of a request on a connection, then calls
//! [`Worker::recover`], which counts the fault and carries out the verdict of [`retry`]; a
//! connection that could not even be opened begins with the latter. [`Worker::answer_fault`] (a
//! backend's fault), [`Worker::respond_error`] (this gateway's own) and [`Worker::refuse`] (the
//! client's) choose an answer, and all end in [`Worker::respond`]. Note: `notes/lb.md`.

use super::super::balance::backends::DOWN_FOR;
use super::super::exchange::Exchange;
use super::super::retry::{self, Blame, Fault, Situation, Verdict};
use super::{Client, Closing, RETRY_COST, Step, Worker};
use crate::http::request::{self, Method};
use crate::http::response::{Content, Response};
use crate::http::{ParseError, Version};
use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

pub const NOBODY: &str = "No backend can serve the request now.\n";

impl Worker<'_> {
    /// When a backend has been ejected, the clients that wait for its answer move to another, if
    /// one is up.
    pub fn retry_ejected(&mut self) {
        let (backends, now) = (&self.shared.backends, self.events.clock.now);
        let before = std::mem::replace(&mut self.ejections, backends.ejections.load(Relaxed));
        if before == self.ejections || !backends.is_anyone_up(now) {
            return;
        }
        let upstreams = &self.upstreams.slots;
        let moves = |client: &Client| {
            let exchange = client.exchange.as_ref()?;
            let is_up = backends.is_up(upstreams[exchange.upstream?].backend_id, now);
            let may_move = !exchange.has_begun() && exchange.may_repeat(exchange.has_sent());
            Some(!is_up && may_move && backends.has_next(&exchange.history.tried, now))
        };
        let clients = self.clients.iter_mut().filter(|(_, client)| moves(client) == Some(true));
        let slots: Vec<usize> = clients.map(|(slot, _)| slot).collect();
        for slot in slots {
            let step = self.drop_upstream(slot, Fault::Ejected);
            self.go_on(slot, step);
        }
    }

    /// The connection to the backend is of no more use to the client: closes it, then decides.
    pub fn drop_upstream(&mut self, slot: usize, fault: Fault) -> Step {
        let Some(exchange) = &mut self.clients[slot].exchange else { return Step::Wait };
        let Some(upstream_slot) = exchange.upstream else { return Step::Wait };
        let upstream = &self.upstreams.slots[upstream_slot];
        let (backend_id, sent) = (upstream.backend_id, exchange.has_sent());
        let fault = match fault {
            Fault::Closed => Fault::of_end(upstream.reused, sent, exchange.has_begun()),
            fault => fault,
        };
        exchange.rewind();
        self.leave_upstream(upstream_slot, slot, false);
        self.recover(slot, backend_id, fault, sent)
    }

    /// The backend did not serve: counts that, and does what [`retry`] decides. `sent`: it may
    /// have seen some of the request.
    pub fn recover(&mut self, slot: usize, backend_id: usize, fault: Fault, sent: bool) -> Step {
        let (client, shared, now) = (&mut self.clients[slot], self.shared, self.events.clock.now);
        let Some(exchange) = &mut client.exchange else { return Step::Wait };
        let backends = &shared.backends;
        let blame =
            retry::blame(fault, backends.is_silent(backend_id, shared.response_timeout, now));
        if blame != Blame::Nothing {
            self.upstreams.counters[backend_id].failures.up();
        }
        if blame == Blame::Eject {
            backends.eject(backend_id, &fault, fault == Fault::Refused, Some(now + DOWN_FOR));
        }
        exchange.history.note(backend_id, fault, sent);
        let situation = Situation {
            fault,
            may_repeat: exchange.may_repeat(sent),
            sent,
            begun: exchange.has_begun(),
            losses: exchange.history.losses,
            suspect: exchange.history.lost.is_some(),
            another: backends.has_next(&exchange.history.tried, now),
            budget: self.budget >= RETRY_COST,
            in_time: exchange.history.due.is_none_or(|due| now < due),
        };
        match retry::decide(&situation) {
            Verdict::Elsewhere => {
                self.budget -= if situation.costs() { RETRY_COST } else { 0 };
                Step::Again
            }
            Verdict::Check => {
                exchange.history.checking = true;
                Step::Again
            }
            Verdict::Answer(status) => self.answer_fault(slot, status, backend_id, fault),
            Verdict::Cut => {
                self.log(slot, format_args!("{} cut", backends.list[backend_id].name), "");
                Step::Cut
            }
        }
    }

    /// 502, 503 or 504, in place of the answer of a backend that did not serve.
    pub fn answer_fault(&mut self, slot: usize, status: u16, id: usize, fault: Fault) -> Step {
        let text = if status == 503 { NOBODY } else { "The backend did not serve the request.\n" };
        let why = format!("{} {fault}", self.shared.backends.list[id].name);
        self.respond_error(slot, status, text, &why)
    }

    /// Answers in this gateway's own words, and ends the exchange if there is one.
    pub fn respond(&mut self, slot: usize, response: Response, why: &str) -> Step {
        self.log(slot, format_args!("- {}", response.status), why);
        let client = &mut self.clients[slot];
        let exchange = client.exchange.take();
        let is_head = request::is_head_method(client.connection.input.unused());
        let (method, version, keep_alive, lingers) = match &exchange {
            Some(e) => (e.method, e.version, e.client_keep_alive(), e.lingers()),
            None if is_head => (Method::Head, Version::Http11, false, true),
            None => (Method::Get, Version::Http11, false, true),
        };
        // After CONNECT the client would speak to the host that it asked for.
        let keep_alive = keep_alive && method != Method::Connect && !self.events.is_stopping();
        client.connection.borrow_output(&mut self.events.buffers);
        let output = &mut client.connection.output;
        let date = self.date.at(self.events.clock.second);
        response.write_head(&mut output.bytes, date, version, keep_alive);
        if method != Method::Head
            && let Content::Memory(bytes) = response.content
        {
            output.send_shared(bytes);
        }
        if !keep_alive {
            client.closing = Some(Closing { lingers });
        }
        client.progress = true;
        if let Some(upstream_slot) = exchange.and_then(|exchange| exchange.upstream) {
            self.leave_upstream(upstream_slot, slot, false);
        }
        Step::Again
    }

    /// Answers an error of this gateway's own.
    pub fn respond_error(&mut self, slot: usize, status: u16, text: &str, why: &str) -> Step {
        let retry: &[_] = if status == 503 { &[("Retry-After", "1")] } else { &[] };
        let response = Response::text(status, &self.shared.served_by, retry, text);
        self.respond(slot, response, why)
    }

    /// Answers what is wrong with a request, and nothing after it.
    pub fn refuse(&mut self, slot: usize, error: ParseError) -> Step {
        let exchange = &self.clients[slot].exchange;
        if exchange.as_ref().is_some_and(|exchange| exchange.has_begun()) {
            return Step::Cut;
        }
        let response = Response::error(error, &self.shared.served_by);
        self.respond(slot, response, &error.to_string())
    }

    /// `127.0.0.1:50000 GET / -> 127.0.0.1:9002 200 0.3 ms`, and why, if there is a reason.
    pub fn log(&mut self, slot: usize, outcome: Arguments, why: &str) {
        if self.shared.log.is_quiet() {
            return;
        }
        let Client { peer, exchange, .. } = &self.clients[slot];
        let request = exchange.as_ref().map_or("-", |exchange| &exchange.log_line);
        let took = |exchange: &Exchange| exchange.started.elapsed().as_secs_f64() * 1000.0;
        let took = exchange.as_deref().map(|exchange| format!(" {:.1} ms", took(exchange)));
        let took = took.unwrap_or_default();
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        // Writing into a Vec cannot fail.
        let _ = writeln!(self.lines, "{peer} {request} -> {outcome}{took}{why}");
    }
}
