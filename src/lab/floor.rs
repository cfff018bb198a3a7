//! What is left of a server that does not think: its system calls.
//!
//! Whatever it is asked, it writes an answer that was fixed beforehand; with `--backend` it
//! writes a fixed request to a backend, and copies the answer without a look. So it is the floor
//! under every server that reads and writes once per request, and `compare` measures it beside
//! them. It takes one read for one message, which is true of small ones: good for nothing else.
//! Entry point: [`main`]. Note: `notes/fast.md`.

use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::{Stop, TICK};
use crate::net::listener;
use crate::net::poller::{Interest, Kind, Poller, Token};
use crate::net::slots::Slots;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// `progjar floor`
pub const TOPIC: Topic = Topic {
    name: "floor",
    summary: "a server that does not think: the bound for all others",
    operand: "PORT",
    operand_default: "46001",
    flags: &[&[
        flag("--backend", "IP:PORT", "", "once per backend: copies their answers, gives none"),
        flag("--workers", "N", "1", "event loops"),
    ]],
    more: "It answers every request alike and checks nothing: for measurements on this machine only.\n\
        The port 0 picks a free one. Ctrl-C stops it.",
};

/// The body is that of `/` in the assignment.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\nIni Adalah web Server percobaan";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: floor\r\n\r\n";

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let port = given.port()?;
    let workers = given.number("--workers", 1..=256)?.unwrap_or(1);
    let mut backends: Vec<SocketAddr> = Vec::new();
    for text in given.all("--backend") {
        let wrong = |_| format!("floor: --backend {text}: give IP:PORT");
        backends.push(text.parse().map_err(wrong)?);
    }
    let listener = listener::bind("floor", "127.0.0.1", port).map_err(Failure::CannotWork)?;
    let _ = crate::net::sys::raise_descriptor_limit();
    let listen = || {
        listener::announce("floor", listener.local_addr()?);
        thread::scope(|scope| {
            let start = |_| {
                let (listener, backends) = (listener.try_clone()?, &backends[..]);
                Ok(scope.spawn(move || run(listener, backends, stop)))
            };
            let loops: io::Result<Vec<_>> = (0..workers).map(start).collect();
            let panicked = |_| Err(io::Error::other("a worker panicked"));
            loops?.into_iter().try_for_each(|one| one.join().unwrap_or_else(panicked))
        })
    };
    listen().map_err(|e| Failure::CannotWork(format!("floor: {e}")))
}

/// The listener's token; a connection's is its place plus one.
const LISTENER: Token = 0;

/// Longer than a small request or answer.
const MESSAGE: usize = 4096;

/// A connection, a client's or to a backend, and the place of the other one of its exchange.
struct Side {
    stream: TcpStream,
    is_client: bool,
    other: Option<usize>,
}

struct Floor<'a> {
    poller: Poller,
    sides: Slots<Side>,
    /// Connections to backends that wait for a request.
    idle: Vec<usize>,
    backends: &'a [SocketAddr],
    turn: usize,
    message: [u8; MESSAGE],
}

/// Answers until the stop flag is raised.
fn run(listener: TcpListener, backends: &[SocketAddr], stop: &Stop) -> io::Result<()> {
    let mut poller = Kind::BEST.poller()?;
    listener::prepare(&listener)?;
    poller.add(&listener, LISTENER, Interest::READ)?;
    let (sides, idle, turn, message) = (Slots::new(), Vec::new(), 0, [0; MESSAGE]);
    let mut floor = Floor { poller, sides, idle, backends, turn, message };
    let mut events = Vec::new();
    while !stop.is_raised() {
        floor.poller.wait(&mut events, Some(TICK))?;
        for event in &events {
            if event.token != LISTENER {
                floor.ready(event.token - 1);
                continue;
            }
            match listener::accept(&listener) {
                Ok(Some((stream, _))) => drop(floor.insert(stream, true)),
                Ok(None) => {}
                Err(_) => thread::sleep(TICK), // until the shortage is over
            }
        }
        floor.sides.end_turn();
    }
    Ok(())
}

impl Floor<'_> {
    /// Its place; nobody waits for one that cannot be watched.
    fn insert(&mut self, stream: TcpStream, is_client: bool) -> io::Result<usize> {
        let place = self.sides.insert(Side { stream, is_client, other: None });
        let added = self.poller.add(&self.sides[place].stream, place + 1, Interest::READ);
        if added.is_err() {
            self.sides.remove(place);
        }
        added.map(|()| place)
    }

    /// One read, and the write that follows from it. Whatever fails ends the connection.
    fn ready(&mut self, place: usize) {
        let Some(side) = self.sides.get_mut(place) else {
            return;
        };
        let done = match side.stream.read(&mut self.message) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e),
            Ok(_) if self.backends.is_empty() => side.stream.write_all(ANSWER),
            Ok(_) if side.is_client => self.ask(place),
            Ok(n) => self.copy(place, n),
        };
        if done.is_err() {
            self.close(place);
        }
    }

    fn ask(&mut self, client: usize) -> io::Result<()> {
        let place = self.idle.pop().map_or_else(|| self.connect(), Ok)?;
        (self.sides[client].other, self.sides[place].other) = (Some(place), Some(client));
        self.sides[place].stream.write_all(REQUEST)
    }

    fn connect(&mut self) -> io::Result<usize> {
        self.turn += 1;
        let stream = TcpStream::connect(self.backends[self.turn % self.backends.len()])?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.insert(stream, false)
    }

    /// The first `n` bytes of the message go to the client.
    fn copy(&mut self, place: usize, n: usize) -> io::Result<()> {
        let client = self.sides[place].other.take().ok_or(ErrorKind::InvalidData)?;
        self.sides[client].other = None;
        self.idle.push(place);
        let written = self.sides[client].stream.write_all(&self.message[..n]);
        if written.is_err() {
            self.close(client);
        }
        Ok(())
    }

    /// Closes a connection, and with it what it waits for: that would be for somebody else.
    fn close(&mut self, place: usize) {
        let Some(side) = self.sides.remove(place) else {
            return;
        };
        self.poller.closing(&side.stream, place + 1);
        match side.other {
            Some(other) => self.close(other),
            None => self.idle.retain(|&idle| idle != place),
        }
    }
}
