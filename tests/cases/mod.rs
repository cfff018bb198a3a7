//! Requests and responses with the verdict that RFC 9110 and 9112 demand of each, by section.
//!
//! Read it as documentation: a name, the bytes, what a strict recipient makes of them. Where the
//! RFC leaves a choice, the name says which was taken. The same table is used against the
//! parser, against a conversation without a socket, and over TCP against every server.
#![allow(dead_code)] // each test file uses its own part

mod chunked;
mod connection;
mod fields;
mod length;
mod request_line;
pub mod responses;
mod smuggling;

pub use progjar::http::ParseError;
pub use progjar::http::framing::Framing::{self, Chunked, Length, UntilClose};
pub use progjar::http::request::Method;
pub use responses::responses;

/// Bytes that a client sends, and what is to become of them.
pub struct Case {
    pub section: &'static str,
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// One verdict per message, in order. Nothing follows a refusal or a request after which
    /// the connection closes, whatever else was sent.
    pub verdicts: Vec<Verdict>,
}

/// What a recipient makes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A whole request.
    Accepted(Accepted),
    /// The beginning of one; the recipient waits for more.
    Incomplete,
    /// Not HTTP/1.1: the status of the answer, and the reason that it gives.
    Refused(u16, ParseError),
}

/// What matters in a request that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub method: Method,
    pub target: &'static str,
    /// The authority, where the case is about it.
    pub host: Option<&'static str>,
    pub framing: Framing,
    /// The content without its framing.
    pub content: &'static [u8],
    pub keep_alive: bool,
    /// The status that this project's origin servers answer.
    pub status: u16,
}

fn case<const N: usize>(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    verdicts: [Verdict; N],
) -> Case {
    Case { section: "", name, bytes: bytes.into(), verdicts: verdicts.into() }
}

/// A request without content.
fn request(method: Method, target: &'static str) -> Verdict {
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
    request(Method::Get, target)
}

/// A POST to `/echo`.
fn echo(framing: Framing, content: &'static [u8]) -> Verdict {
    request(Method::Post, "/echo").with(|a| Accepted { framing, content, ..a })
}

fn refused(status: u16, why: ParseError) -> Verdict {
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

/// All requests, section by section.
pub fn requests() -> Vec<Case> {
    let sections = [
        ("request line", request_line::line()),
        ("methods", request_line::methods()),
        ("target forms", request_line::target_forms()),
        ("target characters", request_line::target_characters()),
        ("versions", request_line::versions()),
        ("field lines", fields::lines()),
        ("line ends", fields::line_ends()),
        ("Host", fields::hosts()),
        ("limits", fields::limits()),
        ("Content-Length", length::lengths()),
        ("Transfer-Encoding", length::encodings()),
        ("chunk sizes", chunked::sizes()),
        ("chunk extensions", chunked::extensions()),
        ("ends of chunks", chunked::terminators()),
        ("trailers", chunked::trailers()),
        ("persistence", connection::persistence()),
        ("pipelining", connection::pipelining()),
        ("Expect", connection::expectations()),
        ("smuggling", smuggling::cases()),
    ];
    let cases = sections.into_iter().flat_map(|(section, cases)| {
        let named = move |case| Case { section, ..case };
        cases.into_iter().map(named)
    });
    cases.collect()
}
