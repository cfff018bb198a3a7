//! One message through the load balancer: what the client sends, what the backend answers, and what
//! must come out on either side.
//!
//! Knows no list of cases. Entry points: [`passage`], [`Passage::check`]. Note: `notes/judge.md`.

use super::Gateway;
use super::backends::Seen;
use crate::judge::answer::Answer;
use crate::judge::check::{Check, Finding, Outcome, Subject};
use crate::judge::client::{Client, Trouble};
use crate::judge::show;
use std::net::IpAddr;
use std::sync::Arc;

/// A case of one message.
pub(crate) struct Passage {
    name: &'static str,
    section: &'static str,
    why: &'static str,
    weight: u8,
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

/// What must come out. A field's lines are told with commas between them.
#[derive(Debug, Clone)]
pub(crate) enum Want {
    /// The backend gets this field with this value; `PEER` is the client's address.
    Gets(&'static str, &'static str),
    /// The field is there and ends so.
    GetsAtEnd(&'static str, &'static str),
    /// The field begins so, and more follows.
    GetsMore(&'static str, &'static str),
    /// The backend gets no such field.
    Lacks(&'static str),
    /// The backend gets this request line.
    Line(&'static str),
    /// The backend gets this content.
    Content(Vec<u8>),
    /// No backend gets it.
    StaysHere,
    /// The client gets this status.
    Status(u16),
    /// The client gets a field with this value.
    Answered(&'static str, &'static str),
    /// The field is there.
    AnsweredSome(&'static str),
    /// The client gets no such field.
    Unanswered(&'static str),
    /// The client gets this content.
    Returned(Vec<u8>),
}
use Want::*;

/// What came out.
struct Came {
    seen: Vec<Seen>,
    answer: Result<Answer, Trouble>,
    peer: Option<IpAddr>,
    number: usize,
}

/// A GET without further fields, that the backend answers honestly.
pub(crate) fn passage(name: &'static str, section: &'static str, why: &'static str) -> Passage {
    Passage {
        name,
        section,
        why,
        weight: 2,
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

    /// It is no MUST: others choose otherwise.
    pub(crate) fn should(self) -> Passage {
        Passage { unless: Outcome::Warn, ..self }
    }

    pub(crate) fn weight(self, weight: u8) -> Passage {
        Passage { weight, ..self }
    }

    pub(crate) fn check(self, gateway: &Arc<Gateway>) -> Check {
        let gateway = Arc::clone(gateway);
        let (name, section, why, weight) = (self.name, self.section, self.why, self.weight);
        Check::new(name, section, why, move |subject| self.run(&gateway, subject)).weight(weight)
    }

    fn run(&self, gateway: &Gateway, subject: &Subject) -> Finding {
        let stays = self.wants.iter().any(|want| matches!(want, StaysHere));
        let mut came = match self.send(gateway, subject) {
            Ok(came) => came,
            Err(finding) => return finding,
        };
        if came.seen.is_empty() && !stays {
            // The load balancer may have left its backends alone for what a case before this did.
            gateway.disturb();
            came = match gateway.settle(subject).and_then(|()| self.send(gateway, subject)) {
                Ok(came) => came,
                Err(finding) => return finding,
            };
        }
        let mut sent = show::around(&numbered(&self.request, came.number), &self.mark);
        if let Some(bytes) = &self.answer {
            sent += &format!("; the backend answers {}", show::around(bytes, &self.mark));
        }
        let expected = self.wants.iter().map(Want::text).collect::<Vec<_>>().join("; ");
        let outcome = match self.wants.iter().all(|want| want.holds(&came)) {
            _ if came.seen.iter().any(|seen| seen.request.is_err()) => Outcome::Fail,
            true => Outcome::Pass,
            false => self.unless,
        };
        let timed_out = matches!(came.answer, Err(Trouble::TimedOut(0)));
        Finding { timed_out, ..Finding::new(outcome, sent, came.text(), expected) }
    }

    fn send(&self, gateway: &Gateway, subject: &Subject) -> Result<Came, Finding> {
        gateway.ready(subject)?;
        let number = match self.answer.clone() {
            None => gateway.backends.honest(),
            Some(bytes) => gateway.backends.answer(bytes, self.closes),
        };
        let request = numbered(&self.request, number);
        let mut peer = None;
        let answer = Client::connect(subject.address).and_then(|mut client| {
            peer = client.stream().local_addr().ok().map(|address| address.ip());
            client.send(&request);
            client.answer(request.starts_with(b"HEAD "), subject.patience)
        });
        Ok(Came { seen: gateway.backends.seen(number), answer, peer, number })
    }
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

impl Want {
    fn holds(&self, came: &Came) -> bool {
        let peer = came.peer.map(|ip| ip.to_string()).unwrap_or_default();
        let value = |text: &str| text.replace("PEER", &peer);
        let request = || came.seen.first().and_then(|seen| seen.request.as_ref().ok());
        let gets = |name| request().map(|r| r.fields(name).join(", "));
        let answer = || came.answer.as_ref().ok();
        let answered = |name| answer().map(|a| a.fields(name).collect::<Vec<_>>().join(", "));
        match self {
            Gets(name, expected) => gets(name) == Some(value(expected)),
            GetsAtEnd(name, end) => gets(name).is_some_and(|v| v.ends_with(&value(end))),
            GetsMore(name, begin) => {
                gets(name).and_then(|v| v.strip_prefix(begin).map(str::is_empty)) == Some(false)
            }
            Lacks(name) => request().is_some_and(|r| r.fields(name).is_empty()),
            Line(line) => {
                let line = numbered(line.as_bytes(), came.number);
                request()
                    .is_some_and(|r| r.head.split("\r\n").next().map(str::as_bytes) == Some(&line))
            }
            Content(content) => request().is_some_and(|r| r.content == *content),
            StaysHere => came.seen.is_empty(),
            Status(status) => answer().is_some_and(|a| a.status == *status),
            Answered(name, expected) => answered(name).as_deref() == Some(expected),
            AnsweredSome(name) => answered(name).is_some_and(|v| !v.is_empty()),
            Unanswered(name) => answer().is_some_and(|a| a.field(name).is_none()),
            Returned(content) => answer().is_some_and(|a| a.content == *content),
        }
    }

    /// The end of "expected: …".
    fn text(&self) -> String {
        let content = |bytes: &[u8]| match bytes.len() {
            ..100 => format!("'{}'", show::escaped(bytes)),
            n => format!("all {n} bytes"),
        };
        match self {
            Gets(name, value) => {
                let value = value.replace("PEER", "the client's address");
                format!("the backend gets {name}: {value}")
            }
            GetsAtEnd(name, value) => {
                let value = value.replace("PEER", "the client's address");
                format!("the backend gets {name}, and it ends with {value}")
            }
            GetsMore(name, begin) => format!("the backend gets {name}: {begin}and one more"),
            Lacks(name) => format!("the backend gets no {name}"),
            Line(line) => format!("the backend gets {line}"),
            Content(bytes) => format!("the backend gets the content {}", content(bytes)),
            StaysHere => "no backend gets it".to_owned(),
            Status(status) => format!("the client gets the status {status}"),
            Answered(name, value) => format!("the client gets {name}: {value}"),
            AnsweredSome(name) => format!("the client gets {name}"),
            Unanswered(name) => format!("the client gets no {name}"),
            Returned(bytes) => format!("the client gets the content {}", content(bytes)),
        }
    }
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
