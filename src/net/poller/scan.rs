//! Plain std has no way to ask "who is ready?", so `scan` calls every socket ready and lets
//! the owner find out by trying. Somebody has to pace the loop: each pass naps for [`NAP`].
//!
//! Note: `notes/poller.md`.

use super::{Event, Interest, Strategy, Token};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

/// Shorter burns more CPU on an idle server, longer adds to the time of every answer.
const NAP: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub struct Scan {
    interests: BTreeMap<Token, Interest>,
}

impl Strategy for Scan {
    fn add(&mut self, _fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.interests.insert(token, interest);
        Ok(())
    }

    fn modify(&mut self, fd: &dyn AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.add(fd, token, interest)
    }

    fn remove(&mut self, _fd: &dyn AsFd, token: Token) -> io::Result<()> {
        self.interests.remove(&token).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        thread::sleep(timeout.map_or(NAP, |t| t.min(NAP)));
        events.clear();
        for (&token, interest) in &self.interests {
            if *interest != Interest::NONE {
                events.push(Event { token, readable: interest.readable });
            }
        }
        Ok(())
    }

    fn naps(&self) -> bool {
        true
    }
}
