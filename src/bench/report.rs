//! A run as ab reports it: the same labels in the same order and places, so that whatever
//! reads ab's report reads this one; but times have fractions of a millisecond.
//!
//! Entry point: [`ab_text`]. Note: `notes/bench.md`.

use super::Outcome;
use super::options::Options;
use super::stats::{Histogram, PERCENTILES};
use super::tally::Tally;
use std::fmt::Write;

/// The percentages of ab's last table.
const PERCENTAGES: [u64; 9] = [50, 66, 75, 80, 90, 95, 98, 99, 100];

/// Which parts of the report are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// -d: the table of percentages.
    pub(super) no_percentiles: bool,
    /// -S: deviations, medians, warnings.
    pub(super) no_confidence: bool,
}

/// What ab says before it begins.
pub(super) fn opening(options: &Options) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("This is progjar bench, Version {version}, after ApacheBench\n\n");
    for plan in &options.plans {
        let _ = writeln!(text, "Benchmarking {} (be patient)", plan.target.host);
        if plan.verbosity >= 2 {
            let (method, request) = (&plan.method, plan.request());
            let request = String::from_utf8_lossy(&request);
            let _ = writeln!(text, "INFO: {method} header == \n---\n{request}\n---");
        }
    }
    text
}

/// Nanoseconds as milliseconds: as many digits as mean something.
pub fn ms(nanos: f64) -> String {
    let ms = nanos / 1e6;
    match ms {
        ..9.9995 => format!("{ms:.3}"),
        ..99.995 => format!("{ms:.2}"),
        ..999.95 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

/// ab's report.
pub fn ab_text(outcome: &Outcome, parts: Parts) -> String {
    let mut text = String::from("\n\n");
    for (_, label, value) in fields(outcome).into_iter().filter(|(shown, ..)| *shown) {
        let line = match label {
            "" => value,
            _ => format!("{:<24}{value}", format!("{label}:")),
        };
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if outcome.succeeded() > 0 {
        connection_times(&mut text, &outcome.tally, parts);
        if !parts.no_percentiles && outcome.tally.total.count() > 1 {
            let title = "Percentage of the requests served within a certain time (ms)";
            percentage_table(&mut text, title, &outcome.tally.total);
            if outcome.plan.rate.is_some() {
                let title = "Percentage of the requests answered within a certain time since they were due (ms)";
                percentage_table(&mut text, title, &outcome.tally.response);
            }
        }
        last_lines(&mut text, outcome);
    }
    text
}

/// The report's upper part: whether it is shown, label and value. A label of "" is a line of its own.
fn fields(outcome: &Outcome) -> Vec<(bool, &'static str, String)> {
    let (plan, tally) = (&outcome.plan, &outcome.tally);
    let length = match plan.any_length {
        true => "Variable".to_owned(),
        false => format!("{} bytes", outcome.document_length),
    };
    let (failures, [connect, receive, other, no_http]) = (tally.failed.all(), tally.failed.0);
    let classes = format!(
        "   (Connect: {connect}, Receive: {receive}, Length: {other}, Exceptions: {no_http})"
    );
    let (seconds, rate, mean) =
        (outcome.wall.as_secs_f64(), outcome.rate(), outcome.time_per_request());
    let (across, received) = (outcome.time_across_all(), outcome.transfer_rate());
    let (any, body) = (outcome.succeeded() > 0, plan.body.is_some());
    let sent = outcome.per_second(tally.sent as f64 / 1024.0);
    vec![
        (true, "Server Software", tally.software.clone()),
        (true, "Server Hostname", plan.target.host.clone()),
        (true, "Server Port", plan.target.port.to_string()),
        (true, "", String::new()),
        (true, "Document Path", plan.target.path.clone()),
        (true, "Document Length", length),
        (true, "", String::new()),
        (true, "Concurrency Level", plan.concurrency.to_string()),
        (true, "Time taken for tests", format!("{seconds:.3} seconds")),
        (true, "Complete requests", tally.done.to_string()),
        (true, "Failed requests", failures.to_string()),
        (failures > 0, "", classes),
        (tally.non_2xx > 0, "Non-2xx responses", tally.non_2xx.to_string()),
        (tally.unanswered > 0, "Unanswered requests", tally.unanswered.to_string()),
        (tally.retried > 0, "Retried requests", tally.retried.to_string()),
        (plan.keep_alive, "Keep-Alive requests", tally.keep_alive.to_string()),
        (true, "Total transferred", format!("{} bytes", tally.transferred)),
        (body, "Total body sent", tally.sent.to_string()),
        (true, "HTML transferred", format!("{} bytes", tally.html)),
        (any, "Requests per second", format!("{rate:.2} [#/sec] (mean)")),
        (any, "Time per request", format!("{mean:.3} [ms] (mean)")),
        (
            any,
            "Time per request",
            format!("{across:.3} [ms] (mean, across all concurrent requests)"),
        ),
        (any, "Transfer rate", format!("{received:.2} [Kbytes/sec] received")),
        (any && body, "", format!("{:24}{sent:.2} kb/s sent", "")),
        (any && body, "", format!("{:24}{:.2} kb/s total", "", sent + received)),
    ]
}

fn connection_times(text: &mut String, tally: &Tally, parts: Parts) {
    let rows = [
        ("Connect:", "the initial connection time", &tally.connect),
        ("Processing:", "the processing time", &tally.processing),
        ("Waiting:", "the waiting time", &tally.waiting),
        ("Total:", "the total time", &tally.total),
    ];
    text.push_str("\nConnection Times (ms)\n");
    text.push_str(match parts.no_confidence {
        false => "              min  mean[+/-sd] median   max\n",
        true => "              min   avg   max\n",
    });
    for (label, _, times) in rows {
        let (min, mean, max) = (ms(times.min() as f64), ms(times.mean()), ms(times.max() as f64));
        let (sd, median) = (ms(times.deviation()), ms(times.quantile(0.5) as f64));
        let _ = match parts.no_confidence {
            false => writeln!(text, "{label:<11} {min:>5} {mean:>5} {sd:>5} {median:>6} {max:>6}"),
            true => writeln!(text, "{label:<11} {min:>5} {mean:>5} {max:>5}"),
        };
    }
    for (_, what, times) in rows.iter().filter(|_| !parts.no_confidence) {
        let apart = (times.mean() - times.quantile(0.5) as f64).abs();
        if apart > 2.0 * times.deviation() {
            let _ = writeln!(
                text,
                "ERROR: The median and mean for {what} are more than twice the standard\n       deviation apart. These results are NOT reliable."
            );
        } else if apart > times.deviation() {
            let _ = writeln!(
                text,
                "WARNING: The median and mean for {what} are not within a normal deviation\n        These results are probably not that reliable."
            );
        }
    }
}

fn percentage_table(text: &mut String, title: &str, times: &Histogram) {
    let _ = writeln!(text, "\n{title}");
    for percentage in PERCENTAGES {
        let time = ms(times.quantile(percentage as f64 / 100.0) as f64);
        let longest = if percentage == 100 { " (longest request)" } else { "" };
        let _ = writeln!(text, "{percentage:>4}%  {time:>5}{longest}");
    }
}

/// What ab has not: the tail beyond 99 %, and what the figures above do not show.
fn last_lines(text: &mut String, outcome: &Outcome) {
    let Tally { timed_out, unanswered, total, response, .. } = &outcome.tally;
    let quantiles = |times: &Histogram| {
        let known =
            PERCENTILES.iter().map(|(p, q)| format!("{p} {}", ms(times.quantile(*q) as f64)));
        format!("{} stddev {} (ms)", known.collect::<Vec<_>>().join(" "), ms(times.deviation()))
    };
    text.push('\n');
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<16} {value}");
    };
    match outcome.plan.rate {
        None => line("Latency:", quantiles(total)),
        Some(asked) => {
            line("Service time:", quantiles(total));
            line("Response time:", quantiles(response));
            let kept = match outcome.shortfall() {
                Some(part) => format!(": {:.1} % short of the schedule", 100.0 * part.max(0.0)),
                None => String::new(),
            };
            let rate = outcome.rate();
            line("Schedule:", format!("{asked:.2} [#/sec] asked, {rate:.2} answered{kept}"));
        }
    }
    let waits = timed_out + unanswered;
    if waits > 0 {
        line(
            "Waits:",
            format!(
                "{waits} of these requests got no answer ({timed_out} timed out, {unanswered} when the run ended): they count with the time they waited"
            ),
        );
    }
    if let Some(cpu) = outcome.cpu_per_request() {
        line("CPU time:", format!("{cpu:.1} [us] per request, of the processes of --cpu"));
    }
    if let Some(limited) = outcome.client_limit() {
        line("Client:", limited);
    }
}

/// ab's -e: the time within which 0 % to 100 % of the requests were served.
pub(super) fn percentages(outcome: &Outcome) -> String {
    let times = &outcome.tally.total;
    let mut text = format!("Percentage served,Time in ms\n0,{:.3}\n", times.min() as f64 / 1e6);
    for percentage in 1..=100 {
        let ms = times.quantile_ms(f64::from(percentage) / 100.0);
        let _ = writeln!(text, "{percentage},{ms:.3}");
    }
    text
}
