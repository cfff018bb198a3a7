//! The backends' side of a worker: which connection a request takes, who shares it, and what
//! happens when a backend does not serve.
//!
//! Note: `notes/lb.md`.

use super::super::exchange::Fault;
use super::super::upstreams::is_the_backends_fault;
use super::{Client, Step, Worker};
use std::collections::VecDeque;

impl Worker<'_> {
    /// Finds a connection to the next backend: an idle one, or a new one.
    pub(super) fn attempt(&mut self, slot: usize) -> Step {
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
            // Somebody is there, but did not serve: that is another answer than "nobody is".
            if let Some(fault) = exchange.fault
                && !matches!(fault, Fault::Refused | Fault::Closed | Fault::Ejected)
            {
                return self.answer_fault(slot, fault, "the last one");
            }
            let sentence = "No backend can serve the request now.\n";
            return self.answer_instead(slot, 503, sentence, "no backend is up");
        };
        exchange.attempts += 1;
        client.progress = true;
        let addresses = &backends.get(number).addresses;
        let fresh = exchange.was_stale;
        let gathered = match self.shared.pipeline {
            depth if depth > 1 && !fresh && exchange.may_share() => {
                self.upstreams.gather(number, slot, depth)
            }
            _ => None,
        };
        let taken = match gathered {
            Some(place) => Ok(place),
            None => self.upstreams.take(number, addresses, slot, fresh),
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
        self.counters[upstream.backend].in_flight.down();
        upstream.queue.retain(|&other| other != client);
        if keep && !upstream.spoilt {
            match upstream.queue.front() {
                Some(&next) => self.follow.push(next),
                None => {
                    let (lender, poller) = (&mut self.lender, &mut self.poller);
                    self.upstreams.keep(place, lender, poller, self.clock.now);
                }
            }
            return;
        }
        let others = std::mem::take(&mut upstream.queue);
        self.begin_anew(place, others);
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
        let others = upstream.queue.split_off(1);
        self.begin_anew(place, others);
    }

    /// Sends these clients, who shared a connection, elsewhere.
    fn begin_anew(&mut self, place: usize, clients: VecDeque<usize>) {
        let in_flight = &self.counters[self.upstreams[place].backend].in_flight;
        for client in clients {
            in_flight.down();
            if let Some(exchange) = &mut self.clients[client].exchange {
                exchange.rewind();
            }
            self.follow.push(client);
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
        // A stale connection was nobody's fault: a new one to the same backend costs no budget,
        // and cannot be stale. Nor does it cost anything to leave one who was ejected: that
        // happens once to each, and it is those who are well that get the request.
        let is_free = is_stale || fault == Fault::Ejected;
        let costs = if is_free { 0.0 } else { 1.0 };
        let may_retry = exchange.may_retry() && self.retries >= costs;
        exchange.was_stale |= is_stale;
        exchange.fault = Some(fault);
        exchange.rewind();
        self.release(place, slot, false);
        if has_begun {
            // Half an answer has gone out: only a cut connection tells the client so.
            self.log(slot, number, "cut");
            return Step::Cut;
        }
        if may_retry {
            self.retries -= costs;
            return Step::Again;
        }
        let name = &self.shared.backends.get(number).name;
        self.answer_fault(slot, fault, name)
    }

    /// 504 or 502, in place of the answer of a backend that did not serve.
    fn answer_fault(&mut self, slot: usize, fault: Fault, who: &str) -> Step {
        let status = match fault {
            Fault::ConnectTimeout | Fault::ResponseTimeout | Fault::Ejected => 504,
            _ => 502,
        };
        let sentence = "The backend did not serve the request.\n";
        self.answer_instead(slot, status, sentence, &format!("{who} {fault}"))
    }
}
