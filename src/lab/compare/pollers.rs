//! scan, poll and epoll below the same server, with ever more connections of which few say
//! anything: what does it cost to find out who is ready?
//!
//! Entry point: [`run`].

use super::measure::{Case, System};
use super::others::IDLE_SECONDS;
use super::rows::{Figure, Row, table};
use super::{Comparison, Findings};
use crate::lab::chart::{Chart, Point, Scale, Series};
use crate::lab::page::{BOLD, Part};
use crate::net::poller::Kind;

/// Connections in all.
pub(super) const SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// Of these, so many have a request under way.
const ACTIVE: usize = 8;

/// All sizes; within each all pollers in turn, each with a server of its own.
pub(super) fn run(compare: &mut Comparison) -> Result<Findings, String> {
    let most = compare.reachable_idle(1)?;
    let cases = SIZES.map(|size| {
        let (name, active) = (size.to_string(), size.min(ACTIVE));
        Case { idle: size.min(most) - active, ..Case::new(&name, name.clone(), "/", active) }
    });
    let rows = compare.measure(&cases, &mut |fleet, _| {
        let mut start = |kind: Kind| {
            let idle = format!("--idle-timeout={IDLE_SECONDS}s");
            let arguments = ["--quiet", &idle, "--poller", kind.name()];
            let server = fleet.start("async_server", 0, &arguments)?;
            Ok(System::new(kind.name(), &server, &[]))
        };
        Kind::ALL.iter().map(|kind| start(*kind)).collect()
    })?;
    let (rate, cpu) = ("requests/s (log scale)", "µs (log scale)");
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
        charts: vec![
            ("pollers-rate", chart(&rows, "Requests per second", rate, Figure::Rate)),
            ("pollers-cpu", chart(&rows, "CPU time per request", cpu, Figure::Cpu)),
        ],
        rows,
    })
}

fn chart(rows: &[Row], title: &str, y_label: &'static str, figure: Figure) -> Chart {
    let size = |row: &Row| (row.case.connections + row.case.idle) as f64;
    let mut sizes: Vec<f64> = rows.iter().map(size).collect();
    sizes.dedup();
    let series = Kind::ALL.iter().map(|kind| {
        let rows = rows.iter().filter(|row| row.system == kind.name());
        let point = |row: &Row| Some(Point::at(size(row), row.median(figure)?));
        Series { name: kind.name().to_owned(), points: rows.filter_map(point).collect() }
    });
    Chart {
        title: title.to_owned(),
        x_label: "open connections (log scale)",
        y_label,
        x: Scale::at(&sizes),
        from_zero: false,
        has_lines: true,
        series: series.collect(),
    }
}
