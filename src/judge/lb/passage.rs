//! One message through the load balancer: what the client sends, what the backend answers, and what
//! must come out on either side.
//!
//! Knows no list of cases. Entry points: [`passage`], [`Passage::check`]. Note: `notes/judge.md`.

use super::backends::Seen;
use super::{Gateway, check};
use crate::judge::answer::Answer;
use crate::judge::check::{Check, Finding, Outcome, Subject};
use crate::judge::client::{Client, Trouble};
use crate::judge::show;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A case of one message.
pub(crate) struct Passage {
    name: &'static str,
    section: &'static str,
    why: &'static str,
    weight: u8,
    lab: u8,
    /// What it is if a want does not hold.
    unless: Outcome,
    /// What the client sends; `/t` becomes the case's own target.
    request: Vec<u8>,
    /// What the backend answers; None: honestly.
    answer: Option<Vec<u8>>,
    /// The backend closes behind it.
    closes: bool,
    /// What makes it another message than a plain one, to be marked.
    mark: String,
    wants: Vec<Want>,
}

/// What came out.
pub(super) struct Came {
    pub seen: Vec<Seen>,
    pub answer: Result<Answer, Trouble>,
    peer: Option<IpAddr>,
    number: usize,
    /// If its connection is still of use.
    pub client: Option<Client>,
}

/// What must come out on either side: the name of a field, and its value, in which `PEER` is the
/// client's address. A field's lines are told with commas between them.
#[derive(Debug, Clone)]
pub(crate) enum Want {
    Gets(&'static str, &'static str),
    GetsAtEnd(&'static str, &'static str),
    GetsMore(&'static str, &'static str),
    Lacks(&'static str),
    Line(&'static str),
    Content(Vec<u8>),
    StaysHere,
    Status(u16),
    Answered(&'static str, &'static str),
    AnsweredSome(&'static str),
    Unanswered(&'static str),
    Returned(Vec<u8>),
}
use Want::*;

impl Want {
    /// Whether it holds, and what is expected, in words.
    fn judge(&self, came: &Came) -> (bool, String) {
        let peer = came.peer.map(|ip| ip.to_string()).unwrap_or_default();
        let value = |text: &str| text.replace("PEER", &peer);
        let words = |text: &str| text.replace("PEER", "the client's address");
        let (no_request, no_answer) = Default::default();
        let request = came.seen.first().and_then(|seen| seen.request.as_ref().ok());
        let (r, a) = (request.unwrap_or(&no_request), came.answer.as_ref().unwrap_or(&no_answer));
        let gets = |name: &str| r.fields(name).join(", ");
        let answered = |name: &str| a.fields(name).collect::<Vec<_>>().join(", ");
        let more = |name, begin| gets(name).strip_prefix(begin).is_some_and(|m| !m.is_empty());
        let line = r.head.split("\r\n").next().unwrap_or_default().as_bytes();
        let (holds, what) = match self {
            Gets(name, v) => (gets(name) == value(v), format!("{name}: {}", words(v))),
            GetsAtEnd(name, end) => {
                let what = format!("{name}, and it ends with {}", words(end));
                (gets(name).ends_with(&value(end)), what)
            }
            GetsMore(name, begin) => (more(name, begin), format!("{name}: {begin}and one more")),
            Lacks(name) => (r.fields(name).is_empty(), format!("no {name}")),
            Line(text) => (line == numbered(text.as_bytes(), came.number), (*text).to_owned()),
            Content(bytes) => (r.content == *bytes, in_short(bytes)),
            StaysHere => (came.seen.is_empty(), String::new()),
            Status(status) => (a.status == *status, format!("the status {status}")),
            Answered(name, v) => (answered(name) == *v, format!("{name}: {v}")),
            AnsweredSome(name) => (!answered(name).is_empty(), (*name).to_owned()),
            Unanswered(name) => (a.field(name).is_none(), format!("no {name}")),
            Returned(bytes) => (a.content == *bytes, in_short(bytes)),
        };
        match self {
            StaysHere => (holds, "no backend gets it".to_owned()),
            Status(_) | Answered(..) | AnsweredSome(_) | Unanswered(_) | Returned(_) => {
                (holds && came.answer.is_ok(), format!("the client gets {what}"))
            }
            _ => (holds && request.is_some(), format!("the backend gets {what}")),
        }
    }
}

fn in_short(content: &[u8]) -> String {
    match content.len() {
        ..100 => format!("the content '{}'", show::escaped(content)),
        n => format!("the content all {n} bytes"),
    }
}

/// A GET without further fields, that the backend answers honestly.
pub(crate) fn passage(name: &'static str, section: &'static str, why: &'static str) -> Passage {
    Passage {
        name,
        section,
        why,
        weight: 2,
        lab: 6,
        unless: Outcome::Fail,
        request: b"GET /t HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        answer: None,
        closes: false,
        mark: String::new(),
        wants: Vec::new(),
    }
}

impl Passage {
    /// The GET has these field lines too.
    pub(crate) fn fields(self, lines: &str) -> Passage {
        let request = format!("GET /t HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        Passage { request, mark: lines.to_owned(), ..self }
    }

    /// The client sends these bytes.
    pub(crate) fn sends(self, bytes: impl Into<Vec<u8>>) -> Passage {
        Passage { request: bytes.into(), ..self }
    }

    /// The client sends a POST with these field lines, and behind them these bytes.
    pub(crate) fn uploads(self, lines: &str, bytes: &[u8]) -> Passage {
        let head = format!("POST /t HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        self.sends([head.as_bytes(), bytes].concat())
    }

    /// The backend answers with this status, these field lines and content.
    pub(crate) fn answered(self, status: &str, lines: &str, content: impl AsRef<[u8]>) -> Passage {
        let mut answer = format!("HTTP/1.1 {status}\r\n{lines}\r\n").into_bytes();
        answer.extend_from_slice(content.as_ref());
        Passage { answer: Some(answer), mark: lines.to_owned(), ..self }
    }

    /// The backend answers with these bytes and closes.
    pub(crate) fn answered_and_closed(self, bytes: &str) -> Passage {
        Passage { answer: Some(bytes.into()), closes: true, ..self }
    }

    pub(crate) fn wants(self, wants: impl Into<Vec<Want>>) -> Passage {
        Passage { wants: wants.into(), ..self }
    }

    /// No lab tells of it.
    pub(crate) fn of_no_lab(self) -> Passage {
        Passage { lab: 0, ..self }
    }

    /// It is no MUST: others choose otherwise.
    pub(crate) fn should(self) -> Passage {
        Passage { unless: Outcome::Warn, ..self }
    }

    pub(crate) fn weight(self, weight: u8) -> Passage {
        Passage { weight, ..self }
    }

    pub(crate) fn check(self, gateway: &Arc<Gateway>) -> Check {
        let Passage { name, section, why, weight, lab, .. } = self;
        let run = move |gateway: &Arc<Gateway>, subject: &Subject| self.run(gateway, subject);
        Check { lab, ..check(gateway, name, section, why, run).weight(weight) }
    }

    fn run(&self, gateway: &Gateway, subject: &Subject) -> Result<Finding, Finding> {
        let stays = matches!(self.wants.as_slice(), [StaysHere]);
        let answer = self.answer.as_ref().map(|bytes| (bytes.as_slice(), self.closes));
        let came = exchange(gateway, subject, &self.request, answer, subject.patience, stays)?;
        let mut sent = show::around(&numbered(&self.request, came.number), &self.mark);
        if let Some(bytes) = &self.answer {
            sent += &format!("; the backend answers {}", show::around(bytes, &self.mark));
        }
        let (holds, expected): (Vec<bool>, Vec<String>) =
            self.wants.iter().map(|want| want.judge(&came)).unzip();
        let outcome = match holds.iter().all(|holds| *holds) {
            _ if came.seen.iter().any(|seen| seen.request.is_err()) => Outcome::Fail,
            true => Outcome::Pass,
            false => self.unless,
        };
        let timed_out = matches!(came.answer, Err(Trouble::TimedOut(0)));
        Ok(Finding { timed_out, ..Finding::new(outcome, sent, came.text(), expected.join("; ")) })
    }
}

/// Sends a request, in which `/t` becomes the case's own target. A backend answers with these bytes,
/// and closes or not; without any, honestly. `stays`: no backend need get it.
pub(super) fn exchange(
    gateway: &Gateway,
    subject: &Subject,
    request: &[u8],
    answer: Option<(&[u8], bool)>,
    patience: Duration,
    stays: bool,
) -> Result<Came, Finding> {
    gateway.ready(subject)?;
    let once = || {
        let number = match answer {
            None => gateway.backends.honest(),
            Some((bytes, closes)) => gateway.backends.answer(bytes.to_vec(), closes),
        };
        let (mut peer, mut client) = (None, None);
        let answer = Client::connect(subject.address).and_then(|mut new| {
            peer = new.stream().local_addr().ok().map(|address| address.ip());
            new.send(numbered(request, number));
            let answer = new.answer(request.starts_with(b"HEAD "), patience)?;
            client = (!answer.closes()).then_some(new);
            Ok(answer)
        });
        Came { seen: gateway.backends.seen(number), answer, peer, number, client }
    };
    let came = once();
    if stays || !came.seen.is_empty() {
        return Ok(came);
    }
    // The load balancer may have left its backends alone for what a case before this did.
    gateway.disturb();
    gateway.settle(subject)?;
    Ok(once())
}

/// The bytes with the number of the case behind each `/t`.
pub(crate) fn numbered(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|w| w == b"/t") {
        let (before, behind) = rest.split_at(at + 2);
        all.extend_from_slice(before);
        if !behind.first().is_some_and(u8::is_ascii_alphanumeric) {
            all.extend_from_slice(number.to_string().as_bytes());
        }
        rest = behind;
    }
    all.extend_from_slice(rest);
    all
}

impl Came {
    /// What came to the backends, and what came back.
    fn text(&self) -> String {
        let answer = match &self.answer {
            Ok(answer) => {
                let content = show::short(answer.content.get(..60).unwrap_or(&answer.content));
                format!(
                    "{}, {} bytes: {content}",
                    show::short(answer.head.as_bytes()),
                    answer.content.len()
                )
            }
            Err(trouble) => trouble.to_string(),
        };
        format!("to the backend: {}; to the client: {answer}", told(&self.seen))
    }
}

/// What came to the backends, in words.
pub(super) fn told(seen: &[Seen]) -> String {
    let texts = seen.iter().map(|seen| match &seen.request {
        Ok(request) => {
            let content = match request.content.len() {
                0 => String::new(),
                n => format!(" and {n} bytes of content"),
            };
            format!("{}{content}", show::short(request.head.as_bytes()))
        }
        Err((why, bytes)) => format!("no request ({why}): {}", show::short(bytes)),
    });
    let texts = texts.collect::<Vec<_>>().join(" and then ");
    if texts.is_empty() { "nothing".to_owned() } else { texts }
}

#[cfg(test)]
mod tests {
    use super::super::backends::number_of;
    use super::*;

    #[test]
    fn a_case_is_found_again_by_its_number() {
        for (bytes, expected) in [
            ("GET /t HTTP/1.1", "GET /t17 HTTP/1.1"),
            ("GET /t/a?b HTTP/1.1", "GET /t17/a?b HTTP/1.1"),
            ("GET http://a/t?b HTTP/1.1", "GET http://a/t17?b HTTP/1.1"),
            ("Accept: text/text\r\n/t", "Accept: text/text\r\n/t17"),
        ] {
            assert_eq!(numbered(bytes.as_bytes(), 17), expected.as_bytes());
            assert_eq!(number_of(expected), Some(17), "{expected}");
        }
        assert_eq!(number_of("/there"), None);
    }
}
