//! One client's conversation, without a socket: bytes in, bytes out, persist or close.
//!
//! What a server says depends only on the bytes received so far, so `async_server` and
//! `thread_server` both call [`Session::answer`] and differ only in who waits. Time enters
//! from outside too: whoever waits asks [`Session::waits_for`] and calls
//! [`Session::time_out`]. Note: `notes/http.md`.

use crate::cli::limits::Limits;
use crate::http::framing::{Body, Framing};
use crate::http::request::{self, Method, Partial, Request};
use crate::http::response::{CONTINUE, Connection, Content, Response};
use crate::http::{ParseError, Version, date};
use crate::net::output::Output;
use crate::site::{Reply, Site};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

/// What the session needs from the world for one turn.
#[derive(Debug)]
pub struct Context<'a> {
    /// Who answers.
    pub site: &'a Site,
    /// What a client may ask.
    pub limits: &'a Limits,
    /// The time of this turn.
    pub now: Instant,
    /// The same, for the Date field.
    pub date: &'a [u8; date::LENGTH],
    /// Lines of the log, if there is one.
    pub log: Option<&'a mut Vec<u8>>,
    /// For the log.
    pub peer: SocketAddr,
    /// The server is stopping, or others wait for this one's place: no connection persists.
    pub last_answer: bool,
}

/// What the session waits for, which decides how long it may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The first byte of a request.
    Request,
    /// The rest of a request's head.
    Head,
    /// More of a request's content.
    Content,
    /// Nothing: the last answer has been given. `linger`: the client may still be sending, and
    /// would lose the answer if the connection were closed on it (RFC 9112 §9.6).
    Close {
        /// See above.
        linger: bool,
    },
}

/// The state between two pieces of input.
#[derive(Debug)]
pub struct Session {
    state: State,
    head: Beginning,
}

#[derive(Debug)]
enum State {
    Head,
    Content(Box<Upload>),
    Over { linger: bool },
}

/// What is there of a request's head.
#[derive(Debug, Default)]
struct Beginning {
    /// At least its first byte.
    begun: bool,
    /// Whether it is a HEAD, whose answer has no content, whatever becomes of it.
    to_head: bool,
    partial: Partial,
}

/// A request whose head is known and whose content is arriving.
#[derive(Debug)]
struct Upload {
    body: Body,
    received: u64,
    /// The content's most bytes.
    most: u64,
    reply: Reply,
    to: To,
    log: String,
}

/// The request's part in how it is answered.
#[derive(Debug, Clone, Copy)]
struct To {
    method: Method,
    version: Version,
    keep_alive: bool,
}

impl Session {
    /// Before the first request.
    pub fn new() -> Session {
        Session { state: State::Head, head: Beginning::default() }
    }

    /// What it waits for.
    pub fn waits_for(&self) -> Wait {
        match self.state {
            State::Head if !self.head.begun => Wait::Request,
            State::Head => Wait::Head,
            State::Content(_) => Wait::Content,
            State::Over { linger } => Wait::Close { linger },
        }
    }

    /// Answers every request that is whole in `input`, in order, into `output`, until that is
    /// full. Returns how many bytes of `input` are done with.
    pub fn answer(&mut self, input: &[u8], output: &mut Output, context: &mut Context) -> usize {
        let mut used = 0;
        while let n @ 1.. = self.answer_one(&input[used..], output, context) {
            used += n;
        }
        used
    }

    /// The same for the next request alone, or for what is here of it.
    pub fn answer_one(
        &mut self,
        input: &[u8],
        output: &mut Output,
        context: &mut Context,
    ) -> usize {
        let mut used = 0;
        while !output.is_full() {
            let rest = &input[used..];
            let step = match &mut self.state {
                State::Head => self.head(rest, output, context),
                State::Content(_) => self.content(rest, output, context),
                State::Over { .. } => return input.len(),
            };
            match step {
                Ok(0) => break,
                Ok(n) => used += n,
                Err(error) => {
                    self.refuse(error, output, context);
                    return input.len();
                }
            }
            if self.waits_for() == Wait::Request {
                break;
            }
        }
        used
    }

    /// The client will send no more. What it asked for as a whole has been answered by then;
    /// half a request gets an error.
    pub fn end(&mut self, output: &mut Output, context: &mut Context) {
        match self.waits_for() {
            Wait::Request => self.state = State::Over { linger: false },
            Wait::Head | Wait::Content => {
                self.refuse(ParseError::EndedEarly, output, context);
                self.state = State::Over { linger: false };
            }
            Wait::Close { .. } => {}
        }
    }

    /// The client took too long.
    pub fn time_out(&mut self, output: &mut Output, context: &mut Context) {
        match self.waits_for() {
            Wait::Head => self.refuse(ParseError::HeadTimeout, output, context),
            Wait::Content => self.refuse(ParseError::ContentTimeout, output, context),
            // No request, no answer: a 408 here could pass for the answer to the next one.
            Wait::Request | Wait::Close { .. } => self.state = State::Over { linger: false },
        }
    }

    fn head(
        &mut self,
        input: &[u8],
        output: &mut Output,
        context: &mut Context,
    ) -> Result<usize, ParseError> {
        self.head.begun = request::has_begun(input);
        self.head.to_head = request::is_head(input);
        if self.head.partial.still(input) {
            return Ok(0);
        }
        let Some((request, used)) = request::parse(input, &context.limits.head)? else {
            self.head.partial = Partial::of(input, &context.limits.head);
            return Ok(0);
        };
        let reply = context.site.respond(&request, context.now);
        if let Framing::Length(n) = request.framing
            && n > reply.most_content().min(context.limits.content)
        {
            return Err(ParseError::ContentTooLarge);
        }
        let to = To {
            method: request.method,
            version: request.version,
            keep_alive: request.keep_alive && request.method != Method::Connect,
        };
        self.head = Beginning::default();
        let body = Body::new(request.framing);
        if body.is_done() {
            let response = context.site.response(reply);
            context.log_answer(
                format_args!("{} {}", request.method.name(), request.target),
                &response,
            );
            self.send(response, to, output, context);
        } else {
            self.begin_content(&request, body, reply, to, output, context);
        }
        Ok(used)
    }

    fn begin_content(
        &mut self,
        request: &Request,
        body: Body,
        reply: Reply,
        to: To,
        output: &mut Output,
        context: &mut Context,
    ) {
        let most = reply.most_content().min(context.limits.content);
        let reply = match reply {
            Reply::With(response) if request.expects_continue && response.status >= 400 => {
                // The client waits before it sends the content: it is spared the trip.
                context.log_answer(
                    format_args!("{} {}", request.method.name(), request.target),
                    &response,
                );
                self.send(response, To { keep_alive: false, ..to }, output, context);
                self.state = State::Over { linger: true };
                return;
            }
            reply => reply,
        };
        if request.expects_continue {
            output.bytes.extend_from_slice(CONTINUE);
        }
        let log = [request.method.name(), " ", request.target].concat();
        let upload = Upload { body, received: 0, most, reply, to, log };
        self.state = State::Content(Box::new(upload));
    }

    fn content(
        &mut self,
        input: &[u8],
        output: &mut Output,
        context: &mut Context,
    ) -> Result<usize, ParseError> {
        let State::Content(upload) = &mut self.state else {
            return Ok(0);
        };
        let (used, data) = upload.body.read(input)?;
        upload.received += data.len() as u64;
        if upload.received > upload.most {
            return Err(ParseError::ContentTooLarge);
        }
        if let Reply::Echo(gathered) = &mut upload.reply
            && !gathered.add(data)
        {
            // The rest is read and dropped, so the connection can persist.
            upload.reply = Reply::With(context.site.overloaded("hold more content"));
        }
        if upload.body.is_done() {
            let over = std::mem::replace(&mut self.state, State::Head);
            if let State::Content(upload) = over {
                let response = context.site.response(upload.reply);
                context.log_answer(format_args!("{}", upload.log), &response);
                self.send(response, upload.to, output, context);
            }
        }
        Ok(used)
    }

    fn send(&mut self, response: Response, to: To, output: &mut Output, context: &Context) {
        let keep_alive = to.keep_alive && !context.last_answer;
        let connection = Connection::says(to.version, keep_alive);
        response.write_head(&mut output.bytes, context.date, connection);
        if to.method != Method::Head {
            match response.content {
                Content::Memory(bytes) => output.send_shared(bytes.0),
                Content::File(file, length) => output.send_file(file, length),
            }
        }
        if !keep_alive {
            // A client that wants no other answer sends no other request, and a short answer is
            // there before anything else can come back. If not, it may be sending on.
            let linger = to.keep_alive || output.is_full();
            self.state = State::Over { linger };
        }
    }

    /// Answers what is wrong, and nothing after it: where the next request would begin is
    /// no longer sure.
    fn refuse(&mut self, error: ParseError, output: &mut Output, context: &mut Context) {
        let method = match &self.state {
            State::Content(upload) => upload.to.method,
            State::Head if self.head.to_head => Method::Head,
            _ => Method::Get,
        };
        let response = context.site.error(error);
        context.log_answer(format_args!("- {error}"), &response);
        let to = To { method, version: Version::Http11, keep_alive: false };
        self.send(response, to, output, context);
        self.state = State::Over { linger: true };
    }
}

impl Default for Session {
    fn default() -> Self {
        Session::new()
    }
}

impl Context<'_> {
    fn log_answer(&mut self, what: std::fmt::Arguments, response: &Response) {
        if let Some(log) = &mut self.log {
            // Writing into a Vec cannot fail.
            let _ = writeln!(log, "{} {what} {}", self.peer, response.status);
        }
    }
}
