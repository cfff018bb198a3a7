//! Who is ready? One question, three interchangeable answers: `scan`, `poll`, `epoll`.
//!
//! Readiness here is level-triggered and a hint: a socket reported ready may still answer
//! "would block", and the owner must take that calmly. A socket that is ready is never missed.
//! This room knows no HTTP and reads or writes nothing. Note: `notes/poller.md`.

// asks every socket, in turn, for ever: plain std
mod scan;
// hands the kernel the whole list at every wait: poll(2)
#[cfg(unix)]
mod poll;
// keeps the list in the kernel: epoll(7)
#[cfg(target_os = "linux")]
mod epoll;

use std::io;
use std::time::Duration;

/// What a poller watches: a descriptor on Unix; elsewhere only `scan` exists, which needs none.
#[cfg(unix)]
pub use std::os::fd::AsFd as Source;
#[cfg(not(unix))]
pub trait Source {}
#[cfg(not(unix))]
impl<T> Source for T {}

/// The owner's name for a watched socket; comes back in each [`Event`].
pub type Token = usize;

/// What the owner wants to be told about a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Tell when reading would not block.
    pub readable: bool,
    /// Tell when writing would not block.
    pub writable: bool,
}

impl Interest {
    /// Wait for bytes from the peer.
    pub const READ: Interest = Interest { readable: true, writable: false };
    /// Wait until the peer takes more bytes.
    pub const WRITE: Interest = Interest { readable: false, writable: true };
    /// Wait for either.
    pub const BOTH: Interest = Interest { readable: true, writable: true };
    /// Wait for nothing; a socket in error may be reported all the same.
    pub const NONE: Interest = Interest { readable: false, writable: false };
}

/// A socket is ready. A peer that hung up or failed is reported as both readable and
/// writable, so that the owner meets the error in its ordinary read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Which socket.
    pub token: Token,
    /// Reading should not block.
    pub readable: bool,
    /// Writing should not block.
    pub writable: bool,
}

/// The strategies, by the names that `--poller` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Plain std: every socket is called ready after a fixed nap.
    Scan,
    /// poll(2), on every Unix.
    #[cfg(unix)]
    Poll,
    /// epoll(7), on Linux.
    #[cfg(target_os = "linux")]
    Epoll,
}

impl Kind {
    /// What this system offers, the best last.
    pub const ALL: &[Kind] = &[
        Kind::Scan,
        #[cfg(unix)]
        Kind::Poll,
        #[cfg(target_os = "linux")]
        Kind::Epoll,
    ];

    /// The best that this system offers.
    pub const BEST: Kind = Kind::ALL[Kind::ALL.len() - 1];

    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Scan => "scan",
            #[cfg(unix)]
            Kind::Poll => "poll",
            #[cfg(target_os = "linux")]
            Kind::Epoll => "epoll",
        }
    }
}

/// A set of watched sockets. Each strategy's file holds the same five functions in the same
/// order, so that a diff of two of them is the lesson.
#[derive(Debug)]
pub enum Poller {
    /// See [`Kind::Scan`].
    Scan(scan::Scan),
    /// See [`Kind::Poll`].
    #[cfg(unix)]
    Poll(poll::Poll),
    /// See [`Kind::Epoll`].
    #[cfg(target_os = "linux")]
    Epoll(epoll::Epoll),
}

macro_rules! each {
    ($self:ident, $p:ident => $call:expr) => {
        match $self {
            Poller::Scan($p) => $call,
            #[cfg(unix)]
            Poller::Poll($p) => $call,
            #[cfg(target_os = "linux")]
            Poller::Epoll($p) => $call,
        }
    };
}

impl Poller {
    /// An empty set.
    pub fn new(kind: Kind) -> io::Result<Poller> {
        Ok(match kind {
            Kind::Scan => Poller::Scan(scan::Scan::new()),
            #[cfg(unix)]
            Kind::Poll => Poller::Poll(poll::Poll::new()),
            #[cfg(target_os = "linux")]
            Kind::Epoll => Poller::Epoll(epoll::Epoll::new()?),
        })
    }

    /// Whether it naps before each look, whatever is ready.
    pub fn naps(&self) -> bool {
        matches!(self, Poller::Scan(_))
    }

    /// Watches `source`. The owner must `remove` it before it closes it, and gives each
    /// socket a token of its own.
    pub fn add(
        &mut self,
        source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        each!(self, p => p.add(source, token, interest))
    }

    /// Watches a listener that other pollers watch too: where the system can, one newcomer
    /// wakes one of them, not all.
    pub fn add_shared(&mut self, source: &impl Source, token: Token) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Poller::Epoll(p) = self {
            return p.add_shared(source, token);
        }
        self.add(source, token, Interest::READ)
    }

    /// Replaces the interest of a watched socket.
    pub fn modify(
        &mut self,
        source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        each!(self, p => p.modify(source, token, interest))
    }

    /// Watches it no more.
    pub fn remove(&mut self, source: &impl Source, token: Token) -> io::Result<()> {
        each!(self, p => p.remove(source, token))
    }

    /// The owner closes it at once. epoll finds that out by itself, for no system call.
    pub fn closing(&mut self, source: &impl Source, token: Token) {
        #[cfg(target_os = "linux")]
        if let Poller::Epoll(_) = self {
            return;
        }
        // It was added, so it can be removed.
        let _ = self.remove(source, token);
    }

    /// Waits until something is ready or `timeout` has passed (None: for ever), and replaces
    /// the content of `events`. A signal that interrupts the wait counts as "no events".
    pub fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        match each!(self, p => p.wait(events, timeout)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }
}
