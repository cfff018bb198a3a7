//! A run as ab reports it: the same labels in the same order and places, so that whatever
//! reads ab's report reads this one; but times have fractions of a millisecond. And ab's files.
//!
//! Entry points: [`ab_text`], [`percentages`], [`row`]. Note: `notes/bench.md`.

use super::stats::{Histogram, PERCENTILES};
use super::tally::Tally;
use super::{Outcome, Plan};
use crate::cli;
use crate::net::clock;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

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
pub(super) fn opening(plan: &Plan) -> String {
    let (version, host) = (env!("CARGO_PKG_VERSION"), &plan.target.host);
    let mut text = format!(
        "This is progjar bench, Version {version}, after ApacheBench\n\nBenchmarking {host} (be patient)\n"
    );
    if plan.verbosity >= 2 {
        let (method, request) = (&plan.method, plan.request());
        let request = String::from_utf8_lossy(&request);
        let _ = writeln!(text, "INFO: {method} header == \n---\n{request}\n---");
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
    fields(&mut text, outcome);
    if outcome.succeeded() == 0 {
        return text;
    }
    connection_times(&mut text, &outcome.tally, parts);
    let Tally { total, response, .. } = &outcome.tally;
    if !parts.no_percentiles && total.count() > 1 {
        percentage_table(&mut text, "served within a certain time", total);
        if outcome.plan.rate.is_some() {
            let what = "answered within a certain time since they were due";
            percentage_table(&mut text, what, response);
        }
    }
    last_lines(&mut text, outcome);
    text
}

fn fields(text: &mut String, outcome: &Outcome) {
    let (plan, tally) = (&outcome.plan, &outcome.tally);
    let length = format!("{} bytes", tally.document.unwrap_or(0));
    let length = if plan.any_length { "Variable".to_owned() } else { length };
    let (failed, [connect, receive, other, no_http]) = (tally.failed.all(), tally.failed.0);
    let classes = format!(
        "   (Connect: {connect}, Receive: {receive}, Length: {other}, Exceptions: {no_http})"
    );
    let mean = outcome.time_per_request();
    let across = mean / plan.concurrency as f64;
    let across = format!("{across:.3} [ms] (mean, across all concurrent requests)");
    let (any, body, received) =
        (outcome.succeeded() > 0, plan.body.is_some(), outcome.transfer_rate());
    let sent = outcome.per_second(tally.sent as f64 / 1024.0);
    let mut line = |is_shown: bool, label: &str, value: String| {
        if is_shown {
            let _ = writeln!(text, "{}", format!("{label:<24}{value}").trim_end());
        }
    };
    line(true, "Server Software:", tally.software.clone());
    line(true, "Server Hostname:", plan.target.host.clone());
    line(true, "Server Port:", plan.target.port.to_string());
    line(true, "", String::new());
    line(true, "Document Path:", plan.target.path.clone());
    line(true, "Document Length:", length);
    line(true, "", String::new());
    line(true, "Concurrency Level:", plan.concurrency.to_string());
    line(true, "Time taken for tests:", format!("{:.3} seconds", outcome.wall.as_secs_f64()));
    line(true, "Complete requests:", tally.done.to_string());
    line(true, "Failed requests:", failed.to_string());
    line(failed > 0, &classes, String::new());
    line(tally.non_2xx > 0, "Non-2xx responses:", tally.non_2xx.to_string());
    line(tally.unanswered > 0, "Unanswered requests:", tally.unanswered.to_string());
    line(tally.retried > 0, "Retried requests:", tally.retried.to_string());
    line(plan.keep_alive, "Keep-Alive requests:", tally.keep_alive.to_string());
    line(true, "Total transferred:", format!("{} bytes", tally.transferred));
    line(body, "Total body sent:", tally.sent.to_string());
    line(true, "HTML transferred:", format!("{} bytes", tally.html));
    line(any, "Requests per second:", format!("{:.2} [#/sec] (mean)", outcome.rate()));
    line(any, "Time per request:", format!("{mean:.3} [ms] (mean)"));
    line(any, "Time per request:", across);
    line(any, "Transfer rate:", format!("{received:.2} [Kbytes/sec] received"));
    line(any && body, "", format!("{sent:.2} kb/s sent"));
    line(any && body, "", format!("{:.2} kb/s total", sent + received));
}

fn connection_times(text: &mut String, tally: &Tally, parts: Parts) {
    let rows = [
        ("Connect:", "the initial connection time", &tally.connect),
        ("Processing:", "the processing time", &tally.processing),
        ("Waiting:", "the waiting time", &tally.waiting),
        ("Total:", "the total time", &tally.total),
    ];
    let median = |times: &Histogram| times.quantile(0.5) as f64;
    *text += "\nConnection Times (ms)\n              min";
    *text += if parts.no_confidence { "   avg   max\n" } else { "  mean[+/-sd] median   max\n" };
    for (label, _, times) in rows {
        let (min, mean, max) = (ms(times.min() as f64), ms(times.mean()), ms(times.max() as f64));
        let (sd, median) = (ms(times.deviation()), ms(median(times)));
        let _ = match parts.no_confidence {
            false => writeln!(text, "{label:<11} {min:>5} {mean:>5} {sd:>5} {median:>6} {max:>6}"),
            true => writeln!(text, "{label:<11} {min:>5} {mean:>5} {max:>5}"),
        };
    }
    for (_, what, times) in rows.iter().filter(|_| !parts.no_confidence) {
        let (apart, sd) = ((times.mean() - median(times)).abs(), times.deviation());
        let _ = match apart {
            _ if apart > 2.0 * sd => writeln!(
                text,
                "ERROR: The median and mean for {what} are more than twice the standard\n       deviation apart. These results are NOT reliable."
            ),
            _ if apart > sd => writeln!(
                text,
                "WARNING: The median and mean for {what} are not within a normal deviation\n        These results are probably not that reliable."
            ),
            _ => Ok(()),
        };
    }
}

fn percentage_table(text: &mut String, what: &str, times: &Histogram) {
    let _ = writeln!(text, "\nPercentage of the requests {what} (ms)");
    for percentage in PERCENTAGES {
        let time = ms(times.quantile(percentage as f64 / 100.0) as f64);
        let longest = if percentage == 100 { " (longest request)" } else { "" };
        let _ = writeln!(text, "{percentage:>4}%  {time:>5}{longest}");
    }
}

/// What ab has not: the tail beyond 99 %, and what the figures above do not show.
fn last_lines(text: &mut String, outcome: &Outcome) {
    let Tally { timed_out, unanswered, total, response, .. } = &outcome.tally;
    text.push('\n');
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<16} {value}");
    };
    let quantiles = |times: &Histogram| {
        let one = |(name, q): &(&str, f64)| format!("{name} {} ", ms(times.quantile(*q) as f64));
        let all: String = PERCENTILES.iter().map(one).collect();
        format!("{all}stddev {} (ms)", ms(times.deviation()))
    };
    match outcome.plan.rate {
        None => line("Latency:", quantiles(total)),
        Some(asked) => {
            line("Service time:", quantiles(total));
            line("Response time:", quantiles(response));
            let short = outcome.shortfall().map(|part| 100.0 * part.max(0.0));
            let short = short.map(|percent| format!(": {percent:.1} % short of the schedule"));
            let (rate, short) = (outcome.rate(), short.unwrap_or_default());
            line("Schedule:", format!("{asked:.2} [#/sec] asked, {rate:.2} answered{short}"));
        }
    }
    let waits = timed_out + unanswered;
    if waits > 0 {
        let how = format!("({timed_out} timed out, {unanswered} when the run ended)");
        let counted = "they count with the time they waited";
        line("Waits:", format!("{waits} of these requests got no answer {how}: {counted}"));
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
    let mut text = String::from("Percentage served,Time in ms\n");
    for percentage in 0..=100_u32 {
        let nanos = outcome.tally.total.quantile(f64::from(percentage) / 100.0);
        let _ = writeln!(text, "{percentage},{:.3}", nanos as f64 / 1e6);
    }
    text
}

/// Creates ab's file of -g, with its heading. ab sorts all requests at the end; here rows are
/// written as answers complete, so that memory stays constant.
pub(super) fn row_file(path: &Path) -> Result<BufWriter<File>, String> {
    let mut file = BufWriter::new(File::create(path).map_err(no_rows)?);
    file.write_all(b"starttime\tseconds\tctime\tdtime\tttime\twait\n").map_err(no_rows)?;
    Ok(file)
}

pub(super) fn no_rows(error: io::Error) -> String {
    format!("cannot write the file of -g: {error}")
}

/// Of a request that began at `begun`: connect, processing, waiting in ns; starttime is UTC.
pub(super) fn row(begun: Instant, times: [u64; 3]) -> String {
    let seconds = clock::unix_time().saturating_sub(begun.elapsed()).as_secs();
    let [connect, processing, waiting] = times.map(|nanos| nanos as f64 / 1e6);
    let (started, total) = (calendar(seconds), connect + processing);
    format!("{started}\t{seconds}\t{connect:.3}\t{processing:.3}\t{total:.3}\t{waiting:.3}\n")
}

/// As ctime(3): `Mon Nov 23 14:07:28 2026`, but in UTC.
pub fn calendar(seconds: u64) -> String {
    let date = cli::date(seconds);
    let (weekday, day, month) = (&date[..3], &date[5..7], &date[8..11]);
    let (year, time) = (&date[12..16], &date[17..25]);
    let day = day.trim_start_matches('0');
    format!("{weekday} {month} {day:>2} {time} {year}")
}
