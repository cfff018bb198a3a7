//! Do two systems differ? The rounds are pairs, so the Wilcoxon signed-rank test on the
//! logarithms of their ratios, exact for any number of rounds, with Holm's correction over all
//! verdicts of a report.
//!
//! Knows numbers alone. Entry points: [`judge`] for a report, [`compare`] for one pair. Note:
//! `notes/bench.md`.

use super::stats::median;

/// A report in which no two systems differ calls two of them different with this probability at most.
pub const SIGNIFICANCE: f64 = 0.05;
/// Rounds, unless the command line says otherwise, where verdicts are given. With noise of 8 % that
/// a round's runs share and 5 % that they do not, a gap of 10 % is found in 91 of 100 reports of 12 verdicts.
pub const ROUNDS: usize = 15;

/// What the rounds of a pair say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The first's figure divided by the second's: the Hodges-Lehmann estimate.
    pub ratio: f64,
    /// In 95 of 100 such measurements the true ratio lies within; None with fewer than six rounds.
    pub interval: Option<(f64, f64)>,
    /// The probability of a difference like this, either way, if there is none.
    pub p_value: f64,
    /// Rounds that both have.
    pub rounds: usize,
}

/// Compares figures that were measured in the same rounds. The Walsh averages (of each two of
/// the logarithms, and of each with itself) hold everything: those above 0 are the signed-rank
/// statistic, their median is the estimate, and counted from both ends they bound the interval.
pub fn compare(a: &[f64], b: &[f64]) -> Comparison {
    // A figure of 0 is a run in which nothing came: as slow as can be, but still in order.
    let log = |(a, b): (&f64, &f64)| (a.max(1e-9) / b.max(1e-9)).ln();
    let logs: Vec<f64> = a.iter().zip(b).map(log).collect();
    let mut walsh = Vec::new();
    for (i, x) in logs.iter().enumerate() {
        walsh.extend(logs[i..].iter().map(|y| (x + y) / 2.0));
    }
    walsh.sort_by(f64::total_cmp);
    let (rounds, count) = (logs.len(), walsh.len());
    if count == 0 {
        return Comparison { ratio: 1.0, interval: None, p_value: 1.0, rounds };
    }
    let above = walsh.iter().filter(|w| **w > 0.0).count();
    let below = walsh.iter().filter(|w| **w < 0.0).count();
    // An average of 0 counts half on either side.
    let least = above.min(below) + (count - above - below).div_ceil(2);
    let tail = cumulative(rounds);
    // As many averages may be left out at each end as still keeps 95 %.
    let outside = tail.iter().take_while(|p| 2.0 * **p <= SIGNIFICANCE).count();
    Comparison {
        ratio: median(&walsh).exp(),
        interval: (outside > 0).then(|| (walsh[outside - 1].exp(), walsh[count - outside].exp())),
        p_value: (2.0 * tail[least.min(count)]).min(1.0),
        rounds,
    }
}

/// The probability that the signed-rank statistic of so many rounds is at most 0, 1, 2, … if
/// each sign is a coin's. Rank by rank: with its sign a rank adds itself, or nothing.
fn cumulative(rounds: usize) -> Vec<f64> {
    let mut probabilities = vec![0.0; rounds * (rounds + 1) / 2 + 1];
    probabilities[0] = 1.0;
    for rank in 1..=rounds {
        for sum in (0..=rank * (rank + 1) / 2).rev() {
            let with = if sum >= rank { probabilities[sum - rank] } else { 0.0 };
            probabilities[sum] = (probabilities[sum] + with) / 2.0;
        }
    }
    let mut total = 0.0;
    for probability in &mut probabilities {
        total += *probability;
        *probability = total;
    }
    probabilities
}

/// Holm's correction: the p-values as they stand in a report that gives all these verdicts.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (place, i) in order.into_iter().enumerate() {
        let left = (p_values.len() - place) as f64;
        highest = highest.max((p_values[i] * left).min(1.0));
        corrected[i] = highest;
    }
    corrected
}

/// The rounds below which none of so many verdicts can be "different", whatever is measured: if
/// all rounds agree, p is 2 of 2^rounds, and Holm multiplies the least p by the number of verdicts.
pub fn rounds_needed(verdicts: usize) -> usize {
    let enough = |rounds: &usize| verdicts as f64 * 2.0 / (*rounds as f64).exp2() <= SIGNIFICANCE;
    (1..).find(enough).unwrap_or(usize::MAX)
}

/// Two systems whose figures are to be compared.
#[derive(Debug, Clone, Default)]
pub struct Pair {
    /// Where: "c = 10".
    pub place: String,
    /// What they are called.
    pub names: [String; 2],
    /// Round by round.
    pub samples: [Vec<f64>; 2],
    /// The figure if it is one that should be low ("response time, p99"); empty: a rate.
    pub low_is_good: &'static str,
}

/// A pair with its verdict.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub(crate) pair: Pair,
    /// What its rounds say; the p-value as it is before the correction for all verdicts of the
    /// report, which are so many, and after it.
    pub(crate) comparison: Comparison,
    of: usize,
    corrected: f64,
}

impl Verdict {
    /// Whether the two differ by more than their noise.
    pub fn is_different(&self) -> bool {
        self.corrected <= SIGNIFICANCE
    }

    fn sentence(&self) -> String {
        let Comparison { mut ratio, mut interval, rounds, .. } = self.comparison;
        let [mut a, mut b] = self.pair.names.each_ref();
        // The one with the higher figure comes first.
        if ratio < 1.0 {
            (a, b, ratio) = (b, a, 1.0 / ratio);
            interval = interval.map(|(l, h)| (1.0 / h, 1.0 / l));
        }
        let p = self.corrected;
        let p = if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
        let range = interval.map(|(l, h)| format!("{l:.2} to {h:.2}; ")).unwrap_or_default();
        let basis = format!("{range}{rounds} rounds, {p}");
        let said = match (self.is_different(), self.pair.low_is_good) {
            (false, _) => format!("{a} and {b} cannot be told apart ({ratio:.2}x, {basis})."),
            (true, "") => format!("{a} is {ratio:.2}x as fast as {b} ({basis})."),
            (true, figure) => format!("the {figure} of {a} is {ratio:.2}x that of {b} ({basis})."),
        };
        let place = &self.pair.place;
        if place.is_empty() { said } else { format!("{place}: {said}") }
    }
}

/// The verdicts of a report: all pairs that it compares, corrected together.
pub fn judge(pairs: Vec<Pair>) -> Vec<Verdict> {
    let compared = pairs.iter().map(|pair| compare(&pair.samples[0], &pair.samples[1]));
    let compared: Vec<Comparison> = compared.collect();
    let p_values: Vec<f64> = compared.iter().map(|c| c.p_value).collect();
    let of = pairs.len();
    let all = pairs.into_iter().zip(compared).zip(holm(&p_values));
    all.map(|((pair, comparison), corrected)| Verdict { pair, comparison, of, corrected }).collect()
}

/// The only verdict of a report, on two systems, each with its name and its rates.
pub fn between(a: (&str, &[f64]), b: (&str, &[f64])) -> String {
    let (names, samples) = ([a.0, b.0].map(str::to_owned), [a.1, b.1].map(<[f64]>::to_vec));
    sentences(&judge(vec![Pair { names, samples, ..Pair::default() }])).concat()
}

/// Why there is no verdict, if the rounds are too few for any.
pub(crate) fn too_few(verdicts: &[Verdict]) -> Option<String> {
    let (count, rounds) = (verdicts.first()?.of, verdicts.first()?.comparison.rounds);
    let needed = rounds_needed(count);
    let (are, pairs) =
        (if rounds == 1 { " is" } else { "s are" }, if count == 1 { "" } else { "s" });
    (rounds < needed).then(|| {
        format!("No verdict: {rounds} round{are} too few to tell {count} pair{pairs} apart; it takes {needed}, and {ROUNDS} to find a difference of a tenth.")
    })
}

/// A sentence for each verdict; or a single one if the rounds are too few for any.
pub(crate) fn sentences(verdicts: &[Verdict]) -> Vec<String> {
    if let Some(why) = too_few(verdicts) {
        return vec![why];
    }
    let mut sentences: Vec<String> = verdicts.iter().map(Verdict::sentence).collect();
    if let [first, _, ..] = verdicts {
        let count = first.of;
        sentences.push(format!("Each p is corrected for {count} verdicts (Holm); an interval holds for its own ratio (95 %)."));
    }
    sentences
}
