//! epoll(7): the list lives in the kernel, and a wait returns only those that are ready. The
//! cost of a wait grows with the number of ready connections, not with the silent ones.
//!
//! Note: `notes/poller.md`.

use super::{Event, Interest, Strategy, Token};
use crate::net::sys::{EPOLLEXCLUSIVE, EpollEvent, Op, epoll_create, epoll_ctl, epoll_wait};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Taken per wait at most; what is left stays ready and comes with the next wait.
const BATCH: usize = 512;

/// The watched sockets are in the kernel; here is only room for its answer.
pub struct Epoll {
    epoll: OwnedFd,
    ready: Box<[EpollEvent]>,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        let empty = EpollEvent { events: 0, data: 0 };
        Ok(Epoll { epoll: epoll_create()?, ready: vec![empty; BATCH].into_boxed_slice() })
    }
}

impl Strategy for Epoll {
    fn add(&mut self, fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()> {
        epoll_ctl(&self.epoll, Op::Add, fd.as_fd(), interest.bits(), token)
    }

    fn modify(&mut self, fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()> {
        epoll_ctl(&self.epoll, Op::Modify, fd.as_fd(), interest.bits(), token)
    }

    fn remove(&mut self, fd: &dyn AsFd, token: Token) -> io::Result<()> {
        epoll_ctl(&self.epoll, Op::Remove, fd.as_fd(), 0, token)
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let n = epoll_wait(&self.epoll, &mut self.ready, timeout)?;
        events.clear();
        events.extend(self.ready[..n].iter().map(|r| Event::new(r.data as Token, r.events)));
        Ok(())
    }

    /// EPOLLEXCLUSIVE: of several epolls that watch one listener, a newcomer wakes one.
    fn add_shared(&mut self, fd: &dyn AsFd, token: Token) -> io::Result<()> {
        let bits = Interest::READ.bits() | EPOLLEXCLUSIVE;
        epoll_ctl(&self.epoll, Op::Add, fd.as_fd(), bits, token)
    }

    /// The kernel finds that out by itself, for no system call.
    fn closing(&mut self, _fd: &dyn AsFd, _token: Token) {}
}
