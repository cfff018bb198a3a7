//! One client thread: its share of the connections, one poller, one buffer.
//!
//! In the steady state a request costs two system calls, a write and a read, and a part of one
//! wait; nothing is allocated or locked. It knows where a response ends from [`Reader`] and
//! nothing of reports. Entry point: [`run`]. Note: `notes/bench.md`.

use super::options::Plan;
use super::reader::{self, Answer, Reader, Step};
use super::rows::{RowFile, Rows};
use super::tally::{Class, Tally};
use crate::poller::{Event, Interest, Kind, Poller};
use crate::shutdown::{Stop, TICK};
use crate::sys;
use crate::timers::{Deadline, Timers};
use std::io::{self, ErrorKind, Read, Write};
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
/// The scheduler's waits are rounded to this; the rest before a due time is spent polling.
const GRAIN: Duration = Duration::from_millis(1);
/// How often the live line gets a new p99.
const LIVE_EVERY: Duration = Duration::from_millis(500);
/// `document` before the first answer.
pub const UNKNOWN: u64 = u64::MAX;

/// What all threads of a run share.
#[derive(Debug)]
pub struct Shared<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The bytes of each request.
    pub request: Vec<u8>,
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
pub struct Pulse {
    /// Requests that ended, well or badly.
    pub done: AtomicU64,
    /// Those that ended badly.
    pub failed: AtomicU64,
    /// In nanoseconds, of the last half second.
    pub p99: AtomicU64,
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
    deadline: Deadline,
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
    handshakes: usize,
    timers: Timers,
    /// Read once per answer; all that happens with it has this time.
    now: Instant,
    document: u64,
    heads: reader::Run,
    rows: Option<Rows<'a>>,
    tally: Tally,
}

/// Makes the share's requests; returns when they are done, the time is over, or on stop. The
/// error is one line and ends the whole run.
pub fn run(shared: &Shared, share: Share, pulse: &Pulse) -> Result<Tally, String> {
    let mut client =
        Client::new(shared, share).map_err(|e| format!("cannot watch sockets: {e}"))?;
    let result = client.work(pulse);
    if result.is_err() {
        shared.aborted.store(true, Relaxed);
    }
    client.publish(pulse);
    result?;
    if let Some(rows) = &mut client.rows {
        rows.flush()?;
    }
    client.tally.software = software(&client.heads.head);
    Ok(client.tally)
}

/// The `Server` field's first word, as ab has it.
fn software(head: &[u8]) -> String {
    let mut lines = head.split(|&b| b == b'\n');
    let value = lines.find_map(|line| reader::value_of(line, b"server"));
    let text = String::from_utf8_lossy(value.unwrap_or_default());
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
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
            deadline: Deadline::default(),
            reader: Reader::default(),
        };
        Ok(Client {
            shared,
            share,
            poller: Poller::new(Kind::BEST)?,
            slots: (0..share.connections).map(|_| slot()).collect(),
            idle: (0..share.connections).rev().collect(),
            started: 0,
            handshakes: 0,
            timers: Timers::new(),
            now,
            document: UNKNOWN,
            heads: reader::Run {
                head_only: shared.plan.method == "HEAD",
                keep_heads: shared.plan.verbosity >= 2,
                head: Vec::new(),
            },
            rows: shared.rows.map(Rows::new),
            tally: Tally::new(now),
        })
    }

    fn work(&mut self, pulse: &Pulse) -> Result<(), String> {
        let mut buffer = vec![0; BUFFER].into_boxed_slice();
        let mut events: Vec<Event> = Vec::new();
        let end = self.shared.plan.time_limit.map(|limit| self.now + limit);
        let mut live = (self.now + LIVE_EVERY, self.tally.total.clone());
        loop {
            self.start_requests()?;
            self.publish(pulse);
            let over = end.is_some_and(|end| end <= self.now);
            let stopped = self.shared.stop.is_raised() || self.shared.aborted.load(Relaxed);
            if over || stopped || self.tally.done == self.share.requests {
                return Ok(());
            }
            let timeout = self.patience(end);
            let failed = |e: io::Error| format!("cannot wait for sockets: {e}");
            self.poller
                .wait(&mut events, Some(timeout))
                .map_err(failed)?;
            if events.is_empty() && timeout.is_zero() {
                std::thread::yield_now();
            }
            self.now = Instant::now();
            for event in &events {
                self.ready(event.token, &mut buffer)?;
                self.start_requests()?;
            }
            self.expire()?;
            if live.0 <= self.now {
                let p99 = self.tally.total.quantile_since(Some(&live.1), 0.99);
                pulse.p99.store(p99, Relaxed);
                live = (self.now + LIVE_EVERY, self.tally.total.clone());
            }
        }
    }

    fn publish(&self, pulse: &Pulse) {
        pulse.done.store(self.tally.done, Relaxed);
        pulse.failed.store(self.tally.failed.all(), Relaxed);
    }

    /// How long to wait for sockets at most.
    fn patience(&self, end: Option<Instant>) -> Duration {
        let mut until = self.now + TICK;
        for moment in [end, self.timers.next()].into_iter().flatten() {
            until = until.min(moment);
        }
        let mut patience = until.saturating_duration_since(self.now);
        if self.started < self.share.requests && !self.idle.is_empty() && self.may_open() {
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
        while self.started < self.share.requests {
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
            self.timers.set(token, &mut slot.deadline, Some(deadline));
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

    /// Connects, and writes at once: on a short way the handshake has ended already.
    fn open(&mut self, token: usize) -> Result<(), String> {
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

    fn ready(&mut self, token: usize, buffer: &mut [u8]) -> Result<(), String> {
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
    fn send(&mut self, token: usize) -> Result<(), String> {
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
        while let Some(stream) = &mut slot.stream {
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
        let slot = &mut self.slots[token];
        let received = slot.reader.received();
        match slot.reader.end() {
            Step::Done(answer) => self.complete(token, answer),
            _ if received == 0 && slot.reused => self.again(token),
            _ => {
                self.tally.transferred += received;
                let why = match received {
                    0 => "the server closed the connection without an answer",
                    _ => "the server closed the connection within its answer",
                };
                self.fail(token, Class::Receive, why)
            }
        }
    }

    fn broken(&mut self, token: usize, error: &io::Error) -> Result<(), String> {
        let slot = &mut self.slots[token];
        if slot.phase == Phase::Connecting {
            return self.fail(token, Class::Connect, &error.to_string());
        }
        if slot.reused && !slot.reader.has_begun() {
            return self.again(token);
        }
        self.tally.transferred += slot.reader.received();
        self.fail(token, Class::Receive, &error.to_string())
    }

    /// A server may close an idle connection just as a request is sent on it (RFC 9112,
    /// section 9.5): the request goes out again on a new connection. There, a second such end
    /// is a failure, so that this ends.
    fn again(&mut self, token: usize) -> Result<(), String> {
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
                self.shared
                    .document
                    .compare_exchange(UNKNOWN, answer.body, Relaxed, Relaxed);
            self.document = first.err().unwrap_or(answer.body);
        }
        let keep = plan.keep_alive && answer.persistent;
        self.tally.keep_alive += u64::from(keep);
        if !plan.any_length && answer.body != self.document {
            let why = format!("{} bytes instead of {}", answer.body, self.document);
            return self.fail(token, Class::Length, &why);
        }
        if !keep {
            self.close(token);
        }
        let slot = &self.slots[token];
        let nanos =
            |from: Instant, to: Instant| to.saturating_duration_since(from).as_nanos() as u64;
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
        if verbosity >= 2 {
            println!(
                "LOG: header received:\n{}",
                String::from_utf8_lossy(&self.heads.head)
            );
            if answer.status / 100 != 2 {
                println!("WARNING: Response code not 2xx ({})", answer.status);
            } else if verbosity >= 3 {
                println!("LOG: Response code = {}", answer.status);
            }
        }
    }

    /// Counts the request in one class; the error is that the run must end.
    fn fail(&mut self, token: usize, class: Class, why: &str) -> Result<(), String> {
        let plan = self.shared.plan;
        let url = plan.target.url();
        self.close(token);
        self.finish(token);
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
            Class::Connect if !plan.go_on && self.tally.failed.connect > CONNECT_FAILURES => Err(
                format!("{url}: {why}, more than {CONNECT_FAILURES} times; -r goes on"),
            ),
            Class::Receive if !plan.go_on => {
                let done = self.tally.done - 1;
                Err(format!(
                    "{url}: {why}, after {done} requests; -r counts it and goes on"
                ))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, token: usize) {
        let slot = &mut self.slots[token];
        slot.phase = Phase::Idle;
        self.timers.set(token, &mut slot.deadline, None);
        self.idle.push(token);
        self.tally.done += 1;
        self.tally.last = self.now;
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

    /// Fails the requests whose time is up.
    fn expire(&mut self) -> Result<(), String> {
        while let Some((at, token)) = self.timers.pop(self.now) {
            let slot = &mut self.slots[token];
            if self.timers.rang(at, token, &mut slot.deadline, self.now) {
                let class = match slot.phase {
                    Phase::Connecting => Class::Connect,
                    _ => Class::Receive,
                };
                self.tally.transferred += slot.reader.received();
                let why = format!("no answer within {:?}", self.shared.plan.timeout);
                self.fail(token, class, &why)?;
            }
        }
        Ok(())
    }
}
