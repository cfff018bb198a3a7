//! Figures from samples: a histogram of times that costs the same memory for a run of any
//! length, and whether two sets of rates differ by more than their noise.
//!
//! Knows no socket and no report. Entry point: [`Histogram::record`]. Note: `notes/bench.md`.

/// Buckets per doubling, as a power of two: 2^7 = 128.
const PRECISION: u32 = 7;
const PER_DOUBLING: usize = 1 << PRECISION;
/// Enough for every u64.
const BUCKETS: usize = (64 - PRECISION as usize + 1) * PER_DOUBLING;

/// The most by which [`Histogram::quantile`] may miss, relative to the true value: half the
/// width of a bucket, since the middle of the bucket is reported.
pub const RELATIVE_ERROR: f64 = 1.0 / (2 * PER_DOUBLING) as f64;

/// Times in nanoseconds, counted in buckets whose width grows with the time: 59 KB, always.
/// Count, minimum, maximum, mean and deviation are exact, quantiles within [`RELATIVE_ERROR`].
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    squares: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
            sum: 0,
            squares: 0,
            min: u64::MAX,
            max: 0,
        }
    }
}

/// Below 256 each value has a bucket; above, the 8 leading bits choose it.
fn bucket(value: u64) -> usize {
    let doublings = (63 - PRECISION).saturating_sub(value.leading_zeros());
    ((doublings as usize) << PRECISION) + (value >> doublings) as usize
}

/// The lowest value of a bucket, and how many values it holds.
fn range(bucket: usize) -> (u64, u64) {
    let doublings = (bucket >> PRECISION).saturating_sub(1);
    let leading = (bucket - (doublings << PRECISION)) as u64;
    (leading << doublings, 1 << doublings)
}

impl Histogram {
    /// Counts one sample.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.squares += u128::from(nanos) * u128::from(nanos);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
    }

    /// Adds all samples of another.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many samples.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The least sample; 0 if there is none.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The greatest sample; 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 if there is none.
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
        self.quantile_since(None, q)
    }

    /// The same of the samples that came after `earlier`, a copy of this histogram.
    pub fn quantile_since(&self, earlier: Option<&Histogram>, q: f64) -> u64 {
        let before = |i: usize| earlier.map_or(0, |e| e.counts[i]);
        let count = self.count - earlier.map_or(0, |e| e.count);
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count.max(1));
        // The first and the last sample are known exactly.
        if earlier.is_none() && rank == count {
            return self.max;
        }
        let mut seen = 0;
        for (i, &n) in self.counts.iter().enumerate() {
            seen += n - before(i);
            if seen >= rank {
                let (low, width) = range(i);
                return (low + width / 2).clamp(self.min, self.max);
            }
        }
        0
    }

    /// The buckets that hold samples: (lowest value, values per bucket, samples).
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let filled = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        filled.map(|(i, &n)| {
            let (low, width) = range(i);
            (low, width, n)
        })
    }
}

/// The quantiles that are reported, with their names.
pub const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// The lowest, the middle and the highest of some figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// The lowest.
    pub lowest: f64,
    /// In the [`middle`].
    pub median: f64,
    /// The highest.
    pub highest: f64,
}

impl Spread {
    /// None if there are no figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Spread {
            lowest: *sorted.first()?,
            median: *sorted.get(middle(sorted.len()))?,
            highest: *sorted.last()?,
        })
    }
}

/// The run with the median figure; there must be one.
pub fn median_by<T>(runs: &[T], figure: impl Fn(&T) -> f64) -> &T {
    let mut order: Vec<&T> = runs.iter().collect();
    order.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    order[middle(order.len())]
}

/// The place of the median in a sorted list of `count`: the middle, of two middles the lower,
/// so that a median is always a value that was measured.
pub fn middle(count: usize) -> usize {
    count.saturating_sub(1) / 2
}

/// The chance that two sets of samples from one and the same source lie as far apart as these
/// do, either way round: the exact Mann-Whitney test, which asks nothing of the distribution.
/// 1 for empty sets; ties count half.
pub fn chance_of_no_difference(a: &[f64], b: &[f64]) -> f64 {
    let (m, n) = (a.len(), b.len());
    if m == 0 || n == 0 {
        return 1.0;
    }
    let wins: f64 = a
        .iter()
        .flat_map(|x| b.iter().map(move |y| (x, y)))
        .map(|(x, y)| if x > y { 1.0 } else { f64::from(x == y) / 2.0 })
        .sum();
    let extreme = wins.min((m * n) as f64 - wins);
    let as_far: f64 = chances(m, n).iter().take(extreme.ceil() as usize + 1).sum();
    (2.0 * as_far).min(1.0)
}

/// The chance that the first set wins 0, 1, … `m * n` comparisons if all orders of the samples
/// are alike. The orders with `w` wins are the coefficient of q^w in the Gaussian binomial, the
/// product over i from 1 to n of (1 - q^(m+i)) / (1 - q^i); each factor is divided by its
/// value at q = 1, so that what are chances at the end never overflow on the way.
fn chances(m: usize, n: usize) -> Vec<f64> {
    let mut chances = vec![0.0; m * n + 1];
    chances[0] = 1.0;
    for i in 1..=n {
        for wins in (m + i..chances.len()).rev() {
            chances[wins] -= chances[wins - m - i];
        }
        for wins in i..chances.len() {
            chances[wins] += chances[wins - i];
        }
        let scale = i as f64 / (m + i) as f64;
        chances.iter_mut().for_each(|chance| *chance *= scale);
    }
    chances
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        samples.iter().for_each(|&s| histogram.record(s));
        histogram
    }

    #[test]
    fn every_value_falls_into_a_bucket_that_is_narrow_enough() {
        let mut value = 1_u64;
        let mut last = 0;
        while value < u64::MAX / 2 {
            for v in [value - 1, value, value + 1, value + value / 3] {
                let (low, width) = range(bucket(v));
                assert!(low <= v && v - low < width, "{v} in {low}+{width}");
                let middle = low + width / 2;
                let error = middle.abs_diff(v) as f64;
                assert!(error <= RELATIVE_ERROR * v as f64 || error < 1.0, "{v}");
            }
            assert!(bucket(value) > last, "buckets rise at {value}");
            last = bucket(value);
            value += value / 2 + 1;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_within_the_stated_error_of_the_sorted_samples() {
        // A long-tailed set without a random generator: squares of a linear congruence.
        let mut x = 12345_u64;
        let mut samples: Vec<u64> = (0..10_000)
            .map(|_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let short = x >> 44;
                short * short / 1000 + 50
            })
            .collect();
        let histogram = of(&samples);
        samples.sort_unstable();
        for q in [0.0001, 0.01, 0.5, 0.66, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((q * samples.len() as f64).ceil() as usize).max(1);
            let truth = samples[rank - 1];
            let error = histogram.quantile(q).abs_diff(truth) as f64;
            assert!(error <= RELATIVE_ERROR * truth as f64 + 1.0, "{q}");
        }
        assert_eq!(histogram.min(), samples[0]);
        assert_eq!(histogram.max(), samples[9_999]);
    }

    #[test]
    fn hand_computed_samples() {
        let none = of(&[]);
        assert_eq!((none.min(), none.max(), none.quantile(0.5)), (0, 0, 0));
        assert_eq!((none.mean(), none.deviation()), (0.0, 0.0));
        let one = of(&[7_000_001]);
        assert_eq!(one.quantile(0.5), 7_000_001);
        assert_eq!((one.mean(), one.deviation()), (7_000_001.0, 0.0));
        let two = of(&[1, 3]);
        assert_eq!((two.mean(), two.deviation()), (2.0, 2.0_f64.sqrt()));
        let odd = of(&[3, 1, 2]);
        assert_eq!(
            (odd.quantile(0.5), odd.mean(), odd.deviation()),
            (2, 2.0, 1.0)
        );
        let even = of(&[2, 4, 4, 4, 5, 5, 7, 9]);
        assert_eq!((even.quantile(0.5), even.mean()), (4, 5.0));
        assert!((even.deviation() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn merged_halves_equal_the_whole_and_a_difference_sees_the_new_samples_alone() {
        let mut first = of(&[10, 20, 30]);
        let earlier = first.clone();
        first.merge(&of(&[1000, 1001, 5]));
        let whole = of(&[10, 20, 30, 1000, 1001, 5]);
        assert_eq!(first.counts, whole.counts);
        assert_eq!((first.min(), first.max()), (5, 1001));
        assert_eq!((first.count(), first.mean()), (6, whole.mean()));
        assert_eq!(first.deviation(), whole.deviation());
        assert_eq!(first.quantile_since(Some(&earlier), 0.01), 5);
    }

    #[test]
    fn samples_that_never_overlap_differ_and_mixed_ones_do_not() {
        let low = [1.0, 2.0, 3.0, 4.0, 5.0];
        let high = [6.0, 7.0, 8.0, 9.0, 10.0];
        // 2 of the 252 orders are that extreme.
        assert!((chance_of_no_difference(&low, &high) - 2.0 / 252.0).abs() < 1e-12);
        assert_eq!(
            chance_of_no_difference(&low, &high),
            chance_of_no_difference(&high, &low)
        );
        assert!(chance_of_no_difference(&low, &low) > 0.99);
        assert!((chance_of_no_difference(&low[..3], &high[..3]) - 0.1).abs() < 1e-12);
        assert_eq!(chance_of_no_difference(&[], &low), 1.0);
        for (m, n) in [(4, 7), (9, 9), (100, 100)] {
            let chances = chances(m, n);
            assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let mirrored = chances.iter().zip(chances.iter().rev());
            assert!(mirrored.clone().all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn the_median_is_a_measured_value() {
        assert_eq!((middle(0), middle(1), middle(4), middle(5)), (0, 0, 1, 2));
        let spread = Spread::of([3.0, 9.0, 1.0, 4.0]).expect("figures");
        assert_eq!(
            (spread.lowest, spread.median, spread.highest),
            (1.0, 3.0, 9.0)
        );
        assert_eq!(Spread::of([]), None);
        assert_eq!(median_by(&["ccc", "a", "bb"], |s| s.len() as f64), &"bb");
    }
}
