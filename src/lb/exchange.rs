//! One request and its answer, between a client and a backend, without their sockets: what is
//! to be sent, what has been understood, and whether another backend may still be tried.
//!
//! Entry points: [`Exchange::begin`], [`Exchange::take_content`], [`Exchange::relay`].
//! Note: `notes/lb.md`.

use super::rewrite::{self, Framed, From, ToClient};
use crate::cli::limits::Limits;
use crate::http::framing::Body;
use crate::http::request::{Method, Request};
use crate::http::response::{self, CONTINUE};
use crate::http::{ParseError, Version, date};
use crate::net::connection::Input;
use crate::net::output::Output;
use std::io::Write;
use std::time::Instant;

/// The most that waits to be sent to a backend; beyond it the client is not read.
const WAITING: usize = 64 * 1024;

/// The largest request that is kept until its answer begins, so that another backend can be
/// tried. A larger one is let go as it is sent.
const KEPT: usize = 256 * 1024;

/// Content up to here is a short answer, see [`Exchange::lingers`].
const SHORT: u64 = 16 * 1024;

/// Interim answers accepted before the final one.
const INTERIM: u32 = 16;

/// Why a backend did not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens there, or the way there is cut.
    Refused,
    /// No connection in time.
    ConnectTimeout,
    /// The connection ended before the answer did.
    Closed,
    /// No answer in time.
    ResponseTimeout,
    /// It was ejected while the request waited for it.
    Ejected,
    /// The answer is not HTTP, or contradicts itself.
    BadAnswer(ParseError),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Fault::Refused => f.write_str("refused the connection"),
            Fault::ConnectTimeout => f.write_str("did not take the connection in time"),
            Fault::Closed => f.write_str("closed the connection before its answer was complete"),
            Fault::ResponseTimeout => f.write_str("did not answer in time"),
            Fault::Ejected => f.write_str("was ejected while a request waited for it"),
            Fault::BadAnswer(error) => {
                write!(f, "gave an answer that cannot be understood: {error}")
            }
        }
    }
}

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relayed {
    /// More must arrive from the backend, or leave to the client.
    Waits,
    /// The answer is complete.
    Done,
}

/// See the module.
#[derive(Debug)]
pub struct Exchange {
    /// The request in this gateway's words, from its first byte unless part was let go.
    request: Vec<u8>,
    sent: usize,
    let_go: bool,
    content: Body,
    received: u64,
    framed: Framed,
    pub method: Method,
    version: Version,
    client_persists: bool,
    expects_continue: bool,
    /// The connection to the backend, by its place.
    pub upstream: Option<usize>,
    /// The backends that were tried in vain.
    pub tried: Vec<usize>,
    /// Connections used for this request.
    pub attempts: usize,
    /// Why the last one was in vain.
    pub fault: Option<Fault>,
    /// A kept connection had been closed: only new ones are used from then on.
    pub was_stale: bool,
    interim: u32,
    answer: Option<Answer>,
    /// Bytes of the answer's content that have been passed on.
    relayed: u64,
    /// When its head had been read.
    pub started: Instant,
    /// `GET /page.html`, for the log.
    pub what: Vec<u8>,
}

/// The part of the answer that has been understood.
#[derive(Debug)]
struct Answer {
    status: u16,
    content: Body,
    framed: Framed,
    /// Whether the client's connection persists behind it.
    client_persists: bool,
    /// Whether the backend's does.
    upstream_persists: bool,
}

impl Exchange {
    /// One that stands for nothing yet; [`Exchange::begin`] makes it something, again and again.
    pub fn new() -> Exchange {
        Exchange {
            request: Vec::new(),
            sent: 0,
            let_go: false,
            content: Body::new(crate::http::framing::Framing::Length(0)),
            received: 0,
            framed: Framed::Plain,
            method: Method::Get,
            version: Version::Http11,
            client_persists: false,
            expects_continue: false,
            upstream: None,
            tried: Vec::new(),
            attempts: 0,
            fault: None,
            was_stale: false,
            interim: 0,
            answer: None,
            relayed: 0,
            started: Instant::now(),
            what: Vec::new(),
        }
    }

    /// Takes up a request whose head has been read. The error: it is too large to be forwarded.
    pub fn begin(
        &mut self,
        request: &Request,
        from: &From,
        limits: &Limits,
        now: Instant,
        logs: bool,
    ) -> Result<(), ParseError> {
        self.request.clear();
        let framed = rewrite::write_request(&mut self.request, request, from, &limits.head);
        (self.sent, self.let_go, self.received) = (0, false, 0);
        self.content = Body::new(request.framing);
        (self.method, self.version) = (request.method, request.version);
        (self.client_persists, self.expects_continue) =
            (request.persists, request.expects_continue);
        self.upstream = None;
        self.tried.clear();
        (self.attempts, self.interim) = (0, 0);
        (self.fault, self.was_stale) = (None, false);
        (self.answer, self.relayed) = (None, 0);
        self.started = now;
        self.what.clear();
        if logs {
            // Writing into a Vec cannot fail.
            let _ = write!(self.what, "{} {}", request.method.name(), request.target);
        }
        self.framed = framed?;
        Ok(())
    }

    /// Whether the request has arrived as a whole.
    pub fn has_all_content(&self) -> bool {
        self.content.is_done()
    }

    /// Whether more content may be taken from the client now.
    pub fn has_room(&self) -> bool {
        self.request.len() - self.sent < WAITING
    }

    /// Takes the request's content out of `input`, up to `most` bytes of it. Returns whether
    /// there was any.
    pub fn take_content(&mut self, input: &mut Input, most: u64) -> Result<bool, ParseError> {
        let mut any = false;
        while !self.content.is_done() && self.has_room() {
            let (used, data) = self.content.read(input.unused())?;
            if used == 0 {
                break;
            }
            self.received += data.len() as u64;
            if self.received > most {
                return Err(ParseError::ContentTooLarge);
            }
            self.framed.write(&mut self.request, data);
            input.consume(used);
            any = true;
            if self.content.is_done() {
                self.framed.finish(&mut self.request);
            }
        }
        Ok(any)
    }

    /// What is still to be sent to the backend.
    pub fn unsent(&self) -> &[u8] {
        &self.request[self.sent..]
    }

    /// So many more bytes have been sent.
    pub fn sent(&mut self, n: usize) {
        self.sent += n;
        if self.sent == self.request.len() && (self.let_go || self.request.len() > KEPT) {
            self.request.clear();
            self.sent = 0;
            self.let_go = true;
        }
    }

    /// Whether bytes of the answer may have gone to the client.
    pub fn has_begun_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether the request can be sent once more, from its first byte, without harm: twice is
    /// the same as once, or the backend cannot have seen it.
    pub fn may_retry(&self) -> bool {
        self.answer.is_none() && !self.let_go && (self.method.is_idempotent() || self.sent == 0)
    }

    /// Whether others may wait for their answers behind it, and it behind others: it has no
    /// content, and may be sent once more if they fail.
    pub fn may_share(&self) -> bool {
        self.content.is_done() && self.sent == 0 && self.method.is_idempotent()
    }

    /// Back to the first byte, for another connection.
    pub fn rewind(&mut self) {
        self.sent = 0;
        self.upstream = None;
    }

    /// Moves the answer from a backend's input to a client's output, until that is full.
    /// `ended`: the backend will send no more.
    pub fn relay(
        &mut self,
        input: &mut Input,
        ended: bool,
        output: &mut Output,
        gateway: &Gateway,
    ) -> Result<Relayed, Fault> {
        while !output.is_full() {
            let Some(answer) = &mut self.answer else {
                if self.read_head(input, output, gateway)? {
                    continue;
                }
                return if ended {
                    Err(Fault::Closed)
                } else {
                    Ok(Relayed::Waits)
                };
            };
            let (used, data) = answer
                .content
                .read(input.unused())
                .map_err(Fault::BadAnswer)?;
            answer.framed.write(&mut output.bytes, data);
            self.relayed += data.len() as u64;
            input.consume(used);
            if answer.content.is_done() || (used == 0 && ended && answer.content.ends_with_close())
            {
                answer.framed.finish(&mut output.bytes);
                return Ok(Relayed::Done);
            }
            if used == 0 {
                return if ended {
                    Err(Fault::Closed)
                } else {
                    Ok(Relayed::Waits)
                };
            }
        }
        Ok(Relayed::Waits)
    }

    /// Reads the answer's head and writes it to the client. False: it is not here yet.
    fn read_head(
        &mut self,
        input: &mut Input,
        output: &mut Output,
        gateway: &Gateway,
    ) -> Result<bool, Fault> {
        let to_head = self.method == Method::Head;
        // Anew from its first byte whenever more of it is here: a backend that sends 24 KiB byte by
        // byte costs 0.4 s of CPU time. It is the operator's own; clients cannot do that.
        let parsed = response::parse(input.unused(), &gateway.limits.head, to_head);
        let Some((head, used)) = parsed.map_err(Fault::BadAnswer)? else {
            return Ok(false);
        };
        if head.status < 200 {
            self.interim += 1;
            // 101 would hand the connection to a protocol that nobody here asked for.
            if head.status == 101 || self.interim > INTERIM {
                return Err(Fault::BadAnswer(ParseError::StatusLine));
            }
            if head.status == 100 && self.expects_continue && self.version == Version::Http11 {
                output.bytes.extend_from_slice(CONTINUE);
            }
        } else {
            // Content that is still to come would be taken for the next request.
            let persists = self.client_persists && self.content.is_done() && !gateway.stopping;
            let to = ToClient {
                version: self.version,
                persists,
                to_head,
                via: gateway.via,
                date: gateway.date,
            };
            let (framed, client_persists) = rewrite::write_response(&mut output.bytes, &head, to);
            self.answer = Some(Answer {
                status: head.status,
                content: Body::new(head.framing),
                framed,
                client_persists,
                upstream_persists: head.persists,
            });
        }
        input.consume(used);
        Ok(true)
    }

    /// The answer's status, once known.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// After the answer: whether the client's connection persists.
    pub fn client_persists(&self) -> bool {
        match &self.answer {
            Some(answer) => answer.client_persists,
            None => self.client_persists && self.content.is_done(),
        }
    }

    /// If the client's connection is closed after the answer: whether a reset could overtake the
    /// answer. The client may be sending on, since its content is not here or it does not expect
    /// a close; or the answer is so long that it has time to.
    pub fn lingers(&self) -> bool {
        !self.content.is_done() || self.client_persists || self.relayed > SHORT
    }

    /// After the answer: whether the backend's connection can serve another request.
    pub fn upstream_persists(&self) -> bool {
        let all_sent = self.content.is_done() && self.unsent().is_empty();
        all_sent
            && self
                .answer
                .as_ref()
                .is_some_and(|answer| answer.upstream_persists)
    }

    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }
}

/// What an exchange must know of the gateway.
#[derive(Debug, Clone, Copy)]
pub struct Gateway<'a> {
    /// What is accepted of a head.
    pub limits: &'a Limits,
    /// Its name in Via.
    pub via: &'a str,
    /// For a backend that forgot it.
    pub date: &'a [u8; date::LENGTH],
    /// No client's connection persists any more.
    pub stopping: bool,
}
