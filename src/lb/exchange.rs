//! One request and its answer, between a client and a backend, without their sockets: the bytes to
//! be sent, what has been understood, and whether another backend may still be tried.
//!
//! Entry points: [`Exchange::begin`], [`Exchange::take_content`], [`Exchange::relay`].
//! Note: `notes/lb.md`.

use super::retry::{Fault, History};
use super::rewrite::{self, ToBackend, ToClient};
use crate::http::framing::{Body, Framing};
use crate::http::request::{Method, Request};
use crate::http::response::{self, CONTINUE};
use crate::http::{Limits, ParseError, Version};
use crate::net::connection::Input;
use crate::net::output::Output;
use std::time::Instant;

/// The most that waits to be sent to a backend; beyond it the client is not read.
pub const WAITING: usize = 64 * 1024;

/// The largest request that is kept until its answer begins, so that another backend can be
/// tried. Of a larger one, what has been sent is dropped.
pub const KEPT: usize = 256 * 1024;

/// Room for a usual head, so that it is written without growing.
pub const HEAD_ROOM: usize = 1024;

/// Content up to here is a short answer, see [`Exchange::lingers`].
const SHORT: u64 = 16 * 1024;

/// Interim answers accepted before the final one.
const INTERIM: u32 = 16;

pub struct Exchange {
    /// The request in this gateway's words, from its first byte if it is replayable: at most
    /// [`KEPT`] and [`WAITING`] and what one read brings.
    pub request: Vec<u8>,
    sent: usize,
    replayable: bool,  // nothing of it has been dropped
    pub content: Body, // its content, as far as it has come
    received: u64,
    framed: Framing, // towards the backend
    pub method: Method,
    pub version: Version, // that the client speaks
    client_keep_alive: bool,
    expects_continue: bool,
    limits: Limits,              // of the request's head, and of the answer's
    pub upstream: Option<usize>, // the connection to the backend, by its slot
    /// Others may wait for their answers behind it, and it behind others: it has no content, may
    /// be sent once more if they fail, and no connection has failed it yet.
    pub may_pipeline: bool,
    pub is_batched: bool, // it leaves with others in one write
    pub history: History,
    interim: u32,
    answer: Option<Answer>,
    relayed: u64,         // bytes of the answer's content that have been passed on
    pub started: Instant, // when its head had been read
    pub log_line: String, // `GET /page.html`, if there is a log
}

/// How nothing more came from a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Orderly,
    Broken, // the connection failed
}

/// The part of the answer that has been understood.
struct Answer {
    status: u16,
    content: Body,
    framed: Framing, // towards the client
    client_keep_alive: bool,
    upstream_keep_alive: bool,
}

impl Exchange {
    /// Takes up a request whose head has been read, and writes it into the `buffer`. The error: it is
    /// too large to be forwarded.
    pub fn begin(
        mut buffer: Vec<u8>,
        request: &Request,
        to: &ToBackend,
        limits: &Limits,
        now: Instant,
        logs: bool,
    ) -> Result<Exchange, ParseError> {
        buffer.clear();
        buffer.reserve(HEAD_ROOM);
        rewrite::write_request(&mut buffer, request, to, limits)?;
        let line = || format!("{} {}", request.method.name(), request.target);
        let content = Body::new(request.framing);
        Ok(Exchange {
            request: buffer,
            sent: 0,
            replayable: true,
            may_pipeline: content.is_done() && request.method.is_idempotent(),
            content,
            received: 0,
            framed: request.framing,
            method: request.method,
            version: request.version,
            client_keep_alive: request.keep_alive,
            expects_continue: request.expects_continue,
            limits: *limits,
            upstream: None,
            is_batched: false,
            history: History::default(),
            interim: 0,
            answer: None,
            relayed: 0,
            started: now,
            log_line: if logs { line() } else { String::new() },
        })
    }

    /// Whether more content may be taken from the client now.
    pub fn has_room(&self) -> bool {
        self.request.len() - self.sent < WAITING
    }

    /// Takes the request's content from the front of `bytes`, as far as there is room for it.
    /// Returns how many bytes that were. The error: it is malformed, or more than `most` bytes.
    pub fn take_content(&mut self, bytes: &[u8], most: u64) -> Result<usize, ParseError> {
        let mut taken = 0;
        while !self.content.is_done() && self.has_room() {
            let (used, data) = self.content.read(&bytes[taken..])?;
            if used == 0 {
                break;
            }
            self.received += data.len() as u64;
            if self.received > most {
                return Err(ParseError::ContentTooLarge);
            }
            self.framed.write(&mut self.request, data);
            taken += used;
            if self.content.is_done() {
                self.framed.finish(&mut self.request);
            }
        }
        Ok(taken)
    }

    pub fn unsent(&self) -> &[u8] {
        &self.request[self.sent..]
    }

    /// So many more bytes have been sent. Past [`KEPT`], what has been sent is dropped: in steps
    /// that are large beside what is left, since what is left is moved each time.
    pub fn sent(&mut self, n: usize) {
        self.sent += n;
        let is_large = !self.replayable || self.request.len() > KEPT;
        if is_large && (self.sent >= WAITING || self.unsent().is_empty()) {
            self.request.drain(..self.sent);
            self.sent = 0;
            self.replayable = false;
        }
    }

    /// Whether a backend may have seen some of the request.
    pub fn has_sent(&self) -> bool {
        self.sent > 0 || !self.replayable
    }

    /// Whether another backend may get the request. `sent`: one may have seen some of it.
    pub fn may_repeat(&self, sent: bool) -> bool {
        self.replayable && (self.method.is_idempotent() || !sent)
    }

    /// Back to the first byte, for another connection.
    pub fn rewind(&mut self) {
        self.sent = 0;
        self.upstream = None;
        self.may_pipeline = false;
    }

    /// Moves the answer from a backend's input to a client's output, until that is full. Returns
    /// whether the answer is complete. `end`: nothing more comes from the backend.
    pub fn relay(
        &mut self,
        input: &mut Input,
        end: Option<End>,
        output: &mut Output,
        to: ToClient,
    ) -> Result<bool, Fault> {
        while !output.is_full() {
            let used = match &mut self.answer {
                None => self.read_head(input.unused(), &mut output.bytes, to)?,
                Some(answer) => {
                    let read = answer.content.read(input.unused());
                    let (used, data) = read.map_err(Fault::BadAnswer)?;
                    answer.framed.write(&mut output.bytes, data);
                    self.relayed += data.len() as u64;
                    let ends_now =
                        used == 0 && end == Some(End::Orderly) && answer.content.ends_with_close();
                    if answer.content.is_done() || ends_now {
                        answer.framed.finish(&mut output.bytes);
                        input.consume(used);
                        return Ok(true);
                    }
                    used
                }
            };
            if used == 0 {
                return if end.is_some() { Err(Fault::Closed) } else { Ok(false) };
            }
            input.consume(used);
        }
        Ok(false)
    }

    /// Whether the client takes the close of its connection for the end of the answer.
    pub fn ends_with_close(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.framed == Framing::UntilClose)
    }

    /// Reads the answer's head and writes it to the client. Returns its length; 0: it is not here
    /// yet, and is read anew from its first byte when more of it is. A backend that sends 24 KiB
    /// byte by byte costs 0.4 s of CPU time that way, but backends are the operator's own.
    fn read_head(&mut self, input: &[u8], out: &mut Vec<u8>, to: ToClient) -> Result<usize, Fault> {
        let parsed = response::parse(input, &self.limits, to.to_head);
        let Some((head, used)) = parsed.map_err(Fault::BadAnswer)? else { return Ok(0) };
        if head.status >= 200 {
            let (framed, client_keep_alive) = rewrite::write_response(out, &head, to);
            self.answer = Some(Answer {
                status: head.status,
                content: Body::new(head.framing),
                framed,
                client_keep_alive,
                upstream_keep_alive: head.keep_alive,
            });
            return Ok(used);
        }
        self.interim += 1;
        // 101 would hand the connection to a protocol that the request did not ask for.
        if head.status == 101 || self.interim > INTERIM {
            return Err(Fault::BadAnswer(ParseError::StatusLine));
        }
        if head.status == 100 && self.expects_continue {
            out.extend_from_slice(CONTINUE);
        }
        Ok(used)
    }

    /// Whether bytes of the answer may have gone to the client.
    pub fn has_begun(&self) -> bool {
        self.answer.is_some()
    }

    /// The answer's status, if it has begun.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// Whether the client's connection may be kept after the answer. Before one has begun: as far
    /// as the client goes. Content that is still to come would be taken for the next request.
    pub fn client_keep_alive(&self) -> bool {
        match &self.answer {
            Some(answer) => answer.client_keep_alive,
            None => self.client_keep_alive && self.content.is_done(),
        }
    }

    /// If the client's connection is closed after the answer: whether a reset could overtake the
    /// answer. The client may be sending on, since its content is not here or it does not expect
    /// a close; or the answer is so long that it has time to.
    pub fn lingers(&self) -> bool {
        !self.content.is_done() || self.client_keep_alive || self.relayed > SHORT
    }

    /// After the answer: whether the backend's connection can serve another request.
    pub fn upstream_keep_alive(&self) -> bool {
        let all_sent = self.content.is_done() && self.unsent().is_empty();
        all_sent && self.answer.as_ref().is_some_and(|answer| answer.upstream_keep_alive)
    }
}
