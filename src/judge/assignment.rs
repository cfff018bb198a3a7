//! What Tugas 10 asks of a server: the page and its pictures, whole, for several clients at once.
//!
//! HTTP/1.0 and a connection per request are fine here. Entry point: [`chapters`].
//! Note: `notes/judge.md`.

use super::answer::{Answer, End};
use super::at_rest;
use super::check::{Chapter, Check, Finding, Level, Outcome, Row, Subject};
use super::client::{Client, Trouble, in_words};
use super::contact::{PAUSE, ask, ask_all, get, get_once, reads_pieces};
use super::hostile::median;
use super::show::{self, ms};
use std::time::{Duration, Instant};

/// Where the assignment asks for it.
const TUGAS: &str = "Tugas 10";
/// Clients at once, as in the second row of the assignment's table.
const CLIENTS: usize = 10;
/// Requests one after the other, and how long they may take together.
const MANY: usize = 200;
const MANY_TIME: Duration = Duration::from_secs(5);
/// Pictures of a page that are asked for.
const PICTURES: usize = 50;
/// The last requests are as fast as the first: at most so many times, and so much, slower.
const SLOWER: u32 = 10;
const SLOWER_BY: Duration = Duration::from_millis(20);

/// The chapters.
pub(super) fn chapters() -> Vec<Chapter> {
    let chapter = |name, checks| Chapter::new(Level::Assignment, name, checks);
    let many_clients = Check::rows(MANY_CLIENTS).into_iter().chain(at_rest::check()).collect();
    vec![
        chapter("the page", Check::rows(THE_PAGE)).of_lab(1),
        chapter("many clients", many_clients).of_lab(3),
        chapter("the connection", Check::rows([KEEP_ALIVE])),
    ]
}

#[rustfmt::skip] // a table
const THE_PAGE: [Row; 7] = [
    ("GET / gives 200", 3, TUGAS,
        "the performance test asks for /, and 404 is short and quick: it measures nothing",
        |s| fetched(s, "/", |a| a.status == 200, "200 and the whole content")),
    ("the page gives 200", 3, TUGAS, "step 4 opens it in a browser",
        |s| fetched(s, &s.path, |a| a.status == 200, "200 and the whole content; --path names another page")),
    ("the page says Content-Type: text/html", 1, "RFC 9110 §8.3",
        "without its type, a browser shows the text of the page or saves it",
        |s| warned(fetched(s, &s.path, is_html, "Content-Type: text/html"))),
    ("Content-Length is the length of the content", 3, "RFC 9110 §8.6",
        "a client stops reading where Content-Length says: too short cuts the page, too long hangs",
        length_is_right),
    ("the pictures of the page come whole", 3, TUGAS, "a browser asks for each of them", pictures),
    ("what is not there gives 404", 2, "RFC 9110 §15.5.5", "with 200 for everything, nobody sees a broken link",
        |s| fetched(s, "/there-is-no-such-page", |a| a.status == 404, "404")),
    ("HEAD gives the head and no content", 2, "RFC 9110 §9.3.2",
        "a client takes content behind a HEAD for the next answer", head),
];

#[rustfmt::skip] // a table
const MANY_CLIENTS: [Row; 4] = [
    ("the last of 200 requests is as fast as the first", 3, TUGAS,
        "a thread that does not return after its answer takes the CPU from all later ones", not_slower),
    ("ten clients at once", 3, TUGAS, "the performance test has 10, 50 and 100", at_once),
    ("a client that says nothing keeps nobody waiting", 3, TUGAS,
        "browsers open connections before they need them: all others would wait for them", silent),
    ("two clients whose requests come in pieces, in turn", 3, TUGAS,
        "with one buffer for all clients, one gets the page of the other", in_turn),
];

/// A connection per request is what the assignment's own server does.
#[rustfmt::skip] // a table
const KEEP_ALIVE: Row = ("the connection takes a second request", 1, "RFC 9112 §9.3",
    "keep-alive: a connection per request costs a round trip and a socket each time", keep_alive);

fn is_html(answer: &Answer) -> bool {
    answer.field("content-type").is_some_and(|kind| kind.starts_with("text/html"))
}

/// Asks for the path and judges the answer.
fn fetched(
    subject: &Subject,
    path: &str,
    is_right: impl Fn(&Answer) -> bool,
    expected: &str,
) -> Finding {
    let request = get_once(path);
    judged(&request, ask(subject, &request), is_right, expected)
}

/// The finding on an answer.
pub(super) fn judged(
    request: &str,
    answer: Result<Answer, Trouble>,
    is_right: impl Fn(&Answer) -> bool,
    expected: &str,
) -> Finding {
    let outcome = if answer.as_ref().is_ok_and(is_right) { Outcome::Pass } else { Outcome::Fail };
    let timed_out = answer.as_ref().is_err_and(Trouble::is_timeout);
    let came = in_words(&answer);
    let sent = show::short(request.as_bytes());
    Finding { timed_out, ..Finding::new(outcome, sent, came, expected) }
}

/// What is a fault elsewhere is only worth a warning here.
pub(super) fn warned(mut finding: Finding) -> Finding {
    if finding.outcome == Outcome::Fail {
        finding.outcome = Outcome::Warn;
    }
    finding
}

/// Content-Length against what comes until the server closes.
fn length_is_right(subject: &Subject) -> Finding {
    let request = get_once(&subject.path);
    let expected = "as many bytes as Content-Length says, and nothing behind them";
    let (finding, answer, rest) = with_rest(subject, &request, expected);
    match answer {
        Some(answer) if answer.end == End::Close => {
            let came = format!("{}, without Content-Length", finding.came);
            Finding { outcome: Outcome::Warn, came, ..finding }
        }
        // Some end every answer with a line end, which a client of a connection per request skips.
        Some(_) if rest.trim_ascii().is_empty() && !rest.is_empty() => {
            Finding { outcome: Outcome::Warn, ..finding }
        }
        _ => finding,
    }
}

/// The finding on an answer that nothing may follow; the answer; what follows it all the same.
fn with_rest(
    subject: &Subject,
    request: &str,
    expected: &str,
) -> (Finding, Option<Answer>, Vec<u8>) {
    let (answer, rest) = match ask_all(subject, request, subject.patience) {
        Ok((answer, rest, _)) => (Ok(answer), rest),
        Err(trouble) => (Err(trouble), Vec::new()),
    };
    let mut finding = judged(request, answer.clone(), |_| rest.is_empty(), expected);
    if !rest.is_empty() {
        finding.came += &format!("; and behind it {}", show::short(&rest));
    }
    (finding, answer.ok(), rest)
}

/// The files beside the page that it shows: what stands behind `src=`.
fn names(page: &str) -> Vec<&str> {
    let behind = page.split("src=").skip(1);
    let mut names: Vec<&str> = behind
        .filter_map(|rest| {
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            let rest = rest.trim_start_matches(['"', '\'']);
            let end =
                rest.find(|c: char| Some(c) == quote || (quote.is_none() && " >".contains(c)));
            rest.get(..end?)
        })
        .filter(|name| !name.is_empty() && !name.contains("//") && !name.contains(':'))
        .collect();
    names.dedup();
    names
}

fn pictures(subject: &Subject) -> Finding {
    let request = get_once(&subject.path);
    let page = match ask(subject, &request) {
        Ok(page) => String::from_utf8_lossy(&page.content).into_owned(),
        Err(trouble) => return judged(&request, Err(trouble), |_| false, "the page"),
    };
    let folder = subject.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut came = Vec::new();
    let began = Instant::now();
    for name in names(&page).into_iter().take(PICTURES) {
        if subject.stop.is_raised() || began.elapsed() > MANY_TIME {
            break;
        }
        let path = match name.starts_with('/') {
            true => name.to_owned(),
            false => format!("{folder}/{name}"),
        };
        let is_whole = |a: &Answer| a.status == 200 && !a.content.is_empty();
        let finding = fetched(subject, &path, is_whole, "200 and the whole content");
        if finding.outcome != Outcome::Pass {
            return finding;
        }
        came.push(format!("{path}: {}", finding.came));
    }
    let came = if came.is_empty() { "it shows no picture".to_owned() } else { came.join("; ") };
    Finding::new(Outcome::Pass, show::short(request.as_bytes()), came, "")
}

fn head(subject: &Subject) -> Finding {
    let request = get_once(&subject.path).replacen("GET", "HEAD", 1);
    let (finding, answer, _) = with_rest(subject, &request, "a head, and nothing behind it");
    let is_error = answer.is_some_and(|answer| answer.status >= 500);
    // HTTP/1.0 knows HEAD too, but the assignment asks for GET and POST alone.
    match is_error {
        true => Finding { outcome: Outcome::Warn, ..finding },
        false => warned(finding),
    }
}

/// All connect and ask before the first reads.
fn at_once(subject: &Subject) -> Finding {
    let request = get_once(&subject.path);
    let asks = (0..CLIENTS).map(|_| {
        let mut client = Client::connect(subject.address)?;
        client.send(&request);
        Ok(client)
    });
    let clients: Vec<Client> = match asks.collect() {
        Ok(clients) => clients,
        Err(trouble) => return judged(&request, Err(trouble), |_| false, "a connection for each"),
    };
    let until = Instant::now() + subject.patience;
    let mut first: Option<Answer> = None;
    for mut client in clients {
        let answer = client.answer(false, until.saturating_duration_since(Instant::now()));
        let is_same = |a: &Answer| {
            a.status == 200 && first.as_ref().is_none_or(|first| first.content == a.content)
        };
        let expected = "the same whole page for each of ten clients";
        let finding = judged(&request, answer.clone(), is_same, expected);
        if finding.outcome != Outcome::Pass {
            return finding;
        }
        first = first.or(answer.ok());
    }
    let came = format!("{CLIENTS} times {}", first.unwrap_or_default().summary());
    Finding::new(Outcome::Pass, show::short(request.as_bytes()), came, "")
}

fn silent(subject: &Subject) -> Finding {
    let Ok(_silent) = Client::connect(subject.address) else {
        return Finding::not_applicable("no second connection");
    };
    std::thread::sleep(PAUSE);
    fetched(subject, "/", |a| a.status < 500, "an answer, while another client says nothing")
}

/// The first halves of two requests, then the second halves.
fn in_turn(subject: &Subject) -> Finding {
    if reads_pieces(subject).is_err() {
        return Finding::not_applicable(
            "it does not wait for the rest of a request (see 'a request in two pieces')",
        );
    }
    let requests = [subject.path.as_str(), "/there-is-no-such-page"].map(get_once);
    let alone = requests.each_ref().map(|request| ask(subject, request));
    let clients = requests.each_ref().map(|_| Client::connect(subject.address));
    let [Ok(one), Ok(two)] = clients else {
        return Finding::not_applicable("no two connections");
    };
    let (mut clients, mut said) = ([("one", one), ("two", two)], Vec::new());
    let halves = requests.each_ref().map(|request| request.split_at(9));
    for halves in [halves.map(|(first, _)| first), halves.map(|(_, second)| second)] {
        for ((name, client), half) in clients.iter_mut().zip(halves) {
            client.send(half);
            said.push(format!("{name}: {}", show::short(half.as_bytes())));
            std::thread::sleep(PAUSE);
        }
    }
    let (sent, expected) = (said.join(" … "), "each client gets its own answer");
    for ((name, client), alone) in clients.iter_mut().zip(alone) {
        let is_own = |a: &Answer| {
            let same = |alone: &Answer| (alone.status, &alone.content) == (a.status, &a.content);
            alone.as_ref().ok().is_none_or(same)
        };
        let finding = judged("", client.answer(false, subject.patience), is_own, expected);
        if finding.outcome != Outcome::Pass {
            let came = format!("{name}: {}, not what it gets alone", finding.came);
            return Finding::new(Outcome::Fail, sent, came, expected);
        }
    }
    Finding::new(Outcome::Pass, sent, "both get their own answer", expected)
}

fn not_slower(subject: &Subject) -> Finding {
    let request = get_once("/");
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < MANY && began.elapsed() < MANY_TIME && !subject.stop.is_raised() {
        let asked = Instant::now();
        let answer = ask(subject, &request);
        if answer.is_err() {
            return judged(&request, answer, |_| true, "an answer to each of 200 requests");
        }
        times.push(asked.elapsed());
    }
    let count = (times.len() / 2).min(20);
    let (first, last) = (
        median(times.get(..count).unwrap_or_default()),
        median(times.get(times.len() - count..).unwrap_or_default()),
    );
    // The checks before this one may have left threads behind: the very first answer came before.
    let first = first.min(subject.facts.first_took);
    let is_right = last < first * SLOWER || last < first + SLOWER_BY;
    let outcome = if is_right { Outcome::Pass } else { Outcome::Fail };
    let (number, sent) = (times.len(), show::short(request.as_bytes()));
    let came =
        format!("{number} answers; the first ones took {}, the last ones {}", ms(first), ms(last));
    let expected = format!("at most {SLOWER} times the first, or {} more", ms(SLOWER_BY));
    Finding::new(outcome, sent, came, expected)
}

fn keep_alive(subject: &Subject) -> Finding {
    let outcome = if subject.facts.persists { Outcome::Pass } else { Outcome::Warn };
    let sent = show::short(get("/", "Connection: keep-alive\r\n").as_bytes());
    let expected = "Connection: keep-alive, and an answer to the next request too";
    Finding::new(outcome, sent, subject.facts.first.summary(), expected)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn the_pictures_of_a_page_stand_behind_src() {
        let page = "<img src=\"a.jpg\"> <img src='b/c.png'><img src=d.gif ><script src=\"//x/y.js\">\
            <img src=\"data:x\"><img src=\"\">";
        assert_eq!(names(page), ["a.jpg", "b/c.png", "d.gif"]);
    }
}
