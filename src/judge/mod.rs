//! The judge: any HTTP server or load balancer against the tables of cases, with the bytes shown.
//!
//! Shares no parser with what it judges, and fails nobody for what the RFCs leave open. Entry
//! point: [`main`]. Note: `notes/judge.md`.

// level, outcome, check, chapter, and what is known of the server
pub(crate) mod check;
// a response read strictly, without sockets
pub(crate) mod answer;
// a client with deadlines
pub(crate) mod client;
// bytes, escaped and marked
mod show;
// the tables: requests and responses, with the verdict on each
pub mod cases;
// one case of the tables against a server
mod table;
// the first requests: is it HTTP at all, and what does it offer
mod contact;
// what Tugas 10 asks of a server
mod assignment;
// whether a server uses the CPU while nobody asks
mod at_rest;
// what the RFCs ask in more than one message
mod protocol;
// what the others feel while some clients behave badly
mod hostile;
// what a load balancer does with requests and with backends
pub mod lb;
// checks side by side, within a bounded time
mod run;
// text, Markdown, JSON
mod report;

use crate::cli::args::{Failure, Given, Topic, duration, flag};
use crate::cli::shutdown::Stop;
use check::{Chapter, Facts, Level, Subject};
pub(crate) use lb::Gateway;
pub(crate) use report::Grade;
use report::Report;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::Duration;

/// `progjar judge`
pub const TOPIC: Topic = Topic {
    name: "judge",
    summary: "grades any HTTP server or load balancer, and shows the bytes",
    operand: "server|lb HOST:PORT …",
    operand_default: "",
    flags: &[&[
        flag("--lab", "N", "", "only what lab N of notes/labs.md asks, 1 to 7"),
        flag("--level", "LEVEL", "all", "assignment, http, hostile or all"),
        flag("--only", "TEXT", "", "only cases or chapters whose name contains TEXT (repeatable)"),
        flag("--patience", "TIME", "2s", "how long an answer may take"),
        flag("--time", "TIME", "45s", "how long all may take; then nothing more is asked"),
        flag("--path", "PATH", "/page.html", "the page to ask for"),
        flag("--echo", "PATH", "/echo", "a path that answers with the request's content"),
        flag("--backends", "PORTS", "9002,9003,9004,9005", "of lb: the judge plays these backends"),
        flag("--markdown", "", "", "the report in Markdown"),
        flag("--json", "", "", "the report in JSON"),
        flag("-v", "", "", "also show what passes, and why others do not apply"),
        flag("--i-own-this-host", "", "", "judge a server that is not on this machine"),
    ]],
    more: "The server must run already. For lb the judge itself is the backends, so stop yours first.\n\
        Exit code: 0 nothing fails, 1 something does or nobody listens, 2 wrong usage.\n\
        Ctrl-C prints what is known so far.",
};

/// How long one answer may take, and all checks together, if not told otherwise.
const PATIENCE: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(45);

/// Which checks, and how to report them.
struct Asked {
    is_lb: bool,
    place: String,
    lab: Option<u8>,
    level: Option<Level>,
    /// Lower case; empty: all.
    only: Vec<String>,
}

impl Asked {
    fn of(given: &Given) -> Result<Asked, String> {
        let wrong = |what: &str| given.topic.wrong(what);
        let [role, place] = given.operands.as_slice() else {
            return Err(wrong("say what and where: server HOST:PORT, or lb HOST:PORT"));
        };
        if role != "server" && role != "lb" {
            return Err(wrong(&format!("'{role}': say server or lb")));
        }
        if given.has("--lab") && given.has("--level") {
            return Err(wrong("give --lab or --level, not both"));
        }
        let level = |text: &str| match text {
            "all" => Some(None),
            text => Level::ALL.into_iter().find(|l| l.name() == text).map(Some),
        };
        let wanted = "give assignment, http, hostile or all";
        Ok(Asked {
            is_lb: role == "lb",
            place: place.clone(),
            lab: given.number("--lab", 1..=7)?.map(|lab| lab as u8),
            level: given.value("--level", wanted, level)?.flatten(),
            only: given.all("--only").map(str::to_lowercase).collect(),
        })
    }

    /// The chapters without the checks that were not asked for.
    fn choose(&self, chapters: Vec<Chapter>) -> Vec<Chapter> {
        let is_level = |c: &Chapter| self.level.is_none_or(|level| c.level == level);
        let mut chosen: Vec<Chapter> = chapters.into_iter().filter(is_level).collect();
        for chapter in &mut chosen {
            let is_named = |name: &str| {
                let name = name.to_lowercase();
                self.only.is_empty() || self.only.iter().any(|only| name.contains(only))
            };
            let has_it = is_named(chapter.name);
            chapter.checks.retain(|check| {
                self.lab.is_none_or(|lab| check.lab == lab) && (has_it || is_named(&check.name))
            });
        }
        chosen.retain(|chapter| !chapter.checks.is_empty());
        chosen
    }
}

/// Judges, prints the report, and fails if anything does.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let asked = Asked::of(given)?;
    let path = |name| Some(given.text(name)?.to_owned()).filter(|p| p.starts_with('/'));
    let path =
        |name| path(name).ok_or_else(|| given.topic.wrong(format_args!("{name}: begin with /")));
    let mut subject = Subject {
        address: address(given, &asked.place)?,
        path: path("--path")?,
        echo: path("--echo")?,
        patience: time(given, "--patience", "give 100ms to 10s", 100..=10_000)?.unwrap_or(PATIENCE),
        time: time(given, "--time", "give 1s to 600s", 1000..=600_000)?.unwrap_or(TIME),
        stop: stop.clone(),
        facts: Facts::default(),
    };
    let chapters = match asked.is_lb {
        true => Gateway::new(&ports(given)?)
            .and_then(|gateway| lb::chapters(gateway, &subject))
            .map_err(Failure::CannotWork)?,
        false => server_chapters(&subject, asked.lab),
    };
    let chapters = asked.choose(chapters);
    if chapters.is_empty() {
        return Err(given.topic.wrong("no case fits --lab, --level and --only").into());
    }
    subject.facts = contact::meet(&subject)
        .map_err(|why| Failure::CannotWork(format!("judge: {} {why}", asked.place)))?;
    let report = judged(given.operands.join(" "), &chapters, &subject, asked.lab);
    let text = match (given.has("--json"), given.has("--markdown")) {
        (true, _) => report.json(),
        (_, true) => report.markdown(given.has("-v")),
        _ => report.text(given.has("-v")),
    };
    // A reader that went away (`| head`) is no fault of the server.
    let _ = std::io::stdout().write_all(text.as_bytes());
    // The report's last line has said why.
    if report.is_well() { Ok(()) } else { Err(Failure::CannotWork(String::new())) }
}

/// The grades of a server, or with backends those of a load balancer, level by level, with what is
/// the default on the command line. The error says why it cannot be judged.
pub(crate) fn grade(
    address: SocketAddr,
    backends: Option<Gateway>,
    stop: &Stop,
) -> Result<Vec<Grade>, String> {
    let (path, echo) = ("/page.html".to_owned(), "/echo".to_owned());
    let (stop, facts) = (stop.clone(), Facts::default());
    let mut subject = Subject { address, path, echo, patience: PATIENCE, time: TIME, stop, facts };
    let chapters = match backends {
        Some(gateway) => lb::chapters(gateway, &subject)?,
        None => server_chapters(&subject, None),
    };
    subject.facts = contact::meet(&subject)?;
    Ok(judged(address.to_string(), &chapters, &subject, None).grades())
}

/// The report on these chapters, under a name.
fn judged<'a>(
    name: String,
    chapters: &'a [Chapter],
    subject: &Subject,
    lab: Option<u8>,
) -> Report<'a> {
    let (findings, has_ended) = run::run(chapters, subject);
    let is_stopped = subject.stop.is_raised();
    Report { subject: name, chapters, findings, lab, is_stopped, has_ended }
}

/// All chapters for an origin server.
fn server_chapters(subject: &Subject, lab: Option<u8>) -> Vec<Chapter> {
    let mut chapters = assignment::chapters();
    chapters.extend(protocol::chapters());
    chapters.extend(table::chapters());
    chapters.extend(hostile::chapters(&subject.path));
    chapters.extend((lab == Some(5)).then(hostile::of_lab_5));
    chapters
}

/// The address of `HOST:PORT`, which is on this machine unless its owner says otherwise.
fn address(given: &Given, place: &str) -> Result<SocketAddr, Failure> {
    let wrong = |what: String| Failure::Usage(given.topic.wrong(what));
    if !place.contains(':') {
        return Err(wrong(format!("'{place}': give HOST:PORT, such as 127.0.0.1:9002")));
    }
    let found = place.to_socket_addrs();
    let found: Vec<_> = found.map_err(|e| wrong(format!("cannot find '{place}': {e}")))?.collect();
    // Most servers of the course listen on IPv4 alone, and localhost may be both.
    let address = found.iter().find(|a| a.is_ipv4()).or(found.first());
    let address = *address.ok_or_else(|| wrong(format!("'{place}' has no address")))?;
    if !address.ip().is_loopback() && !given.has("--i-own-this-host") {
        return Err(wrong(format!(
            "'{place}' is not on this machine; the judge sends what hurts a weak server: judge your \
             own, with --i-own-this-host"
        )));
    }
    Ok(address)
}

/// A time between so many milliseconds.
fn time(
    given: &Given,
    name: &str,
    wanted: &str,
    bounds: RangeInclusive<u128>,
) -> Result<Option<Duration>, String> {
    let is_within = |time: &Duration| bounds.contains(&time.as_millis());
    given.value(name, wanted, |text| duration(text).filter(is_within))
}

/// The ports of `--backends`.
fn ports(given: &Given) -> Result<Vec<u16>, String> {
    let list = |text: &str| text.split(',').map(|p| p.parse().ok().filter(|p| *p > 0)).collect();
    let wanted = "give ports with commas between them: 9002,9003";
    Ok(given.value("--backends", wanted, list)?.unwrap_or_default())
}
