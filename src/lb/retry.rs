//! What follows when a backend does not serve a request, and whom that speaks against.
//!
//! Decisions only: no sockets, no clock. The worker says what happened and carries out what is
//! decided. Entry points: [`decide`], [`blame`]. Note: `notes/lb.md`.

use crate::http::ParseError;
use std::time::Instant;

/// How often a request is sent if its answer does not come. Twice lost, it may be the cause.
const SENDINGS: usize = 2;

/// Why a backend did not serve; [`std::fmt::Display`] says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Refused,
    ConnectTimeout,
    SendTimeout,
    /// As a rule the connection was idle for too long: the backend is well.
    Stale,
    Closed,
    ResponseTimeout,
    Ejected,
    BadAnswer(ParseError),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Fault::Refused => "refused the connection",
            Fault::ConnectTimeout => "did not take the connection in time",
            Fault::SendTimeout => "stopped taking the request",
            Fault::Stale => "closed a kept connection just when the request was sent",
            Fault::Closed => "closed the connection before its answer was complete",
            Fault::ResponseTimeout => "did not answer in time",
            Fault::Ejected => "was ejected while a request waited for it",
            Fault::BadAnswer(error) => {
                return write!(f, "gave an answer that cannot be understood: {error}");
            }
        })
    }
}

impl Fault {
    /// What the end of a connection means.
    pub fn of_end(reused: bool, sent: bool, begun: bool) -> Fault {
        match (reused, sent) {
            _ if begun => Fault::Closed,
            (true, _) => Fault::Stale,
            (false, true) => Fault::Closed,
            // It was taken only to be closed: nobody is there to serve.
            (false, false) => Fault::Refused,
        }
    }

    /// Whether the request was sent in vain, and might be the reason.
    fn is_loss(self) -> bool {
        matches!(self, Fault::Stale | Fault::Closed | Fault::BadAnswer(_))
    }
}

/// What is known when a backend did not serve a request.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    pub fault: Fault,
    /// The whole request is still here, and sent twice it does no harm.
    pub may_repeat: bool,
    /// The backend may have seen some of it.
    pub sent: bool,
    /// Some of the answer may have gone to the client.
    pub begun: bool,
    /// How often the request was sent and its answer lost, this time included.
    pub losses: usize,
    /// It is not known whether the backend that lost it last still lives.
    pub suspect: bool,
    /// There is another backend to ask.
    pub another: bool,
    /// There is a retry left to spend.
    pub budget: bool,
    /// The response timeout has not passed.
    pub in_time: bool,
}

/// What the worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ask another backend, or the same one on a new connection.
    Elsewhere,
    /// Connect to the backend that lost the request last: if it refuses, or closes at once, it has
    /// died, and the request is not to blame.
    Check,
    /// Answer with this status.
    Answer(u16),
    /// Cut the client's connection: nothing else tells it that the answer is not complete.
    Cut,
}

pub fn decide(at: &Situation) -> Verdict {
    let is_late = matches!(at.fault, Fault::SendTimeout | Fault::ResponseTimeout);
    match at.fault {
        _ if at.begun => Verdict::Cut,
        _ if is_late || !at.in_time => Verdict::Answer(504),
        _ if !at.may_repeat || (at.costs() && !at.budget) => Verdict::Answer(502),
        _ if at.another && at.losses < SENDINGS => Verdict::Elsewhere,
        _ if at.suspect => Verdict::Check,
        Fault::ConnectTimeout => Verdict::Answer(504),
        _ if at.losses >= SENDINGS => Verdict::Answer(502),
        _ => Verdict::Answer(503),
    }
}

impl Situation {
    /// Whether one more attempt is more load for the backends. A stale connection was nobody's
    /// load, and a client leaves an ejected backend only once.
    pub fn costs(&self) -> bool {
        self.sent && !matches!(self.fault, Fault::Stale | Fault::Ejected)
    }
}

/// What a fault says of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    Nothing,
    /// It failed this request: that is counted.
    Count,
    /// It serves nobody now: it is passed over for a while.
    Eject,
}

/// Whether the fault speaks against the backend. `silent`: it has answered nobody for a whole
/// response timeout, although others wait for it too; else one slow request would eject it. A lost
/// answer ejects nobody before another backend has answered the same request ([`History::lost`]).
pub fn blame(fault: Fault, silent: bool) -> Blame {
    match fault {
        Fault::Stale => Blame::Nothing,
        Fault::Refused | Fault::ConnectTimeout => Blame::Eject,
        Fault::SendTimeout | Fault::ResponseTimeout if silent => Blame::Eject,
        _ => Blame::Count,
    }
}

/// What a request has met so far.
#[derive(Debug, Default)]
pub struct History {
    /// The backends that were tried in vain.
    pub tried: Vec<usize>,
    /// When the answer must have begun: a response timeout after the whole request was first
    /// sent, whichever backend is asked then.
    pub due: Option<Instant>,
    /// How often it was sent and its answer lost.
    pub losses: usize,
    /// The backend that lost it last, and how; not by a stale connection. If another one then
    /// answers the request, the request was not the reason.
    pub lost: Option<(usize, Fault)>,
    /// What is wanted now is only to know whether that one lives.
    pub checks: bool,
    /// A connection was lost, and more may be: only new ones are used from then on.
    pub fresh: bool,
}

impl History {
    /// Whether the time for all attempts together is over.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// A backend did not serve. `sent`: it may have seen some of the request.
    pub fn note(&mut self, backend_id: usize, fault: Fault, sent: bool) {
        if std::mem::take(&mut self.checks) {
            // It has died, so the loss says nothing of the request.
            self.losses = self.losses.saturating_sub(1);
            self.lost = None;
            return;
        }
        self.fresh |= fault.is_loss();
        self.losses += usize::from(fault.is_loss() && sent);
        if fault != Fault::Stale {
            self.tried.push(backend_id);
            if fault.is_loss() {
                self.lost = Some((backend_id, fault));
            }
        }
    }

    /// The backend that is only asked for a connection, and why.
    pub fn suspect(&self) -> Option<(usize, Fault)> {
        self.lost.filter(|_| self.checks)
    }
}

#[cfg(test)]
mod tests {
    use super::Fault::*;
    use super::Verdict::*;
    use super::*;

    const BAD: Fault = BadAnswer(ParseError::StatusLine);

    /// A GET that was sent, the first time, with everything left.
    fn get(fault: Fault) -> Situation {
        Situation {
            fault,
            may_repeat: true,
            sent: !matches!(fault, Refused | ConnectTimeout),
            begun: false,
            losses: usize::from(fault.is_loss()),
            suspect: matches!(fault, Closed | BAD),
            another: true,
            budget: true,
            in_time: true,
        }
    }

    #[test]
    fn what_follows_a_fault() {
        // Each column changes one thing: the request is a POST; there is no other backend;
        // there is no budget; it was lost before; it is late.
        #[rustfmt::skip]
        let table = [
            //                  GET          POST         no other     no budget    lost before  late
            (Refused,         [Elsewhere,   Elsewhere,   Answer(503), Elsewhere,   Elsewhere,   Answer(504)]),
            (ConnectTimeout,  [Elsewhere,   Elsewhere,   Answer(504), Elsewhere,   Elsewhere,   Answer(504)]),
            (SendTimeout,     [Answer(504), Answer(504), Answer(504), Answer(504), Answer(504), Answer(504)]),
            (ResponseTimeout, [Answer(504), Answer(504), Answer(504), Answer(504), Answer(504), Answer(504)]),
            (Stale,           [Elsewhere,   Answer(502), Answer(503), Elsewhere,   Answer(502), Answer(504)]),
            (Closed,          [Elsewhere,   Answer(502), Check,       Answer(502), Check,       Answer(504)]),
            (BAD,             [Elsewhere,   Answer(502), Check,       Answer(502), Check,       Answer(504)]),
            (Ejected,         [Elsewhere,   Answer(502), Answer(503), Elsewhere,   Elsewhere,   Answer(504)]),
        ];
        for (fault, expected) in table {
            let first = get(fault);
            let post = Situation { may_repeat: !first.sent, ..first };
            let no_other = Situation { another: false, ..first };
            let no_budget = Situation { budget: false, ..first };
            let before = Situation { losses: first.losses + 1, ..first };
            let late = Situation { in_time: false, ..first };
            let all = [first, post, no_other, no_budget, before, late];
            assert_eq!(all.map(|at| decide(&at)), expected, "{fault:?}");
            // Whatever else: half an answer is cut, and what is no longer here cannot be sent again.
            for at in all {
                assert_eq!(decide(&Situation { begun: true, ..at }), Cut);
                let gone = decide(&Situation { may_repeat: false, ..at });
                assert!(matches!(gone, Answer(502 | 504)), "{at:?}: {gone:?}");
            }
        }
        // A POST of which nothing was sent is like a GET.
        for fault in [Stale, Ejected] {
            let unsent = Situation { sent: false, losses: 0, ..get(fault) };
            assert_eq!(decide(&unsent), Elsewhere, "{fault:?}");
        }
    }

    #[test]
    fn whom_a_fault_speaks_against() {
        for (fault, others_answered, silent) in [
            (Refused, Blame::Eject, Blame::Eject),
            (ConnectTimeout, Blame::Eject, Blame::Eject),
            (SendTimeout, Blame::Count, Blame::Eject),
            (ResponseTimeout, Blame::Count, Blame::Eject),
            (Stale, Blame::Nothing, Blame::Nothing),
            (Closed, Blame::Count, Blame::Count),
            (BAD, Blame::Count, Blame::Count),
            (Ejected, Blame::Count, Blame::Count),
        ] {
            assert_eq!(blame(fault, false), others_answered, "{fault:?}");
            assert_eq!(blame(fault, true), silent, "{fault:?}");
        }
    }

    #[test]
    fn what_the_end_of_a_connection_means() {
        for (reused, sent, begun, fault) in [
            (true, true, false, Stale),
            (true, false, false, Stale),
            (true, true, true, Closed),
            (false, true, false, Closed),
            (false, true, true, Closed),
            (false, false, false, Refused),
        ] {
            assert_eq!(Fault::of_end(reused, sent, begun), fault);
        }
    }

    #[test]
    fn a_loss_to_a_backend_that_has_died_is_no_loss() {
        let mut history = History::default();
        history.note(3, Stale, true);
        assert_eq!((history.losses, history.lost), (1, None));
        assert!(history.fresh && history.tried.is_empty(), "asked once more");
        history.note(1, Closed, true);
        assert_eq!((history.losses, history.suspect()), (2, None));
        history.checks = true;
        assert_eq!(history.suspect(), Some((1, Closed)));
        history.note(1, Refused, false);
        assert_eq!((history.losses, history.suspect()), (1, None));
        assert_eq!(history.tried, [1]);
    }
}
