//! Messages that two parsers could read in two ways, on their way through the load balancer: what
//! comes out must have one reading, and nobody else may get a byte of it.
//!
//! The requests and answers stand in the tables of [`crate::judge::cases`] and [`super::lies`].
//! Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::backends::Seen;
use super::lies::{Lie, Sees, lies};
use super::passage::{Came, exchange, told};
use super::{Gateway, PAUSE, check};
use crate::judge::cases::{self, Demand, Fault, ResponseCase, ResponseVerdict, Verdict};
use crate::judge::check::{Chapter, Check, Finding, Level, Outcome, Subject};
use crate::judge::client::{Client, Trouble, in_words};
use crate::judge::contact::ask;
use crate::judge::show;
use crate::judge::table::rule;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long a load balancer may wait for a backend that has fallen silent before it says so.
const SILENCE: Duration = Duration::from_secs(8);
/// What is hidden in the requests of the table.
const HIDDEN: &str = "/santai";

const TWO_ENDS: &str = "two parsers find two ends of a message: request smuggling";
const TAKEN_FOR_WHOLE: &str = "half an answer looks whole, or the rest of it is another client's";

/// Both directions.
pub(crate) fn chapters(gateway: &Arc<Gateway>) -> Vec<Chapter> {
    let sections = cases::sections().into_iter().filter(|s| s.name == "smuggling");
    let requests = sections.flat_map(|s| s.cases).map(|case| request_check(gateway, case));
    let answers = cases::responses().into_iter().map(|case| answer_check(gateway, case));
    let is_endless = |lie: &Lie| lie.right.iter().chain(lie.choice).any(|s| *s == Sees::Nothing);
    let (endless, other): (Vec<_>, Vec<_>) = lies().into_iter().partition(is_endless);
    let of = |lies: Vec<Lie>| lies.into_iter().map(|lie| lie_check(gateway, lie)).collect();
    let together = endless.len();
    vec![
        Chapter::new(Level::Http, "smuggling to a backend", requests.collect()),
        Chapter::new(Level::Http, "answers as a gateway reads them", answers.collect())
            .side_by_side(4),
        Chapter::new(Level::Http, "a backend that lies", of(other)),
        Chapter::new(Level::Http, "answers without an end", of(endless)).side_by_side(together),
    ]
}

/// Sends the case; a backend may get nothing, or messages that have one reading.
fn request_check(gateway: &Arc<Gateway>, case: cases::Case) -> Check {
    // To a reader that takes what the RFC lets it take, it is no secret.
    let is_asked_for = |v: &Verdict| matches!(v, Verdict::Accepted(a) if a.target == HIDDEN);
    let (demand, section, why) = rule(&case, "RFC 9112 §11.2", TWO_ENDS);
    let hidden = match demand {
        _ if case.ours.iter().any(is_asked_for) => Outcome::Pass,
        Demand::Must | Demand::Once => Outcome::Fail,
        Demand::Should | Demand::May => Outcome::Warn,
    };
    let is_hidden = |seen: &Seen| seen.request.as_ref().is_ok_and(|r| r.target.starts_with(HIDDEN));
    let run = move |gateway: &Arc<Gateway>, subject: &Subject| {
        gateway.ready(subject)?;
        gateway.backends.take_seen();
        let answer = ask(subject, &case.bytes);
        // What is hidden would come to a backend right behind.
        thread::sleep(PAUSE);
        let seen = gateway.backends.take_seen();
        let came = format!("to the backend: {}; to the client: {}", told(&seen), in_words(&answer));
        let outcome = match seen.iter().any(is_hidden) {
            _ if seen.iter().any(|seen| seen.request.is_err()) => Outcome::Fail,
            true => hidden,
            false => Outcome::Pass,
        };
        let expected = "an error, or one message for the backend that has one reading";
        let finding = Finding::new(outcome, show::marked(&case.bytes), came, expected);
        Ok(with_neighbours(finding, gateway, subject, None))
    };
    check(gateway, case.name, section, why, run).weight(3)
}

/// The finding, once those who come next have been asked.
fn with_neighbours(
    mut finding: Finding,
    gateway: &Gateway,
    subject: &Subject,
    same: Option<Client>,
) -> Finding {
    if let Err(wrong) = gateway.neighbours(subject, same) {
        finding.outcome = Outcome::Fail;
        finding.came += &format!("; to the next client: {wrong}");
    }
    finding
}

/// The backend answers with the case's bytes and closes. What is understood passes; what is not
/// may become anything but an answer that is no HTTP.
fn answer_check(gateway: &Arc<Gateway>, case: ResponseCase) -> Check {
    let (_, section, why) = match case.verdict {
        ResponseVerdict::Refused(Fault::MajorVersion) => Fault::StatusLine.rule(),
        ResponseVerdict::Refused(fault) => fault.rule(),
        _ => (Demand::Must, "RFC 9112 §4, §6.3", TAKEN_FOR_WHOLE),
    };
    let (name, method) = (case.name, if case.to_head { "HEAD" } else { "GET" });
    let run = move |gateway: &Arc<Gateway>, subject: &Subject| {
        let (sent, came) = tell(gateway, subject, method, (&case.bytes, true), subject.patience)?;
        let (outcome, expected) = match (case.verdict, &came.answer) {
            (_, Err(Trouble::NotHttp(..))) if clients_cope(&case) => {
                (Outcome::Warn, "an error: it is invalid, although a client may cope with it")
            }
            (_, Err(Trouble::NotHttp(..))) => (Outcome::Fail, "no answer that is no HTTP"),
            (ResponseVerdict::Accepted(status @ 200.., ..), Ok(answer)) => {
                let is_same = answer.status == status;
                (if is_same { Outcome::Pass } else { Outcome::Fail }, "the same status")
            }
            _ => (Outcome::Pass, "an error, a cut, or an answer that has one reading"),
        };
        let finding = Finding::new(outcome, sent, in_words(&came.answer), expected);
        Ok(with_neighbours(finding, gateway, subject, came.client))
    };
    check(gateway, name, section, why, run)
}

/// Whether the RFC tells a client what to do with it, although it is invalid: a status out of range
/// counts as a 5xx (RFC 9110 §15), and a reason is to be ignored (RFC 9112 §4). A length may be larger
/// than this judge counts.
fn clients_cope(case: &ResponseCase) -> bool {
    let text = String::from_utf8_lossy(&case.bytes);
    let line = text.split("\r\n").next().unwrap_or_default();
    let status: Option<u32> = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.is_some_and(|status| !(100..600).contains(&status))
        || line.contains('\0')
        || case.verdict == ResponseVerdict::Refused(Fault::ContentLengthTooLarge)
}

fn lie_check(gateway: &Arc<Gateway>, lie: Lie) -> Check {
    let waits = lie.name.ends_with("silence") && !lie.right.contains(&Sees::Nothing);
    let run = move |gateway: &Arc<Gateway>, subject: &Subject| {
        let patience = if waits { SILENCE } else { subject.patience };
        let (sent, came) = tell(gateway, subject, lie.method, (&lie.bytes, lie.closes), patience)?;
        let is = |sees: &Sees| match (sees, &came.answer) {
            (Sees::Error(_), Ok(answer)) => answer.status >= 500,
            (Sees::Content(text), Ok(answer)) => {
                answer.status < 500 && answer.content == text.as_bytes()
            }
            (Sees::Cut, Err(Trouble::Closed(_) | Trouble::Reset(_))) => true,
            (Sees::Nothing, Err(Trouble::TimedOut(_))) => true,
            _ => false,
        };
        let outcome = match lie.right.iter().any(is) {
            true => Outcome::Pass,
            false if lie.choice.iter().any(is) => Outcome::Warn,
            false => Outcome::Fail,
        };
        let expected = lie.right.iter().map(Sees::text).collect::<Vec<_>>().join(", or ");
        let finding = Finding::new(outcome, sent, in_words(&came.answer), expected);
        Ok(with_neighbours(finding, gateway, subject, came.client))
    };
    check(gateway, lie.name, lie.section, TAKEN_FOR_WHOLE, run).weight(3)
}

/// A backend answers one request with the bytes: what was sent, and what came of it.
fn tell(
    gateway: &Gateway,
    subject: &Subject,
    method: &str,
    (bytes, closes): (&[u8], bool),
    patience: Duration,
) -> Result<(String, Came), Finding> {
    let content = if method == "POST" { "Content-Length: 2\r\n\r\nhi" } else { "\r\n" };
    let request = format!("{method} /t HTTP/1.1\r\nHost: a\r\n{content}");
    let end = if closes { ", and closes" } else { "" };
    let (plain, lie) = (show::short(request.as_bytes()), show::short(bytes));
    let sent = format!("{plain}; the backend answers «{lie}»{end}");
    let answer = Some((bytes, closes));
    let came = exchange(gateway, subject, request.as_bytes(), answer, patience, false)?;
    match came.seen.is_empty() {
        true => Err(Finding::not_applicable("no backend gets the request")),
        false => Ok((sent, came)),
    }
}

impl Sees {
    fn text(&self) -> String {
        match self {
            Sees::Error(status) => format!("an error such as {status}"),
            Sees::Content(text) => format!("the content '{text}'"),
            Sees::Cut => "a cut connection".to_owned(),
            Sees::Nothing => "nothing for a while".to_owned(),
        }
    }
}
