//! Deadlines for many connections at next to no cost per request.
//!
//! A connection's deadline moves with every request; moving it in an ordered structure each
//! time would be most of the work. So a deadline that moves *later*, as nearly all do, is only
//! noted in the owner's [`Deadline`]; when the earlier alarm rings, the owner is found to have
//! time left and the alarm is set anew. Work is done about once per timeout, not per request.
//! Knows no sockets. Note: `notes/async_server.md`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// One owner's deadline, kept beside the owner.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadline {
    /// When the owner's time is up; None: never.
    due: Option<Instant>,
    /// The alarm in the heap that stands for it: at `due` or earlier.
    alarm: Option<Instant>,
}

impl Deadline {
    /// Whether the owner's time is up.
    pub fn has_passed(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

/// The alarms of all owners, the earliest first.
#[derive(Debug, Default)]
pub struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    /// No alarms yet.
    pub fn new() -> Timers {
        Timers::default()
    }

    /// Moves the owner's deadline.
    pub fn set(&mut self, token: usize, deadline: &mut Deadline, due: Option<Instant>) {
        deadline.due = due;
        if let Some(due) = due
            && deadline.alarm.is_none_or(|alarm| due < alarm)
        {
            deadline.alarm = Some(due);
            self.0.push(Reverse((due, token)));
        }
    }

    /// When the next alarm rings.
    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// The owner of an alarm that has rung by `now`, if there is one; the caller asks
    /// [`Timers::rang`] whether it means anything.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(alarm)| alarm)
    }

    /// Whether the alarm at `at` ends the owner's time. One that was set for an earlier
    /// deadline, or for an earlier owner of the token, does not; the next is then set.
    pub fn rang(
        &mut self,
        at: Instant,
        token: usize,
        deadline: &mut Deadline,
        now: Instant,
    ) -> bool {
        if deadline.alarm != Some(at) {
            return false;
        }
        deadline.alarm = None;
        if deadline.has_passed(now) {
            return true;
        }
        self.set(token, deadline, deadline.due);
        false
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
        let (mut timers, mut deadline) = (Timers::new(), Deadline::default());
        timers.set(7, &mut deadline, Some(at(1)));
        for s in 2..10 {
            timers.set(7, &mut deadline, Some(at(s)));
        }
        assert_eq!(timers.0.len(), 1, "later deadlines cost no alarm");
        assert_eq!(timers.pop(at(0)), None);
        assert_eq!(timers.pop(at(1)), Some((at(1), 7)));
        assert!(!timers.rang(at(1), 7, &mut deadline, at(1)));
        assert_eq!(timers.next(), Some(at(9)));
        timers.set(7, &mut deadline, Some(at(5)));
        assert_eq!(
            timers.pop(at(5)),
            Some((at(5), 7)),
            "an earlier deadline rings earlier"
        );
        assert!(timers.rang(at(5), 7, &mut deadline, at(5)));
        assert_eq!(timers.pop(at(9)), Some((at(9), 7)));
        assert!(
            !timers.rang(at(9), 7, &mut deadline, at(9)),
            "the alarm that was overtaken is void"
        );
    }
}
