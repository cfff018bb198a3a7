//! scan, poll and epoll below the same server, with ever more connections of which few say
//! anything: what does it cost to find out who is ready?
//!
//! Entry point: [`list`].

use super::measure::Case;
use super::others::IDLE_SECONDS;
use super::rows::{CPU, RATE, chart};
use super::{Comparison, List};
use crate::bench::Plan;
use crate::bench::stats::Spread;
use crate::lab::fleet::Fleet;
use crate::net::poller::Kind;

/// Connections in all.
const SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// Of these, so many have a request under way.
const ACTIVE: usize = 8;

/// All sizes; within each all pollers in turn, each with a server of its own.
pub(super) fn list<'a>(compare: &mut Comparison) -> Result<List<'a>, String> {
    let most = compare.reachable_idle(1)?;
    let cases = SIZES.map(|size| {
        let (name, active) = (size.to_string(), size.min(ACTIVE));
        Case { idle: size.min(most) - active, ..Case::new(&name, name.clone(), "/", active) }
    });
    Ok(List {
        title: "Who is ready? scan, poll and epoll",
        method: format!(
            "`async_server` with each poller; {ACTIVE} connections at most have a request for 31 bytes under way, the others have had one and \
             say nothing more. CPU: user and system time of the server."
        ),
        heading: "Pollers",
        columns: ["Connections", "Poller"],
        below: "Ratios: to epoll, with as many connections, round by round.",
        cases: cases.to_vec(),
        start: Box::new(|fleet, case| {
            Kind::ALL.iter().map(|kind| start(fleet, case, *kind)).collect()
        }),
        reference: |case, _| case.iter().find(|row| row.cell.name() == "epoll"),
        pairs: |_| Vec::new(),
        charts: |rows| {
            let systems: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            let chart = |title, y_label, figure| {
                let labels = ["open connections", y_label];
                chart(title, labels, rows, &systems, &|_, row| Spread::of(row.values(figure)))
            };
            let (rate, cpu) = ("requests/s (log scale)", "µs (log scale)");
            vec![
                ("pollers-rate", chart("Requests per second", rate, RATE)),
                ("pollers-cpu", chart("CPU time per request", cpu, CPU)),
            ]
        },
    })
}

fn start(fleet: &mut Fleet, case: &Case, kind: Kind) -> Result<Plan, String> {
    let idle = format!("--idle-timeout={IDLE_SECONDS}s");
    let arguments = ["--quiet", &idle, "--poller", kind.name()];
    case.on(kind.name(), &fleet.start("async_server", 0, &arguments)?, &[])
}
