//! One client thread: its share of the connections, one poller, one buffer.
//!
//! In the steady state a request costs two system calls, a write and a read, and a part of one
//! wait; nothing is allocated or locked. It knows where a response ends from [`Reader`] and
//! nothing of reports. Entry point: [`run`]. Note: `notes/bench.md`.

// one request on one connection
mod exchange;

use super::cpu;
use super::head::value_of;
use super::plan::Plan;
use super::reader::{self, Reader};
use super::rows::{RowFile, Rows};
use super::tally::Tally;
use crate::cli::shutdown::{Stop, TICK};
use crate::net::poller::{Event, Interest, Kind, Poller};
use crate::net::timers::Timers;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Handshakes under way at once, and connections opened per turn of the loop: no more than the
/// shortest usual listen backlog. Beyond it the kernel drops SYNs, and each costs a second.
pub const HANDSHAKES: usize = 128;
/// What one read takes at most.
const BUFFER: usize = 64 * 1024;
/// Without -r a run ends after so many failed connects, as with ab.
const CONNECT_FAILURES: u64 = 10;
/// The kernel ends a wait up to so much later than asked (its timer slack is 50 us), so the
/// last of the wait for a due time is spent asking without a pause. Not the whole wait: the
/// scheduler puts a thread that never sleeps behind all others.
const GRAIN: Duration = Duration::from_micros(100);
/// When the time of a schedule is over, requests that have been sent may get their answers for so
/// much longer: those of the last moment are not late.
const GRACE: Duration = Duration::from_millis(100);
/// `document` before the first answer.
pub const UNKNOWN: u64 = u64::MAX;

/// What all threads of a run share.
#[derive(Debug)]
pub struct Shared<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The bytes of each request.
    pub request: Vec<u8>,
    /// Whether it may be sent again when nobody knows what became of it.
    pub idempotent: bool,
    /// Where to.
    pub address: SocketAddr,
    /// Ctrl-C.
    pub stop: &'a Stop,
    /// When the schedule of `--rate` begins.
    pub epoch: Instant,
    /// The length of the first answer's body, once it is known.
    pub document: AtomicU64,
    /// Whether a connection was ever made.
    pub reached: AtomicBool,
    /// A thread met an error that ends the run.
    pub aborted: AtomicBool,
    /// The file of -g.
    pub rows: Option<&'a RowFile>,
}

/// What a thread tells the others while it runs, once per turn of its loop.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that ended, well or badly.
    pub done: AtomicU64,
    /// Those that ended badly.
    pub failed: AtomicU64,
}

/// One thread's part of the whole.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Which part.
    pub index: usize,
    /// Of how many.
    pub of: usize,
    /// Requests to make.
    pub requests: u64,
    /// Connections to make them over.
    pub connections: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request; the connection may be open.
    Idle,
    Connecting,
    Writing,
    Reading,
}

#[derive(Debug)]
struct Slot {
    stream: Option<TcpStream>,
    watched: Option<Interest>,
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
    share: Share,
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
    document: u64,
    heads: reader::Heads,
    rows: Option<Rows<'a>>,
    /// When it began, and when the last request ended.
    begun: Instant,
    last: Instant,
    tally: Tally,
}

/// Makes the share's requests; returns when they are done, the time is over, or on stop. The
/// error is one line: nothing could be measured. What ends the run later is `broken` in the tally.
pub fn run(shared: &Shared, share: Share, counters: &Counters) -> Result<Tally, String> {
    let cpu = cpu::of_this_thread();
    let mut client =
        Client::new(shared, share).map_err(|e| format!("cannot watch sockets: {e}"))?;
    let worked = client.work(counters);
    let rows = client.rows.as_mut().map_or(Ok(()), Rows::flush);
    client.publish(counters);
    let mut tally = client.tally;
    if let Err(why) = worked.and(rows) {
        shared.aborted.store(true, Relaxed);
        if !shared.reached.load(Relaxed) {
            return Err(why);
        }
        tally.broken = Some(why);
    }
    tally.span = Some((client.begun, client.last));
    tally.software = software(&client.heads.head);
    let used = cpu::of_this_thread().zip(cpu);
    tally.cpu = used.map(|(after, before)| after - before);
    Ok(tally)
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
    fn new(shared: &'a Shared<'a>, share: Share) -> io::Result<Client<'a>> {
        let now = Instant::now();
        let slot = || Slot {
            stream: None,
            watched: None,
            phase: Phase::Idle,
            reused: false,
            written: 0,
            due: now,
            begun: now,
            connected: now,
            first_byte: now,
            reader: Reader::default(),
        };
        Ok(Client {
            shared,
            share,
            poller: Kind::BEST.poller()?,
            slots: (0..share.connections).map(|_| slot()).collect(),
            idle: (0..share.connections).rev().collect(),
            started: 0,
            over: false,
            handshakes: 0,
            timers: Timers::default(),
            now,
            document: UNKNOWN,
            heads: reader::Heads {
                head_only: shared.plan.method == "HEAD",
                keep_heads: shared.plan.verbosity >= 2,
                head: Vec::new(),
            },
            rows: shared.rows.map(Rows::new),
            // On a schedule time begins with the schedule.
            begun: shared.plan.rate.map_or(now, |_| shared.epoch),
            last: now,
            tally: Tally::default(),
        })
    }

    fn work(&mut self, counters: &Counters) -> Result<(), String> {
        let mut buffer = vec![0; BUFFER].into_boxed_slice();
        let mut events: Vec<Event> = Vec::new();
        let plan = self.shared.plan;
        let end = plan.time_limit.map(|limit| self.begun + limit);
        // A closed loop ends at once: there is always a request under way.
        let grace = plan.rate.map_or(Duration::ZERO, |_| GRACE);
        loop {
            self.start_requests()?;
            self.publish(counters);
            if self.tally.done == self.share.requests {
                return Ok(());
            }
            self.over = end.is_some_and(|end| end <= self.now);
            let all_answered = self.idle.len() == self.slots.len();
            let last = end.map(|end| if self.over { end + grace } else { end });
            let too_late = self.over && (all_answered || last.is_some_and(|last| last <= self.now));
            if too_late || self.shared.stop.is_raised() || self.shared.aborted.load(Relaxed) {
                self.leave_unanswered(end);
                return Ok(());
            }
            let timeout = self.patience(last);
            let failed = |e: io::Error| format!("cannot wait for sockets: {e}");
            self.poller.wait(&mut events, Some(timeout)).map_err(failed)?;
            if events.is_empty() && timeout.is_zero() {
                std::thread::yield_now();
            }
            self.now = Instant::now();
            for event in &events {
                self.ready(event.token, &mut buffer)?;
                self.start_requests()?;
            }
            self.expire()?;
        }
    }

    /// Counts what has no answer now that the run ends: otherwise a server that falls silent
    /// would look like one that is fast.
    fn leave_unanswered(&mut self, end: Option<Instant>) {
        let now = self.now;
        // The time in which nothing came counts too.
        self.last = now;
        let scheduled = self.shared.plan.rate.is_some();
        let longest = self.tally.total.max();
        for slot in self.slots.iter().filter(|s| s.phase != Phase::Idle) {
            let waited = nanos(slot.begun, now);
            if scheduled || waited > longest {
                self.tally.unanswered += 1;
                self.tally.waited(waited, scheduled.then(|| nanos(slot.due, now)));
            }
        }
        let end = end.map_or(now, |end| end.min(now));
        while scheduled && self.started < self.share.requests && self.due() < end {
            let waited = nanos(self.due(), now);
            self.tally.unanswered += 1;
            self.tally.response.record(waited);
            self.started += 1;
        }
    }

    fn publish(&self, counters: &Counters) {
        counters.done.store(self.tally.done, Relaxed);
        counters.failed.store(self.tally.failed.all(), Relaxed);
    }

    /// How long to wait for sockets at most.
    fn patience(&self, end: Option<Instant>) -> Duration {
        let mut until = self.now + TICK;
        for moment in [end, self.timers.next()].into_iter().flatten() {
            until = until.min(moment);
        }
        let mut patience = until.saturating_duration_since(self.now);
        let more = !self.over && self.started < self.share.requests;
        if more && !self.idle.is_empty() && self.may_open() {
            let wait = self.due().saturating_duration_since(self.now);
            patience = patience.min(wait.saturating_sub(GRAIN));
        }
        patience
    }

    fn may_open(&self) -> bool {
        // Each thread has its part of the bound, and at least one.
        self.handshakes < (HANDSHAKES / self.share.of).max(1)
    }

    /// When the next request is due: now, unless there is a schedule.
    fn due(&self) -> Instant {
        let Some(rate) = self.shared.plan.rate else {
            return self.now;
        };
        let place = self.started * self.share.of as u64 + self.share.index as u64;
        self.shared.epoch + Duration::from_secs_f64(place as f64 / rate)
    }

    /// Gives idle connections their next requests.
    fn start_requests(&mut self) -> Result<(), String> {
        let mut opened = 0;
        while !self.over && self.started < self.share.requests {
            let Some(&token) = self.idle.last() else {
                break;
            };
            let due = self.due();
            let open = self.slots[token].stream.is_some();
            if due > self.now || (!open && (opened == HANDSHAKES || !self.may_open())) {
                break;
            }
            self.idle.pop();
            self.started += 1;
            let slot = &mut self.slots[token];
            slot.due = due;
            slot.begun = self.now;
            slot.written = 0;
            let deadline = self.now + self.shared.plan.timeout;
            self.timers.set(token, Some(deadline));
            if open {
                slot.reused = true;
                slot.connected = self.now;
                self.send(token)?;
            } else {
                opened += 1;
                self.open(token)?;
            }
        }
        Ok(())
    }

    /// Fails the requests whose time is up.
    fn expire(&mut self) -> Result<(), String> {
        while let Some(token) = self.timers.pop_expired(self.now) {
            let slot = &self.slots[token];
            let since_due = self.shared.plan.rate.map(|_| nanos(slot.due, self.now));
            self.tally.timed_out += 1;
            self.tally.waited(nanos(slot.begun, self.now), since_due);
            let why = format!("no answer within {:?}", self.shared.plan.timeout);
            self.lose(token, &why)?;
        }
        Ok(())
    }
}
