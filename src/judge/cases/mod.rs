//! Requests and responses with the verdict that RFC 9110 and 9112 demand of each, by section.
//!
//! Read it as documentation: a name, the bytes, what a strict recipient makes of them. Where the
//! RFC leaves a choice, the name says which our own servers take: `ours`, which the tests hold
//! them to. What any other server may do instead is [`Case::demand`], by default that of the
//! [`Fault`]. Entry points: [`requests`], [`responses()`]. Note: `notes/judge.md`.

// what is wrong with a message, and what the RFCs ask of its recipient
mod chunked;
mod connection;
mod fields;
mod length;
mod request_line;
mod responses;
mod rules;
mod smuggling;
mod targets;

pub use Framing::{Chunked, Length, UntilClose};
pub use responses::{ResponseCase, ResponseVerdict, responses};
pub use rules::{Demand, Fault};

/// Where the content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Bytes that a client sends, and what is to become of them.
pub struct Case {
    /// The chapter; see [`Section`].
    pub chapter: &'static str,
    /// What is special about the bytes.
    pub name: &'static str,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What our own servers make of them: one verdict per message, in order. Nothing follows a
    /// refusal or a request after which the connection closes, whatever else was sent.
    pub ours: Vec<Verdict>,
    /// What becomes of a server that does otherwise, where that is not as for most.
    pub demand: Option<Demand>,
    /// Where that is written, and why, where it is not as for most.
    pub because: Option<(&'static str, &'static str)>,
}

/// What a recipient makes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A whole request.
    Accepted(Accepted),
    /// The beginning of one; the recipient waits for more.
    Incomplete,
    /// Not HTTP/1.1: the status of the answer, and the reason that it gives.
    Refused(u16, Fault),
}

/// What matters in a request that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// As it is sent.
    pub method: &'static str,
    /// Without scheme and authority.
    pub target: &'static str,
    /// The authority, where the case is about it.
    pub host: Option<&'static str>,
    /// Where its content ends.
    pub framing: Framing,
    /// The content without its framing.
    pub content: &'static [u8],
    /// Whether the connection persists after the answer.
    pub keep_alive: bool,
    /// The status that this project's origin servers answer.
    pub status: u16,
}

fn case<const N: usize>(name: &'static str, bytes: impl Into<Vec<u8>>, ours: [Verdict; N]) -> Case {
    let (bytes, ours) = (bytes.into(), ours.into());
    Case { chapter: "", name, bytes, ours, demand: None, because: None }
}

impl Case {
    /// Others may do otherwise.
    fn may(self) -> Case {
        Case { demand: Some(Demand::May), ..self }
    }

    /// Others should not do otherwise.
    fn should(self) -> Case {
        Case { demand: Some(Demand::Should), ..self }
    }

    /// Others must not do otherwise.
    fn must(self) -> Case {
        Case { demand: Some(Demand::Must), ..self }
    }

    /// Others may take it, if they answer nothing that is hidden in it.
    fn once(self) -> Case {
        Case { demand: Some(Demand::Once), ..self }
    }

    fn because(self, section: &'static str, why: &'static str) -> Case {
        Case { because: Some((section, why)), ..self }
    }
}

/// A request without content.
fn request(method: &'static str, target: &'static str) -> Verdict {
    Verdict::Accepted(Accepted {
        method,
        target,
        host: None,
        framing: Length(0),
        content: b"",
        keep_alive: true,
        status: 200,
    })
}

/// A GET without content.
fn get(target: &'static str) -> Verdict {
    request("GET", target)
}

/// A POST to `/echo`.
fn echo(framing: Framing, content: &'static [u8]) -> Verdict {
    request("POST", "/echo").with(|a| Accepted { framing, content, ..a })
}

fn refused(status: u16, why: Fault) -> Verdict {
    Verdict::Refused(status, why)
}

const INCOMPLETE: Verdict = Verdict::Incomplete;

impl Verdict {
    fn with(self, change: impl FnOnce(Accepted) -> Accepted) -> Verdict {
        match self {
            Verdict::Accepted(accepted) => Verdict::Accepted(change(accepted)),
            other => other,
        }
    }

    /// The connection closes after the answer.
    fn closes(self) -> Verdict {
        self.with(|a| Accepted { keep_alive: false, ..a })
    }

    fn of_host(self, host: &'static str) -> Verdict {
        self.with(|a| Accepted { host: Some(host), ..a })
    }

    fn answered(self, status: u16) -> Verdict {
        self.with(|a| Accepted { status, ..a })
    }
}

/// `before`, then `byte` so many times, then `after`: for what is too long to write out.
fn long(before: &str, byte: u8, times: usize, after: &str) -> Vec<u8> {
    [before.as_bytes(), &vec![byte; times], after.as_bytes()].concat()
}

/// A chapter of the table.
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// Where it is written what a server must take.
    pub section: &'static str,
    /// Why a server must take it.
    pub why: &'static str,
    /// The lab that asks for it; 0: none.
    pub lab: u8,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// All requests, chapter by chapter.
pub fn sections() -> Vec<Section> {
    let all = "every client may send it: it is a valid request";
    let content = "a server that finds another end takes content for a request, or waits for ever";
    let hidden = "two readers find two ends, and what one takes for content is another's request";
    let sections = [
        ("request line", "RFC 9112 §3", all, 0, request_line::line()),
        ("methods", "RFC 9110 §9", all, 0, request_line::methods()),
        ("target forms", "RFC 9112 §3.2", all, 0, targets::target_forms()),
        ("target characters", "RFC 3986 §3.3", all, 0, targets::target_characters()),
        ("versions", "RFC 9110 §2.5", all, 0, request_line::versions()),
        ("field lines", "RFC 9112 §5", all, 0, fields::lines()),
        ("line ends", "RFC 9112 §2.2", all, 0, fields::line_ends()),
        ("Host", "RFC 9110 §7.2", all, 0, fields::hosts()),
        ("limits", "RFC 9110 §5.4", all, 0, fields::limits()),
        ("Content-Length", "RFC 9112 §6.2", content, 4, length::lengths()),
        ("Transfer-Encoding", "RFC 9112 §6.1", content, 4, length::encodings()),
        ("chunk sizes", "RFC 9112 §7.1", content, 4, chunked::sizes()),
        ("chunk extensions", "RFC 9112 §7.1.1", content, 0, chunked::extensions()),
        ("ends of chunks", "RFC 9112 §7.1", content, 4, chunked::terminators()),
        ("trailers", "RFC 9112 §7.1.2", content, 0, chunked::trailers()),
        (
            "persistence",
            "RFC 9112 §9.3",
            "a client that waits for the wrong one of close and open waits for ever",
            0,
            connection::persistence(),
        ),
        (
            "pipelining",
            "RFC 9112 §9.3.2",
            "requests that arrive together are answered in order",
            0,
            connection::pipelining(),
        ),
        (
            "Expect",
            "RFC 9110 §10.1.1",
            "a client may wait for 100 before it sends its content",
            0,
            connection::expectations(),
        ),
        ("smuggling", "RFC 9112 §11.2", hidden, 0, smuggling::cases()),
    ];
    let named = |(name, section, why, lab, mut cases): (_, _, _, _, Vec<Case>)| {
        cases.iter_mut().for_each(|case| case.chapter = name);
        Section { name, section, why, lab, cases }
    };
    sections.map(named).into()
}

/// All requests.
pub fn requests() -> Vec<Case> {
    sections().into_iter().flat_map(|section| section.cases).collect()
}
