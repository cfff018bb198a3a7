//! scan, poll and epoll below the same server, with ever more connections of which few say
//! anything: what does it cost to find out who is ready?
//!
//! Entry point: [`run`].

use super::measure::{Case, SMALL, System};
use super::others::IDLE_SECONDS;
use super::rows::{Figure, Row, table};
use super::{Comparison, Findings};
use crate::lab::chart::{Chart, Point, Series, extent};
use crate::lab::fleet::Fleet;
use crate::lab::page::{BOLD, Part};
use crate::lab::scale::Scale;
use crate::net::poller::Kind;

/// Connections in all.
pub(super) const SIZES: [(&str, usize); 5] =
    [("1", 1), ("10", 10), ("100", 100), ("1000", 1_000), ("10000", 10_000)];
/// Of these, so many have a request under way.
const ACTIVE: usize = 8;

/// All sizes; within each all pollers in turn, each with a server of its own.
pub(super) fn run(compare: &mut Comparison) -> Result<Findings, String> {
    let most = compare.reachable_idle(1)?;
    let mut rows = Vec::new();
    for (name, size) in SIZES {
        if !compare.wants(name) {
            continue;
        }
        let connections = size.min(ACTIVE);
        let idle = size.min(most) - connections;
        let case = Case { name, title: name, connections, idle, ..SMALL };
        let mut fleet = Fleet::new(&compare.folder, &compare.root)?;
        let mut systems = Vec::new();
        for kind in Kind::ALL {
            let arguments = [
                "--quiet".to_owned(),
                format!("--idle-timeout={IDLE_SECONDS}s"),
                format!("--poller={}", kind.name()),
            ];
            let server = fleet.start("async_server", 0, &arguments, compare.stop)?;
            systems.push(System::new(kind.name(), &server, &[]));
        }
        rows.extend(compare.measure(&case, &mut systems)?);
        fleet.check_running()?;
    }
    let charts = vec![
        (
            "pollers-rate",
            chart(&rows, "Requests per second", "requests/s (log scale)", Figure::Rate),
        ),
        ("pollers-cpu", chart(&rows, "CPU time per request", "µs (log scale)", Figure::Cpu)),
    ];
    Ok(Findings {
        title: "Who is ready? scan, poll and epoll",
        method: format!(
            "`async_server` with each poller; {ACTIVE} connections at most have a request for 31 bytes under way, the others have had one and \
             say nothing more. CPU: user and system time of the server."
        ),
        parts: vec![
            Part::heading(BOLD, "Pollers"),
            Part::Table(table(["Connections", "Poller"], &rows, |case, _| {
                case.iter().find(|row| row.system == "epoll")
            })),
            Part::text("Ratios: to epoll, with as many connections, round by round."),
        ],
        rows,
        charts,
    })
}

fn size(row: &Row) -> f64 {
    (row.case.connections + row.case.idle) as f64
}

fn chart(rows: &[Row], title: &str, y_label: &'static str, figure: Figure) -> Chart {
    let mut sizes: Vec<f64> = rows.iter().map(size).collect();
    sizes.dedup();
    let series: Vec<Series> = Kind::ALL
        .iter()
        .map(|kind| {
            let rows = rows.iter().filter(|row| row.system == kind.name());
            let point = |row: &Row| Some(Point::at(size(row), row.median(figure)?));
            Series { name: kind.name().to_owned(), points: rows.filter_map(point).collect() }
        })
        .collect();
    let (low, high) = extent(&series);
    Chart {
        title: title.to_owned(),
        x_label: "open connections (log scale)",
        y_label,
        x: Scale::at(&sizes),
        y: Scale::log(low, high),
        has_lines: true,
        series,
    }
}
