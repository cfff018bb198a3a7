//! A run as ab reports it: the same labels in the same order and places, so that whatever
//! reads ab's report reads this one; but times have fractions of a millisecond.
//!
//! Entry point: [`ab_text`]. Note: `notes/bench.md`.

use super::Outcome;
use super::options::Options;
use super::stats::{Histogram, PERCENTILES};
use std::fmt::Write;

/// The percentages of ab's last table.
const PERCENTAGES: [u64; 9] = [50, 66, 75, 80, 90, 95, 98, 99, 100];

/// Which parts of the report are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Not -d: the table of percentages.
    pub percentiles: bool,
    /// Not -S: deviations, medians, warnings.
    pub confidence: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Parts { percentiles: true, confidence: true }
    }
}

/// What ab says before it begins.
pub fn opening(options: &Options) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("This is progjar bench, Version {version}, after ApacheBench\n\n");
    for plan in &options.plans {
        let _ = writeln!(text, "Benchmarking {} (be patient)", plan.target.host);
        if plan.verbosity >= 2 {
            let request = plan.request();
            let _ = writeln!(
                text,
                "INFO: {} header == \n---\n{}\n---",
                plan.method,
                String::from_utf8_lossy(&request)
            );
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
    for (label, value) in fields(outcome) {
        let line = match label {
            "" => value,
            _ => format!("{:<24}{value}", format!("{label}:")),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if outcome.succeeded() > 0 {
        connection_times(&mut text, outcome, parts);
        if parts.percentiles && outcome.tally.total.count() > 1 {
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

/// The report's upper part: label and value. A label of "" is a line of its own.
fn fields(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let (plan, tally) = (&outcome.plan, &outcome.tally);
    let mut fields = Vec::new();
    let mut add = |label, value: String| fields.push((label, value));
    add("Server Software", tally.software.clone());
    add("Server Hostname", plan.target.host.clone());
    add("Server Port", plan.target.port.to_string());
    add("", String::new());
    add("Document Path", plan.target.path.clone());
    let length = match plan.any_length {
        true => "Variable".to_owned(),
        false => format!("{} bytes", outcome.document_length),
    };
    add("Document Length", length);
    add("", String::new());
    add("Concurrency Level", plan.concurrency.to_string());
    let seconds = outcome.wall.as_secs_f64();
    add("Time taken for tests", format!("{seconds:.3} seconds"));
    add("Complete requests", tally.done.to_string());
    add("Failed requests", tally.failed.all().to_string());
    if tally.failed.all() > 0 {
        let [connect, receive, length, exceptions] = tally.failed.0;
        let classes = format!(
            "   (Connect: {connect}, Receive: {receive}, Length: {length}, Exceptions: {exceptions})"
        );
        add("", classes);
    }
    if tally.non_2xx > 0 {
        add("Non-2xx responses", tally.non_2xx.to_string());
    }
    if tally.unanswered > 0 {
        add("Unanswered requests", tally.unanswered.to_string());
    }
    if tally.retried > 0 {
        add("Retried requests", tally.retried.to_string());
    }
    if plan.keep_alive {
        add("Keep-Alive requests", tally.keep_alive.to_string());
    }
    add("Total transferred", format!("{} bytes", tally.transferred));
    if plan.body.is_some() {
        add("Total body sent", tally.sent.to_string());
    }
    add("HTML transferred", format!("{} bytes", tally.html));
    if outcome.succeeded() > 0 {
        let (rate, mean) = (outcome.rate(), outcome.time_per_request());
        let across = outcome.time_across_all();
        let across = format!("{across:.3} [ms] (mean, across all concurrent requests)");
        let (sent, received) = (outcome.sent_rate(), outcome.transfer_rate());
        add("Requests per second", format!("{rate:.2} [#/sec] (mean)"));
        add("Time per request", format!("{mean:.3} [ms] (mean)"));
        add("Time per request", across);
        add("Transfer rate", format!("{received:.2} [Kbytes/sec] received"));
        if plan.body.is_some() {
            add("", format!("{:24}{sent:.2} kb/s sent", ""));
            add("", format!("{:24}{:.2} kb/s total", "", sent + received));
        }
    }
    fields
}

fn connection_times(text: &mut String, outcome: &Outcome, parts: Parts) {
    let tally = &outcome.tally;
    let rows = [
        ("Connect:", "the initial connection time", &tally.connect),
        ("Processing:", "the processing time", &tally.processing),
        ("Waiting:", "the waiting time", &tally.waiting),
        ("Total:", "the total time", &tally.total),
    ];
    text.push_str("\nConnection Times (ms)\n");
    text.push_str(match parts.confidence {
        true => "              min  mean[+/-sd] median   max\n",
        false => "              min   avg   max\n",
    });
    for (label, _, times) in rows {
        let (min, mean, max) = (ms(times.min() as f64), ms(times.mean()), ms(times.max() as f64));
        let _ = match parts.confidence {
            true => {
                let (sd, median) = (ms(times.deviation()), ms(times.quantile(0.5) as f64));
                writeln!(text, "{label:<11} {min:>5} {mean:>5} {sd:>5} {median:>6} {max:>6}")
            }
            false => writeln!(text, "{label:<11} {min:>5} {mean:>5} {max:>5}"),
        };
    }
    for (_, what, times) in rows.iter().filter(|_| parts.confidence) {
        let apart = (times.mean() - times.quantile(0.5) as f64).abs();
        if apart > 2.0 * times.deviation() {
            let _ = write!(
                text,
                "ERROR: The median and mean for {what} are more than twice the standard\n       deviation apart. These results are NOT reliable.\n"
            );
        } else if apart > times.deviation() {
            let _ = write!(
                text,
                "WARNING: The median and mean for {what} are not within a normal deviation\n        These results are probably not that reliable.\n"
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
    let tally = &outcome.tally;
    text.push('\n');
    let mut line = |name: &str, times: &Histogram| {
        let _ = write!(text, "{name:<16}");
        for (label, q) in PERCENTILES {
            let _ = write!(text, " {label} {}", ms(times.quantile(q) as f64));
        }
        let _ = writeln!(text, " stddev {} (ms)", ms(times.deviation()));
    };
    let rate = outcome.rate();
    match outcome.plan.rate {
        None => line("Latency:", &tally.total),
        Some(asked) => {
            line("Service time:", &tally.total);
            line("Response time:", &tally.response);
            let kept = match outcome.shortfall() {
                Some(part) => format!(": {:.1} % short of the schedule", 100.0 * part.max(0.0)),
                None => String::new(),
            };
            let _ = writeln!(
                text,
                "Schedule:        {asked:.2} [#/sec] asked, {rate:.2} answered{kept}"
            );
        }
    }
    if outcome.without_answer() > 0 {
        let _ = writeln!(
            text,
            "Waits:           {} of these requests got no answer ({} timed out, {} when the run ended): they count with the time they waited",
            outcome.without_answer(),
            tally.timed_out,
            tally.unanswered
        );
    }
    if let Some(cpu) = outcome.cpu_per_request() {
        let _ =
            writeln!(text, "CPU time:        {cpu:.1} [us] per request, of the processes of --cpu");
    }
    if let Some(limited) = outcome.client_limit() {
        let _ = writeln!(text, "Client:          {limited}");
    }
}

/// ab's -e: the time within which 0 % to 100 % of the requests were served.
pub fn percentages(outcome: &Outcome) -> String {
    let times = &outcome.tally.total;
    let mut text = String::from("Percentage served,Time in ms\n");
    for percentage in 0..=100 {
        let nanos = match percentage {
            0 => times.min(),
            p => times.quantile(f64::from(p) / 100.0),
        };
        let _ = writeln!(text, "{percentage},{:.3}", nanos as f64 / 1e6);
    }
    text
}
