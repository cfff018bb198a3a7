//! The numbers of each backend, for the policies and the status page. Each worker writes its own,
//! so that counting costs an ordinary addition: no worker waits for another's cache line. A reader
//! adds them up.
//!
//! Knows no sockets, no HTTP. Entry points: [`Counters`] for workers, [`Sum::of`] for readers.
//! Note: `notes/lb.md`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number with one writer and many readers.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one. Only the one writer calls it, so no other addition can be lost.
    pub fn up(&self) {
        self.set(self.get().wrapping_add(1));
    }

    pub fn down(&self) {
        self.set(self.get().wrapping_sub(1));
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The number now, or a moment ago.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Times fall into buckets that grow by a quarter of a power of two, so a percentile is right
/// within 20 %, from 1 µs to beyond an hour, in 1 KiB.
const BUCKETS: usize = 4 * 32;

/// One worker's numbers about one backend, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    pub answered: Count,
    pub failures: Count,
    pub in_flight: Count,
    pub open: Count,
    pub idle: Count,
    pub heard: Count, // when bytes of an answer came last, in ms since the start
    times: [[Count; 4]; BUCKETS / 4], // `BUCKETS`, in fours
}

/// The [`Counters`] that are shown, in the order of [`Sum::counts`]: the name in JSON, the name in
/// Prometheus' format, and what it is.
pub const SHOWN: [[&str; 3]; 5] = [
    ["answered", "answered_total", "Answers passed on."],
    ["failures", "failures_total", "Attempts that the backend failed."],
    ["in_flight", "in_flight", "Requests under way."],
    ["open", "connections_open", "Connections, idle ones included."],
    ["idle", "connections_idle", "Connections in the pool."],
];

impl Counters {
    /// An answer was passed on after so long.
    pub fn answered(&self, took: Duration) {
        self.answered.up();
        let quarters = 4.0 * (took.as_micros().max(1) as f64).log2();
        let bucket = (quarters as usize).min(BUCKETS - 1);
        self.times[bucket / 4][bucket % 4].up();
    }
}

/// The numbers of all workers about one backend.
pub struct Sum {
    pub counts: [u64; SHOWN.len()], // as `SHOWN` names them
    times: [u64; BUCKETS],
}

impl Sum {
    pub fn of<'a>(workers: impl Iterator<Item = &'a Counters>) -> Sum {
        let mut sum = Sum { counts: [0; SHOWN.len()], times: [0; BUCKETS] };
        for Counters { answered, failures, in_flight, open, idle, times, .. } in workers {
            let counts = sum.counts.iter_mut().zip([answered, failures, in_flight, open, idle]);
            let times = sum.times.iter_mut().zip(times.as_flattened());
            counts.chain(times).for_each(|(sum, count)| *sum += count.get());
        }
        sum
    }

    pub fn answered(&self) -> u64 {
        self.counts[0]
    }

    /// The time in ms within which this part of the answers was passed on; None if none was.
    pub fn percentile(&self, part: f64) -> Option<f64> {
        let all: u64 = self.times.iter().sum();
        let rank = (all as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.times.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        // The largest time that falls into it.
        bucket.map(|bucket| ((bucket + 1) as f64 / 4.0).exp2() / 1000.0)
    }
}
