//! Deadlines for many connections at next to no cost per request.
//!
//! A connection's deadline moves with every request; moving it in an ordered structure each
//! time would be most of the work. So a deadline that moves *later*, as nearly all do, is only
//! noted; when the earlier timer expires and there is time left, the timer is set anew. Work is
//! done about once per timeout, not per request. The timer of a connection that has ended stays
//! for whoever has its token next, and a timer that would come after a new deadline is replaced:
//! there is never more than one per token.
//! Knows no sockets. Note: `notes/async_server.md`.

use std::collections::BTreeSet;
use std::time::Instant;

/// One token's deadline.
#[derive(Debug, Clone, Copy, Default)]
struct Deadline {
    /// When its time is up; None: never.
    due: Option<Instant>,
    /// The timer that stands for it: at `due` or earlier.
    timer: Option<Instant>,
}

/// A deadline for each token that has one, and the timers that stand for them.
#[derive(Debug, Default)]
pub struct Timers {
    deadlines: Vec<Deadline>,
    /// The earliest first.
    timers: BTreeSet<(Instant, usize)>,
}

impl Timers {
    pub fn new() -> Timers {
        Timers::default()
    }

    /// Moves the token's deadline; None: it has none any more.
    pub fn set(&mut self, token: usize, due: Option<Instant>) {
        if self.deadlines.len() <= token {
            self.deadlines.resize(token + 1, Deadline::default());
        }
        let deadline = &mut self.deadlines[token];
        deadline.due = due;
        if let Some(due) = due
            && deadline.timer.is_none_or(|timer| due < timer)
        {
            if let Some(too_late) = deadline.timer.replace(due) {
                self.timers.remove(&(too_late, token));
            }
            self.timers.insert((due, token));
        }
    }

    /// When to ask [`Timers::pop_expired`] again at the latest.
    pub fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A token whose time is up, if there is one; it has no deadline from then on.
    pub fn pop_expired(&mut self, now: Instant) -> Option<usize> {
        while self.next()? <= now {
            let (_, token) = self.timers.pop_first()?;
            let deadline = &mut self.deadlines[token];
            deadline.timer = None;
            match deadline.due {
                Some(due) if due <= now => {
                    deadline.due = None;
                    return Some(token);
                }
                due => self.set(token, due),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Against a plain table of deadlines: each expires when it is due and not before, also if
    /// its token has had other owners, and there are never more timers than tokens.
    #[test]
    fn no_deadline_is_missed_or_early_and_no_token_has_two_timers() {
        const TOKENS: usize = 8;
        let start = Instant::now();
        let mut state = 88_172_645_463_325_252_u64; // xorshift
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let (mut timers, mut table) = (Timers::new(), [None; TOKENS]);
        let mut now = start;
        for step in 0..100_000 {
            let token = random(TOKENS as u64) as usize;
            let due = (random(5) > 0).then(|| now + Duration::from_millis(random(1000)));
            timers.set(token, due);
            table[token] = due;
            assert!(timers.timers.len() <= TOKENS, "step {step}");
            if let Some(earliest) = table.iter().flatten().min() {
                let wakes = timers.next().is_some_and(|at| at <= *earliest);
                assert!(wakes, "step {step}: nothing wakes the loop in time");
            }
            now += Duration::from_millis(random(100));
            while let Some(token) = timers.pop_expired(now) {
                let due = table[token].take();
                assert!(due.is_some_and(|due| due <= now), "step {step}: early");
            }
            let missed = table.iter().flatten().any(|&due| due <= now);
            assert!(!missed, "step {step}: missed");
        }
    }
}
