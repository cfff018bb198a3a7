//! `progjar floor`: the same answer to everybody, alone and in front of others.

use crate::support::{Reader, Server};
use std::io::Write;

const QUESTION: &[u8] = b"GET /anything HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn the_floor_answers_whatever_it_is_asked() {
    let alone = Server::start_with_log("floor", &[]);
    let backend = format!("--backend={}", alone.address);
    let copying = Server::start_with_log("floor", &[&backend, "--workers=2"]);
    for server in [&alone, &copying] {
        let mut reader = Reader::new(server.connect());
        for _ in 0..3 {
            reader.get_mut().write_all(QUESTION).expect("sent");
            let answer = reader.answer(false).expect("an answer");
            assert_eq!((answer.status, answer.text()), (200, HOME.to_owned()));
        }
    }
}

#[test]
fn a_backend_is_an_address() {
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_progjar"));
    let output = server.args(["floor", "0", "--backend=localhost"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "floor: --backend localhost: give IP:PORT\n");
}

const HOME: &str = "Ini Adalah web Server percobaan";
