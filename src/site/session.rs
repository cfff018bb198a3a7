//! One client's conversation, without a socket: bytes in, bytes out, persist or close.
//!
//! The answers depend only on the bytes received so far, so `async_server` and
//! `thread_server` both call [`Session::answer`] and differ only in who waits. Time enters
//! from outside too: the server asks [`Session::waits_for`] and calls
//! [`Session::time_out`]. Note: `notes/http.md`.

use crate::cli::limits::Limits;
use crate::http::framing::{Body, Framing};
use crate::http::request::{self, Method, Partial};
use crate::http::response::{CONTINUE, Content, Response};
use crate::http::{ParseError, Version, date};
use crate::net::output::Output;
use crate::site::{Reply, Site, echo};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

pub struct Context<'a> {
    pub site: &'a Site,
    pub limits: &'a Limits,
    pub now: Instant,                 // the time of this turn
    pub date: &'a [u8; date::LENGTH], // the same, for the Date field
    pub log: Option<&'a mut Vec<u8>>, // lines of the log, if there is one
    pub peer: SocketAddr,             // for the log
    /// The server is stopping, or others wait for this one's place: no connection persists.
    pub last_answer: bool,
}

/// The event that the session waits for, which decides what is done with the next bytes, and how
/// long the wait may last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    #[default]
    Request, // the first byte of a request
    Head,    // the rest of a request's head
    Content, // more of a request's content
    /// Nothing: the last answer has been given. `linger`: the client may still be sending, and
    /// would lose the answer if the connection were closed on it (RFC 9112 §9.6).
    Close {
        linger: bool,
    },
}

/// The state between two pieces of input; the default is that before the first request.
#[derive(Default)]
pub struct Session {
    waits_for: Wait,
    partial: Partial, // of a head that is not whole
    no_content: bool, // the request is a HEAD: its answer has no content, even if it is an error
    version: Version,
    keep_alive: bool,            // the client lets the connection persist
    line: String,                // the request in the log
    upload: Option<Box<Upload>>, // its content, while that arrives
}

struct Upload {
    body: Body,
    left: u64, // so many more bytes of content are accepted
    reply: Reply,
}

/// How many bytes of the input are done with; none: more must arrive.
type Used = Result<usize, ParseError>;

impl Session {
    pub fn waits_for(&self) -> Wait {
        self.waits_for
    }

    /// Answers the next request in `input` if it is whole, into `output` unless that is full, or
    /// takes note of what is here of it. Returns how many bytes of `input` are done with; none if
    /// there is nothing to answer.
    pub fn answer(&mut self, input: &[u8], output: &mut Output, context: &mut Context) -> usize {
        let mut used = 0;
        while !output.is_full() {
            let rest = &input[used..];
            let taken = match self.waits_for {
                Wait::Request | Wait::Head => self.read_head(rest, output, context),
                Wait::Content => self.read_content(rest, output, context),
                Wait::Close { .. } => return input.len(),
            };
            match taken {
                Ok(0) => break,
                Ok(n) => used += n,
                Err(error) => {
                    self.refuse(error, output, context);
                    return input.len();
                }
            }
            if self.waits_for == Wait::Request {
                break;
            }
        }
        used
    }

    /// The client will send no more. What it asked for as a whole has been answered by then;
    /// half a request gets an error.
    pub fn end(&mut self, output: &mut Output, context: &mut Context) {
        if matches!(self.waits_for, Wait::Head | Wait::Content) {
            self.refuse(ParseError::EndedEarly, output, context);
        }
        self.waits_for = Wait::Close { linger: false };
    }

    pub fn time_out(&mut self, output: &mut Output, context: &mut Context) {
        match self.waits_for {
            Wait::Head => self.refuse(ParseError::HeadTimeout, output, context),
            Wait::Content => self.refuse(ParseError::ContentTimeout, output, context),
            // No request, no answer: a 408 here could pass for the answer to the next one.
            Wait::Request | Wait::Close { .. } => self.waits_for = Wait::Close { linger: false },
        }
    }

    fn read_head(&mut self, input: &[u8], output: &mut Output, context: &mut Context) -> Used {
        if request::has_begun(input) {
            self.waits_for = Wait::Head;
        }
        self.no_content = request::is_head_method(input);
        if self.partial.is_still_partial(input) {
            return Ok(0);
        }
        let limits = context.limits;
        let Some((request, used)) = request::parse(input, &limits.head)? else {
            self.partial = Partial::of(input, &limits.head);
            return Ok(0);
        };
        self.partial = Partial::default();
        let reply = context.site.reply(&request, context.now);
        let left = match reply {
            Reply::With(_) => limits.content,
            Reply::Echo(_) => limits.content.min(echo::BUDGET),
        };
        if matches!(request.framing, Framing::Length(length) if length > left) {
            return Err(ParseError::ContentTooLarge);
        }
        self.version = request.version;
        self.keep_alive = request.keep_alive && request.method != Method::Connect;
        if context.log.is_some() {
            self.line = [request.method.name(), " ", request.target].concat();
        }
        let body = Body::new(request.framing);
        match reply {
            reply if body.is_done() => {
                self.respond(context.site.response(reply), output, context);
            }
            Reply::With(response) if request.expects_continue && response.status >= 400 => {
                // The client waits for `100 Continue`: answered now, it need not send the content.
                self.keep_alive = false;
                self.respond(response, output, context);
                self.waits_for = Wait::Close { linger: true };
            }
            reply => {
                if request.expects_continue {
                    output.bytes.extend_from_slice(CONTINUE);
                }
                self.upload = Some(Box::new(Upload { body, left, reply }));
                self.waits_for = Wait::Content;
            }
        }
        Ok(used)
    }

    fn read_content(&mut self, input: &[u8], output: &mut Output, context: &mut Context) -> Used {
        let Some(upload) = &mut self.upload else { return Ok(0) };
        let (used, data) = upload.body.read(input)?;
        let left = upload.left.checked_sub(data.len() as u64);
        upload.left = left.ok_or(ParseError::ContentTooLarge)?;
        if let Reply::Echo(gathered) = &mut upload.reply
            && !gathered.add(data)
        {
            // The rest is read and dropped, so the connection can persist.
            upload.reply = Reply::With(context.site.overloaded("hold more content"));
        }
        if let Some(upload) = self.upload.take_if(|upload| upload.body.is_done()) {
            self.respond(context.site.response(upload.reply), output, context);
        }
        Ok(used)
    }

    /// Answers what is wrong, and nothing after it: where the next request would begin is
    /// no longer sure.
    fn refuse(&mut self, error: ParseError, output: &mut Output, context: &mut Context) {
        (self.version, self.keep_alive) = (Version::Http11, false);
        self.line = format!("- {error}");
        self.respond(Response::error(error, &context.site.name), output, context);
        self.upload = None;
        self.waits_for = Wait::Close { linger: true };
    }

    fn respond(&mut self, response: Response, output: &mut Output, context: &mut Context) {
        if let Some(log) = &mut context.log {
            // Writing into a Vec cannot fail.
            let _ = writeln!(log, "{} {} {}", context.peer, self.line, response.status);
        }
        let keep_alive = self.keep_alive && !context.last_answer;
        let date = context.date;
        response.write_head(&mut output.bytes, date, self.version, keep_alive);
        if !self.no_content {
            match response.content {
                Content::Memory(bytes) => output.send_shared(bytes),
                Content::File(file, length) => output.send_file(file, length),
                Content::Sealed(file, length) => output.send_sealed(file, length),
            }
        }
        self.waits_for = Wait::Request;
        if !keep_alive {
            // Linger if bytes may still be on their way: the client wanted to go on, or the answer is
            // so long that it has time to send.
            let linger = self.keep_alive || output.is_full();
            self.waits_for = Wait::Close { linger };
        }
    }
}
