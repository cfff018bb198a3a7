//! From values to places on an axis, and the few round values that are written beside it.
//!
//! Knows no chart. Entry points: [`Scale::from_zero`], [`Scale::log`], [`Scale::share`].
//! Note: `notes/README.md`.

use super::page::number;

/// From values to places.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    /// Where there is a tick, and what stands beside it.
    pub ticks: Vec<(f64, String)>,
}

/// Most ticks on an axis.
const TICKS: usize = 7;

impl Scale {
    /// From zero to a little more than `high`.
    pub fn from_zero(high: f64) -> Scale {
        let least = high.max(1e-9) / 5.0;
        let power = 10_f64.powf(least.log10().floor());
        let steps = [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power);
        let step = steps.into_iter().find(|s| *s >= least * 0.9999).unwrap_or(power * 10.0);
        let count = (high / step).ceil().max(1.0) as usize;
        let ticks = (0..=count).map(|i| i as f64 * step);
        let high = count as f64 * step;
        Scale { low: 0.0, high, is_log: false, ticks: ticks.map(|v| (v, plain(v))).collect() }
    }

    /// Logarithmic, over at least all the values.
    pub fn log(low: f64, high: f64) -> Scale {
        let low = low.max(1e-9);
        let high = high.max(low * 2.0);
        let round = |digits: &[f64]| -> Vec<f64> {
            let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
            decades.flat_map(|decade| digits.iter().map(move |d| d * 10_f64.powi(decade))).collect()
        };
        // The ends lie on 1, 2 or 5; the ticks are as many of them as there is room for.
        let ends = round(&[1.0, 2.0, 5.0]);
        let below = ends.iter().rev().find(|v| **v <= low * 1.0001).copied().unwrap_or(low);
        let above = ends.iter().find(|v| **v >= high * 0.9999).copied().unwrap_or(high);
        let within = |digits: &[f64]| -> Vec<f64> {
            let all = round(digits).into_iter();
            all.filter(|v| *v >= below * 0.9999 && *v <= above * 1.0001).collect()
        };
        let choices = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]];
        let fitting = choices.into_iter().map(within).find(|ticks| ticks.len() <= TICKS);
        // Over many decades, not each of them.
        let decades = within(&[1.0]);
        let apart = decades.len().div_ceil(TICKS).max(1);
        let ticks = fitting.unwrap_or_else(|| decades.into_iter().step_by(apart).collect());
        let ticks = ticks.into_iter().map(|v| (v, plain(v))).collect();
        Scale { low: below, high: above, is_log: true, ticks }
    }

    /// Logarithmic, with a tick at each of these values.
    pub fn at(values: &[f64]) -> Scale {
        let low = values.first().copied().unwrap_or(1.0) / 1.35;
        let high = values.last().copied().unwrap_or(10.0) * 1.35;
        Scale { low, high, is_log: true, ticks: values.iter().map(|v| (*v, plain(*v))).collect() }
    }

    /// Equal distances, with ticks and names of one's own.
    pub fn named(low: f64, high: f64, ticks: Vec<(f64, String)>) -> Scale {
        Scale { low, high, is_log: false, ticks }
    }

    /// A place for each name, beginning at 0.
    pub fn places(names: impl Iterator<Item = String>) -> Scale {
        let ticks: Vec<(f64, String)> = names.enumerate().map(|(i, n)| (i as f64, n)).collect();
        Scale::named(-0.5, ticks.len() as f64 - 0.5, ticks)
    }

    /// The share of the axis below `value`, from 0 to 1.
    pub fn share(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value.max(1e-12) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        share.clamp(0.0, 1.0)
    }
}

/// Without the zeros behind a point that say nothing.
fn plain(value: f64) -> String {
    if value >= 1000.0 {
        return number(value);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let names =
            |scale: Scale| -> Vec<String> { scale.ticks.into_iter().map(|t| t.1).collect() };
        let zero = names(Scale::from_zero(83_000.0));
        assert_eq!(zero, ["0", "20,000", "40,000", "60,000", "80,000", "100,000"]);
        let log = names(Scale::log(0.011, 0.9));
        assert_eq!(log, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        for (low, high) in [(0.003, 90.0), (1.0, 1.0), (0.0, 0.0), (5e-7, 1e7)] {
            let ticks = Scale::log(low, high).ticks.len();
            assert!((2..=TICKS).contains(&ticks), "{low} {high}: {ticks}");
        }
    }

    #[test]
    fn every_value_lies_within_the_plot() {
        let scale = Scale::log(0.011, 0.9);
        assert_eq!((scale.share(0.01), scale.share(1.0)), (0.0, 1.0));
        assert!((scale.share(0.1) - 0.5).abs() < 1e-9);
        assert_eq!((scale.share(0.0), scale.share(99.0)), (0.0, 1.0));
    }
}
