//! What a client thread counts, and what a run comes to.
//!
//! Knows neither sockets nor reports. Entry points: [`Tally`], [`Outcome`]. Note: `notes/bench.md`.

use super::plan::{Plan, Target};
use super::reader::Answer;
use super::stats::Histogram;
use std::fmt;
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

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Class::Connect => "connect",
            Class::Receive => "receive",
            Class::Length => "length",
            Class::Exception => "exception",
        })
    }
}

/// Failed requests: a count for each class, in the order of [`Class`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failed(pub [u64; 4]);

impl Failed {
    /// Counts one.
    pub fn add(&mut self, class: Class) {
        self.0[class as usize] += 1;
    }

    /// Of one class.
    pub fn of(&self, class: Class) -> u64 {
        self.0[class as usize]
    }

    /// Of all classes.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What one thread counted. The terms are ab's.
#[derive(Debug)]
pub struct Tally {
    /// When the thread began, and when its last request ended.
    pub begun: Instant,
    /// See `begun`.
    pub last: Instant,
    /// Requests that ended, well or badly.
    pub done: u64,
    /// Those that ended badly.
    pub failed: Failed,
    /// The first failure, in words.
    pub reason: Option<String>,
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
    /// Connect and processing: the service time.
    pub total: Histogram,
    /// With a schedule: from when the request was due to the last byte.
    pub response: Histogram,
    /// The server's name for itself.
    pub software: String,
}

impl Tally {
    /// Nothing yet.
    pub fn new(now: Instant) -> Tally {
        Tally {
            begun: now,
            last: now,
            done: 0,
            failed: Failed::default(),
            reason: None,
            non_2xx: 0,
            keep_alive: 0,
            transferred: 0,
            useful: 0,
            html: 0,
            sent: 0,
            connect: Histogram::default(),
            processing: Histogram::default(),
            waiting: Histogram::default(),
            total: Histogram::default(),
            response: Histogram::default(),
            software: String::new(),
        }
    }

    /// Counts an answer that is as it should be; times in nanoseconds.
    #[inline]
    pub fn answered(&mut self, answer: Answer, connect: u64, processing: u64, waiting: u64) {
        self.useful += answer.total;
        self.html += answer.body;
        self.connect.record(connect);
        self.processing.record(processing);
        self.waiting.record(waiting);
        self.total.record(connect + processing);
    }

    /// Both threads' together.
    pub fn merged(mut self, other: Tally) -> Tally {
        self.begun = self.begun.min(other.begun);
        self.last = self.last.max(other.last);
        self.done += other.done;
        for (mine, theirs) in self.failed.0.iter_mut().zip(other.failed.0) {
            *mine += theirs;
        }
        self.reason = self.reason.take().or(other.reason);
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
        self
    }
}

/// Requests that ended in each interval of a run. When the list is full, neighbours are added
/// up and the interval doubles: constant memory.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The length of an interval.
    pub every: Duration,
    /// Requests that ended in each.
    pub counts: Vec<u64>,
}

/// More than a chart has pixels to show.
const INTERVALS: usize = 600;

impl Timeline {
    /// Empty.
    pub fn new(every: Duration) -> Timeline {
        Timeline {
            every,
            counts: Vec::new(),
        }
    }

    /// Notes that `requests` more had ended at `elapsed`.
    pub fn add(&mut self, elapsed: Duration, requests: u64) {
        let mut place = (elapsed.as_nanos() / self.every.as_nanos().max(1)) as usize;
        while place >= INTERVALS {
            self.counts = self
                .counts
                .chunks(2)
                .map(|pair| pair.iter().sum())
                .collect();
            self.every *= 2;
            place /= 2;
        }
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += requests;
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked for.
    pub plan: Plan,
    /// From the first connect to the last answer, or to the end of the time limit.
    pub wall: Duration,
    /// Everything counted, all threads together.
    pub tally: Tally,
    /// The length of the first answer's body.
    pub document_length: u64,
    /// Requests that ended, by time.
    pub timeline: Timeline,
    /// Ctrl-C ended it early.
    pub interrupted: bool,
}

impl Outcome {
    /// Where the requests went.
    pub fn target(&self) -> &Target {
        &self.plan.target
    }

    /// Requests with an answer that is as it should be: all but the failed ones.
    pub fn succeeded(&self) -> u64 {
        self.tally.done - self.tally.failed.all()
    }

    fn per_second(&self, amount: f64) -> f64 {
        let seconds = self.wall.as_secs_f64();
        if seconds > 0.0 { amount / seconds } else { 0.0 }
    }

    /// Requests per second; failed ones do not count.
    pub fn rate(&self) -> f64 {
        self.per_second(self.succeeded() as f64)
    }

    /// ab's "Time per request" in milliseconds: the mean as one connection sees it; 0 if no
    /// request succeeded.
    pub fn time_per_request(&self) -> f64 {
        self.plan.concurrency as f64 * self.time_across_all()
    }

    /// The same across all concurrent requests: the inverse of the rate.
    pub fn time_across_all(&self) -> f64 {
        match self.succeeded() {
            0 => 0.0,
            n => self.wall.as_secs_f64() * 1e3 / n as f64,
        }
    }

    /// Kbytes received per second, in answers that count.
    pub fn transfer_rate(&self) -> f64 {
        self.per_second(self.tally.useful as f64 / 1024.0)
    }

    /// Kbytes sent per second.
    pub fn sent_rate(&self) -> f64 {
        self.per_second(self.tally.sent as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts that all differ, from `n` on; one time in each histogram, two in the next.
    fn tally(begun: Instant, n: u64) -> Tally {
        let times = |from: u64| {
            let mut histogram = Histogram::default();
            (0..=from).for_each(|i| histogram.record(n + from + i));
            histogram
        };
        Tally {
            begun,
            last: begun + Duration::from_secs(n),
            done: n,
            failed: Failed([n + 1, n + 2, n + 3, n + 4]),
            reason: None,
            non_2xx: n + 5,
            keep_alive: n + 6,
            transferred: n + 7,
            useful: n + 8,
            html: n + 9,
            sent: n + 10,
            connect: times(0),
            processing: times(1),
            waiting: times(2),
            total: times(3),
            response: times(4),
            software: String::new(),
        }
    }

    #[test]
    fn merging_threads_adds_every_count() {
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let named = |mut tally: Tally, name: &str| {
            (tally.reason, tally.software) = (Some(name.to_owned()), name.to_owned());
            tally
        };
        let (one, other) = (tally(late, 100), named(tally(early, 1000), "other"));
        // Without `..`: a new count is to be thought of here too.
        let Tally {
            begun,
            last,
            done,
            failed,
            reason,
            non_2xx,
            keep_alive,
            transferred,
            useful,
            html,
            sent,
            connect,
            processing,
            waiting,
            total,
            response,
            software,
        } = one.merged(other);
        assert_eq!((begun, last), (early, early + Duration::from_secs(1000)));
        assert_eq!(done, 1100);
        assert_eq!(failed, Failed([1102, 1104, 1106, 1108]));
        assert_eq!((non_2xx, keep_alive, transferred), (1110, 1112, 1114));
        assert_eq!((useful, html, sent), (1116, 1118, 1120));
        for (histogram, from) in [connect, processing, waiting, total, response]
            .iter()
            .zip(0..)
        {
            assert_eq!(histogram.count(), 2 * (from + 1));
            assert_eq!(
                (histogram.min(), histogram.max()),
                (100 + from, 1000 + 2 * from)
            );
        }
        assert_eq!((reason.as_deref(), &*software), (Some("other"), "other"));
        // The first name and the first reason stay.
        let first = named(tally(early, 0), "first").merged(named(tally(early, 0), "second"));
        assert_eq!(
            (first.reason.as_deref(), &*first.software),
            (Some("first"), "first")
        );
    }

    #[test]
    fn a_timeline_keeps_every_request_in_bounded_memory() {
        let mut timeline = Timeline::new(Duration::from_millis(100));
        for i in 0..5000_u64 {
            timeline.add(Duration::from_millis(i * 100), 2);
        }
        assert!(timeline.counts.len() <= INTERVALS);
        assert_eq!(timeline.counts.iter().sum::<u64>(), 10_000);
        assert_eq!(timeline.every, Duration::from_millis(1600));
    }
}
