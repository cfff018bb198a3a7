//! Runs the chapters: checks side by side, within a time that is bounded.
//!
//! Knows no HTTP. Entry point: [`run`]. Note: `notes/judge.md`.

use super::check::{Chapter, Finding, Outcome, Subject};
use super::client::Client;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// All checks together; what is left then is not asked.
const TIME: Duration = Duration::from_secs(50);
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
    /// Time-outs in a row, in this chapter and in all.
    timeouts: [AtomicUsize; 2],
}

/// The findings of each chapter, check by check; and whether the server has ended meanwhile.
pub(super) fn run(chapters: &[Chapter], subject: &Subject) -> (Vec<Vec<Finding>>, bool) {
    let (has_ended, timeouts) = Default::default();
    let until = Instant::now() + TIME;
    let course = Course { subject, until, has_ended, timeouts };
    let all: usize = chapters.iter().map(|c| c.checks.len()).sum();
    let mut done = 0;
    let findings = chapters.iter().map(|chapter| {
        progress(Some((done, all, chapter.name)));
        done += chapter.checks.len();
        course.run(chapter)
    });
    let findings = findings.collect();
    progress(None);
    (findings, course.has_ended.into_inner())
}

impl Course<'_> {
    fn run(&self, chapter: &Chapter) -> Vec<Finding> {
        let side_by_side = if self.subject.facts.serves_many { chapter.side_by_side } else { 1 };
        let findings = Mutex::new(vec![None; chapter.checks.len()]);
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Relaxed);
                let Some(check) = chapter.checks.get(number) else { return };
                let finding = match self.reason_to_skip() {
                    Some(reason) => Finding::not_applicable(reason),
                    None => self.watched((check.run)(self.subject)),
                };
                let mut findings = findings.lock().unwrap_or_else(|e| e.into_inner());
                if let Some(place) = findings.get_mut(number) {
                    *place = Some(finding);
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
        self.timeouts[0].store(0, Relaxed);
        let findings = findings.into_inner().unwrap_or_else(|e| e.into_inner());
        let unasked = || Finding::not_applicable("not asked");
        findings.into_iter().map(|f| f.unwrap_or_else(unasked)).collect()
    }

    /// The finding, once it is noted what it means for those that follow.
    fn watched(&self, finding: Finding) -> Finding {
        for timeouts in &self.timeouts {
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

    fn reason_to_skip(&self) -> Option<String> {
        let [here, in_all] = &self.timeouts;
        let reason = match () {
            () if self.subject.stop.is_raised() => "stopped by Ctrl-C".to_owned(),
            () if self.has_ended.load(Relaxed) => {
                "the server takes no connection any more".to_owned()
            }
            () if Instant::now() > self.until => format!("{} s are over", TIME.as_secs()),
            () if in_all.load(Relaxed) >= TIMEOUTS_IN_ALL => {
                format!("{TIMEOUTS_IN_ALL} checks in a row got no answer in time")
            }
            () if here.load(Relaxed) >= TIMEOUTS => {
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
