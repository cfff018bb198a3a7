//! One kind of work on all its systems in turn, round after round: plans for bench, with the
//! processes around them. Without `/proc` there are rates alone.
//!
//! Entry point: [`Comparison::measure`].

use super::rows::{RATE, Row};
use super::{Comparison, List};
use crate::bench::Plan;
use crate::bench::cpu::{number_behind, numbers_in, stat};
use crate::bench::rounds::{self, Turn, WARMUP};
use crate::lab::fleet::{Fleet, Server};
use crate::lab::process::say;
use std::net::SocketAddr;
use std::time::Duration;

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

    fn plan(&self, system: &System, length: Duration) -> Result<Plan, String> {
        let (System { name, address, pids }, path) = (system, self.path);
        Ok(Plan {
            requests: u64::MAX,
            concurrency: self.connections,
            time_limit: Some(length),
            keep_alive: self.keep_alive,
            go_on: true,
            idle: self.idle,
            processes: pids.iter().flat_map(|pid| family(*pid)).collect(),
            ..Plan::new(&format!("{name}=http://{address}{path}"))?
        })
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
            rows.extend(self.in_turn(case, &systems)?);
            fleet.check_running()?;
        }
        Ok(rows)
    }

    fn in_turn(&mut self, case: &Case, systems: &[System]) -> Result<Vec<Row>, String> {
        // Only now: a program's workers are born a moment after it listens.
        let plans = systems.iter().map(|system| case.plan(system, self.length));
        let plans = plans.collect::<Result<Vec<Plan>, String>>()?;
        let (name, mut failed, mut told) = (&case.name, Vec::new(), 0);
        let watch = &mut |turn: &Turn| {
            let Turn { round, rounds, plan, outcome } = turn;
            if *round > told {
                say(&format!("      round {round}/{rounds}"));
                told = *round;
            }
            // If one fails, the others are worth their time all the same.
            if *round > 0 && outcome.tally.good == 0 {
                let why = outcome.failure().unwrap_or_else(|| "no good answer".to_owned());
                failed.push(format!("Failed: {name}, {}, round {round}: {why}", plan.target.name));
            }
        };
        let measured = rounds::measure(&plans, self.rounds, WARMUP, self.stop, watch);
        if self.stop.is_raised() {
            return Err("stopped".to_owned());
        }
        failed.extend(measured.broken.map(|why| format!("Failed: {name}: {why}")));
        failed.into_iter().for_each(|what| self.remark(what));
        let rows = measured.cells.into_iter().map(|cell| Row { case: case.clone(), cell });
        Ok(rows.filter(|row| row.median(RATE).is_some()).collect())
    }
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

/// Whether we are root: nginx's workers would else give that up, and could not read our files.
pub(super) fn is_root() -> bool {
    number_behind("Uid:", "/proc/self/status") == Some(0)
}
