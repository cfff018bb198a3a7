//! epoll(7): the list lives in the kernel, and a wait returns only those that are ready. The
//! cost of a wait grows with the number of ready connections, not with the silent ones.
//!
//! Note: `notes/poller.md`.

use super::{Event, Interest, Source, Token};
use crate::net::sys::{self, EpollEvent, epoll};
use std::io;
use std::time::Duration;

/// Taken per wait at most; what is left stays ready and comes with the next wait.
const BATCH: usize = 512;

/// The watched sockets are in the kernel; here is only room for its answer.
pub struct Epoll {
    epoll: sys::Epoll,
    ready: Box<[EpollEvent]>,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        let empty = EpollEvent { events: 0, data: 0 };
        Ok(Epoll { epoll: sys::Epoll::new()?, ready: vec![empty; BATCH].into_boxed_slice() })
    }

    pub fn add(
        &mut self,
        source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.epoll.add(source.as_fd(), bits(interest), token as u64)
    }

    /// EPOLLEXCLUSIVE: of several epolls that watch one listener, a newcomer wakes one.
    pub fn add_shared(&mut self, source: &impl Source, token: Token) -> io::Result<()> {
        self.epoll.add(source.as_fd(), epoll::IN | epoll::EXCLUSIVE, token as u64)
    }

    pub fn modify(
        &mut self,
        source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.epoll.modify(source.as_fd(), bits(interest), token as u64)
    }

    pub fn remove(&mut self, source: &impl Source, _token: Token) -> io::Result<()> {
        self.epoll.remove(source.as_fd())
    }

    pub fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let n = self.epoll.wait(&mut self.ready, timeout)?;
        for ready in &self.ready[..n] {
            let bits = ready.events;
            let failed = bits & (epoll::ERR | epoll::HUP) != 0;
            events.push(Event {
                token: ready.data as Token,
                readable: failed || bits & epoll::IN != 0,
                writable: failed || bits & epoll::OUT != 0,
            });
        }
        Ok(())
    }
}

impl std::fmt::Debug for Epoll {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.epoll.fmt(f)
    }
}

fn bits(interest: Interest) -> u32 {
    let read = if interest.readable { epoll::IN } else { 0 };
    let write = if interest.writable { epoll::OUT } else { 0 };
    read | write
}
