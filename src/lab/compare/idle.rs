//! Connections that have had an answer and now say nothing, but may at any moment.
//!
//! Entry point: [`Idle::open`].

use super::configs::HOME;
use super::usage::descriptors;
use crate::assignment::End;
use crate::assignment::program::pause;
use crate::cli::shutdown::Stop;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long one answer may take, and the goodbye to all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Each is used once, as an idle keep-alive connection has been.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// All of them; dropping them closes them.
#[derive(Debug)]
pub struct Idle(Vec<TcpStream>);

impl Idle {
    /// Opens so many, one after the other.
    pub fn open(address: SocketAddr, count: usize, stop: &Stop) -> Result<Idle, End> {
        let mut streams = Vec::with_capacity(count);
        for number in 1..=count {
            if stop.is_raised() {
                return Err(End::Stopped);
            }
            let stream = one(address)
                .map_err(|e| format!("{address}: idle connection {number} of {count}: {e}"))?;
            streams.push(stream);
        }
        Ok(Idle(streams))
    }

    /// Closes them, and waits until the server has closed nearly as many: the next measurement
    /// is not to pay for it. A gateway's connections to its backends may stay.
    pub fn close(self, pids: &[u32], stop: &Stop) -> Result<(), End> {
        let left = descriptors(pids).saturating_sub(self.0.len() * 9 / 10);
        drop(self);
        let deadline = Instant::now() + PATIENCE;
        while descriptors(pids) > left && Instant::now() < deadline {
            pause(stop)?;
        }
        Ok(())
    }
}

fn one(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(HOME.as_bytes()) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    Ok(stream)
}
