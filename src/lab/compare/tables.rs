//! What `compare` hands in: the table of all cases, the goals.
//!
//! Entry points: [`page`], [`csv`].

use super::cases::{Bound, CASES, Case, Figure, Goal};
use super::charts;
use super::page::{Page, Part};
use super::results::{Results, Verdict};
use crate::bench::stats::Spread;
use crate::lab::report::words::number;
use std::fmt::Write;

/// What stands where nothing could be measured.
const NOTHING: &str = "–";

/// The whole page; the method and what is missing are said by the caller.
pub fn page(results: &Results, method: String, missing: &[String]) -> Page {
    let mut sentences = vec![
        "Ratios: to nginx for the servers, to the better of nginx and HAProxy for the load balancers, in the same case; \
         rate above 1 and CPU below 1 are good. MB/s: bodies. Bad: failed requests and other statuses than 2xx, all rounds."
            .to_owned(),
    ];
    sentences.extend(missing.iter().cloned());
    let mut parts = vec![
        Part {
            heading: "Cases",
            rows: case_rows(results),
            sentences,
        },
        Part {
            heading: "Goals",
            rows: goal_rows(results),
            sentences: vec![
                "The floor makes the same system calls and does not think (`progjar floor`). With connections that are kept, no program \
                 that reads and writes once per request and side can do much better, so a goal beyond it is out of reach on this machine."
                    .to_owned(),
            ],
        },
    ];
    if results.cases.iter().any(|case| case.idle) {
        parts.push(Part {
            heading: "Idle connections",
            rows: idle_rows(results),
            sentences: vec![
                "Memory: growth of the processes' own memory (RssAnon) while the idle connections were opened, \
                 each after one answer; the highest of the rounds. What nginx and HAProxy set aside at their start is not in it."
                    .to_owned(),
            ],
        });
    }
    Page {
        name: "compare",
        title: "progjar beside nginx and HAProxy",
        method,
        parts,
        charts: charts::all(results),
    }
}

fn of(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), number)
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.2}"))
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{:.0} %", value * 100.0))
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// The name as in the charts and the goals, and what it means.
fn titled(case: &Case) -> String {
    format!("{}: {}", case.name, case.title)
}

fn case_rows(results: &Results) -> Vec<Vec<String>> {
    let mut rows = vec![row(&[
        "Case",
        "System",
        "Requests/s (lowest–highest)",
        "p99 ms",
        "CPU µs/request",
        "in the kernel",
        "MB/s",
        "Rate ratio",
        "CPU ratio",
        "Bad",
    ])];
    for case in &results.cases {
        for (system, role) in &results.systems {
            let runs: Vec<_> = results.samples(case.name, system).collect();
            let Some(rates) = Spread::of(runs.iter().map(|s| s.rate)) else {
                continue;
            };
            let (rate, cpu) = (Some(rates.median), results.cpu(case.name, system));
            let reference = results.reference(case.name, *role);
            let bytes = results.median(case.name, system, |s| s.bytes);
            let share =
                |mine: Option<f64>, theirs: Option<f64>| Some(mine? / theirs.filter(|t| *t > 0.0)?);
            rows.push(vec![
                titled(case),
                (*system).to_owned(),
                format!("{} ({}–{})", of(rate), number(rates.lowest), number(rates.highest)),
                of(results.median(case.name, system, |s| s.p99)),
                of(cpu),
                percent(results.median(case.name, system, |s| s.kernel)),
                of(bytes.map(|bytes| bytes / 1e6)),
                ratio(share(rate, reference.and_then(|r| results.rate(case.name, r)))),
                ratio(share(cpu, reference.and_then(|r| results.cpu(case.name, r)))),
                runs.iter().map(|s| s.bad).sum::<u64>().to_string(),
            ]);
        }
    }
    if !results.calls.is_empty() {
        let calls = |system: &str| results.calls.iter().find(|(name, _)| *name == system);
        rows[0].push("System calls/request".to_owned());
        for row in &mut rows[1..] {
            let here = row[0] == titled(&CASES[0]);
            let count = calls(&row[1]).filter(|_| here).map(|(_, count)| *count);
            row.push(ratio(count));
        }
    }
    rows
}

fn goal_rows(results: &Results) -> Vec<Vec<String>> {
    let mut rows = vec![row(&[
        "System",
        "Case",
        "Figure",
        "Against",
        "Goal",
        "Measured",
        "Result",
        "The floor's",
    ])];
    for (goal, verdict) in results.verdicts() {
        rows.push(goal_row(&goal, &verdict));
    }
    rows
}

fn goal_row(goal: &Goal, verdict: &Verdict) -> Vec<String> {
    let unit = |value: f64| match goal.figure {
        Figure::IdleMemory => format!("{} bytes", number(value)),
        _ => format!("{value:.2}x"),
    };
    let (case, measured, is_met) = match verdict.seen {
        Some((case, value, true)) => (case, unit(value), "met"),
        Some((case, value, false)) => (case, unit(value), "NOT met"),
        None => (goal.cases[0], NOTHING.to_owned(), "not measured"),
    };
    vec![
        goal.system.to_owned(),
        case.to_owned(),
        match goal.figure {
            Figure::Rate => "requests/s",
            Figure::Cpu => "CPU per request",
            Figure::IdleMemory => "memory per idle connection",
        }
        .to_owned(),
        verdict.against.clone(),
        match goal.bound {
            Bound::AtLeast(bound) => format!("at least {}", unit(bound)),
            Bound::AtMost(bound) => format!("at most {}", unit(bound)),
        },
        measured,
        is_met.to_owned(),
        verdict.floor.map_or_else(|| NOTHING.to_owned(), unit),
    ]
}

fn idle_rows(results: &Results) -> Vec<Vec<String>> {
    let mut rows = vec![row(&[
        "System",
        "Idle connections",
        "Requests/s alone",
        "Requests/s beside them",
        "Ratio",
        "Bytes per idle connection",
    ])];
    for case in results.cases.iter().filter(|case| case.idle) {
        for (system, _) in &results.systems {
            let Some(first) = results.samples(case.name, system).next() else {
                continue;
            };
            let share = results.median(case.name, system, |s| Some(s.rate / s.alone?));
            rows.push(vec![
                (*system).to_owned(),
                number(first.idle as f64),
                of(results.median(case.name, system, |s| s.alone)),
                of(results.rate(case.name, system)),
                ratio(share),
                of(results.idle_memory(case.name, system)),
            ]);
        }
    }
    rows
}

/// Every measurement.
pub fn csv(results: &Results) -> String {
    let mut text = String::from(
        "case,system,round,requests_per_second,p99_ms,cpu_us_per_request,bytes_per_second,bad,alone_per_second,idle,bytes_per_idle\n",
    );
    let plain = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.3}"));
    for run in &results.runs {
        let s = &run.sample;
        let _ = writeln!(
            text,
            "{},{},{},{:.1},{},{},{},{},{},{},{}",
            run.case.name,
            run.system,
            run.round,
            s.rate,
            plain(s.p99),
            plain(s.cpu),
            plain(s.bytes),
            s.bad,
            plain(s.alone),
            s.idle,
            plain(s.idle_memory)
        );
    }
    text
}
