//! Connections beside those that load: each has had one answer and says nothing more.
//!
//! Knows nothing of the load. Entry point: [`beside`]. Note: `notes/bench.md`.

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
/// Opened at a time: a server that looks at each in every turn would else need a turn for each.
const BATCH: usize = 100;

/// Opens as many as the plan wants, fewer on stop, and lets `run` do its work beside them. Gives what it
/// gives, and the bytes by which --cpu's processes have grown for each. The error says which one had no answer.
pub(super) fn beside<T>(
    plan: &Plan,
    to: SocketAddr,
    stop: &Stop,
    run: impl FnOnce() -> T,
) -> Result<(T, Option<f64>), String> {
    let (pids, count) = (&plan.processes[..], plan.idle);
    let before = memory(pids);
    let streams = open(plan, to, stop)?;
    let grown = memory(pids).zip(before).filter(|_| count > 0);
    let grown = grown.map(|(now, then)| now.saturating_sub(then) as f64 / count as f64);
    let done = run();
    // The next run is not to pay for the end of these connections. A gateway's own to its backends
    // may stay.
    let left = descriptors(pids).saturating_sub(streams.len() * 9 / 10);
    drop(streams);
    let deadline = Instant::now() + PATIENCE;
    while descriptors(pids) > left && Instant::now() < deadline && !stop.is_raised() {
        thread::sleep(Duration::from_millis(5));
    }
    Ok((done, grown))
}

fn open(plan: &Plan, to: SocketAddr, stop: &Stop) -> Result<Vec<TcpStream>, String> {
    let get = Plan { target: plan.target.clone(), method: "GET".to_owned(), ..Plan::default() };
    let request = Plan { keep_alive: true, http11: true, ..get }.request();
    let (count, mut streams) = (plan.idle, Vec::new());
    while streams.len() < count && !stop.is_raised() {
        let begun = streams.len();
        let opened = (begun..count.min(begun + BATCH)).try_for_each(|_| {
            let mut stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&request)?;
            streams.push(stream);
            Ok(())
        });
        let answered = opened.and_then(|()| streams[begun..].iter().try_for_each(answer));
        answered.map_err(|e| format!("idle connection {begun} of {count}: {e}"))?;
    }
    Ok(streams)
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

/// Bytes of memory that belong to these processes alone: no program text, no file contents.
fn memory(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| number_behind("RssAnon:", &format!("/proc/{pid}/status"));
    pids.iter().map(|pid| of(pid).map(|kib| kib * 1024)).sum()
}

fn descriptors(pids: &[u32]) -> usize {
    pids.iter().map(|pid| numbers_in(&format!("/proc/{pid}/fd")).len()).sum()
}
