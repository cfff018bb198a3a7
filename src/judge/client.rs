//! The judge's client: sends bytes, waits a bounded time, reads answers strictly.
//!
//! Entry point: [`Client`]. Note: `notes/judge.md`.

use super::answer::{Answer, CONTENT_LIMIT, read};
use super::show;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a connection or a write may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens, or the system refuses.
    Connect(String),
    /// Nothing, or not all, came in time.
    TimedOut(usize),
    /// The connection closed before an answer was whole; so many bytes had come.
    Closed(usize),
    /// The same by a reset.
    Reset(usize),
    /// What came is no response, for this reason; its first bytes.
    NotHttp(String, Vec<u8>),
}

impl Trouble {
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Trouble::TimedOut(_))
    }
}

/// What came, in a few words.
pub(crate) fn in_words(answer: &Result<Answer, Trouble>) -> String {
    answer.as_ref().map_or_else(Trouble::to_string, Answer::summary)
}

#[rustfmt::skip] // a table
impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Trouble::Connect(why) => write!(f, "no connection: {why}"),
            Trouble::TimedOut(0) => f.write_str("no answer in time"),
            Trouble::TimedOut(n) => write!(f, "{n} bytes, then nothing: the answer is not whole in time"),
            Trouble::Closed(0) => f.write_str("the connection closed without an answer"),
            Trouble::Closed(n) => write!(f, "{n} bytes, then the connection closed: the answer is not whole"),
            Trouble::Reset(0) => f.write_str("the connection was reset without an answer"),
            Trouble::Reset(n) => write!(f, "{n} bytes, then a reset: the answer is not whole"),
            Trouble::NotHttp(why, bytes) => write!(f, "{why}: {}", show::short(bytes)),
        }
    }
}

/// One connection to the server.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How the server has ended it, if it has.
    ended: Option<io::ErrorKind>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Result<Client, Trouble> {
        Client::connect_within(address, PATIENCE)
    }

    /// Connects, if that takes no longer.
    pub(crate) fn connect_within(
        address: SocketAddr,
        patience: Duration,
    ) -> Result<Client, Trouble> {
        let open = || {
            let stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = open().map_err(|e: io::Error| Trouble::Connect(e.kind().to_string()))?;
        Ok(Client { stream, unread: Vec::new(), ended: None })
    }

    /// Sends the bytes. A server that has refused their beginning need not take the rest, so that
    /// a failure is not told here: what it answers is what counts.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Tells the server that no more will come.
    pub(crate) fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Waits at most until then; whether anything came: bytes, or the end of the connection.
    pub(crate) fn more(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if self.ended.is_some()
            || left.is_zero()
            || self.stream.set_read_timeout(Some(left)).is_err()
        {
            return false;
        }
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = Some(io::ErrorKind::UnexpectedEof),
            Ok(n) => self.unread.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            Err(e) => match e.kind() {
                io::ErrorKind::Interrupted => return self.more(until),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return false,
                kind => self.ended = Some(kind),
            },
        }
        true
    }

    /// The next final response; interim ones are passed over.
    pub(crate) fn answer(&mut self, to_head: bool, patience: Duration) -> Result<Answer, Trouble> {
        let until = Instant::now() + patience;
        loop {
            let answer = self.any_answer(to_head, until)?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    /// The next response, also an interim one.
    pub(crate) fn any_answer(&mut self, to_head: bool, until: Instant) -> Result<Answer, Trouble> {
        loop {
            let has_ended = self.ended.is_some();
            let beginning = || self.unread.iter().take(100).copied().collect();
            let answer = read(&self.unread, to_head, has_ended)
                .map_err(|why| Trouble::NotHttp(why, beginning()))?;
            if let Some((answer, used)) = answer {
                self.unread.drain(..used);
                return Ok(answer);
            }
            let came = self.unread.len();
            if came > CONTENT_LIMIT {
                let why = format!("more than {CONTENT_LIMIT} bytes");
                return Err(Trouble::NotHttp(why, beginning()));
            }
            if has_ended {
                return Err(self.end_of(came));
            }
            if !self.more(until) {
                return Err(Trouble::TimedOut(came));
            }
        }
    }

    fn end_of(&self, came: usize) -> Trouble {
        match self.ended {
            Some(io::ErrorKind::UnexpectedEof) => Trouble::Closed(came),
            _ => Trouble::Reset(came),
        }
    }

    /// What comes until the server closes, or until the patience ends; and whether it has closed.
    pub(crate) fn rest(&mut self, patience: Duration) -> (Vec<u8>, bool) {
        let until = Instant::now() + patience;
        while self.unread.len() < CONTENT_LIMIT && self.more(until) {}
        (std::mem::take(&mut self.unread), self.ended.is_some())
    }

    /// The socket, for what no request needs: to stop reading, to reset.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
