//! The decision after a backend did not serve a request, and whom that speaks against.
//!
//! Decisions only: no sockets, no clock. The worker says what happened and carries out what is
//! decided. Entry points: [`decide`], [`blame`]. Note: `notes/lb.md`.

use crate::http::ParseError;
use std::time::Instant;

/// How often a request is sent if its answer does not come: if two backends lost it, it may be the
/// cause.
const SENDINGS: usize = 2;

/// Why a backend did not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Refused,
    ConnectTimeout,
    SendTimeout,
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
    /// The meaning of a connection's end.
    pub fn of_end(reused: bool, sent: bool, begun: bool) -> Fault {
        match (reused, sent) {
            _ if begun => Fault::Closed,
            (true, _) => Fault::Stale,
            (false, true) => Fault::Closed,
            // The backend's kernel took it, and it was closed at once: no process serves there.
            (false, false) => Fault::Refused,
        }
    }
}

/// The situation when a backend did not serve a request.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    pub fault: Fault,
    pub may_repeat: bool, // the whole request is still here, and sent twice it does no harm
    pub sent: bool,       // the backend may have seen some of it
    pub begun: bool,      // some of the answer may have gone to the client
    pub losses: usize,    // how often the request was sent and its answer lost, this time included
    pub suspect: bool,    // it is not known whether the backend that lost it last still lives
    pub another: bool,    // there is another backend to ask
    pub budget: bool,     // there is a retry left to spend
    pub in_time: bool,    // the response timeout has not passed
}

/// The decision, which the worker carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Elsewhere, // ask another backend, or the same one on a new connection
    /// Only connect to the backend that lost the request last. If it refuses, or closes at once, it
    /// has died: the request is not to blame, and [`decide`] is asked again, without this suspect.
    /// If the connection is still open after 50 ms, the backend lives, and the client gets 502.
    Check,
    Answer(u16), // with this status
    Cut, // cut the client's connection: nothing else tells it that the answer is not complete
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

/// A fault's meaning for the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    Nothing,
    Count, // it failed this request: that is counted
    Eject, // it serves nobody now: it is passed over for a while
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

/// A request's attempts so far.
#[derive(Debug, Default)]
pub struct History {
    pub tried: Vec<usize>, // the backends, in vain
    /// When the answer must have begun: a response timeout after the whole request was first
    /// sent, whichever backend is asked then.
    pub due: Option<Instant>,
    pub losses: usize, // how often it was sent and its answer lost
    /// The backend that lost it last, and how; not by a stale connection. If another one then
    /// answers the request, the request was not the reason.
    pub lost: Option<(usize, Fault)>,
    pub checking: bool, // it is being found out whether that one lives: [`Verdict::Check`]
    pub fresh: bool, // a connection was lost, and more may be: only new ones are used from then on
}

impl History {
    /// A backend did not serve. `sent`: it may have seen some of the request.
    pub fn note(&mut self, backend_id: usize, fault: Fault, sent: bool) {
        if std::mem::take(&mut self.checking) {
            // It has died, so the loss says nothing of the request.
            self.losses = self.losses.saturating_sub(1);
            self.lost = None;
            return;
        }
        // If it was sent in vain, it might be the reason.
        let is_loss = matches!(fault, Fault::Stale | Fault::Closed | Fault::BadAnswer(_));
        self.fresh |= is_loss;
        self.losses += usize::from(is_loss && sent);
        if fault != Fault::Stale {
            self.tried.push(backend_id);
            self.lost = if is_loss { Some((backend_id, fault)) } else { self.lost };
        }
    }

    /// The backend that is only asked for a connection, and why; None: nothing is being checked.
    pub fn checked_backend(&self) -> Option<(usize, Fault)> {
        self.lost.filter(|_| self.checking)
    }
}
