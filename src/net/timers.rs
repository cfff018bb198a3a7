//! Deadlines for many connections at next to no cost per request.
//!
//! A connection's deadline moves with every request; moving it in an ordered structure each
//! time would be most of the work. So a deadline that moves *later*, as nearly all do, is only
//! noted; when the earlier alarm rings and there is time left, the alarm is set anew. Work is
//! done about once per timeout, not per request. The alarm of a connection that has ended stays
//! for whoever has its token next, and one that an earlier alarm overtakes is taken back: there
//! is never more than one per token.
//! Knows no sockets. Note: `notes/async_server.md`.

use std::collections::BTreeSet;
use std::time::Instant;

/// One token's deadline.
#[derive(Debug, Clone, Copy, Default)]
struct Deadline {
    /// When its time is up; None: never.
    due: Option<Instant>,
    /// The alarm that stands for it: at `due` or earlier.
    alarm: Option<Instant>,
}

/// A deadline for each token that has one, and the alarms that stand for them.
#[derive(Debug, Default)]
pub struct Timers {
    deadlines: Vec<Deadline>,
    /// The earliest first.
    alarms: BTreeSet<(Instant, usize)>,
}

impl Timers {
    /// No deadlines yet.
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
            && deadline.alarm.is_none_or(|alarm| due < alarm)
        {
            if let Some(overtaken) = deadline.alarm.replace(due) {
                self.alarms.remove(&(overtaken, token));
            }
            self.alarms.insert((due, token));
        }
    }

    /// When to ask [`Timers::pop_expired`] again at the latest.
    pub fn next(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// A token whose time is up, if there is one; it has no deadline from then on.
    pub fn pop_expired(&mut self, now: Instant) -> Option<usize> {
        while self.next()? <= now {
            let (_, token) = self.alarms.pop_first()?;
            let deadline = &mut self.deadlines[token];
            deadline.alarm = None;
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

    #[test]
    fn a_deadline_that_moved_later_rings_only_when_it_is_due() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut timers = Timers::new();
        for s in 1..10 {
            timers.set(7, Some(at(s)));
        }
        assert_eq!(timers.alarms.len(), 1, "later deadlines cost no alarm");
        assert_eq!((timers.pop_expired(at(0)), timers.next()), (None, Some(at(1))));
        assert_eq!((timers.pop_expired(at(1)), timers.next()), (None, Some(at(9))));
        timers.set(7, Some(at(5)));
        assert_eq!(timers.pop_expired(at(4)), None);
        assert_eq!(timers.pop_expired(at(5)), Some(7), "an earlier deadline rings earlier");
        assert_eq!(timers.pop_expired(at(9)), None, "the alarm that was overtaken is void");
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_thousand_requests_leave_no_more_than_two_alarms() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        for request in 0..1000 {
            let now = 100 * request;
            // Held for a moment, until its alarm rings; then idle; now and then it leaves.
            timers.set(5, Some(at(now + 10)));
            assert_eq!(timers.pop_expired(at(now + 10)), Some(5));
            timers.set(5, Some(at(now + 60_000)));
            if request % 3 == 0 {
                timers.set(5, None);
            }
            assert!(timers.alarms.len() <= 2, "{} alarms", timers.alarms.len());
        }
    }

    /// Against a plain table of deadlines: what rings, rings when it is due and not before.
    #[test]
    fn no_deadline_is_missed_or_early_and_no_token_has_two_alarms() {
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
            assert!(timers.alarms.len() <= TOKENS, "step {step}");
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

    #[test]
    fn the_alarm_of_one_who_left_serves_the_next_with_its_token() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut timers = Timers::new();
        for second in 0..1000 {
            timers.set(3, Some(at(60 + second)));
            timers.set(3, None);
        }
        assert_eq!(timers.alarms.len(), 1);
        timers.set(3, Some(at(2000)));
        assert_eq!(timers.pop_expired(at(1999)), None);
        assert_eq!(timers.pop_expired(at(2000)), Some(3));
    }
}
