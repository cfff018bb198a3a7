//! One event loop of the load balancer: clients on one side, backends on the other, and
//! exchanges between them.
//!
//! Each worker owns its clients and its connections to backends; all that workers share is in
//! [`Shared`]. Entry point: [`Worker::run`]. Note: `notes/lb.md`.

use super::Shared;
use super::exchange::{Exchange, Fault, Gateway, Relayed};
use super::stats::Counters;
use super::upstreams::{self, Upstreams, is_connected, is_the_backends_fault};
use crate::clock::Clock;
use crate::connection::{Connection, Filled, Lender};
use crate::http::ParseError;
use crate::http::request;
use crate::http::response::{self, Response};
use crate::listener::Acceptor;
use crate::poller::{Event, Interest, Kind, Poller, Token};
use crate::shutdown::{Stop, TICK};
use crate::slots::Slots;
use crate::timers::{Deadline, Timers};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// The listener's token. A client's is twice its slot plus one, a backend connection's twice
/// its slot plus two.
const LISTENER: Token = 0;

fn client_token(slot: usize) -> Token {
    2 * slot + 1
}

/// Newcomers taken per turn, so that those who are here already are not kept waiting.
const ACCEPTED: usize = 256;

/// How long a client that may still be sending gets to read its last answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// How long an idle connection stays open after a stop: a request may be on its way.
const LAST_CHANCE: Duration = Duration::from_millis(250);

/// A retry costs one of these, a request earns a fifth of one: when backends fail one after
/// the other, retries do not multiply the load on those that are left.
const RETRIES: f32 = 100.0;
const EARNED: f32 = 0.2;

/// A client's connection.
struct Client {
    connection: Connection,
    peer: SocketAddr,
    deadline: Deadline,
    phase: Phase,
    /// Something moved since the deadline was set, so it is set anew.
    progress: bool,
    /// It has sent all it will send.
    ended: bool,
    exchange: Option<Box<Exchange>>,
    /// After what is in the output, no more; whether to linger then.
    closing: Option<Linger>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Linger(bool);

/// What is waited for on behalf of a client, which decides for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Content,
    Connect,
    Response,
    Relay,
    Write,
    Linger,
}

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There may be more to do.
    Again,
    /// Nothing more can be done now.
    Wait,
    /// The client's connection is to be closed.
    Cut,
}

/// See the module.
pub struct Worker<'a> {
    shared: &'a Shared,
    poller: Poller,
    timers: Timers,
    lender: Lender,
    clock: Clock,
    lines: Vec<u8>,
    stopping: bool,
    clients: Slots<Client>,
    upstreams: Upstreams<'a>,
    counters: &'a [Counters],
    retries: f32,
    /// The count of ejections when they were last looked at.
    ejections: usize,
    /// Exchanges that have ended, to be used again, boxes and buffers and all.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Exchange>>,
}

impl<'a> Worker<'a> {
    /// The worker of this number, with nobody to serve yet.
    pub fn new(shared: &'a Shared, number: usize) -> io::Result<Worker<'a>> {
        Ok(Worker {
            shared,
            poller: Poller::new(Kind::BEST)?,
            timers: Timers::new(),
            lender: Lender::new(),
            clock: Clock::new(),
            lines: Vec::new(),
            stopping: false,
            clients: Slots::new(),
            upstreams: Upstreams::new(shared.backends.counters(number)),
            counters: shared.backends.counters(number),
            retries: RETRIES,
            ejections: 0,
            spare: Vec::new(),
        })
    }

    /// Serves until the stop flag is raised and the answers in flight have been given.
    pub fn run(mut self, listener: TcpListener, stop: &Stop) -> io::Result<()> {
        let mut acceptor = Some(Acceptor::new(listener, &mut self.poller, LISTENER)?);
        let mut events = Vec::new();
        let mut give_up = None;
        let mut retry_accept = None;
        loop {
            let wakes = [self.timers.next(), retry_accept, give_up]
                .into_iter()
                .flatten()
                .min();
            let now = Instant::now();
            let wait = wakes.map_or(TICK, |at| at.saturating_duration_since(now).min(TICK));
            self.poller.wait(&mut events, Some(wait))?;
            self.clock.refresh();
            let now = self.clock.now;
            for event in &events {
                match (event.token, &mut acceptor) {
                    (LISTENER, Some(acceptor)) => self.accept(acceptor),
                    (LISTENER, None) => {}
                    (token, _) if token % 2 == 1 => self.client_ready((token - 1) / 2, *event),
                    (token, _) => self.upstream_ready((token - 2) / 2, *event),
                }
            }
            while let Some((at, slot)) = self.timers.pop(now) {
                self.ring(at, slot);
            }
            self.leave_ejected();
            self.clients.end_turn();
            self.upstreams.end_turn();
            if let Some(acceptor) = &mut acceptor {
                let has_room = self.clients.len() < self.shared.limits.connections;
                retry_accept = acceptor.resume(&mut self.poller, has_room, now);
            }
            if stop.is_raised()
                && let Some(mut acceptor) = acceptor.take()
            {
                // Whoever is in the backlog has connected and may have asked already.
                self.accept(&mut acceptor);
                acceptor.close(&mut self.poller);
                self.begin_to_stop();
                (retry_accept, give_up) = (None, Some(now + self.shared.limits.drain_timeout));
            }
            self.shared.log.add(&mut self.lines);
            if give_up.is_some_and(|at| self.clients.is_empty() || at <= now) {
                return Ok(());
            }
        }
    }

    fn begin_to_stop(&mut self) {
        self.stopping = true;
        let last = self.clock.now + LAST_CHANCE;
        for (slot, client) in self.clients.iter_mut() {
            if client.phase == Phase::Idle {
                self.timers.set(slot, &mut client.deadline, Some(last));
            }
        }
    }

    fn accept(&mut self, acceptor: &mut Acceptor) {
        for _ in 0..ACCEPTED {
            if self.clients.len() >= self.shared.limits.connections {
                return acceptor.pause_full(&mut self.poller);
            }
            let Some((stream, peer)) = acceptor.accept(&mut self.poller, self.clock.now) else {
                return;
            };
            let token = client_token(self.clients.next());
            let Ok(connection) = Connection::new(stream, &mut self.poller, token, Interest::READ)
            else {
                continue; // the system is short of memory; the client sees a close
            };
            let client = Client {
                connection,
                peer,
                deadline: Deadline::default(),
                phase: Phase::Idle,
                progress: true,
                ended: false,
                exchange: None,
                closing: None,
            };
            let slot = self.clients.insert(client);
            // The request has often arrived with the connection; if not, that is no harm.
            self.client_ready(
                slot,
                Event {
                    token,
                    readable: true,
                    writable: false,
                },
            );
        }
    }

    fn client_ready(&mut self, slot: usize, event: Event) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        if client.connection.flush().is_err() {
            return self.cut(slot);
        }
        client.progress |= event.writable;
        if event.readable && !client.ended {
            match client.connection.fill(&mut self.lender) {
                Ok(filled) => client.ended = filled == Filled::End,
                Err(_) => return self.cut(slot),
            }
        }
        self.advance(slot);
    }

    fn upstream_ready(&mut self, place: usize, event: Event) {
        let Some(upstream) = self.upstreams.get_mut(place) else {
            return;
        };
        let Some(slot) = upstream.client else {
            // Idle, and yet there is something to read: its end, or an answer to nothing.
            return self
                .upstreams
                .close(place, &mut self.lender, &mut self.poller);
        };
        if upstream.connecting {
            match is_connected(&upstream.connection) {
                Ok(true) => upstream.connecting = false,
                Ok(false) => return,
                Err(_) => return self.fail(slot, Fault::Refused),
            }
        } else if event.readable && !upstream.ended {
            let filled = upstream.connection.fill(&mut self.lender);
            upstream.ended = !matches!(filled, Ok(Filled::Bytes | Filled::WouldBlock));
        }
        self.advance(slot);
    }

    /// Takes a client as far as it gets now, then decides what to wait for.
    fn advance(&mut self, slot: usize) {
        loop {
            let step = match &self.clients[slot] {
                client if client.closing.is_some() => self.discard_input(slot),
                client if client.exchange.is_some() => self.exchange(slot),
                client if client.connection.output.is_empty() => self.begin(slot),
                _ => Step::Wait,
            };
            if step == Step::Cut || self.clients[slot].connection.flush().is_err() {
                return self.cut(slot);
            }
            if step == Step::Wait {
                break;
            }
        }
        self.wait(slot);
    }

    fn discard_input(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        client
            .connection
            .input
            .consume(client.connection.input.unused().len());
        match client.closing {
            Some(Linger(linger)) if client.connection.output.is_empty() => {
                if client.phase == Phase::Linger || !linger {
                    return if client.ended || !linger {
                        Step::Cut
                    } else {
                        Step::Wait
                    };
                }
                if client.ended || client.connection.end_output().is_err() {
                    return Step::Cut;
                }
                Step::Wait
            }
            _ => Step::Wait,
        }
    }

    /// Reads the next request and begins its exchange.
    fn begin(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let parsed =
            match request::parse(client.connection.input.unused(), &self.shared.limits.head) {
                Ok(Some(parsed)) => parsed,
                Ok(None) if !client.ended => return Step::Wait,
                Ok(None) if client.connection.input.unused().is_empty() => return Step::Cut,
                Ok(None) => return self.refuse(slot, ParseError::EndedEarly),
                Err(error) => return self.refuse(slot, error),
            };
        let (request, used) = parsed;
        client.progress = true;
        let logs = !self.shared.log.is_quiet();
        let mut exchange = self
            .spare
            .pop()
            .unwrap_or_else(|| Box::new(Exchange::new()));
        exchange.begin(
            &request,
            client.peer.ip(),
            &self.shared.via,
            self.clock.now,
            logs,
        );
        let local = self.shared.answer_locally(&request, client.peer.ip());
        client.connection.input.consume(used);
        client.exchange = Some(exchange);
        match local {
            Some(response) => self.answer(slot, response, ""),
            None => Step::Again,
        }
    }

    /// One step of an exchange: content to the backend, then its answer to the client.
    fn exchange(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = &mut client.exchange else {
            return Step::Wait;
        };
        match exchange.take_content(&mut client.connection.input) {
            Ok(any) => client.progress |= any,
            Err(error) => return self.refuse(slot, error),
        }
        if client.ended
            && !exchange.has_all_content()
            && client.connection.input.unused().is_empty()
        {
            return self.refuse(slot, ParseError::EndedEarly);
        }
        let Some(place) = exchange.upstream else {
            return self.attempt(slot);
        };
        let upstream = &mut self.upstreams[place];
        if upstream.connecting {
            return Step::Wait;
        }
        if !upstream.ended && !exchange.unsent().is_empty() {
            match upstream.connection.write(exchange.unsent()) {
                Ok(0) => {}
                Ok(n) => {
                    exchange.sent(n);
                    client.progress |= !exchange.has_all_content();
                }
                // It may have answered before it closed: read first, judge then.
                Err(_) => upstream.ended = upstream.connection.fill(&mut self.lender).is_err(),
            }
        }
        client.connection.borrow_output(&mut self.lender);
        let gateway = Gateway {
            limits: &self.shared.limits,
            via: &self.shared.via,
            date: &self.clock.date,
            stopping: self.stopping,
        };
        let before = upstream.connection.input.unused().len();
        let output = &mut client.connection.output;
        let relayed = exchange.relay(
            &mut upstream.connection.input,
            upstream.ended,
            output,
            &gateway,
        );
        let moved = upstream.connection.input.unused().len() != before;
        client.progress |= moved && exchange.has_begun_answer();
        match relayed {
            Ok(Relayed::Done) => self.finish(slot),
            // A full output that the client has taken at once makes room for more.
            Ok(Relayed::Waits) if moved && output.is_full() => Step::Again,
            Ok(Relayed::Waits) => Step::Wait,
            Err(fault) => self.after_fault(slot, fault),
        }
    }

    /// Finds a connection to the next backend: an idle one, or a new one.
    fn attempt(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = &mut client.exchange else {
            return Step::Wait;
        };
        let backends = &self.shared.backends;
        // Each backend once, and once more for a kept connection that was closed.
        let next = match exchange.attempts <= backends.len() {
            true => backends.next(&exchange.tried, self.clock.now),
            false => None,
        };
        let Some(number) = next else {
            let sentence = "No backend can serve the request now.\n";
            return self.answer_instead(slot, 503, sentence, "no backend is up");
        };
        exchange.attempts += 1;
        client.progress = true;
        let address = backends.get(number).address;
        match self.upstreams.take(number, address, slot, &mut self.poller) {
            Ok(place) => {
                exchange.upstream = Some(place);
                self.counters[number].in_flight.up();
                Step::Again
            }
            Err(error) if is_the_backends_fault(&error) => {
                exchange.tried.push(number);
                self.counters[number].failures.up();
                backends.failed(number, &Fault::Refused, false, self.clock.now);
                Step::Again
            }
            Err(error) => {
                let why = format!("cannot connect: {error}");
                self.answer_instead(
                    slot,
                    503,
                    "The load balancer is out of connections.\n",
                    &why,
                )
            }
        }
    }

    /// Ends an exchange's use of its connection to a backend: kept for another one, or closed.
    fn release(&mut self, place: usize, keep: bool) {
        self.counters[self.upstreams[place].backend]
            .in_flight
            .down();
        if keep {
            self.upstreams
                .keep(place, &mut self.lender, &mut self.poller);
        } else {
            self.upstreams
                .close(place, &mut self.lender, &mut self.poller);
        }
    }

    /// When a backend has been ejected, those who wait for its answer move to another.
    fn leave_ejected(&mut self) {
        let ejections = self.shared.backends.ejections();
        if std::mem::replace(&mut self.ejections, ejections) == ejections {
            return;
        }
        let (upstreams, backends, now) = (&self.upstreams, &self.shared.backends, self.clock.now);
        let waits_in_vain = |client: &Client| {
            let Some(exchange) = &client.exchange else {
                return false;
            };
            let Some(place) = exchange.upstream else {
                return false;
            };
            exchange.may_retry() && !backends.is_up(upstreams[place].backend, now)
        };
        let slots: Vec<_> = self
            .clients
            .iter_mut()
            .filter(|(_, client)| waits_in_vain(client))
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            self.fail(slot, Fault::Ejected);
        }
    }

    fn fail(&mut self, slot: usize, fault: Fault) {
        match self.after_fault(slot, fault) {
            Step::Cut => self.cut(slot),
            _ => self.advance(slot),
        }
    }

    /// The backend did not serve: another one gets the request if that does no harm.
    fn after_fault(&mut self, slot: usize, fault: Fault) -> Step {
        let Some(exchange) = &mut self.clients[slot].exchange else {
            return Step::Wait;
        };
        let Some(place) = exchange.upstream else {
            return Step::Wait;
        };
        let upstream = &self.upstreams[place];
        let number = upstream.backend;
        // That a kept connection was closed says nothing about the backend: it was idle too long.
        let is_stale = upstream.reused && fault == Fault::Closed && !exchange.has_begun_answer();
        if !is_stale {
            exchange.tried.push(number);
            self.counters[number].failures.up();
        }
        if !is_stale && fault != Fault::Ejected {
            let doubtful = !matches!(fault, Fault::Refused | Fault::ConnectTimeout);
            self.shared
                .backends
                .failed(number, &fault, doubtful, self.clock.now);
        }
        let has_begun = exchange.has_begun_answer();
        let may_retry = exchange.may_retry() && self.retries >= 1.0;
        exchange.rewind();
        self.release(place, false);
        if has_begun {
            // Half an answer has gone out: only a cut connection tells the client so.
            self.log(slot, number, "cut");
            return Step::Cut;
        }
        if may_retry {
            self.retries -= 1.0;
            return Step::Again;
        }
        let status = match fault {
            Fault::ConnectTimeout | Fault::ResponseTimeout | Fault::Ejected => 504,
            _ => 502,
        };
        let why = format!("{} {fault}", self.shared.backends.get(number).name);
        self.answer_instead(
            slot,
            status,
            "The backend did not serve the request.\n",
            &why,
        )
    }

    /// The answer is complete: both connections are free for the next request.
    fn finish(&mut self, slot: usize) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = client.exchange.take() else {
            return Step::Wait;
        };
        client.progress = true;
        if !exchange.client_persists() {
            client.closing = Some(Linger(!exchange.has_all_content()));
        }
        if let Some(place) = exchange.upstream {
            let upstream = &self.upstreams[place];
            let number = upstream.backend;
            let unused = upstream.connection.input.unused();
            let keep = exchange.upstream_persists(unused) && !upstream.ended;
            self.release(place, keep);
            let took = self.clock.now.saturating_duration_since(exchange.started);
            self.counters[number].answered(took);
            self.shared.backends.succeeded(number, self.clock.now);
            self.retries = (self.retries + EARNED).min(RETRIES);
            if !self.shared.log.is_quiet() {
                let peer = self.clients[slot].peer;
                self.write_line(peer, &exchange, number, exchange.status().unwrap_or(0));
            }
        }
        self.spare.push(exchange);
        Step::Again
    }

    /// An error of this gateway's own, in place of the backend's answer.
    fn answer_instead(&mut self, slot: usize, status: u16, sentence: &str, why: &str) -> Step {
        let retry: &[_] = if status == 503 {
            &[("Retry-After", "1")]
        } else {
            &[]
        };
        let response = Response::text(status, &self.shared.served_by, retry, sentence);
        self.answer(slot, response, why)
    }

    /// Answers a request without a backend, and ends its exchange.
    fn answer(&mut self, slot: usize, response: Response, why: &str) -> Step {
        let client = &mut self.clients[slot];
        let Some(exchange) = client.exchange.take() else {
            return Step::Wait;
        };
        client.connection.borrow_output(&mut self.lender);
        let persists = exchange.client_persists() && !self.stopping;
        let says = response::Connection::says(exchange.version(), persists);
        response.write_head(&mut client.connection.output.bytes, &self.clock.date, says);
        let status = response.status;
        if exchange.method != crate::http::request::Method::Head {
            client.connection.output.send(response.content);
        }
        if !persists {
            client.closing = Some(Linger(!exchange.has_all_content()));
        }
        client.progress = true;
        if !self.shared.log.is_quiet() {
            let (what, ms) = (
                String::from_utf8_lossy(&exchange.what),
                ms_since(exchange.started),
            );
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(" ({why})")
            };
            // Writing into a Vec cannot fail.
            let _ = writeln!(
                self.lines,
                "{} {what} -> - {status} {ms:.1} ms{why}",
                client.peer
            );
        }
        if let Some(place) = exchange.upstream {
            self.release(place, false);
        }
        self.spare.push(exchange);
        Step::Again
    }

    /// Answers what is wrong with a request, and nothing after it.
    fn refuse(&mut self, slot: usize, error: ParseError) -> Step {
        let client = &mut self.clients[slot];
        if let Some(exchange) = client.exchange.take() {
            let has_begun = exchange.has_begun_answer();
            if let Some(place) = exchange.upstream {
                self.release(place, false);
            }
            self.spare.push(exchange);
            if has_begun {
                return Step::Cut;
            }
        }
        let client = &mut self.clients[slot];
        client.connection.borrow_output(&mut self.lender);
        let response = Response::error(error, &self.shared.served_by);
        let out = &mut client.connection.output;
        response.write_head(
            &mut out.bytes,
            &self.clock.date,
            response::Connection::Close,
        );
        let status = response.status;
        out.send(response.content);
        (client.closing, client.progress) = (Some(Linger(true)), true);
        if !self.shared.log.is_quiet() {
            let _ = writeln!(self.lines, "{} - -> - {status} ({error})", client.peer);
        }
        Step::Again
    }

    fn log(&mut self, slot: usize, number: usize, what: &str) {
        if let (false, Some(exchange)) = (self.shared.log.is_quiet(), &self.clients[slot].exchange)
        {
            let (request, ms) = (
                String::from_utf8_lossy(&exchange.what),
                ms_since(exchange.started),
            );
            let (peer, backend) = (
                self.clients[slot].peer,
                &self.shared.backends.get(number).name,
            );
            let _ = writeln!(
                self.lines,
                "{peer} {request} -> {backend} {what} {ms:.1} ms"
            );
        }
    }

    fn write_line(&mut self, peer: SocketAddr, exchange: &Exchange, number: usize, status: u16) {
        let backend = &self.shared.backends.get(number).name;
        let _ = write!(self.lines, "{peer} ");
        self.lines.extend_from_slice(&exchange.what);
        let _ = writeln!(
            self.lines,
            " -> {backend} {status} {:.1} ms",
            ms_since(exchange.started)
        );
    }

    /// Settles the client's side and its backend's: what to wait for, and for how long.
    fn wait(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        client.connection.settle(&mut self.lender);
        let drained = client.connection.output.is_empty();
        let mut phase = match (client.closing, &client.exchange) {
            _ if !drained => Phase::Write,
            (Some(_), _) => Phase::Linger,
            (None, None) if client.connection.input.unused().is_empty() => Phase::Idle,
            (None, None) => Phase::Head,
            (None, Some(exchange)) if exchange.has_begun_answer() => Phase::Relay,
            (None, Some(exchange)) if !exchange.has_all_content() => Phase::Content,
            (None, Some(_)) => Phase::Response,
        };
        let reads = match &client.exchange {
            _ if client.ended || client.connection.is_full() => false,
            None => drained || client.closing.is_some(),
            Some(exchange) => exchange.has_room(),
        };
        let upstream = client
            .exchange
            .as_ref()
            .and_then(|exchange| exchange.upstream);
        if let (Some(place), Some(exchange)) = (upstream, &client.exchange) {
            let upstream = &mut self.upstreams[place];
            let writes = upstream.connecting || (!exchange.unsent().is_empty() && !upstream.ended);
            let interest = Interest {
                readable: !upstream.connecting && drained && !upstream.ended,
                writable: writes,
            };
            if upstream.connecting && drained {
                phase = Phase::Connect;
            }
            let token = upstreams::token(place);
            if upstream
                .connection
                .wait_for(interest, &mut self.poller, token)
                .is_err()
            {
                return self.cut(slot);
            }
            upstream.connection.settle(&mut self.lender);
        }
        let client = &mut self.clients[slot];
        let interest = Interest {
            readable: reads,
            writable: !drained,
        };
        if client
            .connection
            .wait_for(interest, &mut self.poller, client_token(slot))
            .is_err()
        {
            return self.cut(slot);
        }
        if std::mem::take(&mut client.progress) || phase != client.phase {
            let (limits, times) = (&self.shared.limits, &self.shared.times);
            let limit = match phase {
                Phase::Idle if self.stopping => LAST_CHANCE,
                Phase::Idle => limits.idle_timeout,
                Phase::Head => limits.header_timeout,
                Phase::Content => limits.content_timeout,
                Phase::Connect => times.connect,
                Phase::Response => times.response,
                Phase::Relay => times.relay,
                Phase::Write => limits.write_timeout,
                Phase::Linger => LINGER,
            };
            client.phase = phase;
            self.timers
                .set(slot, &mut client.deadline, Some(self.clock.now + limit));
        }
    }

    /// An alarm: is the client's time up, and what does that mean?
    fn ring(&mut self, at: Instant, slot: usize) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        if !self
            .timers
            .rang(at, slot, &mut client.deadline, self.clock.now)
        {
            return;
        }
        match client.phase {
            Phase::Idle | Phase::Write | Phase::Relay | Phase::Linger => self.cut(slot),
            Phase::Head => self.refuse_late(slot, ParseError::HeadTimeout),
            Phase::Content => self.refuse_late(slot, ParseError::ContentTimeout),
            Phase::Connect => self.fail(slot, Fault::ConnectTimeout),
            Phase::Response => self.fail(slot, Fault::ResponseTimeout),
        }
    }

    fn refuse_late(&mut self, slot: usize, error: ParseError) {
        match self.refuse(slot, error) {
            Step::Cut => self.cut(slot),
            _ => self.advance(slot),
        }
    }

    /// Closes a client's connection, and with it what is done on its behalf.
    fn cut(&mut self, slot: usize) {
        let Some(mut client) = self.clients.remove(slot) else {
            return;
        };
        client.connection.settle(&mut self.lender);
        client
            .connection
            .close(&mut self.poller, client_token(slot));
        if let Some(exchange) = client.exchange {
            if let Some(place) = exchange.upstream {
                self.release(place, false);
            }
            self.spare.push(exchange);
        }
    }
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
