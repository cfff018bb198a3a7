//! What the others feel while some clients behave badly, as latency: how long an ordinary client
//! waits for `/`, alone and among them.
//!
//! Bounded in count and time. Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::check::{Chapter, Check, Finding, Level, Outcome, Subject};
use super::client::Client;
use super::contact::{ask, get, get_once};
use super::show::ms;
use crate::net::sys;
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
const ATTACK: Duration = Duration::from_secs(2);

/// A client that sends a byte now and then is watched so long.
const PATIENT: Duration = Duration::from_secs(12);

/// What the attackers do: it returns what they hold, which stays until the others were measured.
type Attack = fn(&Scene) -> Vec<Client>;

/// Where an attack takes place.
struct Scene<'a> {
    subject: &'a Subject,
    /// The path of something large.
    large: &'a str,
    until: Instant,
}

/// Name, why it matters, weight, what they do, and how.
type Row = (&'static str, &'static str, u8, &'static str, Attack);

fn attacks() -> [Row; 7] {
    [
        (
            "slow heads",
            "a few hundred connections that cost nothing to open stop the server for everybody",
            3,
            "200 clients send half a head, then one byte more, and wait",
            slow_heads,
        ),
        (
            "idle connections",
            "every browser keeps some open and says nothing",
            2,
            "500 clients connect and say nothing",
            idle,
        ),
        (
            "slow readers",
            "one telephone in a tunnel holds up everybody",
            3,
            "20 clients ask for something large, again and again, and read nothing",
            slow_readers,
        ),
        (
            "resets",
            "browsers close in the middle of a page all the time",
            2,
            "200 clients ask for something large, and reset when the answer begins",
            resets,
        ),
        (
            "garbage",
            "every port on the internet gets it within minutes",
            2,
            "100 clients send random bytes and end",
            garbage,
        ),
        (
            "clients that connect and vanish",
            "port scanners, health checks and impatient users do nothing else",
            2,
            "300 clients connect and close, some behind half a request, some behind a whole one",
            vanish,
        ),
        (
            "half requests that end",
            "a client that dies in the middle of an upload must cost nothing that stays",
            1,
            "100 clients send half of an upload and close",
            half_uploads,
        ),
    ]
}

/// The chapters; `large`: a path with much content.
pub(super) fn chapters(large: &str) -> Vec<Chapter> {
    let (path, large) = (large.to_owned(), large.to_owned());
    let downloads = Check::new(
        "downloads",
        SECTION,
        "a large download beside small requests is the normal case",
        move |subject| beside_downloads(subject, &path),
    );
    let check = |(name, why, weight, what, attack): Row| {
        let large = large.clone();
        let run = move |subject: &Subject| beside(subject, &large, what, attack);
        Check::new(name, SECTION, why, run).weight(weight)
    };
    let mut checks: Vec<Check> = attacks().map(check).into();
    checks.push(downloads);
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

/// How long ordinary clients wait, one after the other, each on a connection of its own. The error: one of them got another answer than at first, or none.
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

fn beside(subject: &Subject, large: &str, what: &str, attack: Attack) -> Finding {
    measured(subject, what, || {
        let attackers = attack(&Scene { subject, large, until: Instant::now() + ATTACK });
        let among = waits(subject);
        drop(attackers);
        among
    })
}

/// Measures without the attack and in it; once more if the bound is not kept, since a busy machine
/// delays everybody now and then.
fn measured(
    subject: &Subject,
    what: &str,
    among: impl Fn() -> Result<Vec<Duration>, (String, bool)>,
) -> Finding {
    let first = measured_once(subject, what, &among);
    match first.outcome {
        Outcome::Fail if !first.timed_out => measured_once(subject, what, &among),
        _ => first,
    }
}

fn measured_once(
    subject: &Subject,
    what: &str,
    among: &impl Fn() -> Result<Vec<Duration>, (String, bool)>,
) -> Finding {
    let failed = |(why, timed_out): (String, bool), when: &str| Finding {
        timed_out,
        ..Finding::new(
            Outcome::Fail,
            what,
            format!("an ordinary client {when}: {why}"),
            "the answer that it gets at other times",
        )
    };
    let alone = match waits(subject) {
        Ok(alone) => alone,
        Err(why) => return failed(why, "before them"),
    };
    match among() {
        Ok(among) => {
            let (outcome, came, expected) = compare(&alone, &among);
            Finding::new(outcome, what, came, expected)
        }
        Err(why) => failed(why, "among them"),
    }
}

/// Attackers, as long as there is time and the system has descriptors.
fn crowd(scene: &Scene, size: usize, act: impl Fn(usize, &mut Client)) -> Vec<Client> {
    let _ = sys::raise_descriptor_limit();
    let mut all = Vec::new();
    for number in 0..size {
        if Instant::now() > scene.until || scene.subject.stop.is_raised() {
            break;
        }
        let Ok(mut client) = Client::connect(scene.subject.address) else { break };
        act(number, &mut client);
        all.push(client);
    }
    all
}

fn slow_heads(scene: &Scene) -> Vec<Client> {
    let mut all = crowd(scene, 200, |_, client| {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    });
    all.iter_mut().for_each(|client| {
        client.send("y");
    });
    all
}

fn idle(scene: &Scene) -> Vec<Client> {
    crowd(scene, 500, |_, _| {})
}

fn slow_readers(scene: &Scene) -> Vec<Client> {
    let request = get(scene.large, "").repeat(16);
    crowd(scene, 20, |_, client| {
        client.send(&request);
    })
}

fn resets(scene: &Scene) -> Vec<Client> {
    let request = get(scene.large, "");
    for _ in 0..10 {
        let mut asked = crowd(scene, 20, |_, client| {
            client.send(&request);
        });
        for client in &mut asked {
            client.more(Instant::now() + Duration::from_millis(200));
            let _ = sys::reset_on_close(client.stream());
        }
    }
    Vec::new()
}

fn garbage(scene: &Scene) -> Vec<Client> {
    // xorshift: the same bytes each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let messages: Vec<Vec<u8>> = (0..100)
        .map(|number| {
            let begin: &[u8] = if number % 2 == 0 { b"GET / HTTP/1.1\r\nHost" } else { b"" };
            let length = next() % 400;
            begin.iter().copied().chain((0..length).map(|_| next() as u8)).collect()
        })
        .collect();
    crowd(scene, messages.len(), |number, client| {
        client.send(messages.get(number).map_or(&[][..], Vec::as_slice));
        client.end();
    })
}

fn vanish(scene: &Scene) -> Vec<Client> {
    let whole = get("/", "");
    let words = ["", "GET /", &whole];
    for round in 0..10 {
        let word = words.get(round % words.len()).copied().unwrap_or_default();
        drop(crowd(scene, 30, |_, client| {
            client.send(word);
        }));
    }
    Vec::new()
}

fn half_uploads(scene: &Scene) -> Vec<Client> {
    let upload = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf";
    drop(crowd(scene, 100, |_, client| {
        client.send(upload);
    }));
    Vec::new()
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
