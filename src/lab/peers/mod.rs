//! `progjar peers`: the judge on our servers and on those of others, as one table.
//!
//! Starts and stops everything itself, on free ports. Entry point: [`main`]. Note: `notes/judge.md`.

use super::fleet::{Fleet, Server};
use super::notes::{self, circumstances};
use super::process::{end, installed, say};
use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::judge::{Gateway, Grade, grade};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
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

/// A program of others: how to ask for its version, how to start it, and what its file holds; for a
/// load balancer, which configuration of `notes/growing.md`. Words in capitals are filled in.
struct Other {
    name: &'static str,
    program: &'static str,
    version: &'static str,
    arguments: &'static [&'static str],
    file: &'static str,
    is_lb: bool,
}

const NGINX: &str = include_str!("nginx.conf");
const GROWING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/notes/growing.md");
const FAITHFUL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/labs/faithful_lb.py");

#[rustfmt::skip]
const OTHERS: [Other; 7] = [
    Other { name: "nginx", program: "nginx", version: "-v", file: NGINX, is_lb: false,
        arguments: &["-e", "stderr", "-p", "FOLDER", "-c", "FOLDER/settings"] },
    Other { name: "HAProxy, async_server behind", program: "haproxy", version: "-v",
        file: include_str!("haproxy.cfg"), is_lb: false,
        arguments: &["-db", "-q", "-f", "FOLDER/settings"] },
    Other { name: "Node's http", program: "node", version: "--version",
        file: include_str!("node.js"), is_lb: false, arguments: &["FOLDER/settings", "PORT", "ROOT"] },
    Other { name: "python3 -m http.server", program: "python3", version: "--version", file: "", is_lb: false,
        arguments: &["-m", "http.server", "PORT", "--bind", "127.0.0.1", "--directory", "ROOT"] },
    Other { name: "nginx", program: "nginx", version: "-v", file: "nginx.conf", is_lb: true,
        arguments: &["-e", "stderr", "-p", "FOLDER", "-c", "FOLDER/settings",
            "-g", "daemon off; master_process off; pid FOLDER/pid;"] },
    Other { name: "HAProxy", program: "haproxy", version: "-v", file: "haproxy.cfg", is_lb: true,
        arguments: &["-db", "-q", "-f", "FOLDER/settings"] },
    Other { name: "faithful_lb.py", program: "python3", version: "--version",
        file: "", is_lb: true, arguments: &["-B", FAITHFUL, "127.0.0.1", "PORT", "BACKENDS"] },
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
        rows.push(row(topic, &server, None, stop)?);
    }
    let backend = fleet.one("async_server")?.clone();
    let lb = fleet.start("lb", 0, &["--quiet", &format!("--backend={}", backend.address)])?;
    rows.push(row("lb, async_server behind", &lb, None, stop)?);
    let (ports, gateway) = play_backends()?;
    let backends = ports.map(|port| format!("--backend=127.0.0.1:{port}"));
    let lb = fleet.start("lb", 0, &[&["--quiet".to_owned()], &backends[..]].concat())?;
    rows.push(row("lb", &lb, Some(gateway), stop)?);
    let mut missing = Vec::new();
    for other in &OTHERS {
        let judge = if other.is_lb { "lb" } else { "server" };
        let Some(program) = installed(other.program) else {
            missing.push(format!("{} (judge {judge})", other.name));
            continue;
        };
        let played = other.is_lb.then(play_backends).transpose()?;
        let (ports, gateway) = played.map_or(([0; 4], None), |(p, g)| (p, Some(g)));
        let text = match other.is_lb && !other.file.is_empty() {
            true => configuration(other.file, ports)?,
            false => other.file.to_owned(),
        };
        let list = ports.map(|port| port.to_string()).join(",");
        let words = [("BACKENDS", list), ("BACKEND", backend.address.to_string())];
        let folder = format!("{}-{judge}", other.program);
        let server = fleet.start_other(&folder, &program, other.arguments, &text, &words)?;
        let name = format!("{} ({})", other.name, version(other, &program));
        rows.push(row(&name, &server, gateway, stop)?);
    }
    if !missing.is_empty() {
        say(&format!("SKIPPED, since not installed: {}", missing.join(", ")));
    }
    let table = "| server | judge | level | fail | warn | pass | not applicable | fails in |\n|---|---|---|---|---|---|---|---|\n";
    let block = format!("{}\n\n{table}{}", circumstances("./run.sh peers"), rows.concat());
    say(&format!("\n{block}"));
    let Some(folder) = folder else { return Ok(()) };
    notes::refresh(folder, &|name| (name == "peers").then(|| block.clone()), &[])
}

/// The judge's backends, on four ports below those that the system gives to clients: while one of
/// them is dead, no connection may take its port.
fn play_backends() -> Result<([u16; 4], Gateway), String> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut free = (10_000..12_000).filter(is_free);
    let mut next = || free.next().ok_or("there are no free ports");
    let ports = [next()?, next()?, next()?, next()?];
    Ok((ports, Gateway::new(&ports)?))
}

/// The configuration that `notes/growing.md` shows, with these backends.
fn configuration(name: &str, ports: [u16; 4]) -> Result<String, String> {
    let note = fs::read_to_string(GROWING).map_err(|e| format!("cannot read '{GROWING}': {e}"))?;
    let block =
        note.split_once(&format!("```text {name}\n")).and_then(|(_, b)| b.split_once("```"));
    let (block, _) = block.ok_or_else(|| format!("'{GROWING}' shows no {name}"))?;
    // Not every user may write to the folders that nginx has by default.
    let paths = NGINX.lines().filter(|line| line.contains("_temp_path"));
    let block = block
        .replace("http {", &["http {"].into_iter().chain(paths).collect::<Vec<_>>().join("\n"));
    let block = block.replace("127.0.0.1:44444", "127.0.0.1:PORT");
    let backends = (9002..).zip(ports);
    Ok(backends.fold(block, |block, (old, new)| {
        block.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"))
    }))
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

/// The lines of the table for one server, or with backends for one load balancer.
fn row(
    name: &str,
    server: &Server,
    backends: Option<Gateway>,
    stop: &Stop,
) -> Result<String, String> {
    let judge = if backends.is_some() { "lb" } else { "server" };
    say(&format!("judge {judge}: {name} ..."));
    let grades = grade(server.address, backends, stop).map_err(|why| format!("{name} {why}"))?;
    if stop.is_raised() {
        return Err("stopped".to_owned());
    }
    Ok(grades.iter().map(|grade| format!("| {name} | {judge} | {}\n", line(grade))).collect())
}

/// The rest of a line: the level, its counts, and where it fails.
fn line(grade: &Grade) -> String {
    let mut places: BTreeMap<_, (usize, BTreeSet<_>)> = BTreeMap::new();
    for (chapter, section) in &grade.fails {
        let (count, sections) = places.entry(chapter).or_default();
        *count += 1;
        sections.insert(*section);
    }
    let places = places.into_iter().map(|(chapter, (count, sections))| {
        let sections = sections.into_iter().collect::<Vec<_>>().join(", ");
        let count = if count == 1 { String::new() } else { format!(": {count}") };
        format!("{chapter} ({sections}){count}")
    });
    let places = places.collect::<Vec<_>>().join("; ");
    let [fail, warn, pass, none] = grade.counts;
    format!("{} | {fail} | {warn} | {pass} | {none} | {places} |", grade.level)
}
