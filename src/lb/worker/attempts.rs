//! The backends' side of a worker: which connection a request takes, who shares it, and what
//! happens when a backend does not serve.
//!
//! Note: `notes/lb.md`.

use super::super::retry::{self, Blame, Fault, Situation, Verdict};
use super::super::upstreams::is_the_backends_fault;
use super::{Client, RETRY, Step, Worker};
use std::io;

impl Worker<'_> {
    /// Finds a connection to the next backend: an idle one, or a new one.
    pub(super) fn attempt(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = &mut client.exchange else {
            return Step::Wait;
        };
        let (backends, history) = (&self.shared.backends, &mut exchange.history);
        let next = match history.suspect() {
            Some((number, _)) => Some(number),
            None => backends.next(&history.tried, self.events.clock.now),
        };
        let Some(number) = next else {
            return self.answer_unserved(slot, 503, "no backend is up");
        };
        client.progress = true;
        let (is_first, fresh) = (history.attempts == 0, history.fresh);
        history.attempts += 1;
        let may_share = exchange.may_share();
        let gathered = match self.shared.pipeline {
            depth if depth > 1 && is_first && may_share => {
                self.upstreams.gather(number, slot, depth)
            }
            _ => None,
        };
        exchange.shares = gathered.is_some();
        let taken = match gathered {
            Some(place) => Ok(place),
            None => self.take(number, slot, fresh, !may_share),
        };
        match taken {
            Ok(place) => {
                if let Some(exchange) = &mut self.clients[slot].exchange {
                    exchange.upstream = Some(place);
                }
                self.counters[number].in_flight.up();
                Step::Again
            }
            Err(error) if is_the_backends_fault(&error) => {
                self.after_attempt(slot, number, Fault::Refused, false)
            }
            Err(error) => {
                let why = format!("cannot connect: {error}");
                self.respond_error(slot, 503, "The load balancer is out of connections.\n", &why)
            }
        }
    }

    /// A connection to the backend; a new one if it must be `fresh`. `looks`: what is sent on it
    /// cannot be repeated, so a kept one is used only if the backend has not closed it by now.
    fn take(&mut self, number: usize, slot: usize, fresh: bool, looks: bool) -> io::Result<usize> {
        let addresses = &self.shared.backends.get(number).addresses;
        let place = self.upstreams.take(number, addresses, slot, fresh)?;
        let upstream = &self.upstreams[place];
        if !looks || !upstream.reused || upstream.connection.is_quiet() {
            return Ok(place);
        }
        self.upstreams.close(place, &mut self.events.buffers, &mut self.events.poller);
        self.upstreams.take(number, addresses, slot, true)
    }

    /// Ends a client's use of a connection to a backend. `keep`: it was first in the queue and
    /// has its answer; the next one is served, or the connection waits in the pool. Else it is
    /// closed, and whoever shares it begins anew elsewhere.
    pub(super) fn release(&mut self, place: usize, client: usize, keep: bool) {
        let upstream = &mut self.upstreams[place];
        self.counters[upstream.backend].in_flight.down();
        upstream.queue.retain(|&other| other != client);
        if keep && !upstream.spoilt {
            match upstream.queue.front() {
                Some(&next) => self.ready.push(next),
                None => {
                    let (pool, poller) = (&mut self.events.buffers, &mut self.events.poller);
                    self.upstreams.keep(place, pool, poller, self.events.clock.now);
                }
            }
            return;
        }
        let others = std::mem::take(&mut upstream.queue);
        self.begin_anew(place, others);
        self.upstreams.close(place, &mut self.events.buffers, &mut self.events.poller);
    }

    /// When a backend has been ejected, those who wait for its answer move to another, if one is
    /// up.
    pub(super) fn leave_ejected(&mut self) {
        let ejections = self.shared.backends.ejections();
        if std::mem::replace(&mut self.ejections, ejections) == ejections {
            return;
        }
        let (upstreams, backends, now) =
            (&self.upstreams, &self.shared.backends, self.events.clock.now);
        if !backends.is_anyone_up(now) {
            return;
        }
        let waits_in_vain = |client: &Client| {
            let Some(exchange) = &client.exchange else {
                return false;
            };
            let Some(place) = exchange.upstream else {
                return false;
            };
            let is_unserved = !backends.is_up(upstreams[place].backend, now);
            let may_move = !exchange.has_begun_answer()
                && exchange.is_kept()
                && (exchange.method.is_idempotent() || !exchange.has_sent());
            is_unserved && may_move && backends.has_next(&exchange.history.tried, now)
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
            Step::Cut => self.close(slot),
            _ => self.advance(slot),
        }
    }

    /// The connection to the backend is of no more use.
    pub(super) fn after_fault(&mut self, slot: usize, fault: Fault) -> Step {
        let Some(exchange) = &mut self.clients[slot].exchange else {
            return Step::Wait;
        };
        let Some(place) = exchange.upstream else {
            return Step::Wait;
        };
        let upstream = &self.upstreams[place];
        let (number, sent) = (upstream.backend, exchange.has_sent());
        let fault = match fault {
            Fault::Closed => Fault::of_end(upstream.reused, sent, exchange.has_begun_answer()),
            fault => fault,
        };
        exchange.rewind();
        self.release(place, slot, false);
        self.after_attempt(slot, number, fault, sent)
    }

    /// The backend did not serve: counts that, and does what [`retry`] decides. `sent`: it may
    /// have seen some of the request.
    fn after_attempt(&mut self, slot: usize, number: usize, fault: Fault, sent: bool) -> Step {
        let Some(exchange) = &mut self.clients[slot].exchange else {
            return Step::Wait;
        };
        let (backends, now) = (&self.shared.backends, self.events.clock.now);
        let silent = backends.is_silent(number, self.shared.times.response, now);
        let blame = retry::blame(fault, silent);
        if blame != Blame::Nothing {
            self.counters[number].failures.up();
        }
        if blame == Blame::Eject {
            backends.failed(number, &fault, fault == Fault::Refused, now);
        }
        exchange.history.note(number, fault, sent);
        let situation = Situation {
            fault,
            idempotent: exchange.method.is_idempotent(),
            sent,
            kept: exchange.is_kept(),
            begun: exchange.has_begun_answer(),
            losses: exchange.history.losses,
            suspect: exchange.history.loser().is_some(),
            another: backends.has_next(&exchange.history.tried, now),
            budget: self.budget >= RETRY,
            in_time: !exchange.history.is_overdue(now),
        };
        match retry::decide(&situation) {
            Verdict::Elsewhere => {
                self.budget -= if situation.costs() { RETRY } else { 0 };
                Step::Again
            }
            Verdict::Check => {
                exchange.history.check();
                Step::Again
            }
            Verdict::Answer(status) => self.answer_fault(slot, status, number, fault),
            Verdict::Cut => {
                let (peer, shared) = (self.clients[slot].peer, self.shared);
                let exchange = self.clients[slot].exchange.take();
                let name = &shared.backends.get(number).name;
                self.log_line(peer, exchange.as_deref(), name, "cut", "");
                Step::Cut
            }
        }
    }

    /// The backend that lost the answer lives, so it is the request that no backend answers.
    pub(super) fn end_check(&mut self, slot: usize) {
        let exchange = self.clients[slot].exchange.as_ref();
        if let Some((number, fault)) = exchange.and_then(|exchange| exchange.history.suspect()) {
            self.answer_fault(slot, 502, number, fault);
            self.advance(slot);
        }
    }

    /// 502, 503 or 504, in place of the answer of a backend that did not serve.
    fn answer_fault(&mut self, slot: usize, status: u16, number: usize, fault: Fault) -> Step {
        let name = &self.shared.backends.get(number).name;
        self.answer_unserved(slot, status, &format!("{name} {fault}"))
    }

    fn answer_unserved(&mut self, slot: usize, status: u16, why: &str) -> Step {
        let sentence = match status {
            503 => "No backend can serve the request now.\n",
            _ => "The backend did not serve the request.\n",
        };
        self.respond_error(slot, status, sentence, why)
    }
}
