//! Deadlines for many connections at next to no cost per request.
//!
//! A connection's deadline moves with every request; moving it in an ordered structure each
//! time would be most of the work. So a deadline that moves *later*, as nearly all do, is only
//! noted; when the earlier alarm rings and there is time left, the alarm is set anew. Work is
//! done about once per timeout, not per request. The alarm of a connection that has ended stays
//! for whoever has its token next, so there are never many more alarms than tokens.
//! Knows no sockets. Note: `notes/async_server.md`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
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
            deadline.alarm = Some(due);
            self.alarms.push(Reverse((due, token)));
        }
    }

    /// When to ask [`Timers::ring`] again at the latest.
    pub fn next(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    /// A token whose time is up, if there is one; it has no deadline from then on.
    pub fn ring(&mut self, now: Instant) -> Option<usize> {
        while self.next()? <= now {
            let Reverse((at, token)) = self.alarms.pop()?;
            let deadline = &mut self.deadlines[token];
            // One that an earlier alarm has overtaken is void.
            if deadline.alarm != Some(at) {
                continue;
            }
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
        assert_eq!((timers.ring(at(0)), timers.next()), (None, Some(at(1))));
        assert_eq!((timers.ring(at(1)), timers.next()), (None, Some(at(9))));
        timers.set(7, Some(at(5)));
        assert_eq!(timers.ring(at(4)), None);
        assert_eq!(
            timers.ring(at(5)),
            Some(7),
            "an earlier deadline rings earlier"
        );
        assert_eq!(
            timers.ring(at(9)),
            None,
            "the alarm that was overtaken is void"
        );
        assert_eq!(timers.next(), None);
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
        assert_eq!(timers.ring(at(1999)), None);
        assert_eq!(timers.ring(at(2000)), Some(3));
    }
}
