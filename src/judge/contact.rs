//! The first requests: whether it is HTTP at all, and what the server offers, so that it fails
//! for nothing that it may choose.
//!
//! Entry point: [`meet`]. Note: `notes/judge.md`.

use super::answer::Answer;
use super::check::{Facts, Subject};
use super::client::{Client, Trouble};
use std::time::{Duration, Instant};

/// How long the very first answer may take.
const FIRST: Duration = Duration::from_secs(5);
/// How long the second of two clients may wait for an answer.
const SECOND: Duration = Duration::from_secs(1);
/// Between two pieces of a request, so that they arrive as two.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A GET of a path; `lines`: further field lines, each with its line end.
pub(super) fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

/// A GET of a path for a connection of its own.
pub(super) fn get_once(path: &str) -> String {
    get(path, "Connection: close\r\n")
}

/// Sends the bytes on a connection of their own, and reads one answer.
pub(super) fn ask(subject: &Subject, bytes: impl AsRef<[u8]>) -> Result<Answer, Trouble> {
    ask_within(subject, bytes, subject.patience).map(|(answer, _)| answer)
}

/// The same, with a patience of its own; the client goes on.
pub(super) fn ask_within(
    subject: &Subject,
    bytes: impl AsRef<[u8]>,
    patience: Duration,
) -> Result<(Answer, Client), Trouble> {
    let mut client = Client::connect(subject.address)?;
    client.send(&bytes);
    let answer = client.answer(bytes.as_ref().starts_with(b"HEAD "), patience)?;
    Ok((answer, client))
}

/// The answer, and what comes behind it until the server closes or the patience for that ends; and
/// whether it has closed.
pub(super) fn ask_all(
    subject: &Subject,
    bytes: impl AsRef<[u8]>,
    patience: Duration,
) -> Result<(Answer, Vec<u8>, bool), Trouble> {
    let (answer, mut client) = ask_within(subject, bytes, subject.patience)?;
    let (rest, has_closed) = client.rest(patience);
    Ok((answer, rest, has_closed))
}

/// What the server offers. The error ends the sentence "HOST:PORT …": there is nothing to judge.
pub(super) fn meet(subject: &Subject) -> Result<Facts, String> {
    let mut facts = Facts::default();
    let began = Instant::now();
    match ask_within(subject, get_once("/"), FIRST) {
        Ok((answer, _)) => facts.first = answer,
        Err(Trouble::Connect(why)) => {
            return Err(format!("takes no connection ({why}); start the server first"));
        }
        Err(Trouble::NotHttp(_, bytes)) if bytes.starts_with(b"\x15\x03") => {
            return Err("speaks TLS (https); the judge speaks plain http".to_owned());
        }
        Err(Trouble::TimedOut(0)) => {
            let seconds = FIRST.as_secs();
            return Err(format!(
                "takes the connection, but does not answer GET / within {seconds} s"
            ));
        }
        Err(trouble @ (Trouble::NotHttp(..) | Trouble::Closed(0) | Trouble::Reset(0))) => {
            return Err(format!("does not answer GET /: {trouble}"));
        }
        // It means to answer; the checks will tell what is wrong with it.
        Err(Trouble::TimedOut(_) | Trouble::Closed(_) | Trouble::Reset(_)) => {}
    }
    facts.first_took = began.elapsed();
    facts.is_http11 = facts.first.minor > 0;
    facts.persists = persists(subject);
    facts.echoes = echoes(subject);
    facts.serves_many = serves_many(subject);
    facts.reads_pieces = reads_pieces(subject).is_ok();
    Ok(facts)
}

/// Whether a second request on a connection is answered. HTTP/1.0 servers keep it open for a
/// client that asks for it, as `ab -k` does.
fn persists(subject: &Subject) -> bool {
    let Ok(mut client) = Client::connect(subject.address) else { return false };
    (0..2).all(|_| {
        client.send(get("/", "Connection: keep-alive\r\n"));
        client.answer(false, subject.patience).is_ok_and(|answer| !answer.closes())
    })
}

fn echoes(subject: &Subject) -> bool {
    let head =
        format!("POST {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", subject.echo);
    ask(subject, format!("{head}Content-Length: 5\r\n\r\nhello"))
        .is_ok_and(|answer| answer.status == 200 && answer.content == b"hello")
}

/// Whether a client is answered while another has sent half of its request.
fn serves_many(subject: &Subject) -> bool {
    let Ok(mut other) = Client::connect(subject.address) else { return false };
    other.send("GET / HT");
    let Ok(mut client) = Client::connect(subject.address) else { return false };
    client.send(get_once("/"));
    client.answer(false, SECOND).is_ok()
}

/// The answer to a request that comes in two pieces.
pub(super) fn reads_pieces(subject: &Subject) -> Result<Answer, Trouble> {
    let mut client = Client::connect(subject.address)?;
    client.send("GET / HT");
    std::thread::sleep(PAUSE);
    client.send("TP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.answer(false, subject.patience)
}
