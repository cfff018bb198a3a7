//! One measurement: a system under the load of a case, by bench or wrk, with what its processes
//! used meanwhile; and all systems of a case in turn, round after round.
//!
//! Entry point: [`Instrument::measure`].

use super::Settings;
use super::calls::count_calls;
use crate::bench::cpu::Cpu;
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use crate::bench::verdict::Pair;
use crate::bench::{self, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::Server;
use crate::lab::process::{installed, output, pause, say};
use crate::lab::usage::{descriptors, family, memory, preemptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
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
    /// What it is, in a few words.
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
    title: "31 bytes, 64 keep-alive connections",
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

/// What was seen. None: it could not be found out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Measurement {
    /// Good answers.
    pub good: f64,
    /// The same per second.
    pub rate: f64,
    /// In milliseconds.
    pub p99: Option<f64>,
    /// Microseconds per good answer, user and system, all processes.
    pub cpu: Option<f64>,
    /// Which part of it in the kernel.
    pub kernel: Option<f64>,
    /// Bytes of bodies per second.
    pub bytes: Option<f64>,
    /// Requests that failed or had another status than 2xx.
    pub bad: u64,
    /// How often its threads lost a core that they still wanted, per 1,000 good answers.
    pub preempted: Option<f64>,
    /// System calls per good answer, in a run of their own.
    pub calls: Option<f64>,
    /// Bytes of memory that each idle connection took.
    pub idle_memory: Option<f64>,
}

/// One of its figures.
pub(super) type Figure = fn(&Measurement) -> Option<f64>;
pub(super) const RATE: Figure = |m| Some(m.rate);
pub(super) const CPU: Figure = |m| m.cpu;

/// What was measured of a system in a case.
#[derive(Debug)]
pub(super) struct Row {
    pub case: Case,
    pub system: String,
    /// None for a round that failed.
    pub rounds: Vec<Option<Measurement>>,
}

impl Row {
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.iter().flatten().filter_map(figure))
    }

    pub fn median(&self, figure: Figure) -> Option<f64> {
        Some(self.spread(figure)?.median)
    }

    /// A figure of both in the rounds in which both have it.
    fn both(&self, other: &Row, figure: Figure) -> [Vec<f64>; 2] {
        let of = |round: &Option<Measurement>| round.as_ref().and_then(figure);
        let rounds = self.rounds.iter().zip(&other.rounds);
        let (mine, theirs) = rounds.filter_map(|(a, b)| of(a).zip(of(b))).unzip();
        [mine, theirs]
    }

    /// A figure divided by the other's, round by round.
    pub fn ratio(&self, other: &Row, figure: Figure) -> Option<Spread> {
        let [mine, theirs] = self.both(other, figure);
        Spread::of(mine.iter().zip(theirs).map(|(a, b)| a / b.max(f64::MIN_POSITIVE)))
    }

    /// To be judged by a figure; its name where it is one that should be low.
    pub fn pair(&self, other: &Row, figure: Figure, low_is_good: &'static str) -> Pair {
        Pair {
            place: self.case.name.to_owned(),
            names: [self.system.clone(), other.system.clone()],
            samples: self.both(other, figure),
            low_is_good,
        }
    }
}

/// Every measurement.
pub(super) fn csv(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "case",
        "system",
        "round",
        "idle_connections",
        "requests_per_second",
        "p99_ms",
        "cpu_us_per_request",
        "kernel_share",
        "bytes_per_second",
        "preempted_per_1000_requests",
        "system_calls_per_request",
        "bytes_per_idle_connection",
        "bad",
    ]);
    for row in rows {
        for (round, m) in (1..).zip(&row.rounds) {
            let Some(m) = m else { continue };
            let figures = [Some(m.rate), m.p99, m.cpu, m.kernel, m.bytes];
            let others = [m.preempted, m.calls, m.idle_memory];
            let figures = figures.into_iter().chain(others);
            let mut cells = vec![row.case.name.to_owned(), row.system.clone()];
            cells.extend([round, row.case.idle].map(|n| n.to_string()));
            cells.extend(figures.map(|f| f.map_or_else(String::new, |f| format!("{f:.3}"))));
            cells.push(m.bad.to_string());
            table.rows.push(cells);
        }
    }
    table.csv()
}

/// How all measurements are made.
pub(super) struct Instrument<'a> {
    length: Duration,
    rounds: usize,
    folder: PathBuf,
    pub wrk: Option<PathBuf>,
    perf: Option<PathBuf>,
    stop: &'a Stop,
    /// What a reader of the tables has to know.
    pub remarks: Vec<String>,
}

impl<'a> Instrument<'a> {
    pub fn new(settings: &Settings<'a>) -> Instrument<'a> {
        Instrument {
            length: settings.length,
            rounds: settings.rounds,
            folder: settings.folder.clone(),
            wrk: installed(&["wrk"]),
            perf: installed(&["perf"]),
            stop: settings.stop,
            remarks: Vec::new(),
        }
    }

    pub fn remark(&mut self, what: String) {
        say(&what);
        self.remarks.push(what);
    }

    /// All systems in turn, round after round, each round with another one first.
    pub fn measure(&mut self, case: &Case, systems: &mut [System]) -> Result<Vec<Row>, String> {
        // Only now: a program's workers are born a moment after it listens.
        for system in &mut *systems {
            system.pids = system.pids.iter().flat_map(|pid| family(*pid)).collect();
            self.load(case, system, WARMUP)?;
        }
        let row = |s: &System| Row { case: *case, system: s.name.clone(), rounds: Vec::new() };
        let mut rows: Vec<Row> = systems.iter().map(row).collect();
        // wrk takes a second at least, and is a cross-check alone.
        let rounds = if case.by_wrk { self.rounds.div_ceil(2) } else { self.rounds };
        for round in 0..rounds {
            let mut line = format!("      round {}/{rounds}:", round + 1);
            for place in (0..systems.len()).map(|i| (i + round) % systems.len()) {
                let name = &systems[place].name;
                let measured = self.once(case, &systems[place], round == 0 && case.counts_calls);
                if self.stop.is_raised() {
                    return Err("stopped".to_owned());
                }
                if let Ok(m) = &measured {
                    line.push_str(&format!("  {name} {:.0}", m.rate));
                }
                // The others are worth their time all the same.
                let measured = measured.map_err(|why| {
                    let at = format!("{}, {name}, round {}", case.name, round + 1);
                    self.remark(format!("Failed: {at}: {why}"));
                });
                rows[place].rounds.push(measured.ok());
            }
            say(&line);
        }
        Ok(rows.into_iter().filter(|row| row.rounds.iter().any(Option::is_some)).collect())
    }

    fn once(&mut self, case: &Case, system: &System, counts: bool) -> Result<Measurement, String> {
        let System { address, pids, .. } = system;
        let before = memory(pids);
        let idle = open(*address, case.idle, self.stop)?;
        let grown = memory(pids).zip(before).map(|(now, then)| now.saturating_sub(then) as f64);
        let mut measured = self.load(case, system, self.length)?;
        if counts && let Some(perf) = self.perf.clone() {
            let mut good = 0.0;
            let mut work = || self.load(case, system, COUNTED).map(|m| good = m.good);
            let calls = count_calls(&perf, pids, &self.folder, self.stop, &mut work)?;
            measured.calls = calls.map(|calls| calls as f64 / good.max(1.0));
        }
        measured.idle_memory =
            grown.filter(|_| case.idle > 0).map(|bytes| bytes / case.idle as f64);
        close(idle, pids, self.stop)?;
        Ok(measured)
    }

    /// The active connections alone.
    fn load(&self, case: &Case, system: &System, length: Duration) -> Result<Measurement, String> {
        let url = format!("http://{}{}", system.address, case.path);
        let before = (Cpu::of(&system.pids), preemptions(&system.pids));
        let mut measured = match &self.wrk {
            Some(wrk) if case.by_wrk => by_wrk(wrk, case, &url, length, self.stop)?,
            _ => by_bench(case, &url, length, self.stop)?,
        };
        let after = (Cpu::of(&system.pids), preemptions(&system.pids));
        let good = measured.good;
        if good < 1.0 {
            return Err(format!("{url}: no good answer"));
        }
        if let (Some(now), Some(then)) = (after.0, before.0) {
            measured.cpu = Some(now.since(&then).as_secs_f64() * 1e6 / good);
            measured.kernel = now.kernel_share_since(&then);
        }
        let preempted = after.1.zip(before.1).map(|(now, then)| now.saturating_sub(then));
        measured.preempted = preempted.map(|times| times as f64 * 1e3 / good);
        Ok(measured)
    }
}

fn by_bench(case: &Case, url: &str, length: Duration, stop: &Stop) -> Result<Measurement, String> {
    let plan = Plan {
        requests: u64::MAX,
        concurrency: case.connections,
        time_limit: Some(length),
        keep_alive: case.keep_alive,
        go_on: true,
        ..Plan::new(url)?
    };
    let outcome = bench::run(&plan, stop)?;
    let good = outcome.good() as f64;
    let seconds = outcome.wall.as_secs_f64().max(1e-9);
    Ok(Measurement {
        good,
        rate: good / seconds,
        p99: Some(outcome.tally.total.quantile(0.99) as f64 / 1e6),
        bytes: Some(outcome.tally.html as f64 / seconds),
        bad: outcome.tally.done - outcome.good(),
        ..Measurement::default()
    })
}

fn by_wrk(
    wrk: &PathBuf,
    case: &Case,
    url: &str,
    length: Duration,
    stop: &Stop,
) -> Result<Measurement, String> {
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
fn read_wrk(text: &str) -> Option<Measurement> {
    let behind = |label| text.lines().find_map(|line| line.trim_start().strip_prefix(label));
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let all: f64 = line.split_whitespace().next()?.parse().ok()?;
    let other = behind("Non-2xx or 3xx responses:").map_or(Some(0.0), |n| n.trim().parse().ok())?;
    let words = behind("Socket errors:").unwrap_or_default().split([' ', ',']);
    let errors: u64 = words.filter_map(|word| word.parse::<u64>().ok()).sum();
    let rate: f64 = behind("Requests/sec:")?.trim().parse().ok()?;
    Some(Measurement {
        good: all - other,
        rate: rate * (all - other) / all.max(1.0),
        p99: behind("99%").and_then(|p| milliseconds(p.trim())),
        bad: errors + other as u64,
        ..Measurement::default()
    })
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
        let batch = BATCH.min(count - begun);
        let opened = (0..batch).try_for_each(|_| {
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

/// Closes them, and waits until the server has closed nearly as many: the next measurement
/// is not to pay for it. A gateway's connections to its backends may stay.
fn close(idle: Vec<TcpStream>, pids: &[u32], stop: &Stop) -> Result<(), String> {
    let left = descriptors(pids).saturating_sub(idle.len() * 9 / 10);
    drop(idle);
    let deadline = Instant::now() + PATIENCE;
    while descriptors(pids) > left && Instant::now() < deadline {
        pause(stop)?;
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
        let read = read_wrk(text).expect("whole");
        assert_eq!((read.good, read.rate, read.bad), (80.0, 40.0, 24));
        assert_eq!(read.p99, Some(1.25));
        assert_eq!(read_wrk("unable to connect"), None);
        assert_eq!(milliseconds("500.00us"), Some(0.5));
        assert_eq!(milliseconds("2.00s"), Some(2000.0));
        assert_eq!(milliseconds("fast"), None);
    }
}
