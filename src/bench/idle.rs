//! Connections beside those that load: each has had one answer and says nothing more.
//!
//! Knows nothing of the load. Entry point: [`Idle::open`]; when it is dropped, the server has closed
//! them too. Note: `notes/bench.md`.

use super::cpu::{number_behind, numbers_in};
use super::plan::Plan;
use super::reader::{Heads, Reader};
use crate::cli::shutdown::Stop;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long one answer may take, and the end of all connections.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many are opened at a time: a server that looks at each in every turn would else need a turn
/// for each.
const BATCH: usize = 100;
/// Between two looks whether the server has closed them.
const NAP: Duration = Duration::from_millis(5);

pub(super) struct Idle<'a> {
    streams: Vec<TcpStream>,
    processes: &'a [u32],
    stop: &'a Stop,
    /// Bytes by which the processes have grown for each connection.
    pub memory: Option<f64>,
}

impl Idle<'_> {
    /// As many as the plan wants, or fewer on stop. The error says which one had no answer.
    pub fn open<'a>(plan: &'a Plan, to: SocketAddr, stop: &'a Stop) -> Result<Idle<'a>, String> {
        let (processes, count) = (&plan.processes[..], plan.idle);
        let before = memory(processes);
        let mut idle = Idle { streams: Vec::with_capacity(count), processes, stop, memory: None };
        let get = Plan { target: plan.target.clone(), method: "GET".to_owned(), ..Plan::default() };
        let request = Plan { keep_alive: true, http11: true, ..get }.request();
        while idle.streams.len() < count && !stop.is_raised() {
            let begun = idle.streams.len();
            let opened = (begun..count.min(begun + BATCH)).try_for_each(|_| {
                let mut stream = TcpStream::connect(to)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(&request)?;
                idle.streams.push(stream);
                Ok(())
            });
            let answered = opened.and_then(|()| idle.streams[begun..].iter().try_for_each(answer));
            answered.map_err(|e| format!("idle connection {begun} of {count}: {e}"))?;
        }
        let grown = memory(processes).zip(before).filter(|_| count > 0);
        idle.memory = grown.map(|(now, then)| now.saturating_sub(then) as f64 / count as f64);
        Ok(idle)
    }
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let (mut reader, mut heads, mut piece) = (Reader::default(), Heads::default(), [0; 4096]);
    loop {
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => match reader.feed(&piece[..n], &mut heads) {
                Ok(None) => {}
                fed => return fed.map(drop).map_err(io::Error::other),
            },
        }
    }
}

impl Drop for Idle<'_> {
    /// The next run is not to pay for the end of these connections. A gateway's own to its backends
    /// may stay.
    fn drop(&mut self) {
        let left = descriptors(self.processes).saturating_sub(self.streams.len() * 9 / 10);
        self.streams.clear();
        let deadline = Instant::now() + PATIENCE;
        while descriptors(self.processes) > left
            && Instant::now() < deadline
            && !self.stop.is_raised()
        {
            thread::sleep(NAP);
        }
    }
}

/// Bytes of memory that belong to these processes alone: no program text, no file contents.
fn memory(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| number_behind("RssAnon:", &format!("/proc/{pid}/status"));
    pids.iter().map(|pid| of(pid).map(|kib| kib * 1024)).sum()
}

fn descriptors(pids: &[u32]) -> usize {
    pids.iter().map(|pid| numbers_in(&format!("/proc/{pid}/fd")).len()).sum()
}
