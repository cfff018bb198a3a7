//! Requests that share a connection to a backend, one answer after the other: `--pipeline`. They
//! are gathered in a turn and leave in one write.
//!
//! The plain way, one request on a connection at a time, needs nothing of this but
//! [`Worker::advance_ready`], which then has nobody to advance. Note: `notes/lb.md`.

use super::Worker;
use std::collections::VecDeque;

impl Worker<'_> {
    /// Takes those further who waited behind others.
    pub(super) fn advance_ready(&mut self) {
        while let Some(slot) = self.ready.pop() {
            if self.clients.get_mut(slot).is_some() {
                self.advance(slot);
            }
        }
    }

    /// The end of a turn: sends what was gathered for each backend in one write.
    pub(super) fn send_batches(&mut self) {
        self.advance_ready();
        while let batches = self.upstreams.take_batches()
            && !batches.is_empty()
        {
            for place in batches {
                let Some(upstream) = self.upstreams.get_mut(place) else {
                    continue;
                };
                if upstream.connection.flush().is_err() {
                    upstream.ended = upstream.connection.fill(&mut self.events.buffers).is_err();
                }
                upstream.connection.release(&mut self.events.buffers);
                let first = upstream.queue.front().copied();
                if (upstream.ended || !upstream.connection.output.is_empty())
                    && let Some(first) = first
                {
                    self.advance(first);
                }
            }
            self.advance_ready();
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
    pub(super) fn begin_anew(&mut self, place: usize, clients: VecDeque<usize>) {
        let in_flight = &self.counters[self.upstreams[place].backend].in_flight;
        for client in clients {
            in_flight.down();
            if let Some(exchange) = &mut self.clients[client].exchange {
                exchange.rewind();
            }
            self.ready.push(client);
        }
    }
}
