//! One case of the tables against a server: right is what our verdict says, and whatever else
//! the RFCs leave open.
//!
//! Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::cases::{self, Accepted, Case, Chunked, Demand, Fault, Section, Verdict};
use super::check::{Chapter, Check, Finding, Level, Outcome, Subject};
use super::client::{Client, Trouble, in_words};
use super::contact::get_once;
use super::show;
use std::time::Duration;

/// Checks of a chapter that run side by side.
const SIDE_BY_SIDE: usize = 8;
/// How long a server is watched that has nothing to say: it waits for the rest of a request.
const QUIET: Duration = Duration::from_millis(200);
/// How long a server may take to close.
const CLOSE: Duration = Duration::from_secs(1);

/// A chapter for each section of the table.
pub(super) fn chapters() -> Vec<Chapter> {
    let chapter = |section: Section| {
        let Section { name, section, why, lab, cases } = section;
        let cases = cases.into_iter().filter(|case| !case.bytes.is_empty());
        let checks = cases.map(|case| check(case, section, why)).collect();
        Chapter::new(Level::Http, name, checks).side_by_side(SIDE_BY_SIDE).of_lab(lab)
    };
    cases::sections().into_iter().map(chapter).collect()
}

const HALF: &str = "the rest may be on its way: the network cuts a request where it likes";

/// What a server may do with the case, where that is written, and why.
pub(super) fn rule(
    case: &Case,
    section: &'static str,
    why: &'static str,
) -> (Demand, &'static str, &'static str) {
    let fault = case.ours.iter().find_map(|verdict| match verdict {
        Verdict::Refused(_, fault) => Some(fault.rule()),
        _ => None,
    });
    let is_half = case.ours.last() == Some(&Verdict::Incomplete);
    let (section, why) = if is_half { ("RFC 9112 §2.1", HALF) } else { (section, why) };
    let (demand, section, why) = fault.unwrap_or((Demand::Must, section, why));
    let (section, why) = case.because.unwrap_or((section, why));
    (case.demand.unwrap_or(demand), section, why)
}

fn check(case: Case, section: &'static str, why: &'static str) -> Check {
    let (demand, section, why) = rule(&case, section, why);
    let refused = case.ours.iter().any(|v| matches!(v, Verdict::Refused(..)));
    let weight = match demand {
        Demand::Must | Demand::Once => 2 + u8::from(refused),
        Demand::Should | Demand::May => 1,
    };
    Check::new(case.name, section, why, move |subject| judge(&case, demand, subject)).weight(weight)
}

/// Why the case says nothing about this server.
fn does_not_apply(case: &Case, subject: &Subject) -> Option<&'static str> {
    let facts = &subject.facts;
    let text = String::from_utf8_lossy(&case.bytes).to_lowercase();
    let is_chunked = |v: &Verdict| matches!(v, Verdict::Accepted(a) if a.framing == Chunked);
    let is_new = text.contains("transfer-encoding")
        || case.ours.iter().any(is_chunked)
        || matches!(case.chapter, "Host" | "Expect" | "versions");
    let is_in_content = |v: &Verdict| match v {
        Verdict::Refused(_, fault) => is_in_content(*fault),
        Verdict::Incomplete => text.starts_with("post"),
        Verdict::Accepted(a) => is_chunked(v) || (a.target == "/echo" && !a.content.is_empty()),
    };
    let keeps = |v: &Verdict| matches!(v, Verdict::Accepted(a) if a.keep_alive);
    let persists =
        case.ours.len() > 1 || (case.chapter == "persistence" && case.ours.iter().any(keeps));
    match () {
        () if is_new && !facts.is_http11 => Some("it answers HTTP/1.0, which does not know this"),
        () if persists && !facts.persists => Some("it closes the connection after each answer"),
        () if !facts.echoes && case.ours.iter().any(is_in_content) => {
            Some("no path answers with the content of the request; name one with --echo")
        }
        () => None,
    }
}

/// Whether the server must read the content to find the fault.
#[rustfmt::skip]
fn is_in_content(fault: Fault) -> bool {
    use Fault::*;
    matches!(fault, ChunkSize | ChunkTooLarge | ChunkExtension | ChunkEnd | Trailer | TrailerTooLarge)
}

/// Whether the server knows all the same where the request ends: it may go on with the next.
#[rustfmt::skip]
fn has_an_end(fault: Fault) -> bool {
    use Fault::*;
    matches!(fault, HostMissing | HostTwice | HostInvalid | UnknownMethod | RequestTarget | TargetForm
        | PercentEncoding | Scheme | Authority | Expectation | MaxForwards)
}

/// A server that says nothing, as it should.
const WAITS: &str = "it waits for more";

/// What one verdict came to.
struct Step {
    outcome: Outcome,
    came: String,
    /// Nothing more can be asked on this connection.
    ends: bool,
    timed_out: bool,
}

fn step(outcome: Outcome, came: impl Into<String>, ends: bool) -> Step {
    Step { outcome, came: came.into(), ends, timed_out: false }
}

/// What it is that a server does otherwise.
fn otherwise(demand: Demand) -> Outcome {
    match demand {
        Demand::Must | Demand::Once => Outcome::Fail,
        Demand::Should => Outcome::Warn,
        Demand::May => Outcome::Pass,
    }
}

fn judge(case: &Case, demand: Demand, subject: &Subject) -> Finding {
    if let Some(reason) = does_not_apply(case, subject) {
        return Finding::not_applicable(reason);
    }
    let bytes = with_echo(&case.bytes, &subject.echo);
    let mut steps = Vec::new();
    match Client::connect(subject.address) {
        Ok(mut client) => {
            client.send(&bytes);
            for verdict in &case.ours {
                let step = match verdict {
                    Verdict::Accepted(a) => accepted(a, case, demand, subject, &mut client),
                    Verdict::Refused(_, fault) => refused(*fault, demand, subject, &mut client),
                    Verdict::Incomplete => incomplete(case, &mut client),
                };
                let ends = step.ends;
                steps.push(step);
                if ends {
                    break;
                }
            }
            if steps.iter().all(|step| !step.ends) && subject.facts.persists {
                steps.push(probe(subject, &mut client));
            }
        }
        Err(trouble) => steps.push(step(Outcome::Fail, trouble.to_string(), true)),
    }
    let worst = Outcome::ALL.into_iter().find(|o| steps.iter().any(|step| step.outcome == *o));
    let came: Vec<&str> = steps.iter().map(|step| step.came.as_str()).collect();
    let expected = expected(case, demand);
    let sent = show::marked(&bytes);
    let mut finding = Finding::new(worst.unwrap_or(Outcome::Pass), sent, came.join("; "), expected);
    finding.timed_out = steps.iter().any(|step| step.timed_out);
    finding.is_silent = steps.iter().all(|step| step.came == WAITS);
    finding
}

/// The bytes for this server: its own path for `/echo`.
fn with_echo(bytes: &[u8], echo: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(6).position(|w| w == b" /echo").filter(|_| echo != "/echo") {
        out.extend_from_slice(rest.get(..=at).unwrap_or_default());
        out.extend_from_slice(echo.as_bytes());
        rest = rest.get(at + 6..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The status shows that the request was understood, whatever the server thinks of it.
fn is_understood(status: u16, method: &str) -> bool {
    let is_known = matches!(method, "GET" | "HEAD");
    match status {
        400 | 408 | 411 | 413 | 414 | 417 | 431 => false,
        501 | 505 => !is_known && status == 501,
        status => status < 500,
    }
}

fn accepted(
    a: &Accepted,
    case: &Case,
    demand: Demand,
    subject: &Subject,
    client: &mut Client,
) -> Step {
    let is_echo = subject.facts.echoes && a.target == "/echo" && a.method == "POST";
    // GET and HEAD are for all servers, other methods are for those that want them (RFC 9110 §9.1).
    let otherwise = match otherwise(demand) {
        Outcome::Fail if !is_echo && !matches!(a.method, "GET" | "HEAD") => Outcome::Warn,
        outcome => outcome,
    };
    let answer = match client.answer(a.method == "HEAD", subject.patience) {
        Ok(answer) => answer,
        Err(trouble) => {
            let timed_out = trouble.is_timeout();
            return Step { timed_out, ..step(otherwise, trouble.to_string(), true) };
        }
    };
    let came = answer.summary();
    if !is_understood(answer.status, a.method) || (is_echo && answer.status >= 400) {
        return step(otherwise, came, true);
    }
    if is_echo && answer.content != a.content {
        let content = show::short(&answer.content);
        return step(Outcome::Fail, format!("{came}: {content}, not what was sent"), true);
    }
    if a.keep_alive && answer.closes() {
        let is_about_it = matches!(case.chapter, "persistence" | "pipelining");
        let outcome = match is_about_it && demand != Demand::May {
            true => Outcome::Warn,
            false => Outcome::Pass,
        };
        return step(outcome, came, true);
    }
    if a.keep_alive || a.method == "CONNECT" {
        return step(Outcome::Pass, came, a.method == "CONNECT");
    }
    let (more, has_closed) = client.rest(CLOSE);
    let (outcome, came) = match (more.trim_ascii().is_empty(), has_closed) {
        (true, true) => (Outcome::Pass, came),
        (true, false) => (Outcome::Fail, format!("{came}; but the connection stays open")),
        (false, _) => (Outcome::Fail, format!("{came}; then more: {}", show::short(&more))),
    };
    step(outcome, came, true)
}

fn refused(fault: Fault, demand: Demand, subject: &Subject, client: &mut Client) -> Step {
    let mut said = Vec::new();
    let taken = loop {
        let patience = if said.is_empty() { subject.patience } else { QUIET };
        match client.answer(false, patience) {
            Ok(answer) => {
                said.push(answer.summary());
                if answer.status >= 400 {
                    // What came before this refusal was taken, and what comes behind it too.
                    let (more, _) = client.rest(QUIET);
                    let is_more = !has_an_end(fault)
                        && more.windows(10).any(|w| {
                            w.starts_with(b"HTTP/1.") && matches!(w.get(9), Some(b'2' | b'3'))
                        });
                    if is_more {
                        said.push(format!("then {}", show::short(&more)));
                    }
                    break said.len() - 1;
                }
            }
            Err(Trouble::TimedOut(0)) if said.is_empty() => {
                return not_refused(fault, demand);
            }
            Err(trouble) if said.is_empty() => {
                let is_closed = matches!(trouble, Trouble::Closed(_) | Trouble::Reset(_));
                let without_a_word =
                    if demand == Demand::Must { Outcome::Warn } else { Outcome::Pass };
                let outcome = if is_closed { without_a_word } else { otherwise(demand) };
                return step(outcome, trouble.to_string(), true);
            }
            Err(_) => break said.len(),
        }
    };
    let outcome = match demand {
        _ if taken == 0 => Outcome::Pass,
        Demand::Once if taken == 1 => Outcome::Pass,
        demand => otherwise(demand),
    };
    step(outcome, said.join("; "), true)
}

/// The server neither answers nor closes. To wait is right where more may come.
fn not_refused(fault: Fault, demand: Demand) -> Step {
    let may_wait = matches!(fault, Fault::ContentLengthTooLarge | Fault::ChunkTooLarge);
    match may_wait || matches!(demand, Demand::May | Demand::Once) {
        true => step(Outcome::Pass, WAITS, true),
        false => Step {
            timed_out: true,
            ..step(Outcome::Warn, "neither an answer nor a close in time", true)
        },
    }
}

fn incomplete(case: &Case, client: &mut Client) -> Step {
    let (came, has_closed) = client.rest(QUIET);
    let has_head = case.bytes.windows(4).any(|w| w == b"\r\n\r\n") && case.ours.len() == 1;
    let words = match came.is_empty() {
        true if has_closed => "the connection closed".to_owned(),
        true => WAITS.to_owned(),
        false => show::short(&came),
    };
    match (came.is_empty(), has_closed) {
        (true, false) => step(Outcome::Pass, words, true),
        // An answer may come before the content.
        (false, _) if has_head => step(Outcome::Pass, words, true),
        _ => step(Outcome::Fail, words, true),
    }
}

/// A server that still holds hidden bytes would answer those, not this.
fn probe(subject: &Subject, client: &mut Client) -> Step {
    client.send(get_once("/"));
    let answer = client.answer(false, subject.patience);
    let timed_out = answer.as_ref().is_err_and(Trouble::is_timeout);
    let (outcome, came) = match &answer {
        Ok(answer) if is_understood(answer.status, "GET") => {
            let (more, _) = client.rest(CLOSE);
            match more.trim_ascii().is_empty() {
                true => (Outcome::Pass, "then the next request is answered".to_owned()),
                false => {
                    (Outcome::Fail, format!("then one answer too many: {}", show::short(&more)))
                }
            }
        }
        _ => (Outcome::Fail, format!("the next request on the connection: {}", in_words(&answer))),
    };
    Step { timed_out, ..step(outcome, came, true) }
}

/// What is right, in words.
fn expected(case: &Case, demand: Demand) -> String {
    let one = |verdict: &Verdict| match (verdict, demand) {
        (Verdict::Accepted(a), _) if a.keep_alive => "an answer".to_owned(),
        (Verdict::Accepted(_), _) => "an answer, then close".to_owned(),
        (Verdict::Incomplete, _) => "nothing yet: the request is not whole".to_owned(),
        (Verdict::Refused(status, _), Demand::Must) => format!("{status}, then close"),
        (Verdict::Refused(status, _), Demand::Once) => {
            format!("{status}; or one answer and then close")
        }
        (Verdict::Refused(status, _), Demand::Should) => format!("better {status}"),
        (Verdict::Refused(status, _), Demand::May) => format!("{status}, or an answer"),
    };
    case.ours.iter().map(one).collect::<Vec<_>>().join("; then ")
}
