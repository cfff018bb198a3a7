//! poll(2): the whole list of descriptors goes into the kernel at every wait and comes back
//! marked. The cost of a wait grows with the number of connections, also of the silent ones.
//!
//! Note: `notes/poller.md`.

use super::{Event, Interest, Strategy, Token};
use crate::net::sys::{self, PollFd};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The watched sockets: `fds[i]` belongs to `tokens[i]`; `indices` finds i by token.
#[derive(Debug, Default)]
pub struct Poll {
    fds: Vec<PollFd>,
    tokens: Vec<Token>,
    indices: HashMap<Token, usize>,
}

impl Strategy for Poll {
    fn add(&mut self, fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.indices.insert(token, self.fds.len());
        let fd = fd.as_fd().as_raw_fd();
        self.fds.push(PollFd { fd, events: interest.bits() as i16, revents: 0 });
        self.tokens.push(token);
        Ok(())
    }

    fn modify(&mut self, _fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let index = self.indices.get(&token).ok_or(io::ErrorKind::NotFound)?;
        self.fds[*index].events = interest.bits() as i16;
        Ok(())
    }

    fn remove(&mut self, _fd: &dyn AsFd, token: Token) -> io::Result<()> {
        let index = self.indices.remove(&token).ok_or(io::ErrorKind::NotFound)?;
        self.fds.swap_remove(index);
        self.tokens.swap_remove(index);
        if let Some(&moved) = self.tokens.get(index) {
            self.indices.insert(moved, index);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let mut ready = sys::poll(&mut self.fds, timeout)?;
        events.clear();
        for (fd, &token) in self.fds.iter().zip(&self.tokens) {
            if ready == 0 {
                break;
            }
            if fd.revents != 0 {
                ready -= 1;
                events.push(Event::new(token, fd.revents as u32));
            }
        }
        Ok(())
    }
}
