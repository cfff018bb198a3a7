//! What the judge asks: a check sends bytes and finds an outcome; a chapter is a list of checks.
//!
//! Knows no server and no report. Entry points: [`Check`], [`Finding`]. Note: `notes/judge.md`.

use super::answer::Answer;
use crate::cli::shutdown::Stop;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// What Tugas 10 asks for.
    Assignment,
    /// What RFC 9110 and 9112 ask for.
    Http,
    /// What is left for the others while some clients behave badly.
    Hostile,
}

impl Level {
    /// All, in order.
    pub(crate) const ALL: [Level; 3] = [Level::Assignment, Level::Http, Level::Hostile];

    /// As typed behind `--level`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Level::Assignment => "assignment",
            Level::Http => "http",
            Level::Hostile => "hostile",
        }
    }
}

/// What becomes of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should be.
    Pass,
    /// Against a SHOULD, or a choice that others make otherwise.
    Warn,
    /// Against a MUST, or a client or a neighbour is hurt.
    Fail,
    /// The server offers nothing to check here.
    NotApplicable,
}

impl Outcome {
    /// All, the worst first.
    pub(crate) const ALL: [Outcome; 4] =
        [Outcome::Fail, Outcome::Warn, Outcome::Pass, Outcome::NotApplicable];

    /// As it is printed, also in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
            Outcome::NotApplicable => "not applicable",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub outcome: Outcome,
    /// The bytes that were sent, escaped; see [`super::show`].
    pub sent: String,
    /// What came back, in words; of [`Outcome::NotApplicable`] the reason.
    pub came: String,
    /// What would have been right.
    pub expected: String,
    /// The server did not answer in time: after several in a row, the chapter is given up.
    pub timed_out: bool,
    /// It was right to say nothing, so that this shows neither that the server lives nor that it
    /// does not.
    pub is_silent: bool,
}

impl Finding {
    pub(crate) fn new(
        outcome: Outcome,
        sent: impl Into<String>,
        came: impl Into<String>,
        expected: impl Into<String>,
    ) -> Finding {
        let (sent, came, expected) = (sent.into(), came.into(), expected.into());
        let is_silent = outcome == Outcome::NotApplicable;
        Finding { outcome, sent, came, expected, timed_out: false, is_silent }
    }

    /// There is nothing to check, for this reason.
    pub(crate) fn not_applicable(reason: impl Into<String>) -> Finding {
        Finding::new(Outcome::NotApplicable, "", reason, "")
    }
}

/// The part of a check that speaks to the server.
type Run = Arc<dyn Fn(&Subject) -> Finding + Send + Sync>;

/// A check in a table; see [`Check::rows`].
pub(crate) type Row = (&'static str, u8, &'static str, &'static str, fn(&Subject) -> Finding);

/// One question to the server.
pub(crate) struct Check {
    pub name: String,
    /// Where it is written: `RFC 9112 §5.1`, or another source.
    pub section: &'static str,
    /// Why it matters, in one sentence.
    pub why: &'static str,
    /// 1: a nuisance; 2: other programs break; 3: a client or a neighbour is hurt.
    pub weight: u8,
    /// The lab of notes/labs.md that asks for it; 0: none.
    pub lab: u8,
    pub run: Run,
}

impl Check {
    /// A check of weight 2, of no lab.
    pub(crate) fn new(
        name: impl Into<String>,
        section: &'static str,
        why: &'static str,
        run: impl Fn(&Subject) -> Finding + Send + Sync + 'static,
    ) -> Check {
        Check { name: name.into(), section, why, weight: 2, lab: 0, run: Arc::new(run) }
    }

    /// A check for each row: name, weight, section, why, run.
    pub(crate) fn rows<const N: usize>(rows: [Row; N]) -> Vec<Check> {
        let check = |(name, weight, section, why, run): Row| {
            Check::new(name, section, why, run).weight(weight)
        };
        rows.map(check).into()
    }

    pub(crate) fn weight(self, weight: u8) -> Check {
        Check { weight, ..self }
    }
}

/// Checks of one subject.
pub(crate) struct Chapter {
    pub level: Level,
    pub name: &'static str,
    /// How many checks may run side by side; at most one of those that measure or play a backend.
    pub side_by_side: usize,
    pub checks: Vec<Check>,
}

impl Chapter {
    /// Its checks run one after the other.
    pub(crate) fn new(level: Level, name: &'static str, checks: Vec<Check>) -> Chapter {
        Chapter { level, name, side_by_side: 1, checks }
    }

    pub(crate) fn side_by_side(self, side_by_side: usize) -> Chapter {
        Chapter { side_by_side, ..self }
    }

    /// All of its checks that belong to no lab yet belong to this one.
    pub(crate) fn of_lab(mut self, lab: u8) -> Chapter {
        self.checks.iter_mut().filter(|c| c.lab == 0).for_each(|c| c.lab = lab);
        self
    }
}

/// The server that is judged, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub address: SocketAddr,
    /// The page to ask for: `--path`.
    pub path: String,
    /// A path that answers with the content of the request: `--echo`.
    pub echo: String,
    /// How long an answer may take.
    pub patience: Duration,
    /// How long all checks may take together.
    pub time: Duration,
    /// Raised by Ctrl-C: what waits gives up.
    pub stop: Stop,
    pub facts: Facts,
}

/// What the first requests have shown, so that no check fails for what the server may choose.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// It answers HTTP/1.1; an HTTP/1.0 server is legal.
    pub is_http11: bool,
    /// A connection takes a second request.
    pub persists: bool,
    /// `--echo` answers with the content that was sent.
    pub echoes: bool,
    /// Two clients at once are served.
    pub serves_many: bool,
    /// A request in two pieces is answered.
    pub reads_pieces: bool,
    /// The answer to the very first request.
    pub first: Answer,
    /// How long it took.
    pub first_took: Duration,
}
