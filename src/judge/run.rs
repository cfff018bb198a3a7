//! Runs the chapters: checks side by side, within a time that is bounded.
//!
//! Knows no HTTP. Entry point: [`run`]. Note: `notes/judge.md`.

use super::check::{Chapter, Finding, Outcome, Subject};
use super::client::Client;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

/// So many time-outs in a row, and the rest of the chapter is not asked.
const TIMEOUTS: usize = 3;
/// So many in a row in all chapters, and nothing more is asked.
const TIMEOUTS_IN_ALL: usize = 6;

/// Why the rest is not asked.
struct Course<'a> {
    subject: &'a Subject,
    until: Instant,
    /// The server takes no connection any more.
    has_ended: AtomicBool,
    /// Time-outs in a row, in each chapter and in all.
    timeouts: Vec<AtomicUsize>,
    in_all: AtomicUsize,
}

/// The findings of each chapter, check by check; and whether the server has ended meanwhile.
pub(super) fn run(chapters: &[Chapter], subject: &Subject) -> (Vec<Vec<Finding>>, bool) {
    let (has_ended, in_all) = Default::default();
    let timeouts = chapters.iter().map(|_| AtomicUsize::new(0)).collect();
    let until = Instant::now() + subject.time;
    let course = Course { subject, until, has_ended, timeouts, in_all };
    let all: usize = chapters.iter().map(|c| c.checks.len()).sum();
    let (mut done, mut begin, mut findings) = (0, 0, Vec::new());
    // Chapters in a row run together if all their checks may: a wait in one then delays none.
    for group in chapters.chunk_by(|a, b| a.side_by_side > 1 && a.side_by_side == b.side_by_side) {
        progress(group.first().map(|chapter| (done, all, chapter.name)));
        done += group.iter().map(|chapter| chapter.checks.len()).sum::<usize>();
        findings.extend(course.run(group, begin));
        begin += group.len();
    }
    progress(None);
    (findings, course.has_ended.into_inner())
}

impl Course<'_> {
    /// Runs these chapters together; `begin`: the number of the first.
    fn run(&self, group: &[Chapter], begin: usize) -> Vec<Vec<Finding>> {
        let widest = group.iter().map(|chapter| chapter.side_by_side).max().unwrap_or(1);
        let side_by_side = if self.subject.facts.serves_many { widest } else { 1 };
        let unasked =
            |chapter: &Chapter| vec![Finding::not_applicable("not asked"); chapter.checks.len()];
        let findings = Mutex::new(group.iter().map(unasked).collect::<Vec<_>>());
        let numbers = group.iter().enumerate();
        let all = numbers.flat_map(|(c, chapter)| (0..chapter.checks.len()).map(move |n| (c, n)));
        let all: Vec<(usize, usize)> = all.collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(&(c, n)) = all.get(next.fetch_add(1, Relaxed)) {
                let Some(check) = group.get(c).and_then(|c| c.checks.get(n)) else { return };
                let Some(in_chapter) = self.timeouts.get(begin + c) else { return };
                let finding = match self.reason_to_skip(in_chapter) {
                    Some(reason) => Finding::not_applicable(reason),
                    None => self.watched(in_chapter, (check.run)(self.subject)),
                };
                let mut findings = findings.lock().unwrap_or_else(|e| e.into_inner());
                if let Some(place) = findings.get_mut(c).and_then(|chapter| chapter.get_mut(n)) {
                    *place = finding;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..side_by_side {
                // Without a further thread it takes longer, and that is all.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        findings.into_inner().unwrap_or_else(|e| e.into_inner())
    }

    /// The finding, once it is noted what it means for those that follow.
    fn watched(&self, in_chapter: &AtomicUsize, finding: Finding) -> Finding {
        for timeouts in [in_chapter, &self.in_all] {
            match finding.timed_out {
                true => timeouts.fetch_add(1, Relaxed),
                false if finding.is_silent => 0,
                false => timeouts.swap(0, Relaxed),
            };
        }
        if finding.outcome == Outcome::Fail && Client::connect(self.subject.address).is_err() {
            self.has_ended.store(true, Relaxed);
        }
        finding
    }

    fn reason_to_skip(&self, in_chapter: &AtomicUsize) -> Option<String> {
        let reason = match () {
            () if self.subject.stop.is_raised() => "stopped by Ctrl-C".to_owned(),
            () if self.has_ended.load(Relaxed) => {
                "the server takes no connection any more".to_owned()
            }
            () if Instant::now() > self.until => {
                format!("{} s are over", self.subject.time.as_secs())
            }
            () if self.in_all.load(Relaxed) >= TIMEOUTS_IN_ALL => {
                format!("{TIMEOUTS_IN_ALL} checks in a row got no answer in time")
            }
            () if in_chapter.load(Relaxed) >= TIMEOUTS => {
                format!("{TIMEOUTS} checks before it got no answer in time")
            }
            () => return None,
        };
        Some(format!("not asked: {reason}"))
    }
}

/// The live line of a terminal; None takes it away.
fn progress(at: Option<(usize, usize, &str)>) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let line = at.map(|(done, all, name)| format!("{done} of {all}: {name} …"));
        let _ = write!(out, "\r\x1b[K{}", line.unwrap_or_default());
        let _ = out.flush();
    }
}
