//! What Tugas 10 asks of a server: the page and its pictures, whole, for several clients at once.
//!
//! Entry point: [`chapters`]. Note: `notes/judge.md`.

use super::check::{Chapter, Check, Finding, Level, Outcome, Subject};
use super::contact::{ask, get};
use super::show;

/// Where the assignment asks for it.
const TUGAS: &str = "Tugas 10";

/// The chapters.
pub(super) fn chapters() -> Vec<Chapter> {
    let checks = vec![
        Check::new("GET / is answered with 200", TUGAS, "the performance test asks for /", |s| {
            answered(s, "/")
        }),
        Check::new("the page is answered with 200", TUGAS, "step 4 opens it in a browser", |s| {
            answered(s, &s.path)
        }),
    ];
    vec![Chapter::new(Level::Assignment, "the page", checks).of_lab(1)]
}

fn answered(subject: &Subject, path: &str) -> Finding {
    let request = get(path, "Connection: close\r\n");
    let answer = ask(subject, &request);
    let outcome = match &answer {
        Ok(answer) if answer.status == 200 => Outcome::Pass,
        _ => Outcome::Fail,
    };
    let came = answer.map_or_else(|trouble| trouble.to_string(), |answer| answer.summary());
    Finding::new(outcome, show::marked(request.as_bytes()), came, "200 and the whole content")
}
