//! What RFC 9110 and 9112 ask of a server in more than one message: requests in pieces, many on
//! one connection, answers that agree with each other.
//!
//! Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::answer::{Answer, End};
use super::assignment::{judged, warned};
use super::check::{Chapter, Check, Facts, Finding, Level, Outcome, Row, Subject};
use super::client::{Client, Trouble};
use super::contact::{PAUSE, ask, ask_all, get, get_once};
use super::show;
use std::time::{Duration, Instant};

/// How long a client waits for 100 (Continue) before it sends its content unasked.
const CONTINUE: Duration = Duration::from_secs(1);
/// How long a server may take to close.
const CLOSE: Duration = Duration::from_secs(1);
/// Ways to write a path that leads out of the folder.
const OUTSIDE: [&str; 4] = [
    "/../../../../../../../../etc/passwd",
    "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
];

/// The chapters.
pub(super) fn chapters() -> Vec<Chapter> {
    let chapter = |name, checks| Chapter::new(Level::Http, name, checks);
    vec![
        chapter("pieces, and many on one connection", Check::rows(PIECES)).of_lab(2),
        chapter("answers", Check::rows(ANSWERS)),
        chapter("conditional requests", CONDITIONS.into_iter().map(conditional).collect()),
    ]
}

const READ: &str = "one read may bring half a request, or two: the network keeps no borders";
const ENDS: &str =
    "the client waits for the end of the connection, or for the next answer, for ever";

#[rustfmt::skip] // a table
const PIECES: [Row; 8] = [
    ("a request in two pieces, cut in the request line", 3, "RFC 9112 §2.2", READ, |s| sent_in(s, 5, None)),
    ("a request in two pieces, cut in the Host", 3, "RFC 9112 §2.2", READ, |s| sent_in(s, 20, None)),
    ("a request in two pieces, cut in the last line end", 3, "RFC 9112 §2.2", READ,
        |s| sent_in(s, get_once("/").len() - 1, None)),
    ("a request in pieces of three bytes", 3, "RFC 9112 §2.2", READ, |s| sent_in(s, 3, Some(3))),
    ("two requests, one after the other", 2, "RFC 9112 §9.3",
        "an HTTP/1.1 connection persists: ab -k and browsers send the next request on it",
        |s| in_a_row(s, false)),
    ("three requests at once, answered in order", 2, "RFC 9112 §9.3.2", READ, |s| in_a_row(s, true)),
    ("Connection: close is obeyed", 2, "RFC 9112 §9.6", ENDS, |s| closes(s, &get_once("/"))),
    ("an HTTP/1.0 client sees the connection close", 2, "RFC 9112 §9.3", ENDS,
        |s| closes(s, "GET / HTTP/1.0\r\n\r\n")),
];

#[rustfmt::skip] // a table
const ANSWERS: [Row; 6] = [
    ("HEAD says what GET says", 2, "RFC 9110 §9.3.2",
        "HEAD is asked to learn what GET would say: caches and link checkers believe it", head_as_get),
    ("answers have a Date", 1, "RFC 9110 §6.6.1", "caches reckon an answer's age from it",
        |s| asked(s, &get_once("/"), |a| a.field("date").is_some(), "Date: with the time")),
    ("an HTTP/1.0 client gets no chunks", 2, "RFC 9112 §6.1",
        "an HTTP/1.0 client takes the chunk sizes for content",
        |s| asked(s, &format!("GET {} HTTP/1.0\r\n\r\n", s.path),
            |a| a.field("transfer-encoding").is_none(), "no Transfer-Encoding")),
    ("405 names the methods that apply", 1, "RFC 9110 §15.5.6", "405 says which methods do apply", allows),
    ("100-continue is answered before the content", 2, "RFC 9110 §10.1.1",
        "a client that waits for 100 sends its content late: curl waits a second", expects),
    ("no target leads out of the folder", 3, "RFC 3986 §5.2.4",
        "whoever can name any file reads passwords and keys", leads_out),
];

/// `GET /` in pieces: cut behind so many bytes, and again behind each `more`.
fn sent_in(subject: &Subject, first: usize, more: Option<usize>) -> Finding {
    let whole = get_once("/");
    let (begin, rest) = whole.as_bytes().split_at(first.min(whole.len()));
    let pieces: Vec<&[u8]> =
        [begin].into_iter().chain(rest.chunks(more.unwrap_or(whole.len()))).collect();
    // Two pieces arrive as two; of many, some may arrive together.
    let pause = if more.is_none() { PAUSE } else { PAUSE / 25 };
    let mut is_early = false;
    let answer = Client::connect(subject.address).and_then(|mut client| {
        for (number, piece) in pieces.iter().enumerate() {
            client.send(piece);
            is_early |= number + 1 < pieces.len() && client.more(Instant::now() + pause);
        }
        client.answer(false, subject.patience)
    });
    let alone = &subject.facts.first;
    let is_same = |a: &Answer| a.status == alone.status && a.content.len() == alone.content.len();
    let expected = "the same answer as to the request in one piece";
    let mut finding = judged(&whole, answer, |a| is_same(a) && !is_early, expected);
    finding.sent = pieces.iter().map(|p| show::short(p)).collect::<Vec<_>>().join(" … ");
    if is_early {
        finding.came += ", before the request was whole";
    }
    finding
}

/// Asks on a connection of its own, and judges the answer.
fn asked(
    subject: &Subject,
    request: &str,
    is_right: impl Fn(&Answer) -> bool,
    expected: &str,
) -> Finding {
    judged(request, ask(subject, request), is_right, expected)
}

/// Requests on one connection, one after the other or all in one write.
fn in_a_row(subject: &Subject, at_once: bool) -> Finding {
    let Facts { is_http11, persists, .. } = subject.facts;
    if !persists {
        let version = if is_http11 { "" } else { "it answers HTTP/1.0, and " };
        return Finding::not_applicable(format!(
            "{version}it closes the connection after each answer"
        ));
    }
    let paths = ["/", "/there-is-no-such-page", "/"];
    let requests = paths.map(|path| get(path, ""));
    let wanted = paths.map(|path| ask(subject, get_once(path)).map(|a| a.status));
    let found = Client::connect(subject.address).and_then(|mut client| {
        if at_once {
            client.send(requests.concat());
        }
        let statuses = requests.iter().map(|request| {
            if !at_once {
                client.send(request);
            }
            client.answer(false, subject.patience).map(|answer| answer.status)
        });
        statuses.collect::<Result<Vec<u16>, Trouble>>()
    });
    let sent = show::short(requests.concat().as_bytes());
    let expected = "an answer to each, in the order of the requests";
    match found {
        Ok(found) => {
            let is_right = found.iter().zip(&wanted).all(|(found, w)| w.as_ref() == Ok(found));
            let outcome = if is_right { Outcome::Pass } else { Outcome::Fail };
            Finding::new(outcome, sent, format!("{found:?}"), expected)
        }
        Err(trouble) => Finding { sent, ..judged("", Err(trouble), |_| false, expected) },
    }
}

fn closes(subject: &Subject, request: &str) -> Finding {
    let expected = "an answer, and then the end of the connection";
    let (answer, has_closed) = match ask_all(subject, request, CLOSE) {
        Ok((answer, _, has_closed)) => (Ok(answer), has_closed),
        Err(trouble) => (Err(trouble), true),
    };
    let mut finding = judged(request, answer, |_| has_closed, expected);
    if !has_closed {
        finding.came += "; but the connection stays open";
    }
    finding
}

fn allows(subject: &Subject) -> Finding {
    let request = get_once("/").replacen("GET", "DELETE", 1);
    match ask(subject, &request) {
        Ok(answer) if answer.status != 405 => {
            Finding::not_applicable(format!("DELETE / gives {}, not 405", answer.status))
        }
        answer => {
            judged(&request, answer, |a| a.field("allow").is_some(), "Allow: with the methods")
        }
    }
}

fn head_as_get(subject: &Subject) -> Finding {
    let request = get_once(&subject.path);
    let (by_get, to_head) = (ask(subject, &request), request.replacen("GET", "HEAD", 1));
    let by_head = ask(subject, &to_head);
    let Ok(by_get) = by_get else {
        return judged(&request, by_get, |_| false, "an answer to GET");
    };
    // Fields that only the content would settle may be left out (RFC 9110 §9.3.2).
    let names = ["Content-Length", "Content-Type", "ETag", "Last-Modified"];
    let differs = |head: &Answer| {
        let pairs = names.map(|name| (name, by_get.field(name), head.field(name)));
        let differs =
            |(_, get, head): &(_, Option<&str>, Option<&str>)| head.is_some() && get != head;
        let status = (head.status != by_get.status).then(|| format!("status {}", head.status));
        let fields = pairs.into_iter().filter(differs);
        let fields = fields.map(|(name, _, head)| format!("{name}: {}", head.unwrap_or_default()));
        status.into_iter().chain(fields).collect::<Vec<_>>()
    };
    let fields = names.map(|name| format!("{name}: {}", by_get.field(name).unwrap_or("none")));
    let expected = format!("as GET: status {}, {}", by_get.status, fields.join(", "));
    let mut finding = judged(&to_head, by_head.clone(), |a| differs(a).is_empty(), &expected);
    if let (Outcome::Fail, Ok(answer)) = (finding.outcome, &by_head) {
        finding.came = differs(answer).join(", ");
    }
    // 405 and 501 are honest: what is not there cannot be wrong.
    let is_refused = by_head.is_ok_and(|a| matches!(a.status, 405 | 501));
    if is_refused { warned(finding) } else { finding }
}

fn expects(subject: &Subject) -> Finding {
    if !subject.facts.is_http11 {
        return Finding::not_applicable("it answers HTTP/1.0, which does not know this");
    }
    let echo = &subject.echo;
    let head = format!(
        "POST {echo} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    );
    let answer = Client::connect(subject.address).and_then(|mut client| {
        client.send(&head);
        client.any_answer(false, Instant::now() + CONTINUE)
    });
    judged(&head, answer, |_| true, "100, or a final status at once")
}

fn leads_out(subject: &Subject) -> Finding {
    let mut came = Vec::new();
    for path in OUTSIDE {
        let request = get_once(path);
        let is_inside = |a: &Answer| !a.content.starts_with(b"root:");
        let answer = ask(subject, &request);
        came.push(answer.as_ref().map_or_else(Trouble::to_string, |a| a.status.to_string()));
        let finding = judged(&request, answer, is_inside, "404 or 400");
        if finding.outcome != Outcome::Pass && !finding.timed_out {
            return finding;
        }
    }
    Finding::new(Outcome::Pass, OUTSIDE.join(", "), came.join(", "), "")
}

/// What a client that has the page asks, with its own TAG and DATE, and what it gets.
#[rustfmt::skip] // a table
const CONDITIONS: [(&str, &str, u16); 9] = [
    ("If-None-Match with the tag of the page", "If-None-Match: TAG\r\n", 304),
    ("If-None-Match with the tag in its weak form", "If-None-Match: W/TAG\r\n", 304),
    ("If-None-Match with a list that has the tag", "If-None-Match: \"x\", TAG\r\n", 304),
    ("If-None-Match with any tag", "If-None-Match: *\r\n", 304),
    ("If-None-Match with another tag", "If-None-Match: \"x\"\r\n", 200),
    ("If-Modified-Since with the date of the page", "If-Modified-Since: DATE\r\n", 304),
    ("If-Modified-Since with an earlier date", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n", 200),
    ("If-Modified-Since that is no date", "If-Modified-Since: yesterday\r\n", 200),
    ("If-None-Match counts, not If-Modified-Since beside it",
        "If-None-Match: \"x\"\r\nIf-Modified-Since: DATE\r\n", 200),
];

fn conditional((name, lines, status): (&'static str, &'static str, u16)) -> Check {
    let why = "without 304 a client gets again what it has, and with a wrong one it never sees the new page";
    let section = if lines.contains("None") { "RFC 9110 §13.1.2" } else { "RFC 9110 §13.1.3" };
    Check::new(name, section, why, move |s| condition(s, lines, status)).weight(1)
}

fn condition(subject: &Subject, lines: &str, status: u16) -> Finding {
    let page = ask(subject, get_once(&subject.path)).unwrap_or_default();
    let (tag, date) = (page.field("etag"), page.field("last-modified"));
    if (tag.is_none() && lines.contains("None")) || (date.is_none() && lines.contains("Modified")) {
        return Finding::not_applicable("the page has no ETag, or no Last-Modified");
    }
    let tag = tag.map(|tag| tag.trim_start_matches("W/")).unwrap_or_default();
    let lines = lines.replace("TAG", tag).replace("DATE", date.unwrap_or_default());
    let request = get(&subject.path, &format!("{lines}Connection: close\r\n"));
    let is_right = |a: &Answer| a.status == status && (status != 304 || a.end == End::None);
    let finding = judged(&request, ask(subject, &request), is_right, &status.to_string());
    // To answer 304 to a date is a SHOULD (RFC 9110 §13.1.3).
    if status == 304 && lines.contains("Since") { warned(finding) } else { finding }
}
