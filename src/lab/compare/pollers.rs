//! scan, poll and epoll below the same server, with ever more connections of which few say
//! anything: what does it cost to find out who is ready?
//!
//! Entry point: [`run`].

use super::configs::IDLE_SECONDS;
use super::measure::{CPU, Case, Figure, Instrument, RATE, Row, SMALL, System};
use super::{Findings, Settings};
use crate::bench::table::Table;
use crate::lab::chart::{Chart, Point, Series, extent};
use crate::lab::fleet::Fleet;
use crate::lab::page::{BOLD, Part, number_or_dash};
use crate::lab::process::say;
use crate::lab::scale::Scale;
use crate::net::poller::Kind;

/// Connections in all.
pub(super) const SIZES: [(&str, usize); 5] =
    [("1", 1), ("10", 10), ("100", 100), ("1000", 1_000), ("10000", 10_000)];
/// Of these, so many have a request under way.
const ACTIVE: usize = 8;

/// All sizes; within each all pollers in turn, each with a server of its own.
pub(super) fn run(settings: &Settings, instrument: &mut Instrument) -> Result<Findings, String> {
    let most = settings.idle(1, instrument)?;
    let mut rows = Vec::new();
    for (name, size) in SIZES.into_iter().filter(|(name, _)| settings.wants(name)) {
        let connections = size.min(ACTIVE);
        let idle = size.min(most) - connections;
        let case = Case { name, title: "31 bytes", connections, idle, ..SMALL };
        say(&format!("{name} connections"));
        let mut fleet = Fleet::new(&settings.folder, &settings.root)?;
        let mut systems = Vec::new();
        for kind in Kind::ALL {
            let arguments = [
                "--quiet".to_owned(),
                format!("--idle-timeout={IDLE_SECONDS}s"),
                format!("--poller={}", kind.name()),
            ];
            let server = fleet.start("async_server", 0, &arguments, settings.stop)?;
            systems.push(System::new(kind.name(), &server, &[]));
        }
        rows.extend(instrument.measure(&case, &mut systems)?);
        fleet.check_running()?;
    }
    let charts = vec![
        ("pollers-rate", chart(&rows, "Requests per second", "requests/s (log scale)", RATE)),
        ("pollers-cpu", chart(&rows, "CPU time per request", "µs (log scale)", CPU)),
    ];
    Ok(Findings {
        title: "Who is ready? scan, poll and epoll",
        method: format!(
            "`async_server` with each poller; {ACTIVE} connections at most have a request for 31 bytes under way, the others have had one and \
             say nothing more. CPU: user and system time of the server."
        ),
        parts: vec![
            Part::Charts(charts),
            Part::heading(BOLD, "Pollers"),
            Part::Table(table(&rows)),
        ],
        rows,
    })
}

fn size(row: &Row) -> usize {
    row.case.connections + row.case.idle
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "Connections",
        "Poller",
        "Requests/s",
        "p99 ms",
        "CPU µs/request",
        "System calls/request",
        "Preempted per 1,000 requests",
    ]);
    let figures: [Figure; 5] = [RATE, |m| m.p99, CPU, |m| m.calls, |m| m.preempted];
    table.rows.extend(rows.iter().map(|row| {
        let figures = figures.into_iter().map(|figure| number_or_dash(row.median(figure)));
        [size(row).to_string(), row.system.clone()].into_iter().chain(figures).collect()
    }));
    table
}

fn chart(rows: &[Row], title: &str, y_label: &'static str, figure: Figure) -> Chart {
    let mut sizes: Vec<f64> = rows.iter().map(|row| size(row) as f64).collect();
    sizes.dedup();
    let series: Vec<Series> = Kind::ALL
        .iter()
        .map(|kind| {
            let rows = rows.iter().filter(|row| row.system == kind.name());
            let point = |row: &Row| Some(Point::at(size(row) as f64, row.median(figure)?));
            Series { name: kind.name(), points: rows.filter_map(point).collect() }
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
