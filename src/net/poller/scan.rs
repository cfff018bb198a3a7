//! Plain std has no way to ask "who is ready?", so `scan` calls every socket ready and lets
//! the owner find out by trying. Somebody has to pace the loop: each pass naps for [`NAP`].
//!
//! Note: `notes/poller.md`.

use super::{Event, Interest, Source, Token};
use std::io;
use std::thread;
use std::time::Duration;

/// Shorter burns more CPU on an idle server, longer adds to the time of every answer.
const NAP: Duration = Duration::from_millis(1);

/// The watched sockets: the token's index holds its interest.
#[derive(Debug)]
pub struct Scan {
    interests: Vec<Option<Interest>>,
}

impl Scan {
    pub fn new() -> Self {
        Scan { interests: Vec::new() }
    }

    pub fn add(
        &mut self,
        _source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if self.interests.len() <= token {
            self.interests.resize(token + 1, None);
        }
        self.interests[token] = Some(interest);
        Ok(())
    }

    pub fn modify(
        &mut self,
        source: &impl Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.add(source, token, interest)
    }

    pub fn remove(&mut self, _source: &impl Source, token: Token) -> io::Result<()> {
        match self.interests.get_mut(token).and_then(Option::take) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        thread::sleep(timeout.map_or(NAP, |t| t.min(NAP)));
        for (token, interest) in self.interests.iter().enumerate() {
            if let Some(Interest { readable, writable }) = *interest
                && (readable || writable)
            {
                events.push(Event { token, readable, writable });
            }
        }
        Ok(())
    }
}
