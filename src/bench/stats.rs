//! Figures from samples: a histogram of times that costs the same memory for a run of any
//! length; median, lowest and highest of a few figures.
//!
//! Knows no socket and no report. Entry point: [`Histogram::record`]. Its tables of cases:
//! `tests/instrument.rs`. Note: `notes/bench.md`.

/// Buckets per doubling, as a power of two: 2^7 = 128.
const PRECISION: u32 = 7;
const PER_DOUBLING: usize = 1 << PRECISION;
/// Enough for every u64.
const BUCKETS: usize = (64 - PRECISION as usize + 1) * PER_DOUBLING;

/// The most by which [`Histogram::quantile`] may miss, relatively: it gives the middle of a bucket.
pub const RELATIVE_ERROR: f64 = 1.0 / (2 * PER_DOUBLING) as f64;

/// Times in nanoseconds, counted in buckets whose width grows with the time: 59 KB for any number.
/// Count, minimum, maximum, mean and deviation are exact, quantiles within [`RELATIVE_ERROR`].
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Empty before the first sample.
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    squares: u128,
    min: Option<u64>,
    max: u64,
}

/// Below 256 each value has a bucket; above, the 8 leading bits choose it.
fn bucket(value: u64) -> usize {
    let doublings = (63 - PRECISION).saturating_sub(value.leading_zeros());
    ((doublings as usize) << PRECISION) + (value >> doublings) as usize
}

impl Histogram {
    /// Counts one sample.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.counts.resize(BUCKETS, 0);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.squares += u128::from(nanos) * u128::from(nanos);
        self.min = Some(self.min.map_or(nanos, |min| min.min(nanos)));
        self.max = self.max.max(nanos);
    }

    /// Adds all samples of another.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.resize(BUCKETS, 0);
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.min = self.min.into_iter().chain(other.min).min();
        self.max = self.max.max(other.max);
    }

    /// How many samples.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The least sample; of none 0, as below.
    pub fn min(&self) -> u64 {
        self.min.unwrap_or(0)
    }

    /// The greatest sample.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }

    /// The sample standard deviation, as ab has it (divided by n - 1); 0 below two samples.
    pub fn deviation(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let n = self.count as f64;
        let variance = (self.squares as f64 - self.sum as f64 * self.mean()) / (n - 1.0);
        variance.max(0.0).sqrt()
    }

    /// The time within which the share `q` (0 to 1) of the samples lies; 0 if there is none.
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        // The last sample is known exactly.
        if rank == self.count {
            return self.max;
        }
        let mut seen = 0;
        for (low, width, n) in self.buckets() {
            seen += n;
            if seen >= rank {
                return (low + width / 2).clamp(self.min(), self.max);
            }
        }
        0
    }

    /// The same in milliseconds; NaN if there are no samples.
    pub(crate) fn quantile_ms(&self, q: f64) -> f64 {
        if self.count == 0 { f64::NAN } else { self.quantile(q) as f64 / 1e6 }
    }

    /// The buckets that hold samples: (lowest value, values per bucket, samples).
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let filled = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        filled.map(|(bucket, n)| {
            let doublings = (bucket >> PRECISION).saturating_sub(1);
            let leading = (bucket - (doublings << PRECISION)) as u64;
            (leading << doublings, 1 << doublings, *n)
        })
    }
}

/// The quantiles that are reported.
pub(crate) const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// The lowest, the median and the highest of some figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// The lowest.
    pub lowest: f64,
    /// Of an even count: the mean of the two in the middle.
    pub median: f64,
    /// The highest.
    pub highest: f64,
}

impl Spread {
    /// None if there are no figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Spread { lowest: *sorted.first()?, median: median(&sorted), highest: *sorted.last()? })
    }
}

/// The median of figures in order; there must be one.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let count = sorted.len();
    (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0
}

/// The run with the median figure, of two in the middle the lower one; there must be a run.
pub fn median_run<T>(runs: &[T], figure: impl Fn(&T) -> f64) -> &T {
    let mut order: Vec<&T> = runs.iter().collect();
    order.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    order[(order.len() - 1) / 2]
}
