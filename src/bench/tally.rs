//! What a client thread counts, and what a run comes to.
//!
//! Knows neither sockets nor reports. Entry points: [`Tally`], [`Outcome`]. Note: `notes/bench.md`.

use super::cpu::Cpu;
use super::plan::Plan;
use super::reader::Answer;
use super::stats::Histogram;
use std::time::{Duration, Instant};

/// Why a request failed; ab's classes, but each request is in one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No connection.
    Connect,
    /// The answer broke off, or did not come in time.
    Receive,
    /// The body is not as long as the first answer's.
    Length,
    /// The answer is not HTTP.
    Exception,
}

/// Failed requests: a count for each class, in the order of [`Class`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failed(pub [u64; 4]);

impl Failed {
    /// Of all classes.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What one thread counted. The terms are ab's.
#[derive(Debug, Default)]
pub struct Tally {
    /// When the last request ended.
    pub last: Option<Instant>,
    /// Requests that ended, well or badly.
    pub done: u64,
    /// Those that ended badly.
    pub failed: Failed,
    /// The first failure, in words.
    pub reason: Option<String>,
    /// Those that failed since no answer came within -s.
    pub timed_out: u64,
    /// Requests that had no answer when the run ended: all that were due on a schedule; in a
    /// closed loop those that had waited longer than any answer took. They are not `done`.
    pub unanswered: u64,
    /// Requests that went out once more, on a new connection, since the server had closed the old one.
    pub retried: u64,
    /// Answers with a status code of 2xx that did not fail.
    pub good: u64,
    /// Answers whose status code is not 2xx.
    pub non_2xx: u64,
    /// Answers after which the connection stayed open.
    pub keep_alive: u64,
    /// Bytes of all answers, also of failed ones.
    pub transferred: u64,
    /// Bytes of the answers that count.
    pub useful: u64,
    /// Bytes of their bodies.
    pub html: u64,
    /// Bytes of requests.
    pub sent: u64,
    /// Making the connection; 0 for a request on one that was kept alive.
    pub connect: Histogram,
    /// From then to the last byte.
    pub processing: Histogram,
    /// From then to the first byte.
    pub waiting: Histogram,
    /// Connect and processing: the service time. A request without an answer counts here, and in
    /// `response`, with the time that it waited.
    pub total: Histogram,
    /// With a schedule: from when the request was due to the last byte.
    pub response: Histogram,
    /// The server's name for itself.
    pub software: String,
    /// CPU time that the thread used.
    pub cpu: Option<Duration>,
    /// The length of the first answer's body.
    pub document: Option<u64>,
    /// Why the run ended before its time.
    pub broken: Option<String>,
}

impl Tally {
    /// Counts an answer that is as it should be; times in nanoseconds.
    #[inline]
    pub fn answered(&mut self, answer: Answer, connect: u64, processing: u64, waiting: u64) {
        self.good += u64::from(answer.status / 100 == 2);
        self.useful += answer.total;
        self.html += answer.body;
        self.connect.record(connect);
        self.processing.record(processing);
        self.waiting.record(waiting);
        self.total.record(connect + processing);
    }

    /// Both threads' together.
    pub fn merged(mut self, other: Tally) -> Tally {
        self.last = self.last.max(other.last);
        self.done += other.done;
        for (mine, theirs) in self.failed.0.iter_mut().zip(other.failed.0) {
            *mine += theirs;
        }
        self.reason = self.reason.or(other.reason);
        self.timed_out += other.timed_out;
        self.unanswered += other.unanswered;
        self.retried += other.retried;
        self.good += other.good;
        self.non_2xx += other.non_2xx;
        self.keep_alive += other.keep_alive;
        self.transferred += other.transferred;
        self.useful += other.useful;
        self.html += other.html;
        self.sent += other.sent;
        self.connect.merge(&other.connect);
        self.processing.merge(&other.processing);
        self.waiting.merge(&other.waiting);
        self.total.merge(&other.total);
        self.response.merge(&other.response);
        if self.software.is_empty() {
            self.software = other.software;
        }
        self.cpu = self.cpu.zip(other.cpu).map(|(mine, theirs)| mine + theirs);
        self.document = self.document.or(other.document);
        self.broken = self.broken.or(other.broken);
        self
    }
}

/// With more than this part of its cores the client may be slower than the server.
const CLIENT_IS_BUSY: f64 = 0.9;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked for.
    pub plan: Plan,
    /// From the first connect to the last answer, or to the end of the time limit.
    pub wall: Duration,
    /// Everything counted.
    pub tally: Tally,
    /// What the processes of --cpu had used before and after; None if they cannot be read.
    pub cpu: Option<[Cpu; 2]>,
    /// Bytes by which they had grown for each connection of --idle.
    pub idle_memory: Option<f64>,
    /// Ctrl-C ended it early.
    pub interrupted: bool,
}

impl Outcome {
    /// Requests with an answer that is as it should be: all but the failed ones.
    pub fn succeeded(&self) -> u64 {
        self.tally.done - self.tally.failed.all()
    }

    /// Why the run is no success: it broke, or there is not a single good answer.
    pub(crate) fn failure(&self) -> Option<String> {
        let Tally { broken, reason, .. } = &self.tally;
        if broken.is_some() || self.succeeded() > 0 || self.interrupted {
            return broken.clone();
        }
        let (url, why) = (self.plan.target.url(), reason.as_deref());
        let why = why.unwrap_or("no answer came in time");
        Some(format!("{url}: no request succeeded; the first failed with {why}"))
    }

    /// On a schedule: the part of the rate not answered, if it is more than a run's end explains.
    pub(crate) fn shortfall(&self) -> Option<f64> {
        let part = 1.0 - self.rate() / self.plan.rate?;
        Some(part).filter(|part| *part > 0.05 || self.tally.unanswered > 0)
    }

    /// Which part of its cores the client used: a thread uses one at most.
    pub(crate) fn client_share(&self) -> Option<f64> {
        let cores = self.wall.as_secs_f64() * self.plan.threads as f64;
        Some(self.tally.cpu?.as_secs_f64() / cores.max(1e-9))
    }

    /// A warning if the client had no time to spare. On a schedule it never sleeps long at high
    /// rates, so there it is one only if the schedule was not kept.
    pub(crate) fn client_limit(&self) -> Option<String> {
        let percent = 100.0 * self.client_share().filter(|share| *share > CLIENT_IS_BUSY)?;
        let kept = self.plan.rate.is_some() && self.shortfall().is_none();
        let cores = if self.plan.threads > 1 { "cores" } else { "core" };
        let limit = "it, not the server, may be the limit.";
        (!kept).then(|| format!("the client used {percent:.0} % of its {cores}: {limit}"))
    }

    /// Microseconds of CPU time of the processes of --cpu per request that succeeded.
    pub(crate) fn cpu_per_request(&self) -> Option<f64> {
        let [before, after] = self.cpu.as_ref()?;
        Some(after.since(before).as_secs_f64() * 1e6 / self.succeeded() as f64)
    }

    /// Requests per second; failed ones do not count.
    pub(crate) fn rate(&self) -> f64 {
        self.per_second(self.succeeded() as f64)
    }

    /// ab's "Time per request" in ms: the mean as one connection sees it; 0 if none succeeded.
    pub(crate) fn time_per_request(&self) -> f64 {
        let (time, succeeded) = (self.wall.as_secs_f64() * 1e3, self.succeeded());
        let all = if succeeded > 0 { time / succeeded as f64 } else { 0.0 };
        self.plan.concurrency as f64 * all
    }

    /// Kbytes received per second, in answers that count.
    pub(crate) fn transfer_rate(&self) -> f64 {
        self.per_second(self.tally.useful as f64 / 1024.0)
    }

    pub(crate) fn per_second(&self, amount: f64) -> f64 {
        let seconds = self.wall.as_secs_f64();
        if seconds > 0.0 { amount / seconds } else { 0.0 }
    }
}
