//! One request and its answer, between a client and a backend, without their sockets: what is
//! to be sent, what has been understood, and whether another backend may still be tried.
//!
//! Entry points: [`Exchange::begin`], [`Exchange::take_content`], [`Exchange::relay`].
//! Note: `notes/lb.md`.

use super::retry::{Fault, History};
use super::rewrite::{self, Forwarded, Framed, ToClient};
use crate::http::framing::Body;
use crate::http::request::{Method, Request};
use crate::http::response::{self, CONTINUE};
use crate::http::{Limits, ParseError, Version};
use crate::net::connection::Input;
use crate::net::output::Output;
use std::io::Write;
use std::time::Instant;

/// The most that waits to be sent to a backend; beyond it the client is not read.
const WAITING: usize = 64 * 1024;

/// The largest request that is kept until its answer begins, so that another backend can be
/// tried. Of a larger one, what has been sent is dropped.
const KEPT: usize = 256 * 1024;

/// Content up to here is a short answer, see [`Exchange::lingers`].
const SHORT: u64 = 16 * 1024;

/// Interim answers accepted before the final one.
const INTERIM: u32 = 16;

/// See the module.
#[derive(Debug)]
pub struct Exchange {
    /// The request in this gateway's words, from its first byte if it is replayable: at most
    /// [`KEPT`] and [`WAITING`] and what one read brings.
    pub request: Vec<u8>,
    sent: usize,
    /// Nothing of it has been dropped.
    replayable: bool,
    /// What has come of its content.
    pub content: Body,
    received: u64,
    framed: Framed,
    pub method: Method,
    pub version: Version,
    client_keep_alive: bool,
    expects_continue: bool,
    /// The connection to the backend, by its slot.
    pub upstream: Option<usize>,
    /// Others may wait for their answers behind it, and it behind others: it has no content, may
    /// be sent once more if they fail, and no connection has failed it yet.
    pub may_share: bool,
    /// It leaves with others in one write.
    pub shares: bool,
    pub history: History,
    interim: u32,
    answer: Option<Answer>,
    /// Bytes of the answer's content that have been passed on.
    relayed: u64,
    /// When its head had been read.
    pub started: Instant,
    /// `GET /page.html`, if there is a log.
    pub log_line: Vec<u8>,
}

/// The part of the answer that has been understood.
#[derive(Debug)]
struct Answer {
    status: u16,
    content: Body,
    framed: Framed,
    client_keep_alive: bool,
    upstream_keep_alive: bool,
}

impl Exchange {
    /// Takes up a request whose head has been read; `bytes` is an empty buffer for it. The error:
    /// it is too large to be forwarded.
    pub fn begin(
        request: &Request,
        forwarded: &Forwarded,
        limits: &Limits,
        mut bytes: Vec<u8>,
        now: Instant,
        logs: bool,
    ) -> Result<Exchange, ParseError> {
        let framed = rewrite::write_request(&mut bytes, request, forwarded, limits)?;
        let mut log_line = Vec::new();
        if logs {
            // Writing into a Vec cannot fail.
            let _ = write!(log_line, "{} {}", request.method.name(), request.target);
        }
        let content = Body::new(request.framing);
        Ok(Exchange {
            request: bytes,
            sent: 0,
            replayable: true,
            may_share: content.is_done() && request.method.is_idempotent(),
            content,
            received: 0,
            framed,
            method: request.method,
            version: request.version,
            client_keep_alive: request.keep_alive,
            expects_continue: request.expects_continue,
            upstream: None,
            shares: false,
            history: History::default(),
            interim: 0,
            answer: None,
            relayed: 0,
            started: now,
            log_line,
        })
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
        self.may_share = false;
    }

    /// Moves the answer from a backend's input to a client's output, until that is full. Returns
    /// whether the answer is complete. `ended`: the backend will send no more.
    pub fn relay(
        &mut self,
        input: &mut Input,
        ended: bool,
        output: &mut Output,
        limits: &Limits,
        to: ToClient,
    ) -> Result<bool, Fault> {
        while !output.is_full() {
            let used = match &mut self.answer {
                None => self.read_head(input, output, limits, to)?,
                Some(answer) => {
                    let read = answer.content.read(input.unused());
                    let (used, data) = read.map_err(Fault::BadAnswer)?;
                    answer.framed.write(&mut output.bytes, data);
                    self.relayed += data.len() as u64;
                    let ends_now = used == 0 && ended && answer.content.ends_with_close();
                    if answer.content.is_done() || ends_now {
                        answer.framed.finish(&mut output.bytes);
                        input.consume(used);
                        return Ok(true);
                    }
                    used
                }
            };
            if used == 0 {
                return if ended { Err(Fault::Closed) } else { Ok(false) };
            }
            input.consume(used);
        }
        Ok(false)
    }

    /// Reads the answer's head and writes it to the client. Returns its length; 0: it is not here
    /// yet, and is read anew from its first byte when more of it is. A backend that sends 24 KiB
    /// byte by byte costs 0.4 s of CPU time that way, but backends are the operator's own.
    fn read_head(
        &mut self,
        input: &Input,
        output: &mut Output,
        limits: &Limits,
        to: ToClient,
    ) -> Result<usize, Fault> {
        let parsed = response::parse(input.unused(), limits, to.to_head);
        let Some((head, used)) = parsed.map_err(Fault::BadAnswer)? else { return Ok(0) };
        if head.status >= 200 {
            let (framed, client_keep_alive) = rewrite::write_response(&mut output.bytes, &head, to);
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
            output.bytes.extend_from_slice(CONTINUE);
        }
        Ok(used)
    }

    /// The answer's status, if bytes of it may have gone to the client.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::limits::READ;
    use crate::http::framing::Framing;
    use crate::http::request;

    /// The most that may be held of a request: what may be kept for another try, what may wait,
    /// and what one read brings, with the frame of a chunk.
    const BOUND: usize = KEPT + WAITING + READ + 16;

    fn put(field: &str) -> Exchange {
        let head = format!("PUT /upload HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        let parsed = request::parse(head.as_bytes(), &Limits::DEFAULT);
        let (request, _) = parsed.expect("it is HTTP").expect("it is whole");
        let on = Forwarded { peer: [127, 0, 0, 1].into(), via: "lb", authority: "lb:1" };
        let now = Instant::now();
        let begun = Exchange::begin(&request, &on, &Limits::DEFAULT, Vec::new(), now, false);
        begun.expect("small enough")
    }

    /// Takes and sends in an order that is drawn. Returns what reaches the backend; at no time
    /// more than [`BOUND`] is held.
    fn upload(field: &str, message: &[u8], draw: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let mut exchange = put(field);
        let (arrives, leaves) = (100 + draw(READ), 100 + draw(READ));
        // Whether the backend's socket takes all that waits, now and then.
        let drains = draw(2) == 0;
        let (mut arrived, mut came, mut tries) = (0, Vec::new(), 3);
        while !exchange.content.is_done() || !exchange.unsent().is_empty() {
            if draw(2) == 0 && exchange.has_room() {
                let end = message.len().min(arrived + 1 + draw(arrives));
                let mut input = Input::of(&message[arrived..end]);
                exchange.take_content(&mut input, u64::MAX).expect("it is well framed");
                arrived = end - input.unused().len();
            }
            let stays = usize::from(!drains && !exchange.content.is_done());
            let n = exchange.unsent().len().saturating_sub(stays).min(draw(leaves + 1));
            came.extend_from_slice(&exchange.unsent()[..n]);
            exchange.sent(n);
            let held = exchange.request.len();
            assert!(held <= BOUND, "{held} bytes held of {arrived}");
            if tries > 0 && draw(50) == 0 && exchange.may_repeat(true) {
                exchange.rewind();
                came.clear();
                tries -= 1;
            }
        }
        assert!(came.starts_with(put(field).unsent()), "the head comes first");
        came.split_off(put(field).unsent().len())
    }

    /// The content of a message's body, which is whole.
    fn unframed(mut bytes: &[u8], framing: Framing) -> Vec<u8> {
        let (mut body, mut content) = (Body::new(framing), Vec::new());
        while !body.is_done() {
            let (used, data) = body.read(bytes).expect("it is well framed");
            assert!(used > 0, "it is whole");
            content.extend_from_slice(data);
            bytes = &bytes[used..];
        }
        assert!(bytes.is_empty(), "nothing more comes");
        content
    }

    #[test]
    fn what_is_held_of_an_upload_is_bounded_however_it_is_taken_and_sent() {
        for seed in 0..60 {
            let mut state = seed;
            let mut draw = |below: usize| {
                state = u64::wrapping_mul(state, 6364136223846793005).wrapping_add(2 * seed + 1);
                (state >> 33) as usize % below.max(1)
            };
            let length = draw(3 << 20);
            let content: Vec<u8> = (0..length).map(|_| draw(256) as u8).collect();
            let mut chunks = Vec::new();
            content.chunks(1 + draw(READ)).for_each(|c| Framed::Chunks.write(&mut chunks, c));
            Framed::Chunks.finish(&mut chunks);
            for (field, message, framing) in [
                (format!("Content-Length: {length}"), &content, Framing::Length(length as u64)),
                ("Transfer-Encoding: chunked".to_owned(), &chunks, Framing::Chunked),
            ] {
                let came = unframed(&upload(&field, message, &mut draw), framing);
                assert!(came == content, "seed {seed}: it is not what went in");
            }
        }
    }
}
