//! This program beside nginx and HAProxy, and beside the floor.
//!
//! Entry point: [`run`].

use super::measure::{Case, SMALL, System};
use super::others::{IDLE_SECONDS, Others};
use super::rows::{Figure, Row, by_case, table};
use super::{Comparison, Findings, OTHER_DESCRIPTORS, differences};
use crate::lab::chart::{Chart, Point, Series, extent};
use crate::lab::fleet::{Fleet, Server};
use crate::lab::machine::cores;
use crate::lab::page::{BOLD, Part};
use crate::lab::process::installed;
use crate::lab::scale::Scale;

/// In the order of the table. Last stands what leaves thousands of closed connections behind.
pub(super) const CASES: [Case; 7] = {
    let other = Case { counts_calls: false, ..SMALL };
    [
        SMALL,
        Case {
            name: "keep-alive-wrk",
            title: "keep-alive-wrk: the same by wrk",
            by_wrk: true,
            ..other
        },
        Case {
            name: "one",
            title: "one: 31 bytes, 1 keep-alive connection",
            connections: 1,
            ..other
        },
        Case {
            name: "image",
            title: "image: 75 KB, 64 keep-alive connections",
            path: "/readiness.jpg",
            ..other
        },
        Case {
            name: "large",
            title: "large: 8 MiB, 8 keep-alive connections",
            path: "/large.bin",
            connections: 8,
            ..other
        },
        Case {
            name: "idle",
            title: "idle: 31 bytes, 64 active beside idle connections",
            idle: usize::MAX,
            ..other
        },
        Case {
            name: "close",
            title: "close: 31 bytes, a connection each, 100 at a time",
            connections: 100,
            keep_alive: false,
            ..other
        },
    ]
};

const NGINX: &str = "nginx";
const NGINX_LB: &str = "nginx + 4 nginx";
const HAPROXY: &str = "HAProxy + 4 nginx";
/// The other load balancers, and how the names of all end.
const GATEWAYS: [&str; 2] = [NGINX_LB, HAPROXY];
/// Ours, which are judged.
const OURS: [&str; 4] =
    ["async_server", "thread_server", "lb + 4 async_servers", "lb --pipeline 32 + 4"];

pub(super) fn run(compare: &mut Comparison) -> Result<Findings, String> {
    // A load balancer keeps a second descriptor ready for each client: its backend's.
    let idle = compare.reachable_idle(2)?;
    let others = Others {
        root: compare.site()?,
        connections: idle as u64 + OTHER_DESCRIPTORS / 2,
        nginx: installed(&["nginx"]),
        haproxy: installed(&["haproxy"]),
        stop: compare.stop,
    };
    for (program, name) in [(&others.nginx, "nginx"), (&others.haproxy, "HAProxy")] {
        if program.is_none() {
            compare.remark(format!("{name} is not installed: it is left out"));
        }
    }
    let mut rows = Vec::new();
    for case in &CASES {
        if !compare.wants(case.name) {
            continue;
        }
        if case.by_wrk && compare.wrk.is_none() {
            compare.remark(format!("{} is left out: wrk is not installed", case.name));
            continue;
        }
        let case = Case { idle: case.idle.min(idle), ..*case };
        let mut fleet = Fleet::new(&compare.folder, &others.root)?;
        let mut systems = start(&mut fleet, &case, &others)?;
        rows.extend(compare.measure(&case, &mut systems)?);
        fleet.check_running()?;
    }
    let chart =
        |stem, gateways, title, figure| Some((stem, chart(&rows, gateways, title, figure)?));
    let better = "Load balancers: requests/s, the better other = 1";
    let charts = [
        chart("compare-servers", false, "Servers: requests/s, nginx = 1", Figure::Rate),
        chart("compare-servers-cpu", false, "Servers: CPU per request, nginx = 1", Figure::Cpu),
        chart("compare-gateways", true, better, Figure::Rate),
        chart("compare-gateways-cpu", true, "Load balancers: CPU, the same = 1", Figure::Cpu),
    ];
    Ok(Findings {
        title: "progjar beside nginx and HAProxy",
        method: format!(
            "Clients, servers and backends share one machine and its loopback interface. CPU: user and system time of a system's \
             processes, backends included. {} workers for each load balancer, 1 for each server; no logs.",
            cores()
        ),
        parts: parts(&rows),
        charts: charts.into_iter().flatten().collect(),
        rows,
    })
}

/// All systems that can do the case, each with its backends: servers first.
fn start(fleet: &mut Fleet, case: &Case, others: &Others) -> Result<Vec<System>, String> {
    let stop = others.stop;
    let common = [
        "--quiet".to_owned(),
        format!("--idle-timeout={IDLE_SECONDS}s"),
        format!("--max-connections={}", others.connections),
    ];
    // A floor knows one answer, and either keeps a connection or closes it.
    let closes: &[&str] = if case.keep_alive { &[] } else { &["--close"] };
    let has_floor = case.path == SMALL.path && case.idle == 0;
    let mut systems = Vec::new();
    let mut add = |name: &str, front: &Server, backends: &[Server]| {
        systems.push(System::new(name, front, backends));
    };
    for topic in ["async_server", "thread_server"] {
        add(topic, &fleet.start(topic, 0, &common, stop)?, &[]);
    }
    if others.nginx.is_some() {
        add(NGINX, &others.start_server(fleet, NGINX)?, &[]);
    }
    if has_floor {
        add("floor", &fleet.start("floor", 0, closes, stop)?, &[]);
    }
    let backends = four(|_| fleet.start("async_server", 0, &common, stop))?;
    for (name, depth) in [(OURS[2], 1), (OURS[3], 32)] {
        let mut arguments = balancing(&backends);
        arguments.extend(common.iter().cloned());
        arguments.push(format!("--pipeline={depth}"));
        add(name, &fleet.start("lb", 0, &arguments, stop)?, &backends);
    }
    if others.nginx.is_some() {
        let backends = four(|i| others.start_server(fleet, &format!("nginx-backend-{i}")))?;
        add(NGINX_LB, &others.start_gateway(fleet, &backends)?, &backends);
        if let Some(haproxy) = &others.haproxy {
            add(HAPROXY, &others.start_haproxy(fleet, haproxy, &backends)?, &backends);
        }
    }
    if has_floor {
        let backends = four(|_| fleet.start::<&str>("floor", 0, &[], stop))?;
        let mut arguments = balancing(&backends);
        arguments.extend(closes.iter().map(|close| (*close).to_owned()));
        add("floor + 4 floors", &fleet.start("floor", 0, &arguments, stop)?, &backends);
    }
    Ok(systems)
}

/// Backends of a load balancer, as in the assignment.
pub(super) fn four(
    start: impl FnMut(usize) -> Result<Server, String>,
) -> Result<Vec<Server>, String> {
    (1..=4).map(start).collect()
}

/// What a load balancer of ours is told: its backends, and as many workers as all others have.
pub(super) fn balancing(backends: &[Server]) -> Vec<String> {
    let backends = backends.iter().map(|b| format!("--backend={}", b.address));
    backends.chain([format!("--workers={}", cores())]).collect()
}

fn is_gateway(system: &str) -> bool {
    system.contains(" + ")
}

/// Whom a system of these, all of one case, is measured by: nginx, or the better load balancer of
/// the others.
fn reference<'a>(case: &'a [Row], system: &str) -> Option<&'a Row> {
    let others: &[&str] = if is_gateway(system) { &GATEWAYS } else { &[NGINX] };
    let rated = case.iter().filter(|row| others.contains(&row.system.as_str()));
    rated.max_by(|a, b| {
        a.median(Figure::Rate).unwrap_or(0.0).total_cmp(&b.median(Figure::Rate).unwrap_or(0.0))
    })
}

fn parts(rows: &[Row]) -> Vec<Part> {
    let judged = by_case(rows).filter(|case| !case[0].case.by_wrk && case[0].case.idle == 0);
    let pairs = judged.flat_map(|case| {
        let ours = case.iter().filter(|row| OURS.contains(&row.system.as_str()));
        ours.filter_map(|row| Some(row.pair(reference(case, &row.system)?, Figure::Rate, "")))
    });
    let mut parts = vec![
        Part::heading(BOLD, "Cases"),
        Part::Table(table(["Case", "System"], rows, reference)),
        Part::text(
            "Ratios: to nginx for the servers, to the better of nginx and HAProxy for the load balancers, in the same case, round by \
             round; rate above 1 and CPU below 1 are good. MB/s: bodies. Bad: failed requests and other statuses than 2xx, all rounds. \
             Preempted: how often a thread lost its core though it had work left; thread_server's threads take their counts with them. Bytes per idle connection: \
             growth of the processes' own memory (RssAnon) while these were opened, each after one answer; the highest of the rounds. \
             What nginx and HAProxy set aside at their start is not in it.",
        ),
    ];
    parts.extend(differences(pairs.collect()));
    parts
}

/// One figure of all cases, as ratios to the reference; None if there is none.
fn chart(rows: &[Row], gateways: bool, title: &str, figure: Figure) -> Option<Chart> {
    let cases: Vec<&[Row]> = by_case(rows)
        .filter(|case| case.iter().any(|row| is_gateway(&row.system) == gateways))
        .filter(|case| reference(case, if gateways { NGINX_LB } else { NGINX }).is_some())
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| is_gateway(&row.system) == gateways) {
        if !names.contains(&row.system.as_str()) {
            names.push(&row.system);
        }
    }
    let points = |system: &str| -> Vec<Point> {
        let points = (0..).zip(&cases).filter_map(|(x, case)| {
            let row = case.iter().find(|row| row.system == system)?;
            let y = row.ratio(reference(case, system)?, figure)?;
            Some(Point { x: f64::from(x), y })
        });
        points.collect()
    };
    let series = names.into_iter().map(|system| Series {
        // The backends go without saying, and the legend is narrow.
        name: system.split(" + ").next().unwrap_or(system).replace("lb --pipeline 32", "pipeline"),
        points: points(system),
    });
    let series: Vec<Series> = series.collect();
    let short = cases.iter().map(|case| case[0].case.name.replace("keep-alive", "keep"));
    (!cases.is_empty()).then(|| Chart {
        title: title.to_owned(),
        x_label: "case",
        y_label: "ratio",
        x: Scale::places(short),
        y: Scale::from_zero(extent(&series).1.max(1.0)),
        has_lines: false,
        series,
    })
}
