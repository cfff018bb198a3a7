//! One request on one connection: connect, write, read, count.
//!
//! Each step ends where the kernel would block; the loop in `client/mod.rs` comes back when it
//! no longer would. Entry points: [`Client::open`], [`Client::send`], [`Client::ready`].
//! Note: `notes/bench.md`.

use super::{CONNECT_FAILURES, Client, Phase, UNKNOWN, nanos};
use crate::bench::print;
use crate::bench::reader::{Answer, Reader, Step};
use crate::bench::tally::Class;
use crate::net::poller::Interest;
use crate::net::sys;
use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Reads in a row from one connection, so that an endless body holds up nobody else.
const READS: usize = 16;

impl Client<'_> {
    /// Connects, and writes at once: on a short way the handshake has ended already.
    pub(super) fn open(&mut self, token: usize) -> Result<(), String> {
        let slot = &mut self.slots[token];
        slot.reused = false;
        slot.phase = Phase::Connecting;
        match sys::connect(self.shared.address) {
            Ok(stream) => slot.stream = Some(stream),
            Err(e) => return self.broken(token, &e),
        }
        self.handshakes += 1;
        self.send(token)
    }

    pub(super) fn ready(&mut self, token: usize, buffer: &mut [u8]) -> Result<(), String> {
        match self.slots[token].phase {
            Phase::Connecting => {
                let pending = self.slots[token].stream.as_ref().map(TcpStream::take_error);
                match pending {
                    Some(Ok(Some(e)) | Err(e)) => self.broken(token, &e),
                    _ => self.send(token),
                }
            }
            Phase::Writing => self.send(token),
            Phase::Reading => self.receive(token, buffer),
            // The server ended a connection that was idle, as it may.
            Phase::Idle => {
                self.close(token);
                Ok(())
            }
        }
    }

    /// Writes what is left of the request.
    pub(super) fn send(&mut self, token: usize) -> Result<(), String> {
        let shared = self.shared;
        let request = &shared.request;
        let slot = &mut self.slots[token];
        while let Some(stream) = &mut slot.stream {
            match stream.write(&request[slot.written..]) {
                Ok(n) => {
                    if slot.phase == Phase::Connecting {
                        self.handshakes -= 1;
                        slot.phase = Phase::Writing;
                        self.now = Instant::now();
                        slot.connected = self.now;
                        self.shared.reached.store(true, Relaxed);
                    }
                    slot.written += n;
                    self.tally.sent += n as u64;
                    if slot.written == request.len() {
                        slot.phase = Phase::Reading;
                        return self.watch(token, Interest::READ);
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // NotConnected: how some systems say that the handshake goes on.
                Err(e)
                    if e.kind() == ErrorKind::WouldBlock
                        || (e.kind() == ErrorKind::NotConnected
                            && slot.phase == Phase::Connecting) =>
                {
                    return self.watch(token, Interest::WRITE);
                }
                Err(e) => return self.broken(token, &e),
            }
        }
        Ok(())
    }

    /// Tells the poller only what is new: in the steady state nothing.
    fn watch(&mut self, token: usize, interest: Interest) -> Result<(), String> {
        let slot = &mut self.slots[token];
        let Some(stream) = &slot.stream else {
            return Ok(());
        };
        let result = match slot.watched {
            Some(known) if known == interest => return Ok(()),
            Some(_) => self.poller.modify(stream, token, interest),
            None => self.poller.add(stream, token, interest),
        };
        slot.watched = Some(interest);
        result.map_err(|e| format!("cannot watch a socket: {e}"))
    }

    fn receive(&mut self, token: usize, buffer: &mut [u8]) -> Result<(), String> {
        let slot = &mut self.slots[token];
        for _ in 0..READS {
            let Some(stream) = &mut slot.stream else {
                return Ok(());
            };
            let n = match stream.read(buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return self.broken(token, &e),
            };
            self.now = Instant::now();
            if n == 0 {
                return self.ended(token);
            }
            if !slot.reader.has_begun() {
                slot.first_byte = self.now;
            }
            let received = slot.reader.received() + n as u64;
            match slot.reader.feed(&buffer[..n], &mut self.heads) {
                // Where only the end is missing it has probably come too.
                Step::More if slot.reader.awaits_close() || n == buffer.len() => {}
                Step::More => return Ok(()),
                Step::Done(answer) => return self.complete(token, answer),
                Step::Malformed(why) => {
                    self.tally.transferred += received;
                    return self.fail(token, Class::Exception, why);
                }
            }
        }
        Ok(())
    }

    /// The server has closed the connection.
    fn ended(&mut self, token: usize) -> Result<(), String> {
        let reader = &self.slots[token].reader;
        match reader.end() {
            Some(answer) => self.complete(token, answer),
            None if reader.has_begun() => {
                self.broken(token, &"the server closed the connection within its answer")
            }
            None => self.broken(token, &"the server closed the connection without an answer"),
        }
    }

    /// A server may close an idle connection just as a request is sent on it (RFC 9112,
    /// section 9.5): the request goes out again on a new connection, if it may be sent twice or
    /// if nothing of it was. There, a second such end is a failure, so that this ends.
    fn broken(&mut self, token: usize, why: &dyn Display) -> Result<(), String> {
        let slot = &self.slots[token];
        let may_repeat = slot.written == 0 || self.shared.idempotent;
        if !slot.reused || slot.reader.has_begun() || !may_repeat {
            return self.lose(token, &why.to_string());
        }
        self.tally.retried += u64::from(slot.written > 0);
        self.close(token);
        self.slots[token].written = 0;
        self.open(token)
    }

    fn complete(&mut self, token: usize, answer: Answer) -> Result<(), String> {
        let plan = self.shared.plan;
        self.log(answer);
        self.tally.transferred += answer.total;
        self.tally.non_2xx += u64::from(answer.status / 100 != 2);
        if self.document == UNKNOWN {
            let first =
                self.shared.document.compare_exchange(UNKNOWN, answer.body, Relaxed, Relaxed);
            self.document = first.err().unwrap_or(answer.body);
        }
        let keep = plan.keep_alive && answer.persistent;
        self.tally.keep_alive += u64::from(keep);
        if !keep {
            self.close(token);
        }
        if !plan.any_length && answer.body != self.document {
            let why = format!("{} bytes instead of {}", answer.body, self.document);
            self.finish(token);
            return self.failed(Class::Length, &why);
        }
        let slot = &self.slots[token];
        let connect = nanos(slot.begun, slot.connected);
        let processing = nanos(slot.connected, self.now);
        let waiting = nanos(slot.connected, slot.first_byte);
        self.tally.answered(answer, connect, processing, waiting);
        if plan.rate.is_some() {
            self.tally.response.record(nanos(slot.due, self.now));
        }
        let begun = slot.begun;
        if let Some(rows) = &mut self.rows {
            rows.add(begun, connect, processing, waiting)?;
        }
        self.finish(token);
        Ok(())
    }

    fn log(&self, answer: Answer) {
        let verbosity = self.shared.plan.verbosity;
        if verbosity < 2 {
            return;
        }
        let head = String::from_utf8_lossy(&self.heads.head);
        print(&format!("LOG: header received:\n{head}\n"));
        if answer.status / 100 != 2 {
            print(&format!("WARNING: Response code not 2xx ({})\n", answer.status));
        } else if verbosity >= 3 {
            print(&format!("LOG: Response code = {}\n", answer.status));
        }
    }

    /// The connection is of no more use: it was never made, or what came over it is no answer.
    pub(super) fn lose(&mut self, token: usize, why: &str) -> Result<(), String> {
        let slot = &self.slots[token];
        self.tally.transferred += slot.reader.received();
        let class = match slot.phase {
            Phase::Connecting => Class::Connect,
            _ => Class::Receive,
        };
        self.fail(token, class, why)
    }

    /// The request came to nothing, and its connection with it.
    fn fail(&mut self, token: usize, class: Class, why: &str) -> Result<(), String> {
        self.close(token);
        self.finish(token);
        self.failed(class, why)
    }

    /// Counts a failure in one class; the error is that the run must end.
    fn failed(&mut self, class: Class, why: &str) -> Result<(), String> {
        let plan = self.shared.plan;
        let url = || plan.target.url();
        self.tally.failed.add(class);
        if self.tally.failed.all() == 1 || plan.verbosity >= 1 {
            let reason = format!("{class}: {why}");
            if plan.verbosity >= 1 {
                eprintln!("bench: {reason}");
            }
            self.tally.reason.get_or_insert(reason);
        }
        match class {
            Class::Connect if !self.shared.reached.load(Relaxed) => Err(format!(
                "cannot connect to {}: {why}; is the server running?",
                plan.target.authority()
            )),
            Class::Connect if !plan.go_on && self.tally.failed.of(class) > CONNECT_FAILURES => {
                Err(format!("{}: {why}, more than {CONNECT_FAILURES} times; -r goes on", url()))
            }
            Class::Receive if !plan.go_on => {
                let done = self.tally.done - 1;
                Err(format!("{}: {why}, after {done} requests; -r counts it and goes on", url()))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, token: usize) {
        let slot = &mut self.slots[token];
        slot.phase = Phase::Idle;
        self.timers.set(token, None);
        self.idle.push(token);
        self.tally.done += 1;
        self.last = self.now;
    }

    fn close(&mut self, token: usize) {
        let slot = &mut self.slots[token];
        if let Some(stream) = slot.stream.take() {
            if slot.phase == Phase::Connecting {
                self.handshakes -= 1;
            }
            if slot.watched.take().is_some() {
                // Closing a socket takes it off the poller's list at the latest.
                let _ = self.poller.remove(&stream, token);
            }
        }
        slot.reader = Reader::default();
    }
}
