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
/// Why nothing more is asked.
const ENDED: &str = "not asked: the server takes no connection any more";
/// So many time-outs in a row, and the rest of the chapter is not asked.
const TIMEOUTS: usize = 3;

/// The findings of each chapter, check by check; and whether the server has ended meanwhile.
pub(super) fn run(chapters: &[Chapter], subject: &Subject) -> (Vec<Vec<Finding>>, bool) {
    let (until, has_ended) = (Instant::now() + TIME, AtomicBool::new(false));
    let all: usize = chapters.iter().map(|c| c.checks.len()).sum();
    let mut done = 0;
    let findings = chapters.iter().map(|chapter| {
        progress(Some((done, all, chapter.name)));
        done += chapter.checks.len();
        run_chapter(chapter, subject, until, &has_ended)
    });
    let findings = findings.collect();
    progress(None);
    (findings, has_ended.into_inner())
}

fn run_chapter(
    chapter: &Chapter,
    subject: &Subject,
    until: Instant,
    has_ended: &AtomicBool,
) -> Vec<Finding> {
    let side_by_side = if subject.facts.serves_many { chapter.side_by_side } else { 1 };
    let (next, timeouts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let findings = Mutex::new(vec![None; chapter.checks.len()]);
    let work = || {
        loop {
            let number = next.fetch_add(1, Relaxed);
            let Some(check) = chapter.checks.get(number) else { return };
            let skip = reason_to_skip(subject, until, timeouts.load(Relaxed));
            let finding = match skip {
                _ if has_ended.load(Relaxed) => Finding::not_applicable(ENDED),
                Some(reason) => Finding::not_applicable(reason),
                None => {
                    let finding = (check.run)(subject);
                    match finding.timed_out {
                        true => timeouts.fetch_add(1, Relaxed),
                        false => timeouts.swap(0, Relaxed),
                    };
                    if finding.outcome == Outcome::Fail && Client::connect(subject.address).is_err()
                    {
                        has_ended.store(true, Relaxed);
                    }
                    finding
                }
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
    let findings = findings.into_inner().unwrap_or_else(|e| e.into_inner());
    let unasked = || Finding::not_applicable("not asked");
    findings.into_iter().map(|f| f.unwrap_or_else(unasked)).collect()
}

fn reason_to_skip(subject: &Subject, until: Instant, timeouts: usize) -> Option<String> {
    if subject.stop.is_raised() {
        return Some("not asked: stopped by Ctrl-C".to_owned());
    }
    if Instant::now() > until {
        return Some(format!("not asked: {} s are over", TIME.as_secs()));
    }
    (timeouts >= TIMEOUTS)
        .then(|| format!("not asked: {TIMEOUTS} checks before it got no answer in time"))
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
