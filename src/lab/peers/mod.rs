//! `progjar peers`: the judge on our servers and on those of others, as one table.
//!
//! Starts and stops everything itself, on free ports. Entry point: [`main`]. Note: `notes/judge.md`.

use super::fleet::{Fleet, Server};
use super::notes::{self, circumstances};
use super::process::{end, installed, say};
use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::judge::{Grade, grade};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `progjar peers`
pub const TOPIC: Topic = Topic {
    name: "peers",
    summary: "the judge on nginx, HAProxy, Node and Python, beside our own servers",
    operand: "",
    operand_default: "",
    flags: &[&[
        flag("--root", "DIR", "www", "what all of them serve"),
        flag("--notes", "DIR", "", "also refresh DIR/*.md's results block"),
    ]],
    more: "Those that are not installed are named. Everything is stopped at the end, and by Ctrl-C.",
};

/// A server of others: the program, how to ask for its version, how to start it, and what its file
/// holds. Words in capitals are filled in.
struct Other {
    name: &'static str,
    program: &'static str,
    version: &'static str,
    arguments: &'static [&'static str],
    file: &'static str,
}

const OTHERS: [Other; 4] = [
    Other {
        name: "nginx",
        program: "nginx",
        version: "-v",
        arguments: &["-e", "stderr", "-p", "FOLDER", "-c", "FOLDER/settings"],
        file: include_str!("nginx.conf"),
    },
    Other {
        name: "HAProxy, async_server behind",
        program: "haproxy",
        version: "-v",
        arguments: &["-db", "-q", "-f", "FOLDER/settings"],
        file: include_str!("haproxy.cfg"),
    },
    Other {
        name: "Node's http",
        program: "node",
        version: "--version",
        arguments: &["FOLDER/settings", "PORT", "ROOT"],
        file: include_str!("node.js"),
    },
    Other {
        name: "python3 -m http.server",
        program: "python3",
        version: "--version",
        arguments: &["-m", "http.server", "PORT", "--bind", "127.0.0.1", "--directory", "ROOT"],
        file: "",
    },
];

/// Runs the topic.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let root = PathBuf::from(given.text("--root").unwrap_or_default());
    end("peers", judge_all(&root, given.text("--notes").map(Path::new), stop), stop)
}

fn judge_all(root: &Path, folder: Option<&Path>, stop: &Stop) -> Result<(), String> {
    folder.map_or(Ok(()), notes::check)?;
    let wrong = |e| format!("cannot read the folder '{}': {e}; see --root", root.display());
    let root = fs::canonicalize(root).map_err(wrong)?;
    let scratch = Fleet::in_scratch(stop)?;
    let mut fleet = Fleet::new(&scratch.folder, &root, stop)?;
    let mut rows = Vec::new();
    for topic in ["async_server", "thread_server"] {
        let server = fleet.start(topic, 0, &["--quiet"])?;
        rows.push(row(topic.to_owned(), &server, stop)?);
    }
    let backend = fleet.one("async_server")?.clone();
    let lb = fleet.start("lb", 0, &["--quiet", &format!("--backend={}", backend.address)])?;
    rows.push(row("lb, async_server behind".to_owned(), &lb, stop)?);
    let mut missing = Vec::new();
    for other in &OTHERS {
        let Some(program) = installed(other.program) else {
            missing.push(other.program);
            continue;
        };
        let backend = [("BACKEND", backend.address.to_string())];
        let Other { program: name, arguments, file, .. } = other;
        let server = fleet.start_other(name, &program, arguments, file, &backend)?;
        rows.push(row(format!("{} ({})", other.name, version(other, &program)), &server, stop)?);
    }
    if !missing.is_empty() {
        say(&format!("not installed: {}", missing.join(", ")));
    }
    let table = "| server | level | fail | warn | pass | not applicable | fails in |\n|---|---|---|---|---|---|---|\n";
    let block = format!("{}\n\n{table}{}", circumstances("./run.sh peers"), rows.concat());
    say(&format!("\n{block}"));
    let Some(folder) = folder else { return Ok(()) };
    notes::refresh(folder, &|name| (name == "peers").then(|| block.clone()), &[])
}

/// What the program says of its version; some say it on stderr.
fn version(other: &Other, program: &Path) -> String {
    let said = Command::new(program).arg(other.version).output();
    let said = said.map(|said| [said.stdout, said.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&said).into_owned();
    let is_version =
        |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
    let word = text.split([' ', '/', '\n']).find(is_version).unwrap_or("unknown");
    word.trim_start_matches('v').to_owned()
}

/// The lines of the table for one server.
fn row(name: String, server: &Server, stop: &Stop) -> Result<String, String> {
    say(&format!("judging {name} ..."));
    let grades = grade(server.address, stop).map_err(|why| format!("{name} {why}"))?;
    if stop.is_raised() {
        return Err("stopped".to_owned());
    }
    Ok(grades.iter().map(|grade| line(&name, grade)).collect())
}

fn line(name: &str, grade: &Grade) -> String {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (chapter, section) in &grade.fails {
        *places.entry(format!("{chapter} ({section})")).or_default() += 1;
    }
    let places = places.iter().map(|(place, count)| match count {
        1 => place.clone(),
        count => format!("{place}: {count}"),
    });
    let places = places.collect::<Vec<_>>().join("; ");
    let [fail, warn, pass, none] = grade.counts;
    format!("| {name} | {} | {fail} | {warn} | {pass} | {none} | {places} |\n", grade.level)
}
