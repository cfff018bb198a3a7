//! Those who listen when bytes arrive in pieces: a recipient made of parser and framing alone,
//! and a server's side of a conversation, both without a socket.

use crate::support::{self, Said};
use progjar::http::date;
use progjar::http::framing::{Body, Framing};
use progjar::http::request::{self, Method};
use progjar::http::{Limits, ParseError};
use progjar::net::clock::Clock;
use progjar::net::output::Output;
use progjar::site::Site;
use progjar::site::session::{Context, Session, Wait};

/// What a recipient understood so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Request {
        method: Method,
        target: String,
        host: Option<String>,
        framing: Framing,
        content: Vec<u8>,
        keep_alive: bool,
    },
    Refused(u16, ParseError),
}

/// A recipient of requests that arrive in pieces: parser and framing, nothing else.
#[derive(Default)]
pub struct Recipient {
    pub unread: Vec<u8>,
    pub heard: Vec<Heard>,
    /// The last request's content is still arriving.
    body: Option<Body>,
    over: bool,
}

impl Recipient {
    pub fn of(pieces: &[&[u8]]) -> Recipient {
        let mut recipient = Recipient::default();
        for piece in pieces {
            recipient.receive(piece);
        }
        recipient
    }

    pub fn receive(&mut self, piece: &[u8]) {
        self.unread.extend_from_slice(piece);
        while !self.over {
            match self.step() {
                Ok(0) => return,
                Ok(used) => drop(self.unread.drain(..used)),
                Err(error) => {
                    if self.body.take().is_some() {
                        self.heard.pop();
                    }
                    self.heard.push(Heard::Refused(error.status(), error));
                    self.over = true;
                }
            }
        }
    }

    fn step(&mut self) -> Result<usize, ParseError> {
        if let (Some(body), Some(Heard::Request { content, keep_alive, .. })) =
            (&mut self.body, self.heard.last_mut())
        {
            let (used, data) = body.read(&self.unread)?;
            content.extend_from_slice(data);
            if body.is_done() {
                self.over = !*keep_alive;
                self.body = None;
            }
            return Ok(used);
        }
        let Some((request, used)) = request::parse(&self.unread, &Limits::DEFAULT)? else {
            return Ok(0);
        };
        let body = Body::new(request.framing);
        let keep_alive = request.keep_alive && request.method != Method::Connect;
        self.over = body.is_done() && !keep_alive;
        self.body = (!body.is_done()).then_some(body);
        self.heard.push(Heard::Request {
            method: request.method,
            target: request.target.to_owned(),
            host: request.host.map(str::to_owned),
            framing: request.framing,
            content: Vec::new(),
            keep_alive,
        });
        Ok(used)
    }

    /// Whole messages, and whether something unfinished is left.
    pub fn verdicts(mut self) -> (Vec<Heard>, bool) {
        let unfinished = self.body.is_some();
        if unfinished {
            self.heard.pop();
        }
        (self.heard, unfinished || !(self.over || self.unread.is_empty()))
    }
}

/// All that a conversation says when the client sends these pieces and then ends, reading
/// everything at once.
pub fn conversation(site: &Site, clock: &Clock, pieces: &[&[u8]]) -> (Vec<u8>, Wait) {
    let limits = support::default_limits();
    let date = date::format(clock.second);
    let mut context = Context {
        site,
        limits: &limits,
        now: clock.now,
        date: &date,
        log: None,
        peer: ([127, 0, 0, 1], 1).into(),
        last_answer: false,
    };
    let (mut session, mut said, mut unread) = (Session::default(), Said::default(), Vec::new());
    let mut output = Output::default();
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            let used = session.answer(&unread, &mut output, &mut context);
            unread.drain(..used);
            output.write_to(&mut said).expect("it takes everything");
            if used == 0 || unread.is_empty() {
                break;
            }
        }
    }
    let waits_for = session.waits_for();
    session.end(&mut output, &mut context);
    output.write_to(&mut said).expect("it takes everything");
    (said.0, waits_for)
}
