//! Whose turn it is: each backend gets its share, connection by connection and request by request.
//!
//! Entry points: [`chapter`], [`on_one_connection`]. Note: `notes/judge.md`.

use super::{Gateway, check, honest};
use crate::judge::answer::Answer;
use crate::judge::check::{Chapter, Finding, Level, Outcome, Subject};
use crate::judge::client::{Client, Trouble};
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
#[rustfmt::skip]
pub(crate) fn chapter(gateway: &Arc<Gateway>) -> Chapter {
    let checks = vec![
        check(gateway, "the backends take turns, connection by connection", TUGAS,
            "a backend that never has a turn is of no use, and one that has all of them falls over",
            by_connection).weight(3),
        check(gateway, "the backends take turns, request by request", TUGAS,
            "browsers keep a connection (keep-alive): all that a client asks goes to one backend",
            by_request),
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

fn by_connection(gateway: &Arc<Gateway>, subject: &Subject) -> Result<Finding, Finding> {
    gateway.settle(subject)?;
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
    let expected = format!("{ROUNDS} for each of them, at most {APART} apart");
    Ok(Finding::new(outcome, sent, came, expected))
}

fn by_request(gateway: &Arc<Gateway>, subject: &Subject) -> Result<Finding, Finding> {
    gateway.settle(subject)?;
    let all = 2 * gateway.backends.ports().len();
    let sent = format!("{all} times GET / on one connection (keep-alive)");
    let expected = "every backend gets some of them";
    let (mut numbers, mut kept) = (Vec::new(), None);
    for _ in 0..all {
        let number = gateway.backends.honest();
        numbers.push(number);
        match gateway.get(subject, &mut kept, number) {
            Ok(_) if kept.is_some() => {}
            Err(trouble @ Trouble::Connect(_)) => {
                return Err(Finding::not_applicable(trouble.to_string()));
            }
            _ => {
                let came = "each request has a connection of its own, and so its own turn";
                return Ok(Finding::new(Outcome::Pass, sent, came, expected));
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
    Ok(Finding::new(outcome, sent, came, expected))
}

/// The level http: several requests on one connection.
#[rustfmt::skip]
pub(crate) fn on_one_connection(gateway: &Arc<Gateway>) -> Chapter {
    let check = check(gateway, "requests that are sent together are answered in order",
        "RFC 9112 §9.3.2",
        "a client knows by the order alone which answer belongs to which request", in_order);
    Chapter::new(Level::Http, "several requests at once", vec![check.weight(3)])
}

fn in_order(gateway: &Arc<Gateway>, subject: &Subject) -> Result<Finding, Finding> {
    gateway.settle(subject)?;
    // The first takes longest: one that is asked in parallel would be answered before it.
    let number = gateway.backends.play(|_, request, stream| {
        if request.target.ends_with("/1") {
            thread::sleep(Duration::from_millis(150));
        }
        honest::answer(request, stream)
    });
    let paths = [1, 2, 3].map(|n| format!("/t{number}/{n}"));
    let all = paths.each_ref().map(|path| get(path, "")).concat();
    let no_connection = |trouble: Trouble| Finding::not_applicable(trouble.to_string());
    let mut client = Client::connect(subject.address).map_err(no_connection)?;
    client.send(&all);
    let (mut answers, mut goes_on) = (Vec::new(), true);
    while answers.len() < paths.len() && goes_on {
        let answer = client.answer(false, subject.patience);
        goes_on = answer.as_ref().is_ok_and(|answer| !answer.closes());
        let content = |answer: Answer| String::from_utf8_lossy(&answer.content).into_owned();
        answers.push(answer.map_or_else(|trouble| trouble.to_string(), content));
    }
    let expected = paths.map(|path| format!("judge: {path}\n"));
    // One that closes behind its first answer has answered one; the client asks the others again.
    let is_right = answers.iter().zip(&expected).all(|(a, b)| a == b)
        && (!goes_on || answers.len() == expected.len());
    let outcome = if is_right { Outcome::Pass } else { Outcome::Fail };
    let (came, expected) = (format!("{answers:?}"), format!("{expected:?}"));
    Ok(Finding::new(outcome, "three GETs in one write", came, expected))
}
