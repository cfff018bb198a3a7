//! The charts of `compare`: in each case the systems of a kind, as ratios to their reference.
//!
//! Entry point: [`all`].

use super::cases::Case;
use super::lineup::{LB_PIPELINE, Role};
use super::load::Sample;
use super::results::Results;
use crate::bench::stats::Spread;
use crate::lab::report::chart::{Chart, Point, Series, Shape};
use crate::lab::report::scale::Scale;

/// Requests per second and CPU time, of servers and of load balancers; each with its file's stem.
pub fn all(results: &Results) -> Vec<(&'static str, Chart)> {
    let rate = |s: &Sample| Some(s.rate);
    let cpu = |s: &Sample| s.cpu;
    let servers = |title, pick| chart(results, Role::Server, title, pick);
    let gateways = |title, pick| chart(results, Role::Gateway, title, pick);
    let charts = [
        ("compare-servers", servers("Servers: requests/s, nginx = 1", &rate)),
        ("compare-servers-cpu", servers("Servers: CPU per request, nginx = 1", &cpu)),
        ("compare-gateways", gateways("Load balancers: requests/s, the better other = 1", &rate)),
        ("compare-gateways-cpu", gateways("Load balancers: CPU per request, the same = 1", &cpu)),
    ];
    let there = charts.into_iter();
    there.filter_map(|(stem, chart)| Some((stem, chart?))).collect()
}

/// One figure of all cases; None if there is no reference.
fn chart(
    results: &Results,
    role: Role,
    title: &str,
    pick: &dyn Fn(&Sample) -> Option<f64>,
) -> Option<Chart> {
    let spread = |case: &Case, system: &str, one: f64| {
        let samples = results.samples(case.name, system);
        Spread::of(samples.filter_map(pick).map(|value| value / one))
    };
    let cases: Vec<(&Case, f64)> = results
        .cases
        .iter()
        .filter_map(|case| {
            let reference = results.reference(case.name, role)?;
            Some((case, spread(case, reference, 1.0)?.median))
        })
        .filter(|(_, one)| *one > 0.0)
        .collect();
    let series: Vec<Series> = results
        .systems
        .iter()
        .filter(|(_, r)| *r == role)
        .map(|&(system, _)| {
            let cases = cases.iter().enumerate();
            let points = cases.filter_map(|(x, (case, one))| {
                Some(Point::over(x as f64, spread(case, system, *one)?))
            });
            Series {
                // The backends go without saying, and the legend is narrow.
                name: match system {
                    LB_PIPELINE => "pipeline",
                    other => other.split(" + ").next().unwrap_or(other),
                },
                points: points.collect(),
            }
        })
        .collect();
    let spans = series.iter().flat_map(|s| &s.points).filter_map(|p| p.span);
    let most = spans.map(|(_, high)| high).fold(1.0, f64::max);
    let ticks = cases.iter().enumerate().map(|(x, (case, _))| {
        let short = case.name.replace("keep-alive", "keep");
        (x as f64, short)
    });
    (!cases.is_empty()).then(|| Chart {
        title: title.to_owned(),
        x_label: "case",
        y_label: "ratio",
        x: Scale::named(-0.5, cases.len() as f64 - 0.5, ticks.collect()),
        y: Scale::from_zero(most),
        shape: Shape::Marks,
        series,
    })
}
