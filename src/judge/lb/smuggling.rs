//! Messages that two parsers could read in two ways, on their way through the load balancer: what
//! comes out must have one reading, and nobody else may get a byte of it.
//!
//! The requests and answers stand in the tables of [`crate::judge::cases`] and [`super::lies`].
//! Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::lies::{Lie, Sees, lies};
use super::passage::{numbered, told};
use super::{Gateway, PAUSE};
use crate::judge::answer::Answer;
use crate::judge::cases::{self, ResponseCase, ResponseVerdict, Verdict};
use crate::judge::check::{Chapter, Check, Finding, Level, Outcome, Subject};
use crate::judge::client::{Client, Trouble};
use crate::judge::show;
use std::io::Write;
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
    let (silent, other): (Vec<_>, Vec<_>) =
        lies().into_iter().partition(|lie| lie.name.ends_with("silence"));
    let of = |lies: Vec<Lie>| lies.into_iter().map(|lie| lie_check(gateway, lie)).collect();
    let silent: Vec<Check> = of(silent);
    let together = silent.len();
    vec![
        Chapter::new(Level::Http, "smuggling to a backend", requests.collect()),
        Chapter::new(Level::Http, "answers as a gateway reads them", answers.collect()),
        Chapter::new(Level::Http, "a backend that lies", of(other)),
        Chapter::new(Level::Http, "a backend that falls silent", silent).side_by_side(together),
    ]
}

fn request_check(gateway: &Arc<Gateway>, case: cases::Case) -> Check {
    let gateway = Arc::clone(gateway);
    let may_hold_hidden = case.ours.iter().any(|verdict| match verdict {
        Verdict::Accepted(accepted) => accepted.target == HIDDEN,
        _ => false,
    });
    let (name, bytes) = (case.name, case.bytes);
    Check::new(name, "RFC 9112 §11.2", TWO_ENDS, move |subject| {
        smuggle(&gateway, subject, &bytes, may_hold_hidden)
    })
    .weight(3)
}

/// Sends the bytes; a backend may get nothing, or messages that have one reading.
fn smuggle(gateway: &Gateway, subject: &Subject, bytes: &[u8], may_hold_hidden: bool) -> Finding {
    if let Err(finding) = gateway.settle(subject) {
        return finding;
    }
    gateway.backends.take_seen();
    let answer = Client::connect(subject.address).and_then(|mut client| {
        client.send(bytes);
        client.answer(bytes.starts_with(b"HEAD "), subject.patience)
    });
    // What is hidden would come to a backend right behind.
    thread::sleep(PAUSE);
    let seen = gateway.backends.take_seen();
    let is_hidden = |target: &str| !may_hold_hidden && target.starts_with(HIDDEN);
    let is_bad = seen.iter().any(|seen| match &seen.request {
        Ok(request) => is_hidden(&request.target),
        Err(_) => true,
    });
    let neighbours = gateway.neighbours(subject, None);
    let mut came = format!("to the backend: {}; to the client: {}", told(&seen), in_words(&answer));
    if let Err(wrong) = &neighbours {
        came += &format!("; to the next client: {wrong}");
    }
    let outcome = if is_bad || neighbours.is_err() { Outcome::Fail } else { Outcome::Pass };
    let expected = "an error, or one message for the backend that has one reading";
    Finding::new(outcome, show::marked(bytes), came, expected)
}

fn in_words(answer: &Result<Answer, Trouble>) -> String {
    answer.as_ref().map_or_else(ToString::to_string, Answer::summary)
}

fn answer_check(gateway: &Arc<Gateway>, case: ResponseCase) -> Check {
    let gateway = Arc::clone(gateway);
    let name = case.name;
    Check::new(name, "RFC 9112 §4, §6.3", TAKEN_FOR_WHOLE, move |subject| {
        read_answer(&gateway, subject, &case)
    })
}

/// The backend answers with the case's bytes and closes. What is understood passes; what is not
/// may become anything but an answer that is no HTTP.
fn read_answer(gateway: &Gateway, subject: &Subject, case: &ResponseCase) -> Finding {
    let method = if case.to_head { "HEAD" } else { "GET" };
    let (got, sent, same) = match tell(gateway, subject, method, &case.bytes, true, subject.patience)
    {
        Ok(told) => told,
        Err(finding) => return finding,
    };
    let (is_right, expected) = match (case.verdict, &got) {
        (_, Err(Trouble::NotHttp(..))) => (false, "no answer that is no HTTP"),
        // The content of these is cut off, but not their heads.
        (ResponseVerdict::Accepted(200.., ..), Ok(answer)) => {
            (case.bytes.get(9..12) == Some(answer.status.to_string().as_bytes()), "the same status")
        }
        _ => (true, "an error, a cut, or an answer that has one reading"),
    };
    let neighbours = gateway.neighbours(subject, same);
    finish(is_right.then_some(Outcome::Pass), neighbours, sent, in_words(&got), expected.to_owned())
}

fn lie_check(gateway: &Arc<Gateway>, lie: Lie) -> Check {
    let gateway = Arc::clone(gateway);
    let (name, section) = (lie.name, lie.section);
    Check::new(name, section, TAKEN_FOR_WHOLE, move |subject| run_lie(&gateway, subject, &lie))
        .weight(3)
}

fn run_lie(gateway: &Gateway, subject: &Subject, lie: &Lie) -> Finding {
    let may_be_silent = lie.right.contains(&Sees::Nothing);
    let waits = lie.name.ends_with("silence") && !may_be_silent;
    let patience = if waits { SILENCE } else { subject.patience };
    let (got, sent, same) =
        match tell(gateway, subject, lie.method, &lie.bytes, lie.closes, patience) {
            Ok(told) => told,
            Err(finding) => return finding,
        };
    let is = |sees: &Sees| match (sees, &got) {
        (Sees::Error(_), Ok(answer)) => answer.status >= 500,
        (Sees::Content(text), Ok(answer)) => answer.status < 500 && answer.content == text.as_bytes(),
        (Sees::Cut, Err(Trouble::Closed(_) | Trouble::Reset(_))) => true,
        (Sees::Nothing, Err(Trouble::TimedOut(_))) => true,
        _ => false,
    };
    let outcome = match () {
        () if lie.right.iter().any(is) => Some(Outcome::Pass),
        () if lie.choice.iter().any(is) => Some(Outcome::Warn),
        () => None,
    };
    let neighbours = gateway.neighbours(subject, same);
    let expected = lie.right.iter().map(Sees::text).collect::<Vec<_>>().join(", or ");
    finish(outcome, neighbours, sent, in_words(&got), expected)
}

/// What the client got, what was sent, and the client, if its connection is still of use.
type Told = (Result<Answer, Trouble>, String, Option<Client>);

/// A backend answers one request with the bytes.
fn tell(
    gateway: &Gateway,
    subject: &Subject,
    method: &str,
    bytes: &[u8],
    closes: bool,
    patience: Duration,
) -> Result<Told, Finding> {
    gateway.settle(subject)?;
    let answer = bytes.to_vec();
    let number = gateway
        .backends
        .play(move |_, _, mut stream| stream.write_all(&answer).is_ok() && !closes);
    let content = if method == "POST" { "Content-Length: 2\r\n\r\nhi" } else { "\r\n" };
    let request = format!("{method} /t HTTP/1.1\r\nHost: a\r\n{content}");
    let end = if closes { ", and closes" } else { "" };
    let sent = format!(
        "{}; the backend answers «{}»{end}",
        show::short(request.as_bytes()),
        show::short(bytes)
    );
    let mut client = match Client::connect(subject.address) {
        Ok(client) => client,
        Err(trouble) => return Ok((Err(trouble), sent, None)),
    };
    client.send(numbered(request.as_bytes(), number));
    let got = client.answer(method == "HEAD", patience);
    let keeps = got.as_ref().is_ok_and(|answer| !answer.closes());
    Ok((got, sent, keeps.then_some(client)))
}

/// `outcome`: None: it is wrong.
fn finish(
    outcome: Option<Outcome>,
    neighbours: Result<(), String>,
    sent: String,
    mut came: String,
    expected: String,
) -> Finding {
    if let Err(wrong) = &neighbours {
        came += &format!("; to the next client: {wrong}");
    }
    let outcome = if neighbours.is_err() { None } else { outcome };
    Finding::new(outcome.unwrap_or(Outcome::Fail), sent, came, expected)
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
