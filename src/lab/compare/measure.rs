//! One measurement: a system under the load of a case, with what its processes used meanwhile;
//! and all systems of all cases in turn, round after round. Without `/proc` it has rates alone.
//!
//! Entry point: [`Comparison::measure`].

use super::rows::{Figure::*, Measurement, Row};
use super::{Comparison, List};
use crate::bench::cpu::{self, numbers_in, stat};
use crate::bench::rounds::WARMUP;
use crate::bench::{self, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::{Fleet, Server};
use crate::lab::process::{pause, say};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// As `--only` names it.
    pub name: String,
    /// The same, and what it is, in a few words.
    pub title: String,
    pub path: &'static str,
    /// With a request under way.
    pub connections: usize,
    pub keep_alive: bool,
    /// How many more are open beside them and say nothing.
    pub idle: usize,
}

impl Case {
    /// On kept connections, none of them idle.
    pub fn new(name: &str, title: String, path: &'static str, connections: usize) -> Case {
        Case { name: name.to_owned(), title, path, connections, keep_alive: true, idle: 0 }
    }
}

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
    /// Each case that is wanted, on all the systems that are started for it.
    pub fn measure(&mut self, list: &List) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        for case in &list.cases {
            if !self.only.is_empty() && !self.only.contains(&case.name) {
                continue;
            }
            say(&case.title);
            let mut fleet = Fleet::new(&self.folder, &self.site, self.stop)?;
            let systems = (list.start)(&mut fleet, case)?;
            rows.extend(self.in_turn(case, systems)?);
            fleet.check_running()?;
        }
        Ok(rows)
    }

    /// All systems, round after round, each round with another one first.
    fn in_turn(&mut self, case: &Case, mut systems: Vec<System>) -> Result<Vec<Row>, String> {
        // Only now: a program's workers are born a moment after it listens.
        for system in &mut systems {
            system.pids = system.pids.iter().flat_map(|pid| family(*pid)).collect();
            load(case, system, WARMUP, self.stop)?;
        }
        let rounds = self.rounds;
        let mut rows: Vec<Row> = systems.iter().map(|s| Row::new(case, &s.name, rounds)).collect();
        for round in 0..rounds {
            say(&format!("      round {}/{rounds}", round + 1));
            for place in (0..systems.len()).map(|i| (i + round) % systems.len()) {
                let measured = once(case, &systems[place], self.length, self.stop);
                if self.stop.is_raised() {
                    return Err("stopped".to_owned());
                }
                // If one fails, the others are worth their time all the same.
                rows[place].rounds[round] = measured.unwrap_or_else(|why| {
                    let (case, name) = (&case.name, &systems[place].name);
                    self.remark(format!("Failed: {case}, {name}, round {}: {why}", round + 1));
                    Measurement::default()
                });
            }
        }
        rows.retain(|row| row.values(Rate).next().is_some());
        Ok(rows)
    }
}

/// With its idle connections.
fn once(case: &Case, system: &System, time: Duration, stop: &Stop) -> Result<Measurement, String> {
    let pids = &system.pids;
    let before = memory(pids);
    let idle = open(system.address, case.idle, stop)?;
    let grown = memory(pids).zip(before).map(|(now, then)| now.saturating_sub(then) as f64);
    let mut measured = load(case, system, time, stop)?;
    let grown = grown.filter(|_| case.idle > 0);
    measured[IdleMemory as usize] = grown.map(|bytes| bytes / case.idle as f64);
    // The next measurement is not to pay for the end of these connections; a gateway's own to its
    // backends may stay.
    let left = descriptors(pids).saturating_sub(idle.len() * 9 / 10);
    drop(idle);
    let deadline = Instant::now() + PATIENCE;
    while descriptors(pids) > left && Instant::now() < deadline {
        pause(stop)?;
    }
    Ok(measured)
}

fn load(case: &Case, system: &System, time: Duration, stop: &Stop) -> Result<Measurement, String> {
    let url = format!("http://{}{}", system.address, case.path);
    let plan = Plan {
        requests: u64::MAX,
        concurrency: case.connections,
        time_limit: Some(time),
        keep_alive: case.keep_alive,
        go_on: true,
        ..Plan::new(&url)?
    };
    let (used, lost) = (cpu::Cpu::of(&system.pids), preempted(&system.pids));
    let outcome = bench::run(&plan, stop)?;
    let used = cpu::Cpu::of(&system.pids).zip(used);
    let lost = preempted(&system.pids).zip(lost);
    let good = outcome.tally.good as f64;
    if good < 1.0 {
        return Err(format!("{url}: no good answer"));
    }
    let mut measured = Measurement::default();
    measured[Rate as usize] = Some(good / outcome.wall.as_secs_f64().max(1e-9));
    measured[P99 as usize] = Some(outcome.tally.total.quantile(0.99) as f64 / 1e6);
    measured[Bad as usize] = Some(outcome.tally.done as f64 - good);
    if let Some((now, then)) = used {
        measured[Cpu as usize] = Some(now.since(&then).as_secs_f64() * 1e6 / good);
        measured[Kernel as usize] = now.kernel_share_since(&then).map(|share| share * 100.0);
    }
    // A thread that ends takes its count with it.
    let lost = lost.filter(|_| system.name != "thread_server");
    let times = lost.map(|(now, then)| now.saturating_sub(then) as f64);
    measured[Preempted as usize] = times.map(|times| times * 1e3 / good);
    Ok(measured)
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

/// How often the threads of these that now live lost a core that they still wanted.
fn preempted(pids: &[u32]) -> Option<u64> {
    let threads = |pid: &u32| {
        let folder = format!("/proc/{pid}/task");
        let threads = numbers_in(&folder).into_iter();
        threads.filter_map(move |thread| {
            field(&format!("{folder}/{thread}/status"), "nonvoluntary_ctxt_switches:")
        })
    };
    pids.iter().map(|pid| threads(pid).reduce(|a, b| a + b)).sum()
}

/// The first number behind a label of a `status` file.
fn field(path: &str, label: &str) -> Option<u64> {
    let status = fs::read_to_string(path).ok()?;
    let rest = status.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The process and all that descend from it.
fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        numbers_in("/proc").into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
    let mut family = vec![root];
    let mut known = 0;
    while known < family.len() {
        let parent = family[known];
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        known += 1;
    }
    family
}

/// Bytes of memory that belong to these processes alone: no program text, no file contents.
fn memory(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| field(&format!("/proc/{pid}/status"), "RssAnon:").map(|kib| kib * 1024);
    pids.iter().map(of).sum()
}

fn descriptors(pids: &[u32]) -> usize {
    pids.iter().map(|pid| numbers_in(&format!("/proc/{pid}/fd")).len()).sum()
}

/// Whether we are root: nginx's workers would else give that up, and could not read our files.
pub(super) fn is_root() -> bool {
    field("/proc/self/status", "Uid:") == Some(0)
}
