//! poll(2): the whole list of descriptors goes into the kernel at every wait and comes back
//! marked. The cost of a wait grows with the number of connections, also of the silent ones.
//!
//! Note: `notes/poller.md`.

use super::{Event, Interest, Source, Token};
use crate::net::sys::{self, PollFd, poll_flags};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The watched sockets: `fds[i]` belongs to `tokens[i]`; `places` finds i by token.
#[derive(Debug)]
pub struct Poll {
    fds: Vec<PollFd>,
    tokens: Vec<Token>,
    places: Vec<Option<usize>>,
}

impl Poll {
    pub fn new() -> Self {
        Poll { fds: Vec::new(), tokens: Vec::new(), places: Vec::new() }
    }

    pub fn add(
        &mut self,
        source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if self.places.len() <= token {
            self.places.resize(token + 1, None);
        }
        self.places[token] = Some(self.fds.len());
        self.fds.push(PollFd {
            fd: source.as_fd().as_raw_fd(),
            events: bits(interest),
            revents: 0,
        });
        self.tokens.push(token);
        Ok(())
    }

    pub fn modify(
        &mut self,
        _source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let place = self.places.get(token).copied().flatten().ok_or(io::ErrorKind::NotFound)?;
        self.fds[place].events = bits(interest);
        Ok(())
    }

    pub fn remove(&mut self, _source: &impl Source, token: Token) -> io::Result<()> {
        let place =
            self.places.get_mut(token).and_then(Option::take).ok_or(io::ErrorKind::NotFound)?;
        self.fds.swap_remove(place);
        self.tokens.swap_remove(place);
        if let Some(&moved) = self.tokens.get(place) {
            self.places[moved] = Some(place);
        }
        Ok(())
    }

    pub fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let mut ready = sys::poll(&mut self.fds, timeout)?;
        for (fd, &token) in self.fds.iter().zip(&self.tokens) {
            if ready == 0 {
                break;
            }
            if fd.revents != 0 {
                ready -= 1;
                let failed =
                    fd.revents & (poll_flags::ERR | poll_flags::HUP | poll_flags::NVAL) != 0;
                events.push(Event {
                    token,
                    readable: failed || fd.revents & poll_flags::IN != 0,
                    writable: failed || fd.revents & poll_flags::OUT != 0,
                });
            }
        }
        Ok(())
    }
}

fn bits(interest: Interest) -> i16 {
    let read = if interest.readable { poll_flags::IN } else { 0 };
    let write = if interest.writable { poll_flags::OUT } else { 0 };
    read | write
}
