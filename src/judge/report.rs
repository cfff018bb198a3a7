//! What the judge says: text for a terminal, Markdown to paste, JSON for a script.
//!
//! Knows no sockets. Entry point: [`Report`]. Note: `notes/judge.md`.

use super::check::{Chapter, Check, Finding, Level, Outcome};
use crate::cli::quoted;
use std::collections::BTreeMap;
use std::fmt::Write;

/// All that was found.
pub(super) struct Report<'a> {
    /// As typed: `server 127.0.0.1:9002`.
    pub subject: String,
    pub chapters: &'a [Chapter],
    /// For each chapter, for each check.
    pub findings: Vec<Vec<Finding>>,
    pub lab: Option<u8>,
    pub is_stopped: bool,
    /// The server has ended while it was judged.
    pub has_ended: bool,
}

/// One level of a report in short.
pub(crate) struct Grade {
    pub level: &'static str,
    /// Fail, warn, pass, not applicable.
    pub counts: [usize; 4],
    /// The chapter and the section of each check that fails.
    pub fails: Vec<(&'static str, &'static str)>,
}

/// How many checks came to each outcome, and the weight of those that count.
#[derive(Default, Clone, Copy)]
struct Sum {
    /// In the order of [`Outcome::ALL`].
    counts: [usize; 4],
    weight: u32,
    lost: u32,
}

impl Sum {
    fn of<'a>(findings: impl Iterator<Item = (&'a Check, &'a Finding)>) -> Sum {
        let mut sum = Sum::default();
        for (check, finding) in findings {
            for (count, outcome) in sum.counts.iter_mut().zip(Outcome::ALL) {
                *count += usize::from(finding.outcome == outcome);
            }
            let weight = u32::from(check.weight);
            sum.weight += if finding.outcome == Outcome::NotApplicable { 0 } else { weight };
            sum.lost += if finding.outcome == Outcome::Fail { weight } else { 0 };
        }
        sum
    }

    /// The share of the weight that did not fail, in percent, rounded down; None: nothing applied.
    fn score(&self) -> Option<u32> {
        (100 * (self.weight - self.lost)).checked_div(self.weight)
    }

    fn score_text(&self) -> String {
        self.score().map_or("-".to_owned(), |score| format!("{score} %"))
    }
}

impl Report<'_> {
    fn pairs(&self) -> impl Iterator<Item = (&Chapter, &Check, &Finding)> {
        self.chapters.iter().zip(&self.findings).flat_map(|(chapter, findings)| {
            chapter.checks.iter().zip(findings).map(move |(check, f)| (chapter, check, f))
        })
    }

    /// The chapters of a level with their sums, and the sum of the whole level.
    fn level(&self, level: Level) -> (Vec<(&Chapter, Sum)>, Sum) {
        let is_it = |c: &&Chapter| c.level == level;
        let chapters = self.chapters.iter().zip(&self.findings).filter(|(c, _)| is_it(c));
        let sums = chapters.map(|(c, findings)| (c, Sum::of(c.checks.iter().zip(findings))));
        let of_level = self.pairs().filter(|(c, ..)| is_it(c)).map(|(_, check, f)| (check, f));
        (sums.collect(), Sum::of(of_level))
    }

    /// The rows of a table: each level, its chapters, and all together, named so.
    fn rows(
        &self,
        level_name: impl Fn(&str) -> String,
        chapter_name: impl Fn(&str) -> String,
        in_all: &str,
    ) -> Vec<(String, Sum)> {
        let mut rows = Vec::new();
        for level in Level::ALL {
            let (chapters, sum) = self.level(level);
            rows.extend((!chapters.is_empty()).then(|| (level_name(level.name()), sum)));
            rows.extend(chapters.into_iter().map(|(c, sum)| (chapter_name(c.name), sum)));
        }
        rows.push((in_all.to_owned(), self.sum()));
        rows
    }

    fn sum(&self) -> Sum {
        Sum::of(self.pairs().map(|(_, check, finding)| (check, finding)))
    }

    /// Each level in short.
    pub(super) fn grades(&self) -> Vec<Grade> {
        let grade = |level: Level| {
            let is_it = |(c, _, f): &(&Chapter, &Check, &Finding)| {
                c.level == level && f.outcome == Outcome::Fail
            };
            let fails = self.pairs().filter(is_it).map(|(c, check, _)| (c.name, check.section));
            let counts = self.level(level).1.counts;
            Grade { level: level.name(), counts, fails: fails.collect() }
        };
        Level::ALL.map(grade).into_iter().filter(|g| g.counts.iter().sum::<usize>() > 0).collect()
    }

    /// Whether nothing fails; of a lab, that nothing is left undone either.
    pub(super) fn is_well(&self) -> bool {
        self.first_to_do().is_none() && !self.is_stopped
    }

    /// The heaviest that fails; in a lab, else the first that could not be asked.
    fn first_to_do(&self) -> Option<(&Check, &Finding)> {
        let undone = |f: &Finding| self.lab.is_some() && f.outcome == Outcome::NotApplicable;
        let pairs = || self.pairs().map(|(_, check, finding)| (check, finding));
        let fails = pairs().filter(|(_, f)| f.outcome == Outcome::Fail);
        let mut fails: Vec<_> = fails.collect();
        fails.sort_by_key(|(check, _)| std::cmp::Reverse(check.weight));
        fails.first().copied().or_else(|| pairs().find(|(_, f)| undone(f)))
    }

    /// The cases to show: the worst first, each outcome by weight.
    fn shown(&self, all: bool) -> Vec<(&Chapter, &Check, &Finding)> {
        let is_bad = |f: &Finding| matches!(f.outcome, Outcome::Fail | Outcome::Warn);
        let place = |f: &Finding| Outcome::ALL.iter().position(|o| *o == f.outcome);
        let mut shown: Vec<_> = self.pairs().filter(|(.., f)| all || is_bad(f)).collect();
        shown.sort_by_key(|(_, check, f)| (place(f), std::cmp::Reverse(check.weight)));
        shown
    }

    /// Why checks do not apply, and how many.
    fn reasons(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        let skipped = self.pairs().filter(|(.., f)| f.outcome == Outcome::NotApplicable);
        skipped.for_each(|(.., f)| *reasons.entry(f.came.as_str()).or_default() += 1);
        reasons
    }

    /// The last line: done, or the first thing to look at.
    fn last_line(&self) -> String {
        let what = self.lab.map_or("judge".to_owned(), |lab| format!("lab {lab}"));
        match (self.first_to_do(), self.is_stopped) {
            (_, true) => format!("{what}: stopped by Ctrl-C; the rest was not asked"),
            _ if self.has_ended => format!(
                "{what}: the server ended while it was judged: look at what it printed; one of \
                 the last requests has ended it"
            ),
            (None, _) if self.lab.is_some() => format!("{what}: done"),
            (None, _) => format!("{what}: nothing fails"),
            (Some((check, finding)), _) => {
                format!("{what}: look first at '{}': {}", check.name, finding.came)
            }
        }
    }

    /// For a terminal; `all`: also what passes.
    pub(super) fn text(&self, all: bool) -> String {
        let mut text = String::new();
        for (chapter, check, finding) in self.shown(all) {
            let Finding { outcome, sent, came, expected, .. } = finding;
            let name = outcome.name().to_uppercase();
            let _ = writeln!(text, "{name}  {}  ({})", full_name(chapter, check), check.section);
            let lines = [
                ("sent", sent.as_str()),
                ("came back", came),
                ("expected", expected),
                ("why", check.why),
            ];
            for (what, said) in lines.iter().filter(|(_, said)| !said.is_empty()) {
                let _ = writeln!(text, "    {what:<10}{said}");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "{}", self.subject);
        let _ =
            writeln!(text, "{:<34}{:>6}{:>6}{:>6}{:>6}  score", "", "fail", "warn", "pass", "n/a");
        for (name, sum) in self.rows(|l| format!("level {l}"), |c| format!("  {c}"), "in all") {
            let ([fail, warn, pass, none], score) = (sum.counts, sum.score_text());
            let _ = writeln!(text, "{name:<34}{fail:>6}{warn:>6}{pass:>6}{none:>6}{score:>7}");
        }
        for (reason, count) in self.reasons() {
            let _ = writeln!(text, "n/a, {count}: {reason}");
        }
        if !all {
            text += "-v also shows the cases that pass.\n";
        }
        text + &self.last_line() + "\n"
    }

    /// To paste.
    pub(super) fn markdown(&self, all: bool) -> String {
        let mut text = format!("## {}\n\n", self.subject);
        text += "| chapter | fail | warn | pass | not applicable | score |\n|---|---|---|---|---|---|\n";
        for (name, sum) in self.rows(|l| format!("**{l}**"), str::to_owned, "**in all**") {
            let ([fail, warn, pass, none], score) = (sum.counts, sum.score_text());
            let _ = writeln!(text, "| {name} | {fail} | {warn} | {pass} | {none} | {score} |");
        }
        for (chapter, check, finding) in self.shown(all) {
            let Finding { outcome, sent, came, expected, .. } = finding;
            let name = full_name(chapter, check);
            let _ = writeln!(text, "\n### {}: {name}\n", outcome.name());
            let sent = format!("`{}`", sent.replace('`', "'"));
            let lines = [
                ("sent", if finding.sent.is_empty() { "" } else { &sent }),
                ("came back", came),
                ("expected", expected),
                ("where it is written", check.section),
                ("why", check.why),
            ];
            for (what, said) in lines.iter().filter(|(_, said)| !said.is_empty()) {
                let _ = writeln!(text, "- {what}: {said}");
            }
        }
        format!("{text}\n{}\n", self.last_line())
    }

    /// For a script: every check, whatever its outcome. The keys stay.
    pub(super) fn json(&self) -> String {
        let sum_of = |sum: &Sum| {
            let [fail, warn, pass, none] = sum.counts;
            let score = sum.score().map_or("null".to_owned(), |score| score.to_string());
            format!(
                "\"score\": {score}, \"fail\": {fail}, \"warn\": {warn}, \"pass\": {pass}, \
                 \"not_applicable\": {none}"
            )
        };
        let cases = self.chapters.iter().zip(&self.findings).map(|(chapter, findings)| {
            let cases = chapter.checks.iter().zip(findings).map(json_of_case);
            let cases = cases.collect::<Vec<_>>().join(",\n    ");
            let sum = sum_of(&Sum::of(chapter.checks.iter().zip(findings)));
            let (level, name) = (quoted(chapter.level.name()), quoted(chapter.name));
            format!("  {{\"level\": {level}, \"name\": {name}, {sum}, \"cases\": [\n    {cases}]}}")
        });
        let chapters = cases.collect::<Vec<_>>().join(",\n");
        let lab = self.lab.map_or("null".to_owned(), |lab| lab.to_string());
        format!(
            "{{\"subject\": {}, \"lab\": {lab}, \"stopped\": {}, \"done\": {}, \"last_line\": {},\n {},\n \
             \"chapters\": [\n{chapters}]}}\n",
            quoted(&self.subject),
            self.is_stopped,
            self.is_well(),
            quoted(&self.last_line()),
            sum_of(&self.sum()),
        )
    }
}

/// The chapter and the check; some checks name their chapter themselves.
fn full_name(chapter: &Chapter, check: &Check) -> String {
    match check.name.starts_with(chapter.name) {
        true => check.name.clone(),
        false => format!("{}: {}", chapter.name, check.name),
    }
}

fn json_of_case((check, finding): (&Check, &Finding)) -> String {
    let texts = [
        ("name", check.name.as_str()),
        ("outcome", finding.outcome.name()),
        ("section", check.section),
        ("why", check.why),
        ("sent", &finding.sent),
        ("came_back", &finding.came),
        ("expected", &finding.expected),
    ];
    let texts = texts.map(|(key, text)| format!("\"{key}\": {}", quoted(text))).join(", ");
    format!("{{{texts}, \"weight\": {}, \"lab\": {}}}", check.weight, check.lab)
}
