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

use super::answer::Answer;
use super::check::{Chapter, Check, Finding, Level, Subject};
use super::client::{Client, Trouble};
use super::contact::{ask, get, get_once};
use super::{assignment, contact, hostile};
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
/// So long after the start, nobody waits for a backend any more: the judge ends within a minute.
const LAST: Duration = Duration::from_secs(54);
/// So many answers in a row that no backend of the judge's has given, and it has others.
const STRANGERS: usize = 20;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The judge on both sides of the load balancer.
pub(crate) struct Gateway {
    pub backends: Backends,
    /// When nobody waits for a backend any more.
    last: Instant,
    /// Every living backend has been seen to serve since one of them died or lied.
    settled: AtomicBool,
    /// Once it did not come to that.
    gave_up: AtomicBool,
}

/// The chapters, once the load balancer has found the backends.
pub(super) fn chapters(gateway: Gateway, subject: &Subject) -> Result<Vec<Chapter>, String> {
    let gateway = Arc::new(gateway);
    let is_elsewhere = gateway.is_answered_elsewhere(subject);
    if is_elsewhere || (gateway.settle(subject).is_err() && contact::meet(subject).is_ok()) {
        let ports = gateway.backends.ports();
        return Err(format!(
            "judge: {} answers, but sends no request to a backend on {ports:?}; name its backends \
             with --backends",
            subject.address
        ));
    }
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
    let mut hostile = hostile::chapters(honest::LARGE);
    for check in hostile.iter_mut().flat_map(|chapter| &mut chapter.checks) {
        let (gateway, run) = (Arc::clone(&gateway), Arc::clone(&check.run));
        check.run = Arc::new(move |subject| match gateway.ready(subject) {
            Ok(()) => run(subject),
            Err(finding) => finding,
        });
    }
    chapters.extend(hostile);
    Ok(chapters)
}

impl Gateway {
    /// Its backends listen on these ports.
    pub(crate) fn new(ports: &[u16]) -> Result<Gateway, String> {
        let backends = Backends::bind(ports)?;
        let (last, no) = (Instant::now() + LAST, || AtomicBool::new(false));
        Ok(Gateway { backends, last, settled: no(), gave_up: no() })
    }

    /// Whether somebody else answers, again and again: then no wait makes the judge its backend. An
    /// error of the load balancer's own may go by.
    fn is_answered_elsewhere(&self, subject: &Subject) -> bool {
        (0..STRANGERS).all(|_| {
            let number = self.backends.honest();
            let answer = ask(subject, numbered_get(number));
            answer.is_ok_and(|a| a.status < 500) && self.backends.seen(number).is_empty()
        })
    }

    /// A backend has died, come back or lied: what follows waits until all serve again.
    pub(crate) fn disturb(&self) {
        self.settled.store(false, SeqCst);
    }

    /// Waits until somebody is served. The finding: nobody is.
    pub(crate) fn ready(&self, subject: &Subject) -> Result<(), Finding> {
        self.wait_for(subject, 1)
    }

    /// Waits until the load balancer sends requests to every backend that lives, since it may leave
    /// one alone for a while. The finding: it answers nobody.
    pub(crate) fn settle(&self, subject: &Subject) -> Result<(), Finding> {
        self.wait_for(subject, self.backends.living().len())
    }

    /// Waits until so many backends serve.
    fn wait_for(&self, subject: &Subject, wanted: usize) -> Result<(), Finding> {
        if self.settled.load(SeqCst) {
            return Ok(());
        }
        let patience = if self.gave_up.load(SeqCst) { NO_RETURN } else { RETURN };
        let until = self.last.min(Instant::now() + patience);
        let (mut found, mut answered) = (BTreeSet::new(), 0);
        // Enough in a row that each has had a turn since the last failure.
        while found.len() < wanted || answered < wanted {
            if Instant::now() > until || subject.stop.is_raised() {
                self.gave_up.store(true, SeqCst);
                break;
            }
            let (number, answer) = self.ask_honestly(subject);
            answered = if answer.is_ok() { answered + 1 } else { 0 };
            found.extend(self.backends.seen(number).iter().map(|seen| seen.backend));
            match answer {
                Ok(()) => {}
                Err(Some(Trouble::Connect(_))) => break,
                Err(_) => thread::sleep(PAUSE),
            }
        }
        if wanted > 1 {
            self.settled.store(true, SeqCst);
        }
        match answered {
            0 => Err(Finding {
                timed_out: true,
                ..Finding::not_applicable("no request reaches a backend: are these its backends?")
            }),
            _ => Ok(()),
        }
    }

    /// One GET on a connection of its own: its number, and the trouble if it was not answered as it
    /// should be.
    fn ask_honestly(&self, subject: &Subject) -> (usize, Result<(), Option<Trouble>>) {
        let number = self.backends.honest();
        let answer = ask(subject, numbered_get(number)).map_err(Some);
        let is_honest = |a: Answer| if is_honest(&a, number) { Ok(()) } else { Err(None) };
        (number, answer.and_then(is_honest))
    }

    /// A GET of that number, on the connection that is kept or on a new one. It is kept again if it
    /// may be.
    fn get(
        &self,
        subject: &Subject,
        kept: &mut Option<Client>,
        number: usize,
    ) -> Result<Answer, Trouble> {
        let mut client = kept.take().map_or_else(|| Client::connect(subject.address), Ok)?;
        client.send(get(&format!("/t{number}"), "Connection: keep-alive\r\n"));
        let answer = client.answer(false, subject.patience)?;
        *kept = (!answer.closes()).then_some(client);
        Ok(answer)
    }

    /// Whether those who come next get what they asked for, by way of every backend; else what they
    /// got. An error of the load balancer's own may be: it leaves alone who has lied to it.
    fn neighbours(&self, subject: &Subject, mut same: Option<Client>) -> Result<(), String> {
        self.disturb();
        for _ in 0..=self.backends.ports().len() {
            let number = self.backends.honest();
            match self.get(subject, &mut same, number) {
                Ok(answer) if answer.status >= 500 || is_honest(&answer, number) => {}
                Ok(answer) => return Err(answer.summary()),
                Err(trouble @ (Trouble::NotHttp(..) | Trouble::Connect(_))) => {
                    return Err(trouble.to_string());
                }
                Err(_) => {}
            }
            same = None; // the others come on connections of their own
        }
        Ok(())
    }
}

/// A check of the load balancer; the error is a finding too: it could not be asked.
fn check(
    gateway: &Arc<Gateway>,
    name: &'static str,
    section: &'static str,
    why: &'static str,
    run: impl Fn(&Arc<Gateway>, &Subject) -> Result<Finding, Finding> + Send + Sync + 'static,
) -> Check {
    let gateway = Arc::clone(gateway);
    let run = move |subject: &Subject| run(&gateway, subject).unwrap_or_else(|finding| finding);
    Check::new(name, section, why, run)
}

/// A GET of that number, on a connection of its own.
fn numbered_get(number: usize) -> String {
    get_once(&format!("/t{number}"))
}

/// Whether an honest backend has answered a GET of that number.
fn is_honest(answer: &Answer, number: usize) -> bool {
    answer.status == 200 && answer.content == honest_content(number)
}

/// What an honest backend answers to a GET of that number.
fn honest_content(number: usize) -> Vec<u8> {
    format!("judge: /t{number}\n").into_bytes()
}
