//! One request on one connection: connect, write, read, count.
//!
//! Each step ends where the kernel would block; the loop in `client/mod.rs` comes back when it
//! no longer would. Entry points: [`Client::open`], [`Client::advance`], [`Client::expire`].
//! Note: `notes/bench.md`.

use super::{Client, Phase, nanos};
use crate::bench::reader::{Answer, Reader};
use crate::bench::tally::Class;
use crate::bench::{print, report};
use crate::cli::limits::READ;
use crate::net::Filled;
use crate::net::connection::Connection;
use crate::net::poller::Interest;
use crate::net::sys;
use std::io::{self, ErrorKind, Write};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Reads in a row from one connection, so that an endless body holds up nobody else.
const READS: usize = 16;
/// Without -r a run ends after so many failed connects, as with ab.
const CONNECT_FAILURES: u64 = 10;

/// The error is the line with which the run ends.
type Ended = Result<(), String>;

impl Client<'_> {
    /// Connects, and writes at once: on a short way the handshake has ended already.
    pub(super) fn open(&mut self, token: usize) -> Ended {
        let slot = &mut self.slots[token];
        (slot.phase, slot.reused, slot.written) = (Phase::Connecting, false, 0);
        match sys::connect(self.shared.address) {
            Ok(stream) => slot.connection = Some(Connection::new(stream)),
            Err(e) => return self.broken(token, &e.to_string()),
        }
        self.handshakes += 1;
        self.advance(token)
    }

    /// Goes on with the request, and says to the poller what it waits for then.
    pub(super) fn advance(&mut self, token: usize) -> Ended {
        let result = self.step(token);
        let slot = &mut self.slots[token];
        let Some(connection) = &mut slot.connection else { return Ok(()) };
        connection.release(&mut self.buffers);
        let interest = if slot.phase == Phase::Reading { Interest::READ } else { Interest::WRITE };
        match result {
            Ok(Some(answer)) => return self.complete(token, answer),
            Ok(None) => {}
            // How some systems say that the handshake goes on.
            Err(e) if e.kind() == ErrorKind::NotConnected && slot.phase == Phase::Connecting => {}
            Err(e) if e.kind() == ErrorKind::InvalidData => {
                return self.fail(token, Class::Exception, &e.to_string());
            }
            Err(e) => return self.broken(token, &e.to_string()),
        }
        let waiting = connection.wait_for(interest, &mut self.poller, token);
        waiting.map_err(|e| format!("cannot watch a socket: {e}"))
    }

    /// Writes what is left of the request; once it is written, reads. None: more is to come.
    fn step(&mut self, token: usize) -> io::Result<Option<Answer>> {
        let (slot, request) = (&mut self.slots[token], &self.shared.request);
        let Some(connection) = &mut slot.connection else { return Ok(None) };
        while slot.phase != Phase::Reading {
            let n = connection.write(&request[slot.written..])?;
            if n == 0 {
                return Ok(None);
            }
            if slot.phase == Phase::Connecting {
                self.handshakes -= 1;
                self.now = Instant::now();
                slot.connected = self.now;
                self.shared.reached.store(true, Relaxed);
            }
            slot.phase = Phase::Writing;
            slot.written += n;
            self.tally.sent += n as u64;
            if slot.written == request.len() {
                slot.phase = Phase::Reading;
                return Ok(None);
            }
        }
        for _ in 0..READS {
            let filled = connection.fill(&mut self.buffers)?;
            if filled == Filled::Nothing {
                break;
            }
            self.now = Instant::now();
            let begun = slot.reader.received() > 0;
            if filled == Filled::End {
                let when = if begun { "within its answer" } else { "without an answer" };
                let why = || io::Error::other(format!("the server closed the connection {when}"));
                return slot.reader.end().map(Some).ok_or_else(why);
            }
            if !begun {
                slot.first_byte = self.now;
            }
            let invalid = |why| io::Error::new(ErrorKind::InvalidData, why);
            let n = connection.input.unused().len();
            let fed = slot.reader.feed(connection.input.unused(), &mut self.heads);
            let answer = fed.map_err(invalid)?;
            connection.input.consume(n);
            // Where only the end is missing it has probably come too.
            if answer.is_some() || (n < READ && !slot.reader.awaits_close()) {
                return Ok(answer);
            }
            connection.release(&mut self.buffers);
        }
        Ok(None)
    }

    fn complete(&mut self, token: usize, answer: Answer) -> Ended {
        self.log(answer);
        let plan = self.shared.plan;
        self.tally.transferred += answer.total;
        self.tally.non_2xx += u64::from(answer.status / 100 != 2);
        let keep = plan.keep_alive && answer.persistent;
        self.tally.keep_alive += u64::from(keep);
        if !keep {
            self.close(token);
        }
        self.finish(token);
        let length = *self.shared.document.get_or_init(|| answer.body);
        if !plan.any_length && answer.body != length {
            let why = format!("{} bytes instead of {length}", answer.body);
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
        let Some(rows) = &self.shared.rows else { return Ok(()) };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = report::row(slot.begun, [connect, processing, waiting]);
        rows.write_all(row.as_bytes()).map_err(report::no_rows)
    }

    fn log(&self, answer: Answer) {
        let (status, verbosity) = (answer.status, self.shared.plan.verbosity);
        if verbosity >= 2 {
            let head = String::from_utf8_lossy(&self.heads.head);
            print(&format!("LOG: header received:\n{head}\n"));
        }
        match verbosity {
            2.. if status / 100 != 2 => {
                print(&format!("WARNING: Response code not 2xx ({status})\n"))
            }
            3.. => print(&format!("LOG: Response code = {status}\n")),
            _ => {}
        }
    }

    /// A server may close an idle connection just as a request is sent on it (RFC 9112,
    /// section 9.5): the request goes out again on a new connection, if it may be sent twice or
    /// if nothing of it was. There, a second such end is a failure, so that this ends.
    fn broken(&mut self, token: usize, why: &str) -> Ended {
        let slot = &self.slots[token];
        let may_repeat = slot.written == 0 || self.shared.plan.is_idempotent();
        if slot.reused && slot.reader.received() == 0 && may_repeat {
            self.tally.retried += u64::from(slot.written > 0);
            self.close(token);
            return self.open(token);
        }
        let connecting = slot.phase == Phase::Connecting;
        self.fail(token, if connecting { Class::Connect } else { Class::Receive }, why)
    }

    pub(super) fn expire(&mut self, token: usize) -> Ended {
        self.tally.timed_out += 1;
        self.record_wait(token);
        self.slots[token].reused = false;
        self.broken(token, &format!("no answer within {:?}", self.shared.plan.timeout))
    }

    fn fail(&mut self, token: usize, class: Class, why: &str) -> Ended {
        self.tally.transferred += self.slots[token].reader.received();
        self.close(token);
        self.finish(token);
        self.failed(class, why)
    }

    fn failed(&mut self, class: Class, why: &str) -> Ended {
        let (shared, tally) = (self.shared, &mut self.tally);
        let (plan, before) = (shared.plan, shared.done.load(Relaxed) - 1);
        tally.failed.0[class as usize] += 1;
        let reason = format!("{}: {why}", format!("{class:?}").to_lowercase());
        if plan.verbosity >= 1 {
            eprintln!("bench: {reason}");
        }
        tally.reason.get_or_insert(reason);
        let (target, url) = (plan.target.authority(), plan.target.url());
        Err(match class {
            Class::Connect if !shared.reached.load(Relaxed) => {
                format!("cannot connect to {target}: {why}; is the server running?")
            }
            Class::Connect if !plan.go_on && tally.failed.0[0] > CONNECT_FAILURES => {
                format!("{url}: {why}, more than {CONNECT_FAILURES} times; -r goes on")
            }
            Class::Receive if !plan.go_on => {
                format!("{url}: {why}, after {before} requests; -r counts it and goes on")
            }
            _ => return Ok(()),
        })
    }

    fn finish(&mut self, token: usize) {
        self.slots[token].phase = Phase::Idle;
        self.timers.set(token, None);
        self.idle.push(token);
        self.tally.done += 1;
        self.tally.last = Some(self.now);
        let (done, step) = (self.shared.done.fetch_add(1, Relaxed) + 1, self.shared.plan.progress);
        if step > 0 && done.is_multiple_of(step) {
            eprintln!("Completed {done} requests");
        }
    }

    pub(super) fn close(&mut self, token: usize) {
        let slot = &mut self.slots[token];
        if let Some(connection) = slot.connection.take() {
            self.handshakes -= usize::from(slot.phase == Phase::Connecting);
            connection.close(&mut self.poller, token);
        }
        slot.reader = Reader::default();
    }
}
