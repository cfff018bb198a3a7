//! What the others feel while some clients behave badly, as latency: how long an ordinary client
//! waits for `/`, alone and among them.
//!
//! Bounded in count and time. Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::check::{Chapter, Check, Finding, Level, Outcome, Subject};
use super::client::Client;
use super::contact::{ask, get, get_once};
use super::show::ms;
use crate::net::sys;
use Then::*;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Where it is written.
const SECTION: &str = "no RFC; the bound is the judge's own";
/// Nobody may wait longer among them.
const LONGEST: Duration = Duration::from_secs(1);
/// Half of the others wait at most so many times as long as alone, and the time beside it, which a
/// busy machine adds by itself.
const TIMES: u32 = 5;
const AND: Duration = Duration::from_millis(20);
/// How often an ordinary client asks, and for how long at most.
const ASKED: usize = 50;
const MEASURED: Duration = Duration::from_millis(1500);
/// An attack ends then, whatever it has done.
const ATTACK: Duration = Duration::from_secs(15);
/// A crowd of this size comes at this pace. If the backlog is full all the same, a client tries
/// again after this time, so often: the kernel itself would wait a second first.
const LARGE: usize = 500;
const PACE: Duration = Duration::from_millis(1);
const AGAIN: Duration = Duration::from_millis(20);
const TRIES: usize = 50;
/// What those that stay have asked for takes so long to fill the buffers between them.
const FILLS: Duration = Duration::from_secs(1);
/// A client that sends a byte now and then is watched so long.
const PATIENT: Duration = Duration::from_secs(12);

/// Clients that behave badly.
struct Attack {
    name: &'static str,
    why: &'static str,
    weight: u8,
    /// What they do, in words.
    what: &'static str,
    /// So many, so many at once.
    clients: (usize, usize),
    /// What one of them sends, by its number; the path is that of something large.
    says: fn(&str, usize) -> Vec<u8>,
    then: Then,
}

/// What becomes of those that came at once, when all have sent.
#[derive(Clone, Copy)]
enum Then {
    /// They stay until the others were measured.
    Hold,
    /// One byte more of each; they stay.
    OneMore,
    /// They say that no more will come; they stay.
    End,
    /// They reset when the answer begins.
    Reset,
    /// They close.
    Leave,
}

const HALF: &str = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
const UPLOAD: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf";

#[rustfmt::skip] // a table
const ATTACKS: [Attack; 8] = [
    Attack { name: "slow heads", weight: 3, clients: (200, 200), says: |_, _| HALF.into(), then: OneMore,
        what: "200 clients send half a head, then one byte more, and wait",
        why: "a few hundred connections that cost nothing to open stop the server for everybody" },
    Attack { name: "idle connections", weight: 2, clients: (500, 500), says: |_, _| Vec::new(), then: Hold,
        what: "500 clients connect and say nothing",
        why: "every browser keeps some open and says nothing" },
    Attack { name: "more connections than select takes", weight: 3, clients: (1100, 1100),
        says: |_, _| Vec::new(), then: Leave,
        what: "1,100 clients connect, say nothing and leave; then others ask",
        why: "select knows descriptors below 1,024 only: a server that gives it one more ends, or writes \
            beside its memory" },
    Attack { name: "slow readers", weight: 3, clients: (20, 20), then: Hold,
        says: |large, _| get(large, "").repeat(16).into(),
        what: "20 clients ask for something large, again and again, and read nothing",
        why: "one telephone in a tunnel holds up everybody" },
    Attack { name: "resets", weight: 2, clients: (200, 20), says: |large, _| get(large, "").into(), then: Reset,
        what: "200 clients ask for something large, and reset when the answer begins",
        why: "browsers close in the middle of a page all the time" },
    Attack { name: "garbage", weight: 2, clients: (100, 100), says: |_, number| garbage(number), then: End,
        what: "100 clients send random bytes and end",
        why: "every port on the internet gets it within minutes" },
    Attack { name: "clients that connect and vanish", weight: 2, clients: (300, 30), then: Leave,
        says: |_, number| ["", "GET /", &get("/", "")][number / 30 % 3].into(),
        what: "300 clients connect and close, some behind half a request, some behind a whole one",
        why: "port scanners, health checks and impatient users do nothing else" },
    Attack { name: "half requests that end", weight: 1, clients: (100, 100), says: |_, _| UPLOAD.into(), then: Leave,
        what: "100 clients send half of an upload and close",
        why: "a client that dies in the middle of an upload must cost nothing that stays" },
];

/// The chapters; `large`: a path with much content.
pub(super) fn chapters(large: &str) -> Vec<Chapter> {
    let check = |attack: Attack| {
        let large = large.to_owned();
        let Attack { name, why, weight, .. } = attack;
        let run = move |subject: &Subject| {
            measured(subject, attack.what, || {
                let attackers = attack.run(subject, &large);
                let among = waits(subject);
                drop(attackers);
                among
            })
        };
        Check::new(name, SECTION, why, run).weight(weight)
    };
    let (path, why) =
        (large.to_owned(), "a large download beside small requests is the normal case");
    let downloads = Check::new("downloads", SECTION, why, move |s| beside_downloads(s, &path));
    let checks = ATTACKS.map(check).into_iter().chain([downloads]).collect();
    vec![Chapter::new(Level::Hostile, "what the others feel", checks).of_lab(5)]
}

/// What lab 5 asks beside: it takes long, and servers may differ in how patient they are, so that
/// no level asks for it.
pub(super) fn of_lab_5() -> Chapter {
    let name = "a head that never ends is given up";
    let why = "each such client keeps a connection and memory, often a thread too";
    let check = Check::new(name, "RFC 9110 §15.5.9", why, endless);
    Chapter::new(Level::Hostile, "patience", vec![check]).of_lab(5)
}

/// A client that sends a byte now and then.
fn endless(subject: &Subject) -> Finding {
    let Ok(mut client) = Client::connect(subject.address) else {
        return Finding::not_applicable("it takes no connection");
    };
    let (begun, sent) = (Instant::now(), "half a head, then a byte now and then");
    let told = |outcome, came: &str| {
        let came = format!("{came} after {:.1} s", begun.elapsed().as_secs_f64());
        let expected = format!("408 or a close within {} s", PATIENT.as_secs());
        Finding::new(outcome, sent, came, expected)
    };
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    while begun.elapsed() < PATIENT && !subject.stop.is_raised() {
        if client.more(Instant::now() + Duration::from_millis(500)) {
            return told(Outcome::Pass, "an answer, or the end of the connection,");
        }
        client.send("y");
    }
    told(Outcome::Fail, "it still waits")
}

/// How long ordinary clients wait, one after the other, each on a connection of its own. The error
/// says how one of them got another answer than at first, or none; and whether time was up.
fn waits(subject: &Subject) -> Result<Vec<Duration>, (String, bool)> {
    let subject = &Subject { patience: LONGEST, ..subject.clone() };
    let (begun, mut waits) = (Instant::now(), Vec::new());
    while waits.len() < ASKED && begun.elapsed() < MEASURED {
        let asked = Instant::now();
        let first = &subject.facts.first;
        match ask(subject, get_once("/")) {
            Ok(answer) if (answer.status, &answer.content) == (first.status, &first.content) => {}
            Ok(answer) => return Err((format!("got another answer: {}", answer.summary()), false)),
            Err(trouble) => {
                let why = format!("{trouble}, within {} s", LONGEST.as_secs());
                return Err((why, trouble.is_timeout()));
            }
        }
        waits.push(asked.elapsed());
    }
    Ok(waits)
}

/// The middle one of the times.
pub(super) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The outcome, what was measured, and the bound.
fn compare(alone: &[Duration], among: &[Duration]) -> (Outcome, String, String) {
    let longest = among.iter().max().copied().unwrap_or_default();
    let bound = TIMES * median(alone) + AND;
    let outcome = match longest <= LONGEST && median(among) <= bound {
        true => Outcome::Pass,
        false => Outcome::Fail,
    };
    let came = format!(
        "half of the others waited {} among them and {} without them; the longest wait: {}",
        ms(median(among)),
        ms(median(alone)),
        ms(longest)
    );
    let expected = format!(
        "half wait at most {TIMES} times as long as without them and {}, here {}; nobody more than {}",
        ms(AND),
        ms(bound),
        ms(LONGEST)
    );
    (outcome, came, expected)
}

/// Measures without the attack and in it; once more if somebody waited too long, since a busy
/// machine delays everybody now and then.
fn measured(
    subject: &Subject,
    what: &str,
    among: impl Fn() -> Result<Vec<Duration>, (String, bool)>,
) -> Finding {
    let once = || -> Result<_, (&str, String, bool)> {
        let alone = waits(subject).map_err(|(why, late)| ("before them", why, late))?;
        let among = among().map_err(|(why, late)| ("among them", why, late))?;
        Ok(compare(&alone, &among))
    };
    let found = match once() {
        Ok((Outcome::Fail, ..)) | Err((.., true)) => once(),
        found => found,
    };
    match found {
        Ok((outcome, came, expected)) => Finding::new(outcome, what, came, expected),
        Err((when, why, timed_out)) => {
            let came = format!("an ordinary client {when}: {why}");
            let expected = "the answer that it gets at other times";
            Finding { timed_out, ..Finding::new(Outcome::Fail, what, came, expected) }
        }
    }
}

impl Attack {
    /// As many as there is time for and the system has descriptors for. Returns those that stay.
    fn run(&self, subject: &Subject, large: &str) -> Vec<Client> {
        let _ = sys::raise_descriptor_limit();
        let (until, (all, at_once)) = (Instant::now() + ATTACK, self.clients);
        let (mut staying, mut round) = (Vec::new(), Vec::new());
        for number in 0..all {
            if Instant::now() > until || subject.stop.is_raised() {
                break;
            }
            let connect = |_| Client::connect_within(subject.address, AGAIN).ok();
            let Some(mut client) = (0..TRIES).find_map(connect) else { break };
            client.send((self.says)(large, number));
            round.push(client);
            if all >= LARGE {
                thread::sleep(PACE);
            }
            if round.len() == at_once {
                staying.extend(self.then.finish(std::mem::take(&mut round)));
            }
        }
        staying.extend(self.then.finish(round));
        match self.then {
            // The server may still have to take them and to see that they left.
            Leave => _ = ask(subject, get_once("/")),
            _ if !staying.is_empty() => thread::sleep(FILLS),
            _ => {}
        }
        staying
    }
}

impl Then {
    /// Returns those that stay.
    fn finish(self, mut clients: Vec<Client>) -> Vec<Client> {
        for client in &mut clients {
            match self {
                Hold | Leave => {}
                OneMore => _ = client.send("y"),
                End => client.end(),
                Reset => {
                    client.more(Instant::now() + Duration::from_millis(200));
                    let _ = sys::reset_on_close(client.stream());
                }
            }
        }
        if matches!(self, Reset | Leave) { Vec::new() } else { clients }
    }
}

/// Random bytes, the same each time (xorshift); of every second client behind half a head.
fn garbage(number: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let begin: &[u8] = if number.is_multiple_of(2) { b"GET / HTTP/1.1\r\nHost" } else { b"" };
    let length = next() % 400;
    begin.iter().copied().chain((0..length).map(|_| next() as u8)).collect()
}

/// Four clients download without a pause.
fn beside_downloads(subject: &Subject, large: &str) -> Finding {
    let what = "4 clients ask for something large without a pause, and read as fast as it comes";
    measured(subject, what, || {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let download = || {
                while !stop.load(SeqCst) {
                    let _ = ask(subject, get_once(large));
                }
            };
            for _ in 0..4 {
                let _ = thread::Builder::new().spawn_scoped(scope, download);
            }
            let among = waits(subject);
            stop.store(true, SeqCst);
            among
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_what_the_report_says() {
        let ms =
            |list: &[u64]| -> Vec<_> { list.iter().map(|n| Duration::from_millis(*n)).collect() };
        for (alone, among, outcome) in [
            (&[1, 1, 1][..], &[1, 2, 900][..], Outcome::Pass),
            (&[1, 1, 1], &[1, 25, 900], Outcome::Pass),
            (&[1, 1, 1], &[1, 26, 900], Outcome::Fail),
            (&[1, 1, 1], &[1, 2, 1001], Outcome::Fail),
            (&[100, 100, 100], &[500, 520, 600], Outcome::Pass),
        ] {
            assert_eq!(compare(&ms(alone), &ms(among)).0, outcome, "{alone:?} {among:?}");
        }
    }
}
