//! ab's options, and ours: from the command line to plans.
//!
//! Knows no socket. Entry point: [`Options::of`]. Note: `notes/bench.md`.

use super::cpu::Cpu;
use super::plan::{Plan, Target, base64};
use super::report::Parts;
use super::saved::Saved;
use super::verdict::{ROUNDS, rounds_needed};
use crate::cli::args::{Flag, Given, Topic, duration, flag};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// ab's limit when a time limit but no number of requests is given.
const REQUESTS_WITHIN_A_TIME_LIMIT: u64 = 50_000;
/// With --rate, unless -c or -t and -n are given: the server, not the number of connections, is
/// to be the limit, and each point of a curve needs its time.
const CONNECTIONS_ON_SCHEDULE: usize = 64;
const TIME_ON_SCHEDULE: Duration = Duration::from_secs(2);
/// More than a client can send.
const HIGHEST_RATE: f64 = 1e6;
/// ab's: with fewer requests, no lines of progress; otherwise one for each tenth, of at least 100.
const WORTH_LINES: u64 = 150;

/// A line for each flag, which rustfmt would break into six; then those of ab that are left out:
/// they have no line of help, and where others have their default stands the reason.
macro_rules! flags {
    (
        $($name:literal $value:literal $default:literal $help:literal)*
        ; $($reason:literal: $($out:literal $of:literal)*;)*
    ) => {
        &[$(flag($name, $value, $default, $help),)* $($(flag($out, $of, $reason, ""),)*)*]
    };
}

const FLAGS: &[Flag] = flags! {
    "-n" "requests" "" "requests in all [1]"
    "-c" "concurrency" "" "at a time [1, with --rate 64]; a list (1,10,50,100) runs each level"
    "-t" "timelimit" "" "seconds at most; implies -n 50000, unless -n follows"
    "-s" "timeout" "30" "seconds to wait for an answer"
    "-k" "" "" "keep connections alive (as ab: HTTP/1.0, Connection: Keep-Alive)"
    "-r" "" "" "go on after a connection broke"
    "-l" "" "" "answers may differ in length"
    "-i" "" "" "HEAD instead of GET"
    "-m" "method" "" "another method"
    "-p" "file" "" "POST this file"
    "-u" "file" "" "PUT this file"
    "-T" "type" "text/plain" "content type of the file"
    "-H" "field" "" "a header line, 'Name: value' (repeatable)"
    "-C" "name=value" "" "a cookie (repeatable)"
    "-A" "user:password" "" "basic authentication"
    "-q" "" "" "no progress"
    "-v" "verbosity" "0" "1: failures, 2: heads too, 3: status codes too"
    "-g" "file" "" "a row per request, tab-separated, in order of completion"
    "-e" "file" "" "CSV: percentage served, time in ms"
    "-d" "" "" "no table of percentiles"
    "-S" "" "" "no deviations, medians and warnings"
    "-h" "" "" "this help"
    "-V" "" "" "version"
    "--table" "" "" "report as the assignment's Markdown table"
    "--csv" "" "" "report as CSV"
    "--json" "" "" "report as JSON"
    "--rounds" "K" "" "all URLs and levels in turn, K times; verdicts [several URLs: 15]"
    "--warmup" "time" "0" "load each target first, uncounted (2s, 250ms)"
    "--rate" "R" "" "requests/s on a schedule, counted from when due; 1k,5k or auto: a curve"
    "--against" "FILE" "" "verdicts also against a run saved by --json"
    "--idle" "N" "0" "so many more connections, with one answer each and then silent"
    "--cpu" "PID,…" "" "CPU time per request of these processes"
    "--http11" "" "" "send HTTP/1.1, as browsers do"
    "--threads" "T" "" "client threads [1 per 4 cores]"
    ;
    "no proxy is spoken to": "-P" "auth" "-X" "proxy";
    "the kernel sizes the buffers of a socket by itself": "-b" "size";
    "the kernel chooses the address to send from": "-B" "address";
    "there is no report in HTML; --table, --csv and --json are for other programs":
        "-w" "" "-x" "attributes" "-y" "attributes" "-z" "attributes";
    "https is not spoken": "-I" "" "-Z" "ciphers" "-f" "protocol" "-E" "certificate";
};

/// `progjar bench`.
pub const TOPIC: Topic = Topic {
    name: "bench",
    summary: "load a web server and report as ab does",
    operand: "[NAME=]URL…",
    operand_default: "",
    flags: &[FLAGS],
    more: "Unlike ab, on purpose: a failed request is in no rate, and in exactly one class: Connect,\n\
        Receive (broken, cut short, or silent for -s), Length, Exceptions (not HTTP). One without\n\
        an answer counts in the times, with the time it waited. Non-2xx answers are always shown.\n\
        A target that refuses, a run that broke, or that had no answer: exit 1.\n\
        Times are within 0.4 % (a histogram: constant memory); -g streams, unsorted, in UTC.\n\
        A connection opens while fewer than 128 others are still being set up.",
};

/// How to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ab's.
    Text,
    /// The assignment's.
    Table,
    /// A line per target and level.
    Csv,
    /// For programs, and for --against.
    Json,
}

/// All that the command line says.
#[derive(Debug)]
pub struct Options {
    /// For each level, each rate, each target: the order in which a round runs them.
    pub plans: Vec<Plan>,
    /// --rate auto: the plans are still without their rates.
    pub(super) auto: bool,
    /// How often all of them are run.
    pub rounds: usize,
    pub(super) warmup: Duration,
    /// How to report.
    pub format: Format,
    pub(super) against: Option<Saved>,
    pub(super) parts: Parts,
}

impl Options {
    /// Reads the flags. The error is one line that says what to do.
    pub(super) fn of(given: &Given) -> Result<Options, String> {
        let is_left_out = |flag: &&Flag| flag.help.is_empty() && given.has(flag.name);
        if let Some(Flag { name, default, .. }) = FLAGS.iter().find(is_left_out) {
            return Err(TOPIC.wrong(format_args!("{name} is not supported, because {default}")));
        }
        let (mut plans, auto) = (plans(given)?, given.text("--rate") == Some("auto"));
        let against = given.text("--against").map(|path| Saved::read(Path::new(path)));
        let against = against.transpose().map_err(|e| TOPIC.wrong(e))?;
        let others = given.operands.len() - 1;
        let verdicts = plans.len() * others / 2 + against.iter().count() * plans.len();
        // A curve is looked at; a verdict on each of its points takes long, and is asked for.
        let curve = auto || plans.iter().any(|plan| plan.rate != plans[0].rate);
        let is_judged = verdicts > 0 && !curve;
        let usual = if is_judged { ROUNDS.max(rounds_needed(verdicts)) } else { 1 };
        let rounds = given.number("--rounds", 1..=1000)?.map_or(usual, |rounds| rounds as usize);
        let many = plans.len() > 1 || rounds > 1 || auto;
        if many && (given.has("-g") || given.has("-e")) {
            return Err(TOPIC.wrong("-g and -e hold one run: give one URL, one level, one round"));
        }
        if against.is_some() && (given.has("--csv") || given.has("--json")) {
            return Err(TOPIC.wrong("--against gives verdicts, --csv and --json hold none"));
        }
        let requests = plans[0].requests;
        if !many && !given.has("-q") && requests > WORTH_LINES {
            plans[0].progress = (requests / 10).max(100);
        }
        let format = match () {
            () if given.has("--json") => Format::Json,
            () if given.has("--csv") => Format::Csv,
            () if given.has("--table") || many || against.is_some() => Format::Table,
            () => Format::Text,
        };
        Ok(Options {
            plans,
            auto,
            rounds,
            warmup: given.duration("--warmup")?.unwrap_or_default(),
            format,
            against,
            parts: Parts { no_percentiles: given.has("-d"), no_confidence: given.has("-S") },
        })
    }
}

/// The values of a list, each once.
fn list<T: PartialEq>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let values: Vec<T> = text.split(',').map(|one| read(one.trim())).collect::<Option<_>>()?;
    let is_new = |(i, value): (usize, &T)| !values[..i].contains(value);
    values.iter().enumerate().all(is_new).then_some(values)
}

/// A plan for each level, each rate, each target.
fn plans(given: &Given) -> Result<Vec<Plan>, String> {
    let model = plan(given)?;
    let targets = given.operands.iter().map(|url| Target::parse(url));
    let targets: Vec<Target> = targets.collect::<Result<_, _>>().map_err(|e| TOPIC.wrong(e))?;
    let is_twice = |(i, a): (usize, &Target)| targets[..i].iter().any(|b| a.name == b.name);
    if targets.iter().enumerate().any(is_twice) {
        return Err(TOPIC.wrong("a target stands there twice: give them names, A=URL B=URL"));
    }
    let wanted = "give requests per second, several rates (1k,2k,5k), or auto";
    let rates = given.value("--rate", wanted, |text| match text {
        "auto" => Some(vec![None]),
        _ => list(text, |text| rate(text).map(Some)),
    })?;
    let on_schedule = CONNECTIONS_ON_SCHEDULE.min(model.requests as usize);
    let usual = if rates.is_some() { on_schedule } else { 1 };
    let level = |text: &str| text.parse().ok().filter(|n| (1..=1_000_000).contains(n));
    let wanted = "give a number, or several, each once: 1,10,50,100";
    let levels: Option<Vec<usize>> = given.value("-c", wanted, |text| list(text, level))?;
    let (levels, rates) = (levels.unwrap_or(vec![usual]), rates.unwrap_or(vec![None]));
    if let Some(c) = levels.iter().find(|level| **level as u64 > model.requests) {
        let n = model.requests;
        let what = format_args!("-c {c} is more than -n {n}: give at least as many requests");
        return Err(TOPIC.wrong(what));
    }
    let mut plans = Vec::new();
    for concurrency in levels {
        for rate in &rates {
            plans.extend(targets.iter().map(|target| {
                let plan = Plan { target: target.clone(), concurrency, ..model.clone() };
                if let Some(rate) = *rate { plan.at_rate(rate) } else { plan }
            }));
        }
    }
    Ok(plans)
}

fn rate(text: &str) -> Option<f64> {
    let thousands = text.strip_suffix(['k', 'K']);
    let unit = if thousands.is_some() { 1000.0 } else { 1.0 };
    let rate = thousands.unwrap_or(text).parse::<f64>().ok()? * unit;
    Some(rate).filter(|rate| (0.001..=HIGHEST_RATE).contains(rate))
}

/// What all plans have in common.
fn plan(given: &Given) -> Result<Plan, String> {
    let mut plan = Plan::new(given.operand()?).map_err(|e| TOPIC.wrong(e))?;
    let wanted = "give seconds (2, 0.5s) or milliseconds (250ms), but not 0";
    let limit = given.value("-t", wanted, |text| duration(text).filter(|t| !t.is_zero()))?;
    let last = given.last_of(&["-n", "-t"]);
    (plan.requests, plan.time_limit) = match given.number("-n", 1..=u64::MAX)? {
        None if given.has("--rate") => (u64::MAX, limit.or(Some(TIME_ON_SCHEDULE))),
        // As ab: -t sets -n too, and the last one counts.
        Some(n) if last == Some("-n") => (n, limit),
        n if limit.is_none() => (n.unwrap_or(1), None),
        _ => (REQUESTS_WITHIN_A_TIME_LIMIT, limit),
    };
    plan.timeout = given.duration("-s")?.unwrap_or(plan.timeout).max(Duration::from_millis(1));
    plan.keep_alive = given.has("-k");
    plan.http11 = given.has("--http11");
    plan.go_on = given.has("-r");
    plan.any_length = given.has("-l");
    plan.verbosity = given.number("-v", 0..=9)?.unwrap_or(0);
    plan.rows = given.text("-g").map(PathBuf::from);
    plan.idle = given.number("--idle", 0..=1_000_000)?.unwrap_or(0) as usize;
    let pids =
        |text: &str| list(text, |pid| pid.parse().ok()).filter(|pids| Cpu::of(pids).is_some());
    let wanted = "give process ids that /proc knows: 4711,4712";
    plan.processes = given.value("--cpu", wanted, pids)?.unwrap_or_default();
    plan.threads = given.number("--threads", 1..=1024)?.map_or(plan.threads, |n| n as usize);
    content(given, &mut plan)?;
    Ok(plan)
}

/// What each request says.
fn content(given: &Given, plan: &mut Plan) -> Result<(), String> {
    plan.content_type = given.text("-T").unwrap_or_default().to_owned();
    for (name, method) in [("-p", "POST"), ("-u", "PUT")] {
        if let Some(path) = given.text(name) {
            let wrong = |e| TOPIC.wrong(format_args!("{name} '{path}': {e}"));
            plan.body = Some(std::fs::read(path).map_err(wrong)?);
            plan.method = method.to_owned();
        }
    }
    if given.has("-i") && plan.body.is_some() {
        return Err(TOPIC.wrong("-i asks for the head alone, -p and -u send a file: give one"));
    }
    let method = given.text("-m").or(given.has("-i").then_some("HEAD"));
    plan.method = method.unwrap_or(&plan.method).to_owned();
    plan.fields = given.all("-H").map(str::to_owned).collect();
    if let Some(user) = given.text("-A") {
        plan.fields.push(format!("Authorization: Basic {}", base64(user.as_bytes())));
    }
    plan.cookies = given.all("-C").map(str::to_owned).collect();
    if plan.method.is_empty() || !plan.method.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(TOPIC.wrong(format_args!("-m '{}': one word, please", plan.method)));
    }
    if let Some(field) = plan.fields.iter().find(|f| !f.contains(':')) {
        return Err(TOPIC.wrong(format_args!("-H '{field}': give 'Name: value'")));
    }
    Ok(())
}

/// For the exhibits and for notes: the plan that these words of a command line describe.
pub fn parse(words: &[&str]) -> Result<Options, String> {
    let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    Options::of(&TOPIC.parse(&words)?)
}
