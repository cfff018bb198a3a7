//! The thread that never ends: a thread per connection, with and without one `return`.
//!
//! Note: `notes/wrong-table.md`.

use super::server::{LAST, Server};
use super::{Exhibit, Stage, row};
use crate::bench::cpu::Cpu;
use crate::bench::table::Table;
use crate::bench::{self, Plan};
use crate::cli::Result;
use crate::cli::shutdown::Stop;
use crate::lab::page::number;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const SPIN: Exhibit = Exhibit {
    name: "spin",
    title: "the thread that never ends",
    does: "\
A server with a thread for each connection has a fault: after the answer it closes the
connection, but its thread does not return. It goes on reading the closed connection, and
ignores the error. A round is up to 20 requests, one at a time; it is cut off after 1.5 s.
Then we look at the server while no client is connected. After ten rounds we do the same
with the one missing `return`. In the end all threads are told to stop.",
    play,
    means: "\
A thread that waits costs next to nothing. A thread that spins wants a whole core, and each
request leaves one more, so the server gets slower with every request that it has ever
answered. The assignment's thread table shows this fault, not the price of threads: with one
`return` the collapse is gone. How to see it: count the threads and look at the CPU while no
client is connected. Both should be close to nothing.",
    note: "wrong-table",
};

/// A round that takes longer is cut off.
const ROUND: Duration = Duration::from_millis(1500);
/// A thread that returns is given so long to do it: on a busy machine it may have to queue.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long we look at the CPU.
const LOOK: Duration = Duration::from_millis(200);

fn play(stage: &Stage) -> Result<String> {
    // At most 200 threads spin at a time.
    let (rounds, requests) = stage.pick((10, 20), (3, 10));
    let fault = sequence(false, rounds, requests, stage.stop)?;
    let cured = sequence(true, rounds, requests, stage.stop)?;
    let mut rows = vec![
        row(["", "fault:", "live", "CPU", "return:", "live", "CPU"]),
        row(["round", "requests/s", "threads", "%", "requests/s", "threads", "%"]),
    ];
    for (i, (fault, cured)) in (1..).zip(fault.into_iter().zip(cured)) {
        rows.push([i.to_string()].into_iter().chain(fault).chain(cured).collect());
    }
    let below = "\nThreads and CPU were counted after each round, with no client connected.\n";
    Ok(Table { rows }.text() + below)
}

/// A server of its own, and round after round of requests to it.
fn sequence(returns: bool, rounds: usize, requests: u64, stop: &Stop) -> Result<Vec<[String; 3]>> {
    let server = Server::start(move |stream, stop| serve(stream, returns, stop))?;
    let plan = Plan { time_limit: Some(ROUND), go_on: true, ..server.plan(requests, 1)? };
    let mut rows = Vec::new();
    for _ in 0..rounds {
        let outcome = bench::run(&plan, stop)?;
        if stop.is_raised() {
            break;
        }
        let live = server.live_threads(if returns { PATIENCE } else { Duration::ZERO });
        let cpu = cpu_percent().map_or("?".to_owned(), |percent| format!("{percent:.0}"));
        rows.push([number(outcome.rate()), live.to_string(), cpu]);
    }
    Ok(rows)
}

/// What the reference's thread does, line for line; its loop knows no flag.
fn serve(stream: TcpStream, returns: bool, stop: &Stop) {
    let mut connection = Some(stream);
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !stop.is_raised() {
        // A connection that we have closed can only say so.
        let open = connection.as_mut().ok_or(ErrorKind::NotConnected.into());
        match open.and_then(|open| open.read(&mut buffer)) {
            Ok(0) => return,
            Ok(n) => request.extend_from_slice(&buffer[..n]),
            Err(_) => {} // the reference: `except OSError: pass`
        }
        if request.ends_with(b"\r\n\r\n") {
            if let Some(mut open) = connection.take() {
                let _ = open.write_all(LAST);
                // Dropped here, it is closed.
            }
            request.clear();
            if returns {
                return; // the line that the reference lacks
            }
        }
    }
}

/// CPU time of this process now, in percent of one core; None where the system does not say.
fn cpu_percent() -> Option<f64> {
    let us = [std::process::id()];
    let (before, begun) = (Cpu::of(&us)?, Instant::now());
    thread::sleep(LOOK);
    let used = Cpu::of(&us)?.since(&before);
    Some(used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0)
}
