//! What the status page counts. Each worker writes its own numbers, so that counting costs an
//! ordinary addition: no worker waits for another's cache line. Who looks adds them up.
//!
//! Knows no sockets, no HTTP. Entry points: [`Counters`] for workers, [`Sum::of`] for readers.
//! Note: `notes/lb.md`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number with one writer and many readers.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one. Only ever called by the one writer, so no other addition can be lost.
    pub fn up(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Takes one away; likewise.
    pub fn down(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// Sets it; likewise.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The number now, or a moment ago.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Times fall into buckets that grow by a quarter of a power of two, so a percentile is right
/// within 25 %, from 1 µs to beyond an hour, in less than 1 KiB.
const BUCKETS: usize = 4 * 32;

/// One worker's numbers about one backend, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    /// Answers passed on.
    pub answered: Count,
    /// Connections and answers that failed.
    pub failures: Count,
    /// Requests that wait for an answer or pass it on.
    pub in_flight: Count,
    /// Connections, idle ones included.
    pub open: Count,
    /// Connections in the pool.
    pub idle: Count,
    /// When bytes of an answer came last, in ms since the start.
    pub heard: Count,
    times: [Count; BUCKETS],
}

impl Default for Counters {
    fn default() -> Counters {
        let zero = Count::default;
        let times = std::array::from_fn(|_| Count::default());
        Counters {
            answered: zero(),
            failures: zero(),
            in_flight: zero(),
            open: zero(),
            idle: zero(),
            heard: zero(),
            times,
        }
    }
}

impl Counters {
    /// An answer was passed on after so long.
    pub fn answered(&self, took: Duration) {
        self.answered.up();
        self.times[bucket(took)].up();
    }
}

fn bucket(time: Duration) -> usize {
    let us = (time.as_micros() as u64).max(4);
    let power = us.ilog2() as usize;
    let quarter = (us >> (power - 2)) as usize & 3;
    (4 * (power - 2) + quarter).min(BUCKETS - 1)
}

/// The largest time that falls into the bucket, in ms.
fn bucket_end(bucket: usize) -> f64 {
    let (power, quarter) = (bucket / 4, bucket % 4);
    ((5 + quarter as u64) << power) as f64 / 1000.0
}

/// The numbers of all workers about one backend.
#[derive(Debug, Default, Clone)]
#[allow(missing_docs)] // as in [`Counters`]
pub struct Sum {
    pub answered: u64,
    pub failures: u64,
    pub in_flight: u64,
    pub open: u64,
    pub idle: u64,
    times: Vec<u64>,
}

impl Sum {
    /// Adds up.
    pub fn of<'a>(workers: impl Iterator<Item = &'a Counters>) -> Sum {
        let mut sum = Sum { times: vec![0; BUCKETS], ..Sum::default() };
        for counters in workers {
            sum.answered += counters.answered.get();
            sum.failures += counters.failures.get();
            sum.in_flight += counters.in_flight.get();
            sum.open += counters.open.get();
            sum.idle += counters.idle.get();
            for (sum, count) in sum.times.iter_mut().zip(&counters.times) {
                *sum += count.get();
            }
        }
        sum
    }

    /// The time in ms within which this share of the answers was passed on; None if none was.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.times.iter().sum();
        let rank = (all as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.times.iter().enumerate().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank && all > 0).then(|| bucket_end(bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_times() {
        let counters = Counters::default();
        assert_eq!(Sum::of([&counters].into_iter()).percentile(0.5), None);
        for ms in 1..=100 {
            counters.answered(Duration::from_millis(ms));
        }
        let sum = Sum::of([&counters].into_iter());
        for (share, exact) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = sum.percentile(share).expect("there are times");
            assert!((exact..=exact * 1.25).contains(&found), "{share}: {found} for {exact}");
        }
    }

    #[test]
    fn every_time_lies_in_its_bucket() {
        for us in (0..2000).chain((2000..100_000_000).step_by(99_991)) {
            let time = Duration::from_micros(us);
            assert!(us as f64 / 1000.0 <= bucket_end(bucket(time)), "{us}");
        }
        assert_eq!(bucket(Duration::from_secs(1 << 40)), BUCKETS - 1);
    }
}
