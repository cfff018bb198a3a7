//! Requests and responses with the verdict that RFC 9110 and 9112 demand of each, by section.
//!
//! Read it as documentation: a name, the bytes, what a strict recipient makes of them. Where the
//! RFC leaves a choice, the name says which our own servers take: `ours`, which the tests hold
//! them to. What any other server may do instead is [`Case::demand`], by default that of the
//! [`Fault`]. Entry points: [`requests`], [`responses()`]. Note: `notes/judge.md`.

// what is wrong with a message, and what the RFCs ask of its recipient
mod rules;
// the rows of the tables; each stays on its line
#[rustfmt::skip]
mod chunked;
#[rustfmt::skip]
mod connection;
#[rustfmt::skip]
mod fields;
#[rustfmt::skip]
mod length;
#[rustfmt::skip]
mod request_line;
#[rustfmt::skip]
mod responses;
#[rustfmt::skip]
mod smuggling;
#[rustfmt::skip]
mod targets;

pub use Framing::{Chunked, Length, UntilClose};
pub use responses::{ResponseCase, ResponseVerdict, responses};
pub use rules::{Demand, Fault};

/// Where the content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A row of the table: name, bytes, and what our own servers make of them.
fn case(name: &'static str, bytes: impl AsRef<[u8]>, ours: impl Into<Vec<Verdict>>) -> Case {
    let (bytes, ours) = (bytes.as_ref().to_vec(), ours.into());
    Case { chapter: "", name, bytes, ours, demand: None, because: None }
}

/// A row for a request line, with Host and no more behind it.
fn line(name: &'static str, line: &str, ours: impl Into<Vec<Verdict>>) -> Case {
    case(name, format!("{line}\r\nHost: a\r\n\r\n"), ours)
}

/// A row for a POST to `/echo` with these field lines behind Host, and this content.
fn post(
    name: &'static str,
    lines: impl AsRef<str>,
    content: impl AsRef<[u8]>,
    ours: impl Into<Vec<Verdict>>,
) -> Case {
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{}\r\n", lines.as_ref());
    case(name, [head.as_bytes(), content.as_ref()].concat(), ours)
}

/// What becomes of others that do otherwise (see [`Demand`]); and where that is written, and why.
#[rustfmt::skip]
impl Case {
    fn may(self) -> Case { Case { demand: Some(Demand::May), ..self } }
    fn should(self) -> Case { Case { demand: Some(Demand::Should), ..self } }
    fn must(self) -> Case { Case { demand: Some(Demand::Must), ..self } }
    fn once(self) -> Case { Case { demand: Some(Demand::Once), ..self } }
    fn because(self, because: (&'static str, &'static str)) -> Case { Case { because: Some(because), ..self } }
}

impl From<Verdict> for Vec<Verdict> {
    fn from(verdict: Verdict) -> Vec<Verdict> {
        vec![verdict]
    }
}

impl From<Fault> for Vec<Verdict> {
    fn from(fault: Fault) -> Vec<Verdict> {
        vec![refused(fault)]
    }
}

fn refused(fault: Fault) -> Verdict {
    Verdict::Refused(fault.status(), fault)
}

const INCOMPLETE: Verdict = Verdict::Incomplete;

/// A request without content.
fn request(method: &'static str, target: &'static str) -> Verdict {
    let (framing, content) = (Length(0), &b""[..]);
    let (host, keep_alive, status) = (None, true, 200);
    Verdict::Accepted(Accepted { method, target, host, framing, content, keep_alive, status })
}

/// A GET without content.
fn get(target: &'static str) -> Verdict {
    request("GET", target)
}

/// A POST to `/echo`, whose content has a length.
fn echo(content: &'static [u8]) -> Verdict {
    request("POST", "/echo").content(content)
}

/// A POST to `/echo`, whose content comes in chunks.
fn chunked(content: &'static [u8]) -> Verdict {
    echo(content).with(|a| Accepted { framing: Chunked, ..a })
}

impl Verdict {
    fn with(self, change: impl FnOnce(Accepted) -> Accepted) -> Verdict {
        match self {
            Verdict::Accepted(accepted) => Verdict::Accepted(change(accepted)),
            other => other,
        }
    }

    fn content(self, content: &'static [u8]) -> Verdict {
        self.with(|a| Accepted { framing: Length(content.len() as u64), content, ..a })
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
#[rustfmt::skip] // a table
pub fn sections() -> Vec<Section> {
    let all = "every client may send it: it is a valid request";
    let content = "a server that finds another end takes content for a request, or waits for ever";
    let hidden = "two readers find two ends, and what one takes for content is another's request";
    let waits = "a client that waits for the wrong one of close and open waits for ever";
    let order = "requests that arrive together are answered in order";
    let expects = "a client may wait for 100 before it sends its content";
    [
        ("request line", "RFC 9112 §3", all, 0, request_line::lines()),
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
        ("persistence", "RFC 9112 §9.3", waits, 0, connection::persistence()),
        ("pipelining", "RFC 9112 §9.3.2", order, 0, connection::pipelining()),
        ("Expect", "RFC 9110 §10.1.1", expects, 0, connection::expectations()),
        ("smuggling", "RFC 9112 §11.2", hidden, 0, smuggling::cases()),
    ]
    .map(|(name, section, why, lab, mut cases)| {
        cases.iter_mut().for_each(|case| case.chapter = name);
        Section { name, section, why, lab, cases }
    })
    .into()
}

/// All requests.
pub fn requests() -> Vec<Case> {
    sections().into_iter().flat_map(|section| section.cases).collect()
}
