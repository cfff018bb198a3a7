//! A load balancer, judged from both sides: the judge is its clients and its backends, and so sees
//! what goes on, byte for byte.
//!
//! Entry points: [`chapters`], [`Gateway`]. Note: `notes/judge.md`.

// the backends: they read strictly, keep what came, answer as told, die and come back
mod backends;
// a request, read strictly
mod request;
// what they answer when no case tells them otherwise
mod honest;
// whose turn it is
mod turns;
// one message through the load balancer: what must come out on either side
mod passage;
// the table of messages
mod heads;
// the table of answers that lie
pub mod lies;
// what becomes of messages that two parsers could read in two ways, in both directions
mod smuggling;
// backends that refuse, die, stall and come back
mod failures;

use super::check::{Chapter, Finding, Level, Subject};
use super::client::Client;
use super::contact::{ask, get};
use super::{assignment, hostile};
use backends::Backends;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// How long a load balancer may take to find out that a backend is back.
const RETURN: Duration = Duration::from_secs(12);
/// The same, once it has not.
const NO_RETURN: Duration = Duration::from_secs(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The judge on both sides of the load balancer.
pub(crate) struct Gateway {
    pub backends: Backends,
    /// Every living backend has been seen to serve since one of them died or lied.
    settled: AtomicBool,
    /// Once it did not come to that.
    gave_up: AtomicBool,
}

/// The chapters, with backends on these ports.
pub(super) fn chapters(ports: &[u16]) -> Result<Vec<Chapter>, String> {
    let gateway = Arc::new(Gateway::new(ports)?);
    let of = |level, name, rows: Vec<passage::Passage>| {
        Chapter::new(level, name, rows.into_iter().map(|row| row.check(&gateway)).collect())
    };
    let mut chapters = assignment::chapters();
    for chapter in &mut chapters {
        chapter.checks.iter_mut().for_each(|check| check.lab = 6);
    }
    chapters.push(turns::chapter(&gateway).of_lab(6));
    chapters.push(of(Level::Http, "what a backend gets", heads::to_backends()));
    chapters.push(of(Level::Http, "what a client gets", heads::to_clients()));
    chapters.push(turns::on_one_connection(&gateway));
    chapters.extend(smuggling::chapters(&gateway));
    chapters.push(failures::chapter(&gateway).of_lab(7));
    chapters.extend(hostile::chapters(honest::LARGE));
    Ok(chapters)
}

impl Gateway {
    fn new(ports: &[u16]) -> Result<Gateway, String> {
        let backends = Backends::bind(ports)?;
        Ok(Gateway { backends, settled: AtomicBool::new(false), gave_up: AtomicBool::new(false) })
    }

    /// A backend has died, come back or lied: what follows waits until all serve again.
    pub(crate) fn disturb(&self) {
        self.settled.store(false, SeqCst);
    }

    /// Waits until the load balancer sends requests to every backend that lives, since it may leave
    /// one alone for a while. The finding: it answers nobody.
    pub(crate) fn settle(&self, subject: &Subject) -> Result<(), Finding> {
        if self.settled.load(SeqCst) {
            return Ok(());
        }
        let patience = if self.gave_up.load(SeqCst) { NO_RETURN } else { RETURN };
        let until = Instant::now() + patience;
        let (mut missing, mut answered): (BTreeSet<usize>, _) =
            (self.backends.living().into_iter().collect(), 0);
        // Enough in a row that each has had a turn since the last failure.
        while !missing.is_empty() || answered < self.backends.ports().len() {
            if Instant::now() > until || subject.stop.is_raised() {
                self.gave_up.store(true, SeqCst);
                break;
            }
            let (number, is_well) = self.ask_honestly(subject);
            answered = if is_well { answered + 1 } else { 0 };
            for seen in self.backends.seen(number) {
                missing.remove(&seen.backend);
            }
            if !is_well {
                thread::sleep(PAUSE);
            }
        }
        self.settled.store(true, SeqCst);
        match answered {
            0 => Err(Finding {
                timed_out: true,
                ..Finding::not_applicable("no request reaches a backend: are these its backends?")
            }),
            _ => Ok(()),
        }
    }

    /// One GET on a connection of its own: its number, and whether it is answered as it should be.
    fn ask_honestly(&self, subject: &Subject) -> (usize, bool) {
        let number = self.backends.honest();
        let answer = ask(subject, get(&format!("/t{number}"), "Connection: close\r\n"));
        (number, answer.is_ok_and(|a| a.status == 200 && a.content == honest_content(number)))
    }

    /// Whether those who come next get what they asked for, by way of every backend; else what they
    /// got. An error of the load balancer's own may be: it leaves alone who has lied to it.
    fn neighbours(&self, subject: &Subject, same: Option<Client>) -> Result<(), String> {
        self.disturb();
        let mut same = same;
        for _ in 0..=self.backends.ports().len() {
            let number = self.backends.honest();
            let mut client = match same.take() {
                Some(client) => client,
                None => Client::connect(subject.address).map_err(|trouble| trouble.to_string())?,
            };
            client.send(get(&format!("/t{number}"), ""));
            match client.answer(false, subject.patience) {
                Ok(answer) if answer.status >= 500 => {}
                Ok(answer) if answer.status == 200 && answer.content == honest_content(number) => {}
                Ok(answer) => return Err(answer.summary()),
                Err(trouble @ super::client::Trouble::NotHttp(..)) => {
                    return Err(trouble.to_string());
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// What an honest backend answers to a GET of that number.
fn honest_content(number: usize) -> Vec<u8> {
    format!("judge: /t{number}\n").into_bytes()
}
