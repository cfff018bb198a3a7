//! Who is ready? One question, three interchangeable answers: `scan`, `poll`, `epoll`.
//!
//! Readiness here is level-triggered and a hint: a socket reported ready may still answer
//! "would block", and the owner must take that calmly. A socket that is ready is never missed.
//! It knows no HTTP and reads or writes nothing. Note: `notes/poller.md`.

// asks nobody: calls every socket ready after a nap; plain std
mod scan;
// hands the kernel the whole list at every wait: poll(2)
mod poll;
// keeps the list in the kernel: epoll(7)
#[cfg(target_os = "linux")]
mod epoll;

use super::sys;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The owner's name for a watched socket; comes back in each [`Event`].
pub type Token = usize;

/// The owner's wish to be told about a socket: when reading, when writing would not block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    pub readable: bool,
    pub writable: bool,
}

impl Interest {
    pub const READ: Interest = Interest { readable: true, writable: false };
    pub const WRITE: Interest = Interest { readable: false, writable: true };
    /// A socket in error may be reported all the same.
    pub const NONE: Interest = Interest { readable: false, writable: false };

    fn bits(self) -> u32 {
        let read = if self.readable { sys::IN } else { 0 };
        let write = if self.writable { sys::OUT } else { 0 };
        read | write
    }
}

/// A socket is ready. The owner then writes what it has to write; whether it reads as well,
/// `readable` says. A peer that hung up or failed is reported as readable, so that the owner
/// meets the error in its ordinary read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub token: Token,
    pub readable: bool,
}

impl Event {
    /// Of the kernel's bits. All but one mean bytes, an end or an error.
    fn new(token: Token, bits: u32) -> Event {
        Event { token, readable: bits & !sys::OUT != 0 }
    }
}

/// The strategies, by the names that `--poller` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scan, // plain std: every socket is called ready after a fixed nap
    Poll, // poll(2), on every Unix: the whole list at every wait
    #[cfg(target_os = "linux")]
    Epoll,
}

impl Kind {
    /// The kinds that this system offers, the best last.
    pub const ALL: &[Kind] = &[
        Kind::Scan,
        Kind::Poll,
        #[cfg(target_os = "linux")]
        Kind::Epoll,
    ];

    pub const BEST: Kind = Kind::ALL[Kind::ALL.len() - 1];

    pub fn poller(self) -> io::Result<Poller> {
        Ok(match self {
            Kind::Scan => Box::<scan::Scan>::default(),
            Kind::Poll => Box::<poll::Poll>::default(),
            #[cfg(target_os = "linux")]
            Kind::Epoll => Box::new(epoll::Epoll::new()?),
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Scan => "scan",
            Kind::Poll => "poll",
            #[cfg(target_os = "linux")]
            Kind::Epoll => "epoll",
        }
    }
}

/// A set of watched sockets.
pub type Poller = Box<dyn Strategy>;

/// The calls that each strategy answers in a file of its own, all in the same order, so that a
/// diff of two of them is the lesson.
pub trait Strategy: Send {
    /// Watches a socket. Before the owner closes it, it calls `remove` or `closing`. Each socket
    /// has a token of its own.
    fn add(&mut self, fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()>;

    fn modify(&mut self, fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()>;

    fn remove(&mut self, fd: &dyn AsFd, token: Token) -> io::Result<()>;

    /// Waits until something is ready or `timeout` has passed (None: for ever), and replaces
    /// the content of `events`. A signal that interrupts the wait counts as "no events".
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// Watches a listener that other pollers watch too: where the system can, one newcomer
    /// wakes one of them, not all.
    fn add_shared(&mut self, fd: &dyn AsFd, token: Token) -> io::Result<()> {
        self.add(fd, token, Interest::READ)
    }

    /// The owner is about to close it.
    fn closing(&mut self, fd: &dyn AsFd, token: Token) {
        let _ = self.remove(fd, token); // it was added, so it can be removed
    }

    /// Whether it naps before each look, whatever is ready.
    fn naps(&self) -> bool {
        false
    }
}
