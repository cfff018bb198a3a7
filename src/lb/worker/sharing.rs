//! Requests that share a connection to a backend, one answer after the other: `--pipeline`. They
//! are batched in a turn and leave in one write.
//!
//! The plain way, one request on a connection at a time, joins no batch and has nobody behind the
//! first in a queue: of this file it needs nothing. Note: `notes/lb.md`.

use super::Worker;

impl Worker<'_> {
    /// A connection to the backend on which the client's request can follow others of this turn,
    /// so that all leave in one write: one with fewer than `--pipeline` of them, or an idle one,
    /// which has shown that it persists.
    pub fn join_batch(&mut self, backend_id: usize, client: usize) -> Option<usize> {
        let depth = self.shared.pipeline;
        if depth == 1 {
            return None;
        }
        for &upstream_slot in self.batches.iter().rev() {
            if let Some(upstream) = self.upstreams.slots.get_mut(upstream_slot)
                && upstream.backend_id == backend_id
                && (1..depth).contains(&upstream.queue.len())
                && !upstream.close_after
            {
                upstream.queue.push_back(client);
                return Some(upstream_slot);
            }
        }
        let upstream_slot = self.upstreams.take_idle(backend_id, client)?;
        self.batches.push(upstream_slot);
        Some(upstream_slot)
    }

    /// The end of a turn: sends each batch in one write.
    pub fn send_batches(&mut self) {
        self.advance_ready();
        while let Some(upstream_slot) = self.batches.pop() {
            let Some(upstream) = self.upstreams.slots.get_mut(upstream_slot) else { continue };
            if upstream.connection.flush().is_err() {
                upstream.broken = true;
                upstream.read(&mut self.events.buffers);
            }
            upstream.connection.release(&mut self.events.buffers);
            let is_stuck =
                upstream.broken || upstream.ended || !upstream.connection.output.is_empty();
            if is_stuck && let Some(&first) = upstream.queue.front() {
                self.advance(first);
            }
            self.advance_ready();
        }
    }

    /// Takes the clients further that waited behind others.
    pub fn advance_ready(&mut self) {
        while let Some(slot) = self.ready.pop() {
            if self.clients.get_mut(slot).is_some() {
                self.advance(slot);
            }
        }
    }

    /// The answer before the client's own is slow: all that wait behind it move to other
    /// connections. This one ends with that answer: the answers that follow it are for nobody.
    pub fn leave_queue(&mut self, slot: usize) {
        let exchange = self.clients[slot].exchange.as_ref();
        if let Some(upstream_slot) = exchange.and_then(|exchange| exchange.upstream) {
            self.upstreams.slots[upstream_slot].close_after = true;
            self.empty_queue(upstream_slot, 1);
        }
    }

    /// Sends the clients behind the first `stay` of a connection's queue elsewhere.
    pub fn empty_queue(&mut self, upstream_slot: usize, stay: usize) {
        let upstream = &mut self.upstreams.slots[upstream_slot];
        for client in upstream.queue.drain(stay..) {
            self.upstreams.counters[upstream.backend_id].in_flight.down();
            if let Some(exchange) = &mut self.clients[client].exchange {
                exchange.rewind();
            }
            self.ready.push(client);
        }
    }
}
