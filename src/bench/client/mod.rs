//! The client: each thread has its part of the connections, one poller, one buffer.
//!
//! In the steady state a request costs two system calls, a write and a read, and a part of one
//! wait; nothing is allocated or locked. It knows where a response ends from [`Reader`] and nothing of
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Handshakes under way at once, and connections opened per turn of the loop: no more than the
/// shortest usual listen backlog. Beyond it the kernel drops SYNs, and each costs a second.
const HANDSHAKES: usize = 128;
/// The kernel ends a wait up to so much later than asked (its timer slack is 50 us), so the
/// last of the wait for a due time is spent asking without a pause. Not the whole wait: the
/// scheduler puts a thread that never sleeps behind all others.
const GRAIN: Duration = Duration::from_micros(100);
/// After the end of a schedule its last requests may still get their answers for so long.
const GRACE: Duration = Duration::from_millis(100);

struct Shared<'a> {
    plan: &'a Plan,
    address: SocketAddr,
    stop: &'a Stop,
    request: Vec<u8>,
    rows: Option<Mutex<BufWriter<File>>>,
    begun: Instant,
    /// Requests that began, and that ended.
    started: AtomicU64,
    done: AtomicU64,
    document: OnceLock<u64>,
    /// A connection was made.
    reached: AtomicBool,
    /// A thread met an error that ends the run.
    aborted: AtomicBool,
}

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
    shared: &'a Shared<'a>,
    poller: Poller,
    slots: Vec<Slot>,
    /// Slots without a request; the last to become idle is the first to be used.
    idle: Vec<usize>,
    /// The time is over: no more requests are started.
    over: bool,
    handshakes: usize,
    timers: Timers,
    /// Read once per answer; all that happens with it has this time.
    now: Instant,
    buffers: BufferPool,
    heads: Heads,
    tally: Tally,
}

/// Makes the requests of the plan; returns when they are done, the time is over, or on stop. The
/// error is one line: nothing could be measured. What ends the run later is `broken` in the tally.
pub(super) fn run(plan: Plan, address: SocketAddr, stop: &Stop) -> Result<Outcome, String> {
    let rows = plan.rows.as_deref().map(report::row_file).transpose()?;
    let theirs = Cpu::of(&plan.processes).filter(|_| !plan.processes.is_empty());
    let shared = Shared {
        plan: &plan,
        address,
        stop,
        request: plan.request(),
        rows: rows.map(Mutex::new),
        begun: Instant::now(),
        started: AtomicU64::default(),
        done: AtomicU64::default(),
        document: OnceLock::new(),
        reached: AtomicBool::default(),
        aborted: AtomicBool::default(),
    };
    let first = Client::new(&shared, 0)?;
    let others = (1..plan.threads).map(|index| Client::new(&shared, index));
    let others = others.collect::<Result<Vec<Client>, String>>()?;
    let mut tally = thread::scope(|scope| {
        let start = |client| thread::Builder::new().spawn_scoped(scope, || Client::run(client));
        let others: Vec<_> = others.into_iter().map(start).collect();
        let why = || Some("a client thread did not start, or panicked".to_owned());
        let lost = || Tally { broken: why(), ..Tally::default() };
        others.into_iter().fold(first.run(), |tally, other| {
            let other = other.ok().and_then(|thread| thread.join().ok());
            tally.merged(other.unwrap_or_else(lost))
        })
    });
    let cpu = theirs.and_then(|before| Some([before, Cpu::of(&plan.processes)?]));
    let rows = shared.rows.map(|rows| rows.into_inner().unwrap_or_else(PoisonError::into_inner));
    let written = rows.map_or(Ok(()), |mut rows| rows.flush().map_err(report::no_rows));
    tally.broken = tally.broken.or(written.err());
    if let Some(why) = tally.broken.take_if(|_| tally.sent == 0) {
        return Err(why);
    }
    if plan.progress > 0 {
        eprintln!("Finished {} requests", tally.done);
    }
    tally.document = shared.document.into_inner();
    let wall = tally.last.map_or(Duration::ZERO, |last| last - shared.begun);
    Ok(Outcome { plan, wall, tally, cpu, idle_memory: None, interrupted: stop.is_raised() })
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
    fn new(shared: &'a Shared<'a>, index: usize) -> Result<Client<'a>, String> {
        let poller = Kind::BEST.poller().map_err(|e| format!("cannot watch sockets: {e}"))?;
        let (plan, now) = (shared.plan, shared.begun);
        let connections = (plan.concurrency + index) / plan.threads;
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
            shared,
            poller,
            slots: (0..connections).map(slot).collect(),
            idle: (0..connections).rev().collect(),
            over: false,
            handshakes: 0,
            timers: Timers::default(),
            now,
            buffers: BufferPool::default(),
            heads: Heads { head_only, keep_heads, head: Vec::new() },
            tally: Tally::default(),
        })
    }

    /// All that one thread does. An error in one ends all.
    fn run(mut self) -> Tally {
        (self.now, self.tally.cpu) = (Instant::now(), cpu::of_this_thread());
        self.tally.broken = self.work().err();
        self.shared.aborted.fetch_or(self.tally.broken.is_some(), Relaxed);
        self.tally.software = software(&self.heads.head);
        let used = cpu::of_this_thread().zip(self.tally.cpu);
        self.tally.cpu = used.map(|(after, before)| after - before);
        self.tally
    }

    fn work(&mut self) -> Result<(), String> {
        let (shared, mut events) = (self.shared, Vec::new());
        let plan = shared.plan;
        let end = plan.time_limit.map(|limit| shared.begun + limit);
        // A closed loop ends at once: there is always a request under way.
        let grace = plan.rate.map_or(Duration::ZERO, |_| GRACE);
        loop {
            self.start_requests()?;
            let all_answered = self.idle.len() == self.slots.len();
            if all_answered && shared.started.load(Relaxed) == plan.requests {
                return Ok(());
            }
            self.over = end.is_some_and(|end| end <= self.now);
            let last = end.map(|end| if self.over { end + grace } else { end });
            let too_late = self.over && (all_answered || last.is_some_and(|last| last <= self.now));
            if too_late || shared.stop.is_raised() || shared.aborted.load(Relaxed) {
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

    fn start_requests(&mut self) -> Result<(), String> {
        let mut opened = 0;
        while let Some(&token) = self.idle.last().filter(|_| !self.over) {
            let open = self.slots[token].connection.is_some();
            if !open && (opened == HANDSHAKES || !self.may_open()) {
                break;
            }
            let Some(due) = self.claim(self.now) else { break };
            self.idle.pop();
            self.timers.set(token, Some(self.now + self.shared.plan.timeout));
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

    /// Each thread has its part of the bound, and at least one.
    fn may_open(&self) -> bool {
        self.handshakes < (HANDSHAKES / self.shared.plan.threads).max(1)
    }

    /// Takes the next request if there is one that is due by then. Gives the moment it was due.
    fn claim(&self, by: Instant) -> Option<Instant> {
        let next = |n| self.due(n).filter(|due| *due <= by).map(|_| n + 1);
        self.due(self.shared.started.fetch_update(Relaxed, Relaxed, next).ok()?)
    }

    /// When request `n`, from 0, is due: now, unless there is a schedule; None: there is none.
    fn due(&self, n: u64) -> Option<Instant> {
        let (plan, begun) = (self.shared.plan, self.shared.begun);
        let due = plan.rate.map(|rate| begun + Duration::from_secs_f64(n as f64 / rate));
        Some(due.unwrap_or(self.now)).filter(|_| n < plan.requests)
    }

    /// How long to wait for sockets at most.
    fn patience(&self, end: Option<Instant>) -> Duration {
        let may_start = !self.over && !self.idle.is_empty() && self.may_open();
        let due = self.due(self.shared.started.load(Relaxed)).filter(|_| may_start);
        let due = due.map(|due| due - GRAIN);
        let moments = [Some(self.now + TICK), end, self.timers.next(), due];
        let until = moments.into_iter().flatten().min().unwrap_or(self.now);
        until.saturating_duration_since(self.now)
    }

    /// Counts what has no answer at the end: else a server that falls silent would look fast.
    fn leave_unanswered(&mut self, end: Option<Instant>) {
        // The time in which nothing came counts too.
        self.tally.last = Some(self.now);
        let scheduled = self.shared.plan.rate.is_some();
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
        while scheduled && let Some(due) = self.claim(end) {
            self.tally.unanswered += 1;
            self.tally.response.record(nanos(due, self.now));
        }
    }

    /// Counts the wait of a request that gets no answer.
    fn record_wait(&mut self, token: usize) {
        let slot = &self.slots[token];
        self.tally.total.record(nanos(slot.begun, self.now));
        if self.shared.plan.rate.is_some() {
            self.tally.response.record(nanos(slot.due, self.now));
        }
    }
}
