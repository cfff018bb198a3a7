//! ab's options, and ours: from the command line to plans.
//!
//! Knows no socket. Entry point: [`Options::of`]. Note: `notes/bench.md`.

use super::plan::Plan;
use super::report::Look;
use crate::cli::args::{Flag, Given, Topic, flag};
use std::path::PathBuf;
use std::time::Duration;

/// ab's limit when a time limit but no number of requests is given.
const REQUESTS_WITHIN_A_TIME_LIMIT: u64 = 50_000;

const FLAGS: &[Flag] = &[
    flag("-n", "requests", "", "requests in all [1]"),
    flag(
        "-c",
        "concurrency",
        "1",
        "at a time; a list (1,10,50,100) runs each level",
    ),
    flag(
        "-t",
        "timelimit",
        "",
        "seconds at most; implies -n 50000, unless -n is given",
    ),
    flag("-s", "timeout", "30", "seconds to wait for an answer"),
    flag(
        "-k",
        "",
        "",
        "keep connections alive (as ab: HTTP/1.0, Connection: Keep-Alive)",
    ),
    flag("-r", "", "", "go on after a connection broke"),
    flag("-l", "", "", "answers may differ in length"),
    flag("-i", "", "", "HEAD instead of GET"),
    flag("-m", "method", "", "another method"),
    flag("-p", "file", "", "POST this file"),
    flag("-u", "file", "", "PUT this file"),
    flag("-T", "type", "text/plain", "content type of the file"),
    flag(
        "-H",
        "field",
        "",
        "a header line, 'Name: value' (repeatable)",
    ),
    flag("-C", "name=value", "", "a cookie (repeatable)"),
    flag("-q", "", "", "no progress"),
    flag(
        "-v",
        "verbosity",
        "0",
        "1: failures, 2: heads too, 3: status codes too",
    ),
    flag(
        "-g",
        "file",
        "",
        "a row per request, tab-separated, in order of completion",
    ),
    flag("-e", "file", "", "CSV: percentage served, time in ms"),
    flag("-w", "", "", "report as HTML tables"),
    flag("-d", "", "", "no table of percentiles"),
    flag("-S", "", "", "no deviations, medians and warnings"),
    flag("-h", "", "", "this help"),
    flag("-V", "", "", "version"),
    flag(
        "--table",
        "",
        "",
        "report as the assignment's Markdown table",
    ),
    flag("--csv", "", "", "report as CSV"),
    flag("--json", "", "", "report as JSON"),
    flag(
        "--rounds",
        "K",
        "1",
        "run all URLs and levels in turn, K times; show medians, min-max",
    ),
    flag(
        "--warmup",
        "time",
        "0",
        "load each target first, uncounted (2s, 250ms)",
    ),
    flag(
        "--rate",
        "R",
        "",
        "send R requests/s on a fixed schedule; count from when each was due",
    ),
    flag("--threads", "T", "", "client threads [1 per 4 cores]"),
];

/// `progjar bench`.
pub const TOPIC: Topic = Topic {
    name: "bench",
    summary: "load a web server and report as ab does",
    operand: "URL…",
    operand_default: "",
    flags: &[FLAGS],
    more: "Unlike ab, on purpose: a failed request is in no rate and no latency, and in exactly one class:\n\
        Connect, Receive (broken, cut short, or silent for -s), Length, Exceptions (not HTTP).\n\
        Non-2xx answers are always shown. A target that refuses, or that never answered: exit 1.\n\
        Times are within 0.4 % (a histogram: constant memory); -g streams, unsorted, in UTC.\n\
        A connection opens while fewer than 128 others are still being set up.",
};

/// How to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ab's text.
    Text,
    /// ab's -w.
    Html,
    /// The assignment's table.
    Table,
    /// A line per target and level.
    Csv,
    /// An array of objects.
    Json,
}

/// All that the command line says.
#[derive(Debug)]
pub struct Options {
    /// For each level, each target: the order in which a round runs them.
    pub plans: Vec<Plan>,
    /// How often all of them are run.
    pub rounds: usize,
    /// Load before the first round.
    pub warmup: Duration,
    /// How to report.
    pub format: Format,
    /// -q.
    pub quiet: bool,
    /// -e.
    pub percentages: Option<PathBuf>,
    /// -d and -S.
    pub look: Look,
}

impl Options {
    /// Reads the flags. The error is one line that says what to do.
    pub fn of(given: &Given) -> Result<Options, String> {
        given.operand()?;
        let levels = levels(given)?;
        let mut plans = Vec::new();
        for level in &levels {
            for url in &given.operands {
                plans.push(plan(given, url, *level)?);
            }
        }
        let formats = [
            ("--json", Format::Json),
            ("--csv", Format::Csv),
            ("--table", Format::Table),
            ("-w", Format::Html),
        ];
        let rounds = given.number("--rounds", 1..=1000)?.unwrap_or(1) as usize;
        let many = plans.len() > 1 || rounds > 1;
        if many && (given.has("-g") || given.has("-e")) {
            return Err(TOPIC.wrong("-g and -e hold one run: give one URL, one level, one round"));
        }
        let format = formats
            .iter()
            .find(|(name, _)| given.has(name))
            .map(|f| f.1);
        Ok(Options {
            rounds,
            warmup: given.duration("--warmup")?.unwrap_or_default(),
            format: format.unwrap_or(if many { Format::Table } else { Format::Text }),
            quiet: given.has("-q"),
            percentages: given.text("-e").map(PathBuf::from),
            look: Look {
                percentiles: !given.has("-d"),
                confidence: !given.has("-S"),
            },
            plans,
        })
    }
}

fn levels(given: &Given) -> Result<Vec<usize>, String> {
    let level = |text: &str| {
        let number = text.trim().parse().ok();
        number.filter(|n| (1..=1_000_000).contains(n))
    };
    let levels = given.value("-c", "give a number, or several: 1,10,50,100", |text| {
        text.split(',').map(level).collect()
    })?;
    Ok(levels.unwrap_or_default())
}

fn plan(given: &Given, url: &str, concurrency: usize) -> Result<Plan, String> {
    let mut plan = Plan::new(url).map_err(|e| TOPIC.wrong(e))?;
    plan.concurrency = concurrency;
    plan.time_limit = given.duration("-t")?;
    plan.requests = match (given.number("-n", 1..=u64::MAX)?, plan.time_limit) {
        (Some(n), _) => n,
        (None, Some(_)) => REQUESTS_WITHIN_A_TIME_LIMIT,
        (None, None) => 1,
    };
    if concurrency as u64 > plan.requests {
        return Err(TOPIC.wrong(format_args!(
            "-c {concurrency} is more than -n {}: give at least as many requests",
            plan.requests
        )));
    }
    plan.timeout = given
        .duration("-s")?
        .unwrap_or(plan.timeout)
        .max(Duration::from_millis(1));
    plan.keep_alive = given.has("-k");
    plan.go_on = given.has("-r");
    plan.any_length = given.has("-l");
    plan.verbosity = given.number("-v", 0..=9)?.unwrap_or(0);
    plan.rows = given.text("-g").map(PathBuf::from);
    plan.content_type = given.text("-T").unwrap_or_default().to_owned();
    for (name, method) in [("-p", "POST"), ("-u", "PUT")] {
        if let Some(path) = given.text(name) {
            let body = std::fs::read(path)
                .map_err(|e| TOPIC.wrong(format_args!("{name} '{path}': {e}")))?;
            plan.body = Some(body);
            plan.method = method.to_owned();
        }
    }
    if given.has("-i") {
        plan.method = "HEAD".to_owned();
    }
    plan.method = given.text("-m").unwrap_or(&plan.method).to_owned();
    plan.fields = given.all("-H").map(str::to_owned).collect();
    plan.cookies = given.all("-C").map(str::to_owned).collect();
    check_lines(&plan)?;
    plan.rate = given.value("--rate", "give requests per second", |text| {
        let rate = text.parse::<f64>().ok();
        rate.filter(|rate| (0.001..=1e9).contains(rate))
    })?;
    if let Some(threads) = given.number("--threads", 1..=1024)? {
        plan.threads = threads as usize;
    }
    Ok(plan)
}

/// A line end inside a field would be two fields, or a second request.
fn check_lines(plan: &Plan) -> Result<(), String> {
    let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !token(&plan.method) {
        return Err(TOPIC.wrong(format_args!("-m '{}': one word, please", plan.method)));
    }
    if let Some(field) = plan.fields.iter().find(|f| !f.contains(':')) {
        return Err(TOPIC.wrong(format_args!("-H '{field}': give 'Name: value'")));
    }
    let mut lines = plan
        .fields
        .iter()
        .chain(&plan.cookies)
        .chain([&plan.content_type]);
    match lines.find(|l| l.bytes().any(|b| b == b'\r' || b == b'\n' || b == 0)) {
        Some(line) => Err(TOPIC.wrong(format_args!("'{}' holds a line end", line.escape_debug()))),
        None => Ok(()),
    }
}

/// For the exhibits and for notes: the plan that these words of a command line describe.
pub fn parse(words: &[&str]) -> Result<Options, String> {
    let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    Options::of(&TOPIC.parse(&words)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_mean_what_they_mean_to_ab() {
        let of = |line: &str| parse(&line.split(' ').collect::<Vec<_>>());
        let options = of("-n 1000 -c 100 -r -k -s 99999 http://127.0.0.1:44444/").expect("valid");
        let plan = &options.plans[0];
        assert_eq!((plan.requests, plan.concurrency), (1000, 100));
        assert!(plan.keep_alive && plan.go_on && plan.timeout.as_secs() == 99_999);
        assert_eq!(options.format, Format::Text);
        assert_eq!(of("-t 5 h").expect("valid").plans[0].requests, 50_000);
        assert_eq!(of("-i h").expect("valid").plans[0].method, "HEAD");
        let many = of("-n 100 -c 1,10 a b").expect("valid");
        let order: Vec<_> = many
            .plans
            .iter()
            .map(|p| (p.concurrency, p.target.host.as_str()))
            .collect();
        assert_eq!(order, [(1, "a"), (1, "b"), (10, "a"), (10, "b")]);
        assert_eq!(many.format, Format::Table);
        for bad in [
            "-c 5 h",
            "-n 0 h",
            "-c 0 h",
            "-H x h",
            "-m  h",
            "--rate 0 h",
            "-n 1",
        ] {
            let error = of(bad).expect_err(bad);
            assert!(
                error.contains("progjar help bench") && !error.contains('\n'),
                "{error}"
            );
        }
    }

    #[test]
    fn the_help_fits_a_screen() {
        let help = TOPIC.help();
        assert!(help.lines().count() <= 50, "{}", help.lines().count());
        let widest = help.lines().map(|l| l.chars().count()).max();
        assert!(widest <= Some(100), "{widest:?}");
    }
}
