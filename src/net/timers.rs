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
    due: Option<Instant>,   // when its time is up; None: never
    timer: Option<Instant>, // the timer that stands for it: at `due` or earlier
}

/// A deadline for each token that has one, and the timers that stand for them.
#[derive(Debug, Default)]
pub struct Timers {
    deadlines: Vec<Deadline>,
    timers: BTreeSet<(Instant, usize)>, // the earliest first
}

impl Timers {
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

    pub fn count(&self) -> usize {
        self.timers.len()
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
