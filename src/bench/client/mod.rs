//! The client: one thread, many connections, one poller.
//!
//! In the steady state a request costs two system calls, a write and a read, and a part of one
//! wait; nothing is allocated. It knows where a response ends from [`Reader`] and nothing of
//! reports. Entry point: [`run`]. Note: `notes/bench.md`.

// one request on one connection
mod exchange;

use super::cpu::{self, Cpu};
use super::plan::Plan;
use super::reader::{Heads, Reader, value_of};
use super::tally::Tally;
use super::{Outcome, report};
use crate::cli::shutdown::{Stop, TICK};
use crate::net::connection::{BufferPool, Connection};
use crate::net::poller::{Kind, Poller};
use crate::net::timers::Timers;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Handshakes under way at once, and connections opened per turn of the loop: no more than the
/// shortest usual listen backlog. Beyond it the kernel drops SYNs, and each costs a second.
const HANDSHAKES: usize = 128;
/// The kernel ends a wait up to so much later than asked (its timer slack is 50 us), so the
/// last of the wait for a due time is spent asking without a pause. Not the whole wait: the
/// scheduler puts a thread that never sleeps behind all others.
const GRAIN: Duration = Duration::from_micros(100);
/// When the time of a schedule is over, requests that have been sent may get their answers for so
/// much longer: those of the last moment are not late.
const GRACE: Duration = Duration::from_millis(100);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request; the connection may be open.
    Idle,
    Connecting,
    Writing,
    Reading,
}

struct Slot {
    connection: Option<Connection>,
    phase: Phase,
    /// The connection has carried a request before this one.
    reused: bool,
    written: usize,
    /// When the request should have begun (with --rate), began, had its connection, and saw
    /// the first byte of its answer.
    due: Instant,
    begun: Instant,
    connected: Instant,
    first_byte: Instant,
    reader: Reader,
}

struct Client<'a> {
    plan: &'a Plan,
    address: SocketAddr,
    stop: &'a Stop,
    request: Vec<u8>,
    poller: Poller,
    slots: Vec<Slot>,
    /// Slots without a request; the last to become idle is the first to be used.
    idle: Vec<usize>,
    started: u64,
    /// The time is over: no more requests are started.
    over: bool,
    handshakes: usize,
    timers: Timers,
    /// Read once per answer; all that happens with it has this time.
    now: Instant,
    buffers: BufferPool,
    heads: Heads,
    rows: Option<BufWriter<File>>,
    /// When it began, and when the last request ended.
    begun: Instant,
    last: Instant,
    tally: Tally,
}

/// Makes the requests of the plan; returns when they are done, the time is over, or on stop. The
/// error is one line: nothing could be measured. What ends the run later is `broken` in the tally.
pub(super) fn run(plan: &Plan, address: SocketAddr, stop: &Stop) -> Result<Outcome, String> {
    let mut client = Client::new(plan, address, stop)?;
    let (ours, theirs) = (cpu::of_this_thread(), Cpu::of(&plan.processes));
    let worked = client.work();
    let Client { begun, last, heads, mut tally, rows, .. } = client;
    let written = rows.map_or(Ok(()), |mut rows| rows.flush().map_err(report::no_rows));
    tally.broken = worked.and(written).err();
    if let Some(why) = tally.broken.take_if(|_| tally.sent == 0) {
        return Err(why);
    }
    tally.software = software(&heads.head);
    tally.cpu = cpu::of_this_thread().zip(ours).map(|(after, before)| after - before);
    if plan.progress > 0 {
        eprintln!("Finished {} requests", tally.done);
    }
    let theirs = theirs.filter(|_| !plan.processes.is_empty());
    let cpu = theirs.and_then(|before| Some(Cpu::of(&plan.processes)?.since(&before)));
    let (plan, interrupted) = (plan.clone(), stop.is_raised());
    Ok(Outcome { plan, wall: last - begun, tally, cpu, interrupted })
}

/// From one moment to another; 0 if they come the other way round.
fn nanos(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_nanos() as u64
}

/// The `Server` field's first word, as ab has it.
fn software(head: &[u8]) -> String {
    let mut lines = head.split(|&b| b == b'\n');
    let value = lines.find_map(|line| value_of(line, b"server"));
    let text = String::from_utf8_lossy(value.unwrap_or_default());
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

impl<'a> Client<'a> {
    fn new(plan: &'a Plan, address: SocketAddr, stop: &'a Stop) -> Result<Client<'a>, String> {
        let poller = Kind::BEST.poller().map_err(|e| format!("cannot watch sockets: {e}"))?;
        let now = Instant::now();
        let slot = |_| Slot {
            connection: None,
            phase: Phase::Idle,
            reused: false,
            written: 0,
            due: now,
            begun: now,
            connected: now,
            first_byte: now,
            reader: Reader::default(),
        };
        let (head_only, keep_heads) = (plan.method == "HEAD", plan.verbosity >= 2);
        Ok(Client {
            plan,
            address,
            stop,
            request: plan.request(),
            poller,
            slots: (0..plan.concurrency).map(slot).collect(),
            idle: (0..plan.concurrency).rev().collect(),
            started: 0,
            over: false,
            handshakes: 0,
            timers: Timers::default(),
            now,
            buffers: BufferPool::default(),
            heads: Heads { head_only, keep_heads, head: Vec::new() },
            rows: plan.rows.as_deref().map(report::row_file).transpose()?,
            begun: now,
            last: now,
            tally: Tally::default(),
        })
    }

    fn work(&mut self) -> Result<(), String> {
        let (plan, mut events) = (self.plan, Vec::new());
        let end = plan.time_limit.map(|limit| self.begun + limit);
        // A closed loop ends at once: there is always a request under way.
        let grace = plan.rate.map_or(Duration::ZERO, |_| GRACE);
        loop {
            self.start_requests()?;
            if self.tally.done == plan.requests {
                return Ok(());
            }
            self.over = end.is_some_and(|end| end <= self.now);
            let all_answered = self.idle.len() == self.slots.len();
            let last = end.map(|end| if self.over { end + grace } else { end });
            let too_late = self.over && (all_answered || last.is_some_and(|last| last <= self.now));
            if too_late || self.stop.is_raised() {
                self.leave_unanswered(end);
                return Ok(());
            }
            let timeout = self.patience(last);
            let waited = self.poller.wait(&mut events, Some(timeout));
            waited.map_err(|e| format!("cannot wait for sockets: {e}"))?;
            if events.is_empty() && timeout.is_zero() {
                std::thread::yield_now();
            }
            self.now = Instant::now();
            for event in &events {
                match self.slots[event.token].phase {
                    // The server ended a connection that was idle, as it may.
                    Phase::Idle => self.close(event.token),
                    _ => self.advance(event.token)?,
                }
                self.start_requests()?;
            }
            while let Some(token) = self.timers.pop_expired(self.now) {
                self.expire(token)?;
            }
        }
    }

    /// Gives idle connections their next requests.
    fn start_requests(&mut self) -> Result<(), String> {
        let mut opened = 0;
        while !self.over && self.started < self.plan.requests {
            let Some(&token) = self.idle.last() else {
                break;
            };
            let due = self.due();
            let open = self.slots[token].connection.is_some();
            let may_open = opened < HANDSHAKES && self.handshakes < HANDSHAKES;
            if due > self.now || !(open || may_open) {
                break;
            }
            self.idle.pop();
            self.started += 1;
            self.timers.set(token, Some(self.now + self.plan.timeout));
            let slot = &mut self.slots[token];
            (slot.due, slot.begun, slot.connected) = (due, self.now, self.now);
            if open {
                (slot.phase, slot.reused, slot.written) = (Phase::Writing, true, 0);
                self.advance(token)?;
            } else {
                opened += 1;
                self.open(token)?;
            }
        }
        Ok(())
    }

    /// When the next request is due: now, unless there is a schedule.
    fn due(&self) -> Instant {
        let since = |rate| Duration::from_secs_f64(self.started as f64 / rate);
        self.plan.rate.map_or(self.now, |rate| self.begun + since(rate))
    }

    /// How long to wait for sockets at most.
    fn patience(&self, end: Option<Instant>) -> Duration {
        let may_start = !self.over && self.started < self.plan.requests && !self.idle.is_empty();
        let due = Some(self.due() - GRAIN).filter(|_| may_start && self.handshakes < HANDSHAKES);
        let moments = [Some(self.now + TICK), end, self.timers.next(), due];
        let until = moments.into_iter().flatten().min().unwrap_or(self.now);
        until.saturating_duration_since(self.now)
    }

    /// Counts what has no answer now that the run ends: otherwise a server that falls silent
    /// would look like one that is fast.
    fn leave_unanswered(&mut self, end: Option<Instant>) {
        // The time in which nothing came counts too.
        self.last = self.now;
        let scheduled = self.plan.rate.is_some();
        let longest = self.tally.total.max();
        for token in 0..self.slots.len() {
            let slot = &self.slots[token];
            let late = scheduled || nanos(slot.begun, self.now) > longest;
            if slot.phase != Phase::Idle && late {
                self.tally.unanswered += 1;
                self.record_wait(token);
            }
        }
        let end = end.map_or(self.now, |end| end.min(self.now));
        while scheduled && self.started < self.plan.requests && self.due() < end {
            self.tally.unanswered += 1;
            self.tally.response.record(nanos(self.due(), self.now));
            self.started += 1;
        }
    }

    /// Counts the wait of a request that gets no answer.
    fn record_wait(&mut self, token: usize) {
        let slot = &self.slots[token];
        self.tally.total.record(nanos(slot.begun, self.now));
        if self.plan.rate.is_some() {
            self.tally.response.record(nanos(slot.due, self.now));
        }
    }
}
