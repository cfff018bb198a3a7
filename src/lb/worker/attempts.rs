//! The backends' side of a worker: which connection a request takes, and what happens when a
//! backend does not serve.
//!
//! Note: `notes/lb.md`.

use super::super::retry::{self, Blame, Fault, Situation, Verdict};
use super::super::upstreams::is_the_backends_fault;
use super::{Client, RETRY, Step, Worker};

/// What clients are told with 503.
const NOBODY: &str = "No backend can serve the request now.\n";

impl Worker<'_> {
    /// Finds a connection to the next backend: an idle one, or a new one.
    pub(super) fn attempt(&mut self, slot: usize) -> Step {
        let (client, shared) = (&mut self.clients[slot], self.shared);
        let Some(exchange) = &mut client.exchange else { return Step::Wait };
        let next = match exchange.history.suspect() {
            Some((backend_id, _)) => Some(backend_id),
            None => shared.backends.next(&exchange.history.tried, self.events.clock.now),
        };
        let Some(backend_id) = next else {
            return self.respond_error(slot, 503, NOBODY, "no backend is up");
        };
        client.progress = true;
        let (fresh, may_share) = (exchange.history.fresh, exchange.may_share);
        let batch = if may_share { self.join_batch(backend_id, slot) } else { None };
        let addresses = &shared.backends.get(backend_id).addresses;
        let taken = match batch {
            Some(upstream_slot) => Ok(upstream_slot),
            None => {
                let events = &mut self.events;
                self.upstreams.take(backend_id, addresses, slot, fresh, !may_share, events)
            }
        };
        match taken {
            Ok(upstream_slot) => {
                if let Some(exchange) = &mut self.clients[slot].exchange {
                    exchange.upstream = Some(upstream_slot);
                    exchange.shares = batch.is_some();
                }
                self.upstreams.counters[backend_id].in_flight.up();
                Step::Again
            }
            Err(error) if is_the_backends_fault(&error) => {
                self.after_attempt(slot, backend_id, Fault::Refused, false)
            }
            Err(error) => {
                let why = format!("cannot connect: {error}");
                self.respond_error(slot, 503, "The load balancer is out of connections.\n", &why)
            }
        }
    }

    /// Ends a client's use of a connection to a backend. `keep`: it was first in the queue and
    /// has its answer; the next one is served, or the connection waits in the pool. Else it is
    /// closed, and all who share it begin anew elsewhere.
    pub(super) fn release(&mut self, upstream_slot: usize, client: usize, keep: bool) {
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

    /// When a backend has been ejected, those who wait for its answer move to another, if one is
    /// up.
    pub(super) fn retry_ejected(&mut self) {
        let (backends, now) = (&self.shared.backends, self.events.clock.now);
        let before = std::mem::replace(&mut self.ejections, backends.ejections());
        if before == self.ejections || !backends.is_anyone_up(now) {
            return;
        }
        let upstreams = &self.upstreams.slots;
        let moves = |client: &Client| {
            let exchange = client.exchange.as_ref()?;
            let is_up = backends.is_up(upstreams[exchange.upstream?].backend_id, now);
            let may_move = exchange.status().is_none() && exchange.may_repeat(exchange.has_sent());
            Some(!is_up && may_move && backends.has_next(&exchange.history.tried, now))
        };
        let clients = self.clients.iter_mut().filter(|(_, client)| moves(client) == Some(true));
        let slots: Vec<usize> = clients.map(|(slot, _)| slot).collect();
        for slot in slots {
            self.fail(slot, Fault::Ejected);
        }
    }

    pub(super) fn fail(&mut self, slot: usize, fault: Fault) {
        let step = self.after_fault(slot, fault);
        self.go_on(slot, step);
    }

    /// The connection to the backend is of no more use.
    pub(super) fn after_fault(&mut self, slot: usize, fault: Fault) -> Step {
        let Some(exchange) = &mut self.clients[slot].exchange else { return Step::Wait };
        let Some(upstream_slot) = exchange.upstream else { return Step::Wait };
        let upstream = &self.upstreams.slots[upstream_slot];
        let (backend_id, sent) = (upstream.backend_id, exchange.has_sent());
        let fault = match fault {
            Fault::Closed => Fault::of_end(upstream.reused, sent, exchange.status().is_some()),
            fault => fault,
        };
        exchange.rewind();
        self.release(upstream_slot, slot, false);
        self.after_attempt(slot, backend_id, fault, sent)
    }

    /// The backend did not serve: counts that, and does what [`retry`] decides. `sent`: it may
    /// have seen some of the request.
    fn after_attempt(&mut self, slot: usize, backend_id: usize, fault: Fault, sent: bool) -> Step {
        let (client, shared, now) = (&mut self.clients[slot], self.shared, self.events.clock.now);
        let Some(exchange) = &mut client.exchange else { return Step::Wait };
        let backends = &shared.backends;
        let blame = retry::blame(fault, backends.is_silent(backend_id, shared.times.response, now));
        if blame != Blame::Nothing {
            self.upstreams.counters[backend_id].failures.up();
        }
        if blame == Blame::Eject {
            backends.failed(backend_id, &fault, fault == Fault::Refused, now);
        }
        exchange.history.note(backend_id, fault, sent);
        let situation = Situation {
            fault,
            may_repeat: exchange.may_repeat(sent),
            sent,
            begun: exchange.status().is_some(),
            losses: exchange.history.losses,
            suspect: exchange.history.lost.is_some(),
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
                exchange.history.checks = true;
                Step::Again
            }
            Verdict::Answer(status) => self.answer_fault(slot, status, backend_id, fault),
            Verdict::Cut => {
                let (peer, exchange) = (client.peer, client.exchange.take());
                self.log(peer, exchange.as_deref(), &backends.get(backend_id).name, &"cut", "");
                Step::Cut
            }
        }
    }

    /// The backend that lost the answer lives, so it is the request that no backend answers.
    pub(super) fn end_check(&mut self, slot: usize) -> Step {
        let exchange = self.clients[slot].exchange.as_ref();
        match exchange.and_then(|exchange| exchange.history.suspect()) {
            Some((backend_id, fault)) => self.answer_fault(slot, 502, backend_id, fault),
            None => Step::Wait,
        }
    }

    /// 502, 503 or 504, in place of the answer of a backend that did not serve.
    fn answer_fault(&mut self, slot: usize, status: u16, backend_id: usize, fault: Fault) -> Step {
        let text = if status == 503 { NOBODY } else { "The backend did not serve the request.\n" };
        let why = format!("{} {fault}", self.shared.backends.get(backend_id).name);
        self.respond_error(slot, status, text, &why)
    }
}
