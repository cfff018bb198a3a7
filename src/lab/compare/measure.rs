//! One measurement: a system under the load of a case, by bench or wrk, with what its processes
//! used meanwhile; and all systems of a case in turn, round after round.
//!
//! Entry point: [`Comparison::measure`].

use super::Comparison;
use super::calls::count_calls;
use super::rows::{Figure::*, Measurement, Row};
use crate::bench::cpu;
use crate::bench::{self, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::Server;
use crate::lab::process::{output, pause, say};
use crate::lab::usage::{descriptors, family, memory, preemptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How each system is loaded before the first round of a case.
const WARMUP: Duration = Duration::from_millis(200);
/// How long system calls are counted.
const COUNTED: Duration = Duration::from_millis(300);
/// wrk may take so much longer than it was told.
const SLACK: Duration = Duration::from_secs(20);
/// How long one answer to an idle connection may take, and the goodbye to all of them.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many idle connections are opened at a time: a server that looks at each in every turn would
/// else need a turn for each.
const BATCH: usize = 100;
/// An idle connection has had one answer, as an idle keep-alive connection has.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// What `/` answers, everywhere.
pub(super) const HOME: &str = "Ini Adalah web Server percobaan";

/// One kind of work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// As `--only` names it.
    pub name: &'static str,
    /// The same, and what it is, in a few words.
    pub title: &'static str,
    /// As a cross-check, where wrk is installed.
    pub by_wrk: bool,
    pub path: &'static str,
    /// With a request under way.
    pub connections: usize,
    pub keep_alive: bool,
    /// How many more are open beside them and say nothing.
    pub idle: usize,
    pub counts_calls: bool,
}

/// 31 bytes, 64 keep-alive connections.
pub(super) const SMALL: Case = Case {
    name: "keep-alive",
    title: "keep-alive: 31 bytes, 64 keep-alive connections",
    by_wrk: false,
    path: "/",
    connections: 64,
    keep_alive: true,
    idle: 0,
    counts_calls: true,
};

/// Something that can be measured.
#[derive(Debug)]
pub(super) struct System {
    /// As in the tables.
    pub name: String,
    /// Where its clients go.
    pub address: SocketAddr,
    /// Its processes, backends included.
    pub pids: Vec<u32>,
}

impl System {
    pub fn new(name: &str, front: &Server, backends: &[Server]) -> System {
        let pids = backends.iter().chain([front]).map(|server| server.pid).collect();
        System { name: name.to_owned(), address: front.address, pids }
    }
}

impl Comparison<'_> {
    /// All systems in turn, round after round, each round with another one first.
    pub fn measure(&mut self, case: &Case, systems: &mut [System]) -> Result<Vec<Row>, String> {
        say(case.title);
        // Only now: a program's workers are born a moment after it listens.
        for system in &mut *systems {
            system.pids = system.pids.iter().flat_map(|pid| family(*pid)).collect();
            self.load(&Case { by_wrk: false, ..*case }, system, WARMUP)?;
        }
        // wrk takes a second at least, and is a cross-check alone.
        let rounds = if case.by_wrk { self.rounds.div_ceil(2) } else { self.rounds };
        let row = |s: &System| (s.name.clone(), vec![Measurement::default(); rounds]);
        let mut rows: Vec<_> = systems.iter().map(row).collect();
        for round in 0..rounds {
            let mut line = format!("      round {}/{rounds}:", round + 1);
            for place in (0..systems.len()).map(|i| (i + round) % systems.len()) {
                let name = &systems[place].name;
                let measured = self.once(case, &systems[place], round == 0 && case.counts_calls);
                if self.stop.is_raised() {
                    return Err("stopped".to_owned());
                }
                match measured {
                    Ok(measured) => {
                        line += &format!("  {name} {:.0}", measured[0].unwrap_or_default());
                        rows[place].1[round] = measured;
                    }
                    // The others are worth their time all the same.
                    Err(why) => {
                        let at = format!("{}, {name}, round {}", case.name, round + 1);
                        self.remark(format!("Failed: {at}: {why}"));
                    }
                }
            }
            say(&line);
        }
        let rows = rows.into_iter().map(|(system, rounds)| Row { case: *case, system, rounds });
        Ok(rows.filter(|row| row.values(Rate).next().is_some()).collect())
    }

    fn once(&mut self, case: &Case, system: &System, counts: bool) -> Result<Measurement, String> {
        let System { address, pids, .. } = system;
        let before = memory(pids);
        let idle = open(*address, case.idle, self.stop)?;
        let grown = memory(pids).zip(before).map(|(now, then)| now.saturating_sub(then) as f64);
        let (_, mut measured) = self.load(case, system, self.length)?;
        if let Some(perf) = self.perf.clone().filter(|_| counts) {
            let mut good = 0.0;
            let mut work = || self.load(case, system, COUNTED).map(|(n, _)| good = n);
            let calls = count_calls(&perf, pids, &self.folder, self.stop, &mut work)?;
            measured[Calls as usize] = calls.map(|calls| calls as f64 / good);
            // Where it may not count once it may not count at all.
            self.perf = calls.map(|_| perf);
        }
        let grown = grown.filter(|_| case.idle > 0);
        measured[IdleMemory as usize] = grown.map(|bytes| bytes / case.idle as f64);
        // The next measurement is not to pay for the end of these connections; a gateway's own to
        // its backends may stay.
        let left = descriptors(pids).saturating_sub(idle.len() * 9 / 10);
        drop(idle);
        let deadline = Instant::now() + PATIENCE;
        while descriptors(pids) > left && Instant::now() < deadline {
            pause(self.stop)?;
        }
        Ok(measured)
    }

    /// The active connections alone: the number of good answers, and all figures.
    fn load(
        &self,
        case: &Case,
        system: &System,
        length: Duration,
    ) -> Result<(f64, Measurement), String> {
        let url = format!("http://{}{}", system.address, case.path);
        let look = || (cpu::Cpu::of(&system.pids), preemptions(&system.pids));
        let then = look();
        let (good, mut measured) = match &self.wrk {
            Some(wrk) if case.by_wrk => by_wrk(wrk, case, &url, length, self.stop)?,
            _ => by_bench(case, &url, length, self.stop)?,
        };
        let now = look();
        if good < 1.0 {
            return Err(format!("{url}: no good answer"));
        }
        if let (Some(now), Some(then)) = (now.0, then.0) {
            measured[Cpu as usize] = Some(now.since(&then).as_secs_f64() * 1e6 / good);
            measured[Kernel as usize] = now.kernel_share_since(&then).map(|share| share * 100.0);
        }
        // A thread that ends takes its count with it.
        let counts = now.1.zip(then.1).filter(|_| system.name != "thread_server");
        let preempted = counts.map(|(now, then)| now.saturating_sub(then));
        measured[Preempted as usize] = preempted.map(|times| times as f64 * 1e3 / good);
        Ok((good, measured))
    }
}

/// What a load generator says of itself.
fn told(rate: f64, p99: Option<f64>, bad: f64, megabytes: Option<f64>) -> Measurement {
    let mut measured = Measurement::default();
    measured[Rate as usize] = Some(rate);
    measured[P99 as usize] = p99;
    measured[Bad as usize] = Some(bad);
    measured[MegaBytes as usize] = megabytes;
    measured
}

fn by_bench(
    case: &Case,
    url: &str,
    length: Duration,
    stop: &Stop,
) -> Result<(f64, Measurement), String> {
    let mut plan = Plan::new(url)?;
    plan.requests = u64::MAX;
    plan.concurrency = case.connections;
    plan.time_limit = Some(length);
    plan.keep_alive = case.keep_alive;
    plan.go_on = true;
    let outcome = bench::run(&plan, stop)?;
    let (good, tally) = (outcome.tally.good as f64, &outcome.tally);
    let seconds = outcome.wall.as_secs_f64().max(1e-9);
    let p99 = tally.total.quantile(0.99) as f64 / 1e6;
    let megabytes = tally.html as f64 / 1e6 / seconds;
    Ok((good, told(good / seconds, Some(p99), tally.done as f64 - good, Some(megabytes))))
}

fn by_wrk(
    wrk: &Path,
    case: &Case,
    url: &str,
    length: Duration,
    stop: &Stop,
) -> Result<(f64, Measurement), String> {
    // It takes whole seconds only.
    let seconds = length.as_secs_f64().ceil().max(1.0);
    let mut command = Command::new(wrk);
    command
        .args(["--latency", "-t", &case.connections.min(2).to_string()])
        .args(["-c", &case.connections.to_string()])
        .args(["-d", &format!("{seconds}s"), url]);
    let text = output(&mut command, length + SLACK, stop)?;
    read_wrk(&text).ok_or_else(|| "wrk said something that is not understood".to_owned())
}

/// wrk counts answers with another status as good ones, and names them below.
fn read_wrk(text: &str) -> Option<(f64, Measurement)> {
    let behind = |label| text.lines().find_map(|line| line.trim_start().strip_prefix(label));
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let all: f64 = line.split_whitespace().next()?.parse().ok()?;
    let other = behind("Non-2xx or 3xx responses:").map_or(Some(0.0), |n| n.trim().parse().ok())?;
    let words = behind("Socket errors:").unwrap_or_default().split([' ', ',']);
    let errors: f64 = words.filter_map(|word| word.parse::<f64>().ok()).sum();
    let rate: f64 = behind("Requests/sec:")?.trim().parse().ok()?;
    let p99 = behind("99%").and_then(|p| milliseconds(p.trim()));
    let good = all - other;
    Some((good, told(rate * good / all.max(1.0), p99, errors + other, None)))
}

/// `812.00us`, `1.23ms`, `1.05s`
fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

/// Opens so many connections that have had an answer and now say nothing.
fn open(address: SocketAddr, count: usize, stop: &Stop) -> Result<Vec<TcpStream>, String> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count && !stop.is_raised() {
        let begun = streams.len();
        let opened = (begun..count.min(begun + BATCH)).try_for_each(|_| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(REQUEST)?;
            streams.push(stream);
            Ok(())
        });
        let answered = opened.and_then(|()| streams[begun..].iter().try_for_each(read_answer));
        answered.map_err(|e| format!("{address}: idle connection {begun} of {count}: {e}"))?;
    }
    Ok(streams)
}

fn read_answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(HOME.as_bytes()) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_report_is_read() {
        let text = "Running 2s test @ http://127.0.0.1:1/\n  2 threads and 64 connections\n\
            \x20 Latency Distribution\n     50%  535.00us\n     99%    1.25ms\n\
            \x20 100 requests in 2.00s, 20.00MB read\n\
            \x20 Socket errors: connect 0, read 3, write 0, timeout 1\n\
            \x20 Non-2xx or 3xx responses: 20\nRequests/sec:     50.00\nTransfer/sec:     12.62MB\n";
        let wanted = (80.0, told(40.0, Some(1.25), 24.0, None));
        assert_eq!(read_wrk(text), Some(wanted));
        assert_eq!(read_wrk("unable to connect"), None);
        assert_eq!(milliseconds("500.00us"), Some(0.5));
        assert_eq!(milliseconds("2.00s"), Some(2000.0));
        assert_eq!(milliseconds("fast"), None);
    }
}
