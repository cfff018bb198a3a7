//! One request and its answer, between a client and a backend, without their sockets: what is
//! to be sent, what has been understood, and whether another backend may still be tried.
//!
//! Entry points: [`Exchange::begin`], [`Exchange::take_content`], [`Exchange::relay`].
//! Note: `notes/lb.md`.

use super::retry::{Fault, History};
use super::rewrite::{self, Framed, From, ToClient};
use crate::cli::limits::Limits;
use crate::http::framing::Body;
use crate::http::request::{Method, Request};
use crate::http::response::{self, CONTINUE};
use crate::http::{self, ParseError, Version, date};
use crate::net::connection::Input;
use crate::net::output::Output;
use std::io::Write;
use std::time::Instant;

/// The most that waits to be sent to a backend; beyond it the client is not read.
const WAITING: usize = 64 * 1024;

/// The largest request that is kept until its answer begins, so that another backend can be
/// tried. A larger one is let go as it is sent.
const KEPT: usize = 256 * 1024;

/// A usual head's size; the buffer grows for a larger one.
const HEAD: usize = 1024;

/// Content up to here is a short answer, see [`Exchange::lingers`].
const SHORT: u64 = 16 * 1024;

/// Interim answers accepted before the final one.
const INTERIM: u32 = 16;

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
    /// The request in this gateway's words, from its first byte unless part was let go: at most
    /// [`KEPT`] and [`WAITING`] and what one read brings.
    request: Vec<u8>,
    sent: usize,
    let_go: bool,
    content: Body,
    received: u64,
    framed: Framed,
    pub method: Method,
    version: Version,
    client_keep_alive: bool,
    expects_continue: bool,
    /// The connection to the backend, by its place.
    pub upstream: Option<usize>,
    /// It leaves with others in one write.
    pub shares: bool,
    /// What became of it so far.
    pub history: History,
    interim: u32,
    answer: Option<Answer>,
    /// Bytes of the answer's content that have been passed on.
    relayed: u64,
    /// When its head had been read.
    pub started: Instant,
    /// `GET /page.html`, for the log.
    pub what: Vec<u8>,
}

/// How far an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A backend is only asked for a connection, see [`History::suspect`].
    Check,
    /// Some of the request is still to be sent.
    Send,
    /// All that has come of it was sent; more is to come.
    Content,
    /// All of it was sent.
    Response,
    /// The answer has begun.
    Relay,
}

/// The part of the answer that has been understood.
#[derive(Debug)]
struct Answer {
    status: u16,
    content: Body,
    framed: Framed,
    /// Whether the client's connection persists behind it.
    client_keep_alive: bool,
    /// Whether the backend's does.
    upstream_keep_alive: bool,
}

impl Exchange {
    /// Takes up a request whose head has been read; `bytes` is an empty buffer for it. The error:
    /// it is too large to be forwarded.
    pub fn begin(
        request: &Request,
        from: &From,
        limits: &http::Limits,
        mut bytes: Vec<u8>,
        now: Instant,
        logs: bool,
    ) -> Result<Exchange, ParseError> {
        bytes.reserve(HEAD);
        let framed = rewrite::write_request(&mut bytes, request, from, limits)?;
        let mut what = Vec::new();
        if logs {
            // Writing into a Vec cannot fail.
            let _ = write!(what, "{} {}", request.method.name(), request.target);
        }
        Ok(Exchange {
            request: bytes,
            sent: 0,
            let_go: false,
            content: Body::new(request.framing),
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
            what,
        })
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        match self.answer {
            Some(_) => Stage::Relay,
            None if self.history.suspect().is_some() => Stage::Check,
            None if !self.unsent().is_empty() => Stage::Send,
            None if !self.content.is_done() => Stage::Content,
            None => Stage::Response,
        }
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

    /// So many more bytes have been sent. Past [`KEPT`], what has been sent is dropped: in steps
    /// that are large beside what is left, since what is left is moved each time.
    pub fn sent(&mut self, n: usize) {
        self.sent += n;
        let is_large = self.let_go || self.request.len() > KEPT;
        if is_large && (self.sent >= WAITING || self.unsent().is_empty()) {
            self.request.drain(..self.sent);
            self.sent = 0;
            self.let_go = true;
        }
    }

    /// Whether bytes of the answer may have gone to the client.
    pub fn has_begun_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether a backend may have seen some of the request.
    pub fn has_sent(&self) -> bool {
        self.sent > 0 || self.let_go
    }

    /// Whether the whole request is still here.
    pub fn is_kept(&self) -> bool {
        !self.let_go
    }

    /// Whether others may wait for their answers behind it, and it behind others: it has no
    /// content, and may be sent once more if they fail.
    pub fn may_share(&self) -> bool {
        self.content.is_done() && !self.let_go && self.sent == 0 && self.method.is_idempotent()
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
                return if ended { Err(Fault::Closed) } else { Ok(Relayed::Waits) };
            };
            let (used, data) = answer.content.read(input.unused()).map_err(Fault::BadAnswer)?;
            answer.framed.write(&mut output.bytes, data);
            self.relayed += data.len() as u64;
            input.consume(used);
            if answer.content.is_done() || (used == 0 && ended && answer.content.ends_with_close())
            {
                answer.framed.finish(&mut output.bytes);
                return Ok(Relayed::Done);
            }
            if used == 0 {
                return if ended { Err(Fault::Closed) } else { Ok(Relayed::Waits) };
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
            let keep_alive = self.client_keep_alive && self.content.is_done() && !gateway.stopping;
            let to = ToClient {
                version: self.version,
                keep_alive,
                to_head,
                via: gateway.via,
                date: gateway.date,
            };
            let (framed, client_keep_alive) = rewrite::write_response(&mut output.bytes, &head, to);
            self.answer = Some(Answer {
                status: head.status,
                content: Body::new(head.framing),
                framed,
                client_keep_alive,
                upstream_keep_alive: head.keep_alive,
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

    /// At the end: the buffer that [`Exchange::begin`] got.
    pub fn into_buffer(self) -> Vec<u8> {
        self.request
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::limits::READ;
    use crate::http;
    use crate::http::framing::Framing;
    use crate::http::request;

    /// The most that may be held of a request: what may be kept for another try, what may wait,
    /// and what one read brings, with the frame of a chunk.
    const BOUND: usize = KEPT + WAITING + READ + 16;

    /// Numbers below `n` that are the same in every run (xorshift64*).
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as usize % n.max(1)
        }
    }

    fn put(head: &str) -> Exchange {
        let head = format!("PUT /upload HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n");
        let parsed = request::parse(head.as_bytes(), &http::Limits::DEFAULT);
        let (request, _) = parsed.expect("it is HTTP").expect("it is whole");
        let from = From { peer: [127, 0, 0, 1].into(), via: "lb", authority: "lb:1" };
        let limits = http::Limits::DEFAULT;
        let begun = Exchange::begin(&request, &from, &limits, Vec::new(), Instant::now(), false);
        begun.expect("small enough")
    }

    /// Takes and sends in an order that `seed` decides. Returns what reaches the backend; at no
    /// time more than [`BOUND`] is held.
    fn upload(mut exchange: Exchange, content: &[u8], seed: u64) -> Vec<u8> {
        let mut random = Random(seed * 2 + 1);
        let (arrives, leaves) = (100 + random.below(READ), 100 + random.below(READ));
        // Whether the backend's socket takes all that waits, now and then.
        let drains = random.below(2) == 0;
        let (mut arrived, mut came, mut tries) = (0, Vec::new(), 3);
        while !exchange.has_all_content() || !exchange.unsent().is_empty() {
            if random.below(2) == 0 && exchange.has_room() {
                let end = content.len().min(arrived + 1 + random.below(arrives));
                let mut input = Input::of(&content[arrived..end]);
                exchange.take_content(&mut input, u64::MAX).expect("it is well framed");
                arrived = end - input.unused().len();
            }
            let waits = exchange.unsent().len();
            let most = match drains || exchange.has_all_content() {
                true => waits,
                false => waits.saturating_sub(1),
            };
            let n = most.min(random.below(leaves + 1));
            came.extend_from_slice(&exchange.unsent()[..n]);
            exchange.sent(n);
            let held = exchange.request.len();
            assert!(held <= BOUND, "seed {seed}: {held} bytes held of {arrived}");
            if tries > 0 && random.below(50) == 0 && exchange.is_kept() {
                exchange.rewind();
                came.clear();
                tries -= 1;
            }
        }
        came
    }

    /// The content of a whole message in chunks.
    fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
        let (mut body, mut content) = (Body::new(Framing::Chunked), Vec::new());
        while !body.is_done() {
            let (used, data) = body.read(bytes).expect("it is well framed");
            assert!(used > 0, "it is whole");
            content.extend_from_slice(data);
            bytes = &bytes[used..];
        }
        content
    }

    #[test]
    fn what_is_held_of_an_upload_is_bounded_however_it_is_taken_and_sent() {
        for seed in 0..60 {
            let mut random = Random(seed * 2 + 1);
            let content: Vec<u8> =
                (0..random.below(3 << 20)).map(|_| random.below(256) as u8).collect();

            let exchange = put(&format!("Content-Length: {}", content.len()));
            let wanted = [exchange.unsent(), &content].concat();
            let came = upload(exchange, &content, seed);
            assert!(came == wanted, "seed {seed}: it is not what went in");

            let exchange = put("Transfer-Encoding: chunked");
            let head = exchange.unsent().to_vec();
            let mut chunks = Vec::new();
            for chunk in content.chunks(1 + random.below(READ)) {
                Framed::Chunks.write(&mut chunks, chunk);
            }
            Framed::Chunks.finish(&mut chunks);
            let came = upload(exchange, &chunks, seed);
            assert!(came.starts_with(&head), "seed {seed}");
            let came = unchunked(&came[head.len()..]);
            assert!(came == content, "seed {seed}: it is not what went in");
        }
    }
}
