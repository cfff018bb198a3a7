//! This program beside nginx and HAProxy, and beside the floor.
//!
//! Entry point: [`list`].

use super::measure::Case;
use super::others::{IDLE_SECONDS, Others};
use super::rows::{CPU, RATE, Row, chart};
use super::{Comparison, List, OTHER_DESCRIPTORS};
use crate::bench::Plan;
use crate::bench::plan::cores;
use crate::bench::verdict::Pair;
use crate::cli::Result;
use crate::lab::chart::Chart;
use crate::lab::fleet::{Fleet, Server};
use crate::lab::process::installed;

/// In the order of the table. Last stands what leaves thousands of closed connections behind.
pub(super) fn cases(idle: usize) -> [Case; 6] {
    let case = |name, what, path, n| Case::new(name, format!("{name}: {what}"), path, n);
    [
        case("keep-alive", "31 bytes, 64 keep-alive connections", "/", 64),
        case("one", "31 bytes, 1 keep-alive connection", "/", 1),
        case("image", "75 KB, 64 keep-alive connections", "/readiness.jpg", 64),
        case("large", "8 MiB, 8 keep-alive connections", "/large.bin", 8),
        Case { idle, ..case("idle", "31 bytes, 64 active beside idle connections", "/", 64) },
        Case {
            keep_alive: false,
            ..case("close", "31 bytes, a connection each, 100 at a time", "/", 100)
        },
    ]
}

const NGINX: &str = "nginx";
const NGINX_LB: &str = "nginx + 4 nginx";
const HAPROXY: &str = "HAProxy + 4 nginx";
/// Ours, which are judged.
const OURS: [&str; 4] =
    ["async_server", "thread_server", "lb + 4 async_servers", "lb --pipeline 32 + 4"];

pub(super) fn list<'a>(compare: &mut Comparison) -> Result<List<'a>> {
    // A load balancer keeps a second descriptor ready for each client: its backend's.
    let idle = compare.reachable_idle(2)?;
    let (nginx, haproxy) = (installed("nginx"), installed("haproxy"));
    for (program, name) in [(&nginx, "nginx"), (&haproxy, "HAProxy")] {
        if program.is_none() {
            compare.remark(format!("{name} is not installed: it is left out"));
        }
    }
    let connections = idle as u64 + OTHER_DESCRIPTORS / 2;
    let others = Others { connections, nginx, haproxy };
    Ok(List {
        title: "progjar beside nginx and HAProxy",
        method: format!(
            "Clients, servers and backends share one machine and its loopback interface. CPU: user and system time of a system's \
             processes, backends included. {} workers for each load balancer, 1 for each server; no logs.",
            cores()
        ),
        heading: "Cases",
        columns: ["Case", "System"],
        below: "Ratios: to nginx for the servers, to the better of nginx and HAProxy for the load balancers, in the same case, round by \
             round; rate above 1 and CPU below 1 are good. Bad: failed requests and other statuses than 2xx, all rounds. \
             Preempted: how often a thread lost its core though it had work left; thread_server's threads take their counts with them. Bytes per idle connection: \
             growth of the processes' own memory (RssAnon) while these were opened, each after one answer; the highest of the rounds. \
             What nginx and HAProxy set aside at their start is not in it.",
        cases: cases(idle).to_vec(),
        start: Box::new(move |fleet, case| start(fleet, case, &others)),
        reference,
        pairs,
        charts,
    })
}

/// All systems that can do the case, each with its backends: servers first.
fn start(fleet: &mut Fleet, case: &Case, others: &Others) -> Result<Vec<Plan>> {
    let common = [
        "--quiet".to_owned(),
        format!("--idle-timeout={IDLE_SECONDS}s"),
        format!("--max-connections={}", others.connections),
    ];
    // A floor knows one answer, and closes no connection.
    let has_floor = case.path == "/" && case.idle == 0 && case.keep_alive;
    let mut systems = Vec::new();
    let mut add = |name: &str, front: &Server, backends: &[Server]| {
        case.on(name, front, backends).map(|plan| systems.push(plan))
    };
    for topic in ["async_server", "thread_server"] {
        add(topic, &fleet.start(topic, 0, &common)?, &[])?;
    }
    if others.nginx.is_some() {
        add(NGINX, &others.run_nginx(fleet, NGINX, &[])?, &[])?;
    }
    if has_floor {
        add("floor", &fleet.start::<&str>("floor", 0, &[])?, &[])?;
    }
    let backends = four(|_| fleet.start("async_server", 0, &common))?;
    for (name, depth) in [(OURS[2], "--pipeline=1"), (OURS[3], "--pipeline=32")] {
        let arguments = [&balancing(&backends)[..], &common, &[depth.to_owned()]].concat();
        add(name, &fleet.start("lb", 0, &arguments)?, &backends)?;
    }
    if others.nginx.is_some() {
        let backends = four(|i| others.run_nginx(fleet, &format!("nginx-backend-{i}"), &[]))?;
        add(NGINX_LB, &others.run_nginx(fleet, "nginx-lb", &backends)?, &backends)?;
        if others.haproxy.is_some() {
            add(HAPROXY, &others.run_haproxy(fleet, &backends)?, &backends)?;
        }
    }
    if has_floor {
        let backends = four(|_| fleet.start::<&str>("floor", 0, &[]))?;
        add("floor + 4 floors", &fleet.start("floor", 0, &balancing(&backends))?, &backends)?;
    }
    Ok(systems)
}

/// Backends of a load balancer, as in the assignment.
pub(super) fn four(start: impl FnMut(usize) -> Result<Server>) -> Result<Vec<Server>> {
    (1..=4).map(start).collect()
}

/// What a load balancer of ours is told: its backends, and as many workers as all others have.
pub(super) fn balancing(backends: &[Server]) -> Vec<String> {
    let backends = backends.iter().map(|b| format!("--backend={}", b.address));
    backends.chain([format!("--workers={}", cores())]).collect()
}

/// The names of all load balancers say what stands behind them.
fn is_lb(system: &str) -> bool {
    system.contains(" + ")
}

/// What a system of this case is measured by: nginx, or the better of the other load balancers.
fn reference<'a>(case: &'a [Row], system: &str) -> Option<&'a Row> {
    let others: &[&str] = if is_lb(system) { &[NGINX_LB, HAPROXY] } else { &[NGINX] };
    let rate = |row: &&Row| row.median(RATE).unwrap_or(0.0);
    let rated = case.iter().filter(|row| others.contains(&row.cell.name()));
    rated.max_by(|a, b| rate(a).total_cmp(&rate(b)))
}

/// Ours, beside their reference.
fn pairs(case: &[Row]) -> Vec<Pair> {
    let ours = case.iter().filter(|row| row.case.idle == 0 && OURS.contains(&row.cell.name()));
    let pair = |row: &Row| Some(row.pair(reference(case, row.cell.name())?, RATE, ""));
    ours.filter_map(pair).collect()
}

/// Ratios to the reference, where there is one.
fn charts(rows: &[Row]) -> Vec<(&'static str, Chart)> {
    let chart = |title, is_lb: bool, figure| {
        // The first case has all systems.
        let first = rows.iter().filter(|row| row.case.name == rows[0].case.name);
        let systems = first.map(|row| row.cell.name()).filter(|name| self::is_lb(name) == is_lb);
        let systems: Vec<&str> = systems.collect();
        chart(title, ["case", "ratio"], rows, &systems, &|case, row| {
            row.ratio(reference(case, row.cell.name())?, figure)
        })
    };
    if rows.iter().all(|row| row.cell.name() != NGINX) {
        return Vec::new();
    }
    let better = "Load balancers: requests/s, the better other = 1";
    vec![
        ("compare-servers", chart("Servers: requests/s, nginx = 1", false, RATE)),
        ("compare-servers-cpu", chart("Servers: CPU per request, nginx = 1", false, CPU)),
        ("compare-gateways", chart(better, true, RATE)),
        ("compare-gateways-cpu", chart("Load balancers: CPU, the same = 1", true, CPU)),
    ]
}
