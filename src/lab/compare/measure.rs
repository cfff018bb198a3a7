//! One kind of work on all its systems in turn, round after round: plans for bench, with the
//! processes around them. Without `/proc` there are rates alone.
//!
//! Entry point: [`Comparison::measure`].

use super::rows::{RATE, Row};
use super::{Comparison, List};
use crate::bench::Plan;
use crate::bench::cpu::{number_behind, numbers_in, stat};
use crate::bench::rounds::{self, Turn, WARMUP};
use crate::cli::Result;
use crate::lab::fleet::{Fleet, Server};
use crate::lab::process::say;

/// What `/` answers, everywhere.
pub(super) const HOME: &str = "Ini Adalah web Server percobaan";

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

    /// Its load on a system of that name, whose clients go to `front`.
    pub fn on(&self, name: &str, front: &Server, backends: &[Server]) -> Result<Plan> {
        Ok(Plan {
            requests: u64::MAX,
            concurrency: self.connections,
            keep_alive: self.keep_alive,
            go_on: true,
            idle: self.idle,
            processes: backends.iter().chain([front]).map(|server| server.pid).collect(),
            ..Plan::new(&format!("{name}=http://{}{}", front.address, self.path))?
        })
    }
}

impl Comparison<'_> {
    /// Each case that is wanted, on all the systems that are started for it.
    pub fn measure(&mut self, list: &List) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for case in &list.cases {
            if !self.only.is_empty() && !self.only.contains(&case.name) {
                continue;
            }
            say(&case.title);
            let mut fleet = Fleet::new(&self.folder, &self.site, self.stop)?;
            let plans = (list.start)(&mut fleet, case)?;
            rows.extend(self.in_turn(case, plans)?);
            fleet.check_running()?;
        }
        Ok(rows)
    }

    fn in_turn(&mut self, case: &Case, mut plans: Vec<Plan>) -> Result<Vec<Row>> {
        // Only now: a program's workers are born a moment after it listens.
        for plan in &mut plans {
            plan.time_limit = Some(self.length);
            plan.processes = plan.processes.iter().flat_map(|pid| family(*pid)).collect();
        }
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
    let children = numbers_in("/proc").into_iter();
    let children = children.filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == root));
    [root].into_iter().chain(children.flat_map(family)).collect()
}

/// Whether we are root: nginx's workers would else give that up, and could not read our files.
pub(super) fn is_root() -> bool {
    number_behind("Uid:", "/proc/self/status") == Some(0)
}
