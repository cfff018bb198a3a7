//! Whose turn it is: each backend gets its share, connection by connection and request by request.
//!
//! Entry points: [`chapter`], [`on_one_connection`]. Note: `notes/judge.md`.

use super::{Gateway, honest};
use crate::judge::check::{Chapter, Check, Finding, Level, Outcome, Subject};
use crate::judge::client::Client;
use crate::judge::contact::get;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const TUGAS: &str = "Tugas 10, step 5";
/// Requests for each backend.
const ROUNDS: usize = 10;
/// How far the shares may be apart: probes and several workers move the turns a little.
const APART: usize = 4;

/// The level assignment: turns.
pub(crate) fn chapter(gateway: &Arc<Gateway>) -> Chapter {
    let (first, second) = (Arc::clone(gateway), Arc::clone(gateway));
    let checks = vec![
        Check::new(
            "the backends take turns, connection by connection",
            TUGAS,
            "a backend that never has a turn is of no use, and one that has all of them falls over",
            move |subject| by_connection(&first, subject),
        )
        .weight(3),
        Check::new(
            "the backends take turns, request by request",
            TUGAS,
            "browsers keep a connection (keep-alive): all that a client asks goes to one backend",
            move |subject| by_request(&second, subject),
        ),
    ];
    Chapter::new(Level::Assignment, "turns", checks)
}

/// How often each backend has served the case.
fn shares(gateway: &Gateway, numbers: &[usize]) -> Vec<usize> {
    let mut shares = vec![0; gateway.backends.ports().len()];
    for seen in numbers.iter().flat_map(|number| gateway.backends.seen(*number)) {
        if let Some(share) = shares.get_mut(seen.backend) {
            *share += 1;
        }
    }
    shares
}

fn by_connection(gateway: &Gateway, subject: &Subject) -> Finding {
    if let Err(finding) = gateway.settle(subject) {
        return finding;
    }
    let all = ROUNDS * gateway.backends.ports().len();
    let asked: Vec<_> = (0..all).map(|_| gateway.ask_honestly(subject)).collect();
    let numbers: Vec<_> = asked.iter().map(|(number, _)| *number).collect();
    let shares = shares(gateway, &numbers);
    let lost = asked.iter().filter(|(_, answer)| answer.is_err()).count();
    let (most, least) = (shares.iter().max(), shares.iter().min());
    let (most, least) = (most.copied().unwrap_or(0), least.copied().unwrap_or(0));
    let outcome = match () {
        () if lost > 0 || least == 0 => Outcome::Fail,
        () if most - least > APART => Outcome::Warn,
        () => Outcome::Pass,
    };
    let came = format!("the backends got {shares:?}, and {lost} of {all} were not answered");
    let sent = format!("{all} times GET /, each on a new connection");
    Finding::new(outcome, sent, came, format!("{ROUNDS} for each of them, at most {APART} apart"))
}

fn by_request(gateway: &Gateway, subject: &Subject) -> Finding {
    if let Err(finding) = gateway.settle(subject) {
        return finding;
    }
    let Ok(mut client) = Client::connect(subject.address) else {
        return Finding::not_applicable("it takes no connection");
    };
    let all = 2 * gateway.backends.ports().len();
    let sent = format!("{all} times GET / on one connection (keep-alive)");
    let expected = "every backend gets some of them";
    let mut numbers = Vec::new();
    for _ in 0..all {
        let number = gateway.backends.honest();
        numbers.push(number);
        client.send(get(&format!("/t{number}"), "Connection: keep-alive\r\n"));
        match client.answer(false, subject.patience) {
            Ok(answer) if !answer.closes() => {}
            _ => {
                let came = "each request has a connection of its own, and so its own turn";
                return Finding::new(Outcome::Pass, sent, came, expected);
            }
        }
    }
    let shares = shares(gateway, &numbers);
    let outcome = if shares.contains(&0) { Outcome::Warn } else { Outcome::Pass };
    let came = format!("the backends got {shares:?}");
    let came = match shares.iter().filter(|share| **share > 0).count() {
        1 => format!("{came}: with keep-alive a client stays with one backend"),
        _ => came,
    };
    Finding::new(outcome, sent, came, expected)
}

/// The level http: several requests on one connection.
pub(crate) fn on_one_connection(gateway: &Arc<Gateway>) -> Chapter {
    let gateway = Arc::clone(gateway);
    let check = Check::new(
        "requests that are sent together are answered in order",
        "RFC 9112 §9.3.2",
        "a client knows by the order alone which answer belongs to which request",
        move |subject| in_order(&gateway, subject),
    );
    Chapter::new(Level::Http, "several requests at once", vec![check.weight(3)])
}

fn in_order(gateway: &Gateway, subject: &Subject) -> Finding {
    if let Err(finding) = gateway.settle(subject) {
        return finding;
    }
    // The first takes longest: one that is asked in parallel would be answered before it.
    let number = gateway.backends.play(|_, request, stream| {
        if request.target.ends_with("/1") {
            thread::sleep(Duration::from_millis(150));
        }
        honest::answer(request, stream)
    });
    let paths = [1, 2, 3].map(|n| format!("/t{number}/{n}"));
    let all = paths.each_ref().map(|path| get(path, "")).concat();
    let Ok(mut client) = Client::connect(subject.address) else {
        return Finding::not_applicable("it takes no connection");
    };
    client.send(&all);
    let (mut answers, mut closes) = (Vec::new(), false);
    while answers.len() < paths.len() && !closes {
        match client.answer(false, subject.patience) {
            Ok(answer) => {
                closes = answer.closes();
                answers.push(String::from_utf8_lossy(&answer.content).into_owned());
            }
            Err(trouble) => {
                answers.push(trouble.to_string());
                break;
            }
        }
    }
    let expected = paths.map(|path| format!("judge: {path}\n"));
    // One that closes behind its first answer has answered one; the client asks the others again.
    let is_right = answers.iter().zip(&expected).all(|(a, b)| a == b)
        && (closes || answers.len() == expected.len());
    let outcome = if is_right { Outcome::Pass } else { Outcome::Fail };
    let came = format!("{answers:?}");
    Finding::new(outcome, "three GETs in one write", came, format!("{expected:?}"))
}
