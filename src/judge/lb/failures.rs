//! Backends that refuse, die, stall and come back: no client may notice as long as one backend is
//! left, and nothing may be carried out twice.
//!
//! Entry point: [`chapter`]. Note: `notes/judge.md`.

use super::{Gateway, PAUSE, RETURN, check, honest, honest_content, is_honest, numbered_get};
use crate::judge::check::{Chapter, Finding, Level, Outcome, Subject};
use crate::judge::client::{Client, Trouble, in_words};
use crate::judge::contact::{ask, ask_within, get, get_once};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// A request that waits longer than this for its answer was kept waiting by another's backend.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long the load goes on before its backend dies, and after.
const LOAD: Duration = Duration::from_millis(500);
/// Clients of the load.
const CLIENTS: usize = 4;

const SAFE: &str = "RFC 9110 §9.2.2";
const LOST: &str = "a client sees an error although other backends could have served it";
const TWICE: &str = "the order is placed twice, the money is paid twice";

/// What happens, and what came of it.
type Story = fn(&Arc<Gateway>, &Subject) -> (Outcome, String);
/// Name, section, why, weight, what is sent, what is expected, story.
type Row = (&'static str, &'static str, &'static str, u8, &'static str, &'static str, Story);

/// All stories.
pub(crate) fn chapter(gateway: &Arc<Gateway>) -> Chapter {
    #[rustfmt::skip]
    let stories: [Row; 9] = [
        ("a backend refuses: the others serve", SAFE, LOST, 3,
         "one backend does not listen; 12 times GET", "12 times 200", refuses),
        ("a backend that is back gets requests again", SAFE, "else every restart costs a backend for good", 2,
         "a backend refuses, then listens again; GETs", "it gets one of them within 12 s", comes_back),
        ("a backend refuses: a POST goes to another", SAFE, "nothing of it was sent, so that it may go elsewhere", 1,
         "one backend does not listen; 8 times POST", "8 times 200", refuses_posts),
        ("a backend dies with a GET in its hands: another serves it", SAFE, LOST, 3,
         "GET; its backend reads it and dies", "200, from another backend", dies_with_get),
        ("a backend dies with a POST in its hands: it is not sent again", SAFE, TWICE, 3,
         "POST; its backend reads it and dies", "an error; one backend has got it, once", dies_with_post),
        ("kept connections have ended: a POST is not carried out twice", SAFE, TWICE, 3,
         "all backends close their connections; 8 times POST", "each gets there once at most", stale_posts),
        ("a backend dies under load: nobody notices", SAFE, LOST, 3,
         "4 clients ask again and again; one backend dies", "every answer is 200", dies_under_load),
        ("a backend keeps one client waiting: the others do not wait", SAFE, "one slow page stops the whole site", 3,
         "GET, and its backend stalls; then 20 times GET", "20 answers, each within 1 s", stalls),
        ("no backend is left: the client is told", "RFC 9110 §15.6", "a client that is told can try again; one that is cut off cannot know", 1,
         "no backend listens; GET", "an error such as 503", all_refuse),
    ];
    let check = |(name, section, why, weight, sent, expected, story): Row| {
        let run = move |gateway: &Arc<Gateway>, subject: &Subject| {
            gateway.settle(subject)?;
            let (outcome, came) = story(gateway, subject);
            revive_all(gateway);
            gateway.disturb();
            Ok(Finding::new(outcome, sent, came, expected))
        };
        check(gateway, name, section, why, run).weight(weight)
    };
    Chapter::new(Level::Http, "backends that fail", stories.map(check).into())
}

fn revive_all(gateway: &Gateway) {
    let living = gateway.backends.living();
    for backend in (0..gateway.backends.ports().len()).filter(|n| !living.contains(n)) {
        // Somebody may be quick to take the port; the next case finds a backend less.
        let _ = gateway.backends.revive(backend);
    }
}

/// A POST of that number.
fn post(number: usize) -> String {
    format!(
        "POST /t{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    )
}

/// Asks so many times; `unless`: the outcome if any does not get what it asked for.
fn losses(
    gateway: &Gateway,
    subject: &Subject,
    times: usize,
    is_post: bool,
    unless: Outcome,
) -> (Outcome, String) {
    let mut lost = Vec::new();
    for _ in 0..times {
        let number = gateway.backends.honest();
        let (request, expected) = match is_post {
            true => (post(number), b"hi".to_vec()),
            false => (numbered_get(number), honest_content(number)),
        };
        let answer = ask(subject, request);
        if !answer.as_ref().is_ok_and(|a| a.status == 200 && a.content == expected) {
            lost.push(in_words(&answer));
        }
    }
    none_of(lost, times, unless)
}

/// The outcome if these were lost, of so many.
fn none_of(lost: Vec<String>, all: usize, unless: Outcome) -> (Outcome, String) {
    match lost.first() {
        None => (Outcome::Pass, format!("{all} requests, all answered")),
        Some(first) => {
            (unless, format!("{} of {all} got no 200; the first of them: {first}", lost.len()))
        }
    }
}

fn refuses(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    gateway.backends.kill(1);
    losses(gateway, subject, 12, false, Outcome::Fail)
}

fn refuses_posts(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    gateway.backends.kill(1);
    losses(gateway, subject, 8, true, Outcome::Warn)
}

fn comes_back(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    gateway.backends.kill(1);
    losses(gateway, subject, 8, false, Outcome::Fail);
    if let Err(why) = gateway.backends.revive(1) {
        return (Outcome::NotApplicable, why);
    }
    let begun = Instant::now();
    while begun.elapsed() < RETURN && !subject.stop.is_raised() && Instant::now() < gateway.last {
        let (number, _) = gateway.ask_honestly(subject);
        if gateway.backends.seen(number).iter().any(|seen| seen.backend == 1) {
            return (Outcome::Pass, format!("after {:.1} s", begun.elapsed().as_secs_f64()));
        }
        thread::sleep(PAUSE);
    }
    let waited = begun.elapsed().as_secs();
    let outcome = if begun.elapsed() < RETURN { Outcome::NotApplicable } else { Outcome::Fail };
    (outcome, format!("it got none within {waited} s"))
}

/// The first backend that gets it dies; another one answers honestly.
fn deadly(gateway: &Arc<Gateway>) -> usize {
    let (weak, deaths) = (Arc::downgrade(gateway), AtomicUsize::new(0));
    gateway.backends.play(move |backend, request, stream| {
        match (weak.upgrade(), deaths.fetch_add(1, SeqCst)) {
            (Some(gateway), 0) => {
                gateway.backends.kill(backend);
                false
            }
            _ => honest::answer(request, stream),
        }
    })
}

fn dies_with_get(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    let number = deadly(gateway);
    let answer = ask(subject, numbered_get(number));
    let is_served = answer.as_ref().is_ok_and(|found| is_honest(found, number));
    (if is_served { Outcome::Pass } else { Outcome::Fail }, in_words(&answer))
}

fn dies_with_post(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    let number = deadly(gateway);
    let answer = ask(subject, post(number));
    let times = gateway.backends.seen(number).len();
    let came = format!("{}; backends have got it {times} times", in_words(&answer));
    (if times < 2 { Outcome::Pass } else { Outcome::Fail }, came)
}

fn stale_posts(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    losses(gateway, subject, 8, false, Outcome::Fail); // connections that are kept
    gateway.backends.hang_up();
    let numbers: Vec<usize> = (0..8).map(|_| gateway.backends.honest()).collect();
    let answers = numbers.iter().map(|number| ask(subject, post(*number)));
    let lost = answers.filter(|answer| !answer.as_ref().is_ok_and(|a| a.status == 200)).count();
    let most = numbers.iter().map(|number| gateway.backends.seen(*number).len()).max();
    let most = most.unwrap_or(0);
    let came = format!("{lost} of 8 got no 200; none came to a backend more than {most} times");
    match (most, lost) {
        (2.., _) => (Outcome::Fail, came),
        (_, 0) => (Outcome::Pass, came),
        _ => (Outcome::Warn, came),
    }
}

fn dies_under_load(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    let stop = AtomicBool::new(false);
    let client = || {
        let (mut kept, mut asked, mut lost) = (None, 0, Vec::new());
        while !stop.load(SeqCst) {
            let number = gateway.backends.honest();
            let answer = gateway.get(subject, &mut kept, number);
            asked += 1;
            if !answer.as_ref().is_ok_and(|a| a.content == honest_content(number)) {
                lost.push(in_words(&answer));
            }
            thread::sleep(Duration::from_millis(1)); // a steady load, not the highest
        }
        (asked, lost)
    };
    let clients: Vec<(usize, Vec<String>)> = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, client).ok();
        let clients: Vec<_> = (0..CLIENTS).filter_map(spawn).collect();
        thread::sleep(LOAD);
        gateway.backends.kill(1);
        thread::sleep(LOAD);
        stop.store(true, SeqCst);
        clients.into_iter().filter_map(|client| client.join().ok()).collect()
    });
    let all = clients.iter().map(|(asked, _)| asked).sum();
    let lost = clients.into_iter().flat_map(|(_, lost)| lost).collect();
    none_of(lost, all, Outcome::Fail)
}

fn stalls(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    let is_over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&is_over);
    let number = gateway.backends.play(move |_, _, _| {
        let until = Instant::now() + RETURN;
        while !end.load(SeqCst) && Instant::now() < until {
            thread::sleep(PAUSE);
        }
        false
    });
    let mut waiting = Client::connect(subject.address);
    let _ = waiting.as_mut().map(|client| client.send(get(&format!("/t{number}"), "")));
    let until = Instant::now() + subject.patience;
    while gateway.backends.seen(number).is_empty() && Instant::now() < until {
        thread::sleep(PAUSE);
    }
    let (mut asked, mut slowest, mut is_well) = (0, Duration::ZERO, true);
    while asked < 20 && is_well && slowest <= AT_ONCE {
        let begun = Instant::now();
        is_well = gateway.ask_honestly(subject).1.is_ok();
        slowest = slowest.max(begun.elapsed());
        asked += 1;
    }
    is_over.store(true, SeqCst);
    let slowest_ms = slowest.as_millis();
    match is_well && slowest <= AT_ONCE {
        true => (Outcome::Pass, format!("{asked} answers, the slowest after {slowest_ms} ms")),
        false => {
            let end = if is_well { "" } else { ", and got no 200" };
            (Outcome::Fail, format!("one of the others waited {slowest_ms} ms{end}"))
        }
    }
}

fn all_refuse(gateway: &Arc<Gateway>, subject: &Subject) -> (Outcome, String) {
    (0..gateway.backends.ports().len()).for_each(|backend| gateway.backends.kill(backend));
    let answer = ask_within(subject, get_once("/"), 3 * subject.patience).map(|(answer, _)| answer);
    let outcome = match &answer {
        Ok(answer) if answer.status >= 500 => Outcome::Pass,
        Err(Trouble::Closed(0) | Trouble::Reset(0)) => Outcome::Warn,
        _ => Outcome::Fail,
    };
    (outcome, in_words(&answer))
}
