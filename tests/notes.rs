//! Binds the notes to the code: what `notes/*.md` says about files, symbols, commands and answers
//! is checked here, so that prose which the code has left behind fails the build.
//!
//! What a fence's first line means:
//!
//! - `rust src/FILE`, `python notes/FILE`, `python tests/labs/FILE`: these lines stand in that file
//!   word for word
//!   (indentation aside)
//! - `diff src/FILE`: the same of all its lines but those with a `+`
//! - `sh server`: a line per server; they run until the note ends or their port is used again
//! - `sh`: commands that are run, and must succeed; `sh fails`: must not
//! - `sh not-run: WHY`: not run; `progjar` command lines in it are parsed all the same
//! - `text`: lines that the last commands printed, in this order; `…` stands for anything
//! - `text example`: shown, not checked
#![allow(clippy::unwrap_used)]

// the core path: its length, its terms, its sentences
mod course;

use crate::support::{free_port, tool};
use progjar::cli::args::Topic;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Notes that explain a program step by step, with the headings of each.
const STEPS: [&str; 6] = ["http", "poller", "async_server", "thread_server", "lb", "bench"];
const HEADINGS: [&str; 8] = [
    "Question",
    "Idea",
    "Walk",
    "Try it",
    "Measured",
    "What this does not show",
    "Exercises",
    "Where to read on",
];

/// Figures of the reference, which may be quoted. All others stand in measured blocks.
const QUOTED: [&str; 3] =
    ["67,501 requests per second", "370 requests per second", "2.76 requests per second"];
const UNITS: [&str; 8] = [
    "requests/s",
    "requests per second",
    "req/s",
    "µs",
    "Kbytes/sec",
    "KB/s",
    "MB/s",
    "times as fast",
];

/// What `run.sh` takes beside the topics of the program.
const VERBS: [&str; 4] = ["all", "test", "notes", "help"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A note and its text.
struct Note {
    name: String,
    text: String,
}

fn notes() -> Vec<Note> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("notes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| Note {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

fn note(name: &str) -> Note {
    notes().into_iter().find(|n| n.name == name).unwrap()
}

/// A part of a note: a line of prose, or a fenced block.
enum Part<'a> {
    Line(&'a str),
    Fence { info: &'a str, body: Vec<&'a str> },
}

impl Note {
    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut open: Option<(&str, Vec<&str>)> = None;
        for line in self.text.lines() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(info), None) => open = Some((info, Vec::new())),
                (Some(_), Some(_)) => {
                    if let Some((info, body)) = open.take() {
                        parts.push(Part::Fence { info, body });
                    }
                }
                (None, Some((_, body))) => body.push(line),
                (None, None) => parts.push(Part::Line(line)),
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.name);
        parts
    }

    fn prose(&self) -> Vec<&str> {
        let parts = self.parts().into_iter();
        parts
            .filter_map(|part| match part {
                Part::Line(line) => Some(line),
                Part::Fence { .. } => None,
            })
            .collect()
    }

    fn fences(&self) -> Vec<(&str, Vec<&str>)> {
        let parts = self.parts().into_iter();
        parts
            .filter_map(|part| match part {
                Part::Line(_) => None,
                Part::Fence { info, body } => Some((info, body)),
            })
            .collect()
    }

    fn headings(&self) -> Vec<&str> {
        let is_heading = |line: &&str| line.starts_with('#');
        let prose = self.prose().into_iter().filter(is_heading);
        prose.map(|l| l.trim_start_matches('#').trim()).collect()
    }

    /// What a link to a part of this note may name.
    fn anchors(&self) -> Vec<String> {
        let rows = self.prose().into_iter().flat_map(|line| line.split("<a id=\"").skip(1));
        let set_by_hand = rows.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
        self.headings().into_iter().map(anchor).chain(set_by_hand).collect()
    }

    /// Text in backticks, with what stands right before and after it.
    fn code_spans(&self) -> Vec<(&str, &str, &str)> {
        let mut spans = Vec::new();
        for line in self.prose() {
            let pieces: Vec<&str> = line.split('`').collect();
            for i in (1..pieces.len()).step_by(2) {
                let after = pieces.get(i + 1).copied().unwrap_or_default();
                spans.push((pieces[i - 1], pieces[i], after));
            }
        }
        spans
    }

    /// The targets of `[text](target)`.
    fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        for line in self.prose() {
            let mut rest = line;
            while let Some(at) = rest.find("](") {
                rest = &rest[at + 2..];
                links.push(rest[..rest.find(')').unwrap_or(rest.len())].to_owned());
            }
        }
        links
    }
}

/// The anchor that a Markdown viewer makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let notes = notes();
    let anchors: HashMap<&str, Vec<String>> =
        notes.iter().map(|n| (n.name.as_str(), n.anchors())).collect();
    for note in &notes {
        for link in note.links() {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = match path {
                "" => root().join("notes").join(format!("{}.md", note.name)),
                path => root().join("notes").join(path),
            };
            assert!(file.exists(), "{}.md: {link}: no such file", note.name);
            if !anchor.is_empty() {
                let target = file.file_stem().unwrap().to_string_lossy();
                let known = &anchors[&*target];
                assert!(
                    known.iter().any(|a| a == anchor),
                    "{}.md: {link}: no such heading; there are {known:?}",
                    note.name
                );
            }
        }
    }
}

#[test]
fn every_file_and_symbol_that_a_note_names_exists_and_is_linked() {
    let mut problems = Vec::new();
    for note in notes() {
        for (before, span, after) in note.code_spans() {
            let Some(rest) = span.strip_prefix("src/") else {
                continue;
            };
            if rest.is_empty() {
                continue;
            }
            if let Some(problem) = problem_with(before, span, after) {
                problems.push(format!("{}.md: `{span}`: {problem}", note.name));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What is wrong with `src/FILE:SYMBOL` between these texts.
fn problem_with(before: &str, span: &str, after: &str) -> Option<String> {
    let (path, symbol) = span.split_once(':').unwrap_or((span, ""));
    let Ok(code) = fs::read_to_string(root().join(path)) else {
        return Some("no such file".to_owned());
    };
    if !before.ends_with('[') || !after.starts_with(&format!("](../{path})")) {
        return Some(format!("link it as [`{span}`](../{path})"));
    }
    if symbol.parse::<u64>().is_ok() {
        return Some("name a symbol, not a line number".to_owned());
    }
    let segments = symbol.split("::").filter(|s| !s.is_empty());
    let is_known =
        |i: usize, name: &str| defines(&code, name) || (i > 0 && has_member(&code, name));
    let unknown = segments.enumerate().find(|(i, name)| !is_known(*i, name));
    unknown.map(|(_, name)| format!("the file has no item {name}"))
}

fn defines(code: &str, name: &str) -> bool {
    const KEYWORDS: [&str; 8] = ["fn", "struct", "enum", "const", "static", "trait", "type", "mod"];
    let mut code = code.lines().filter(|l| !l.trim_start().starts_with("//"));
    code.any(|line| {
        let words: Vec<&str> = line
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|w| !w.is_empty())
            .collect();
        words.windows(2).any(|pair| KEYWORDS.contains(&pair[0]) && pair[1] == name)
    })
}

/// A field or a variant, at the start of its line; a call of something elsewhere is neither.
fn has_member(code: &str, name: &str) -> bool {
    let mut lines = code.lines().map(|l| l.trim().trim_start_matches("pub "));
    lines.any(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with([':', ',', '(', ' '])))
}

#[test]
fn quoted_code_stands_in_its_file_word_for_word() {
    let mut problems = Vec::new();
    for note in notes() {
        for (info, body) in note.fences() {
            let (kind, path) = info.split_once(' ').unwrap_or((info, ""));
            let wanted: Vec<&str> = match kind {
                "rust" | "python" => body.iter().map(|l| l.trim()).collect(),
                "diff" => body
                    .iter()
                    .filter(|l| !l.starts_with('+'))
                    .map(|l| l.get(1..).unwrap_or_default().trim())
                    .collect(),
                "sh" | "text" => continue,
                _ => panic!("{}.md: a fence says '{info}'", note.name),
            };
            let code = fs::read_to_string(root().join(path)).unwrap_or_default();
            let lines: Vec<&str> = code.lines().map(str::trim).collect();
            if !lines.windows(wanted.len()).any(|w| w == wanted) {
                let quoted = body.join("\n");
                problems.push(format!("{}.md: {path} does not contain\n{quoted}", note.name));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n\n"));
}

#[test]
fn every_note_of_a_program_has_the_same_headings_and_opens_with_its_step() {
    for name in STEPS {
        let note = note(name);
        let headings = note.headings();
        let found: Vec<&&str> = headings.iter().filter(|h| HEADINGS.contains(h)).collect();
        assert_eq!(found, HEADINGS.iter().collect::<Vec<_>>(), "{name}.md");
        let quote = note.text.lines().find(|l| l.starts_with('>'));
        assert!(quote.is_some(), "{name}.md quotes no step");
    }
}

#[test]
fn exercises_are_three_to_five_and_each_has_a_folded_solution() {
    for name in STEPS.into_iter().chain(["from-python", "wrong-table", "fast"]) {
        let note = note(name);
        let (_, exercises) = note.text.split_once("\n## Exercises").unwrap();
        let (exercises, _) = exercises.split_once("\n## ").unwrap();
        let asked = exercises.lines().filter(|l| l.starts_with("**")).count();
        let solved = exercises.matches("<summary>Solution</summary>").count();
        assert!((3..=5).contains(&asked), "{name}.md: {asked} exercises");
        assert_eq!(asked, solved, "{name}.md: exercises and solutions");
        assert_eq!(solved, exercises.matches("</details>").count(), "{name}.md");
    }
}

#[test]
fn measured_blocks_are_well_formed_and_no_figure_of_ours_stands_outside_of_them() {
    let mut names = Vec::new();
    for note in notes() {
        let mut inside = false;
        let mut outside = Vec::new();
        for line in note.text.lines() {
            if let Some(name) = line.strip_prefix("<!-- measured: ") {
                assert!(!inside, "{}.md: a block in a block", note.name);
                let name = name.strip_suffix(" -->").expect("measured: NAME -->");
                names.push(name.to_owned());
                inside = true;
            } else if line == "<!-- end -->" {
                assert!(inside, "{}.md: an end without a beginning", note.name);
                inside = false;
            } else if !inside {
                outside.push(line);
            }
        }
        assert!(!inside, "{}.md: a block is not closed", note.name);
        let outside =
            QUOTED.iter().fold(outside.join("\n"), |text, quoted| text.replace(quoted, ""));
        for unit in UNITS {
            for (at, _) in outside.match_indices(unit) {
                let before = outside[..at].trim_end();
                assert!(
                    !before.ends_with(|c: char| c.is_ascii_digit()),
                    "{}.md: '…{} {unit}': figures stand in measured blocks, where a command writes them",
                    note.name,
                    before.rsplit(char::is_whitespace).next().unwrap_or_default()
                );
            }
        }
    }
    // Each measurement has its one place.
    names.sort();
    let mut known = progjar::lab::notes::names();
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn the_map_of_rooms_is_the_one_of_lib_rs() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: Vec<&str> = lib
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ").or(l.strip_prefix("mod ")))
        .filter_map(|l| l.split([';', ' ']).next())
        .collect();
    let readme = note("README");
    let prose = readme.prose();
    let start = prose.iter().position(|l| l.starts_with("| room |")).unwrap();
    let rows = prose[start + 2..].iter().take_while(|l| l.starts_with('|'));
    let rooms: Vec<&str> = rows.map(|l| l.split('`').nth(1).unwrap()).collect();
    // What stands around the core needs no note.
    let around = prose.iter().find(|l| l.starts_with("Around the core"));
    let around = around.expect("README tells what stands around the core");
    let modules: Vec<&str> =
        modules.into_iter().filter(|m| !around.contains(&format!("`{m}`"))).collect();
    for module in &modules {
        assert!(rooms.contains(module), "notes/README.md has no row for `{module}`");
    }
    for room in &rooms {
        assert!(modules.contains(room), "src/lib.rs has no module `{room}`");
    }
    // An order by name is rustfmt's; any other is meant, and then both must agree.
    if !modules.is_sorted() {
        assert_eq!(rooms, modules, "order the rows of notes/README.md as src/lib.rs does");
    }
    for link in readme.links() {
        let note = link.split('#').next().unwrap_or_default();
        let is_ours = note.ends_with(".md") || note.ends_with(".svg") || note.starts_with("../");
        assert!(is_ours, "{link}");
    }
    for note in notes() {
        let linked = readme.links().iter().any(|l| l.starts_with(&note.name));
        assert!(linked || note.name == "README", "README leads nobody to {}", note.name);
    }
}

#[test]
fn every_picture_is_shown_and_readable_in_dark_mode() {
    let all: String = notes().into_iter().map(|n| n.text).collect();
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    for entry in fs::read_dir(root().join("notes/img")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !all.contains(&format!("](img/{name})")) {
            let shown = readme.contains(&format!("](notes/img/{name})"));
            assert!(shown, "neither a note nor README.md shows {name}");
            continue;
        }
        let svg = fs::read_to_string(&path).unwrap();
        for needed in ["<title", "<desc", "viewBox", "prefers-color-scheme:dark"] {
            assert!(svg.contains(needed), "{name} lacks {needed}");
        }
        // Drawn by hand, or by a command.
        let has_ground = ["class=\"bg\"", "class=\"paper\""].map(|c| svg.contains(c));
        assert!(has_ground.contains(&true), "{name} lacks a background");
    }
}

fn topics() -> [&'static Topic; 9] {
    [
        &progjar::async_server::TOPIC,
        &progjar::thread_server::TOPIC,
        &progjar::lb::TOPIC,
        &progjar::bench::TOPIC,
        &progjar::judge::TOPIC,
        &progjar::lab::exhibit::TOPIC,
        &progjar::lab::compare::TOPIC,
        &progjar::lab::peers::TOPIC,
        &progjar::lab::floor::TOPIC,
    ]
}

/// The words of each `./run.sh …` in a line of shell, up to what ends a command.
fn run_sh_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for (at, found) in line.match_indices("./run.sh ") {
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in line[at + found.len()..].chars() {
            match (quote, c) {
                (None, '|' | ';' | '&' | '>' | '#' | '`') => break,
                (None, '\'' | '"') => quote = Some(c),
                (Some(q), c) if q == c => quote = None,
                (None, c) if c.is_whitespace() => words.push(String::new()),
                (_, c) => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|w| !w.is_empty());
        commands.push(words);
    }
    commands
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    for note in notes() {
        let fences = note.fences().into_iter();
        let shell = fences.filter(|(info, _)| info.starts_with("sh"));
        let mut lines: Vec<String> = shell.flat_map(|(_, body)| body).map(str::to_owned).collect();
        let spans = note.code_spans().into_iter().map(|(_, span, _)| span);
        lines.extend(spans.map(str::to_owned));
        for words in lines.iter().flat_map(|l| run_sh_commands(l)) {
            let here = format!("{}.md: ./run.sh {}", note.name, words.join(" "));
            let (first, rest) = words.split_first().expect(&here);
            match topics().into_iter().find(|t| t.name == first) {
                Some(topic) => drop(topic.parse(rest).unwrap_or_else(|e| panic!("{here}: {e}"))),
                None => assert!(VERBS.contains(&first.as_str()), "{here}: no such topic"),
            }
            if first == "exhibit"
                && let Some(name) = rest.first()
            {
                let block = format!("exhibit-{name}");
                let is_one = progjar::lab::notes::names().contains(&block);
                assert!(is_one, "{here}: no such exhibit");
            }
            if first == "bench" && !rest.iter().any(|w| w == "URL") {
                let words: Vec<&str> = rest.iter().map(String::as_str).collect();
                progjar::bench::options::parse(&words).unwrap_or_else(|e| panic!("{here}: {e}"));
            }
        }
        for (info, _) in note.fences() {
            let known = ["sh", "sh server", "sh fails", "text", "text example"].contains(&info)
                // tests/neighbours.rs runs them.
                || info.starts_with("text haproxy")
                || info.starts_with("text nginx")
                || info.starts_with("rust src/")
                || info.starts_with("python notes/")
                || info.starts_with("python tests/labs/")
                || info.starts_with("diff src/")
                || info
                    .strip_prefix("sh not-run: ")
                    .is_some_and(|why| why.len() > 10);
            assert!(known, "{}.md: a fence says '{info}'", note.name);
        }
    }
}

/// A server of a note; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Servers that run, by the port that the note gives them, and the port that they really have.
#[derive(Default)]
struct Servers {
    running: HashMap<u16, (Server, u16)>,
    /// Real ports of servers that were named and do not run yet.
    promised: HashMap<u16, u16>,
}

impl Servers {
    /// Puts the real ports in the place of the note's.
    fn real(&self, text: &str) -> String {
        let mut result = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\n']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            let port = word.parse().unwrap_or(0);
            let running = self.running.get(&port).map(|(_, real)| real);
            match running.or(self.promised.get(&port)) {
                Some(real) => result.push_str(&real.to_string()),
                None => result.push_str(&word),
            }
            word.clear();
            result.push(c);
        }
        result.pop();
        result
    }

    fn start(&mut self, line: &str) {
        let (program, words) = match line.strip_prefix("python3 ") {
            Some(rest) => ("python3", rest.split(' ').map(str::to_owned).collect()),
            None => (env!("CARGO_BIN_EXE_progjar"), run_sh_commands(line).remove(0)),
        };
        let port: u16 = words[1].parse().expect("./run.sh TOPIC PORT …");
        self.running.remove(&port);
        // Who is named before it is started must come to the port that was named.
        for word in &words[2..] {
            let named = word.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            if let Some(named) = named.filter(|port| !self.running.contains_key(port)) {
                self.promised.entry(named).or_insert_with(free_port);
            }
        }
        let chosen = self.promised.remove(&port).unwrap_or(0);
        let mut arguments = vec![words[0].clone(), chosen.to_string()];
        arguments.extend(words[2..].iter().map(|word| self.real(word)));
        if words[0] == "lb" && !words.iter().any(|w| w == "--backend") {
            for backend in 9002..=9005 {
                let address = self.real(&format!("127.0.0.1:{backend}"));
                arguments.extend(["--backend".to_owned(), address]);
            }
        }
        let started =
            spawn(program, &arguments).unwrap_or_else(|| panic!("{line}: does not start"));
        self.running.insert(port, started);
    }
}

/// Starts a server and waits for its line; None: it ended instead.
fn spawn(program: &str, arguments: &[String]) -> Option<(Server, u16)> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let server = Server(child);
    let line = lines.next()?.unwrap();
    let port = line.rsplit(':').next()?.trim_end_matches('/').parse();
    // Its log must go somewhere, or it would notice.
    std::thread::spawn(move || lines.for_each(drop));
    Some((server, port.unwrap()))
}

/// Runs a script; its output, stderr behind stdout, and whether it succeeded.
fn run_script(script: &str) -> (String, bool) {
    let mut child = Command::new("bash")
        .args(["-e", "-c", script])
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut bytes = Vec::new();
    err.read_to_end(&mut bytes).unwrap();
    let mut text = String::from_utf8_lossy(&stdout.join().unwrap()).into_owned();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&bytes));
    (text, child.wait().unwrap().success())
}

/// Whether a line holds the wanted text, where `…` stands for anything.
fn matches(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    wanted.split('…').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

fn has_curl() -> bool {
    let Some(curl) = tool("curl", "curl") else { return false };
    let version = Command::new(curl).arg("--version").output();
    version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("telnet"))
}

/// Runs the commands of a note as a reader would, and compares what they print.
fn try_it(name: &str) {
    let mut note = note(name);
    // What was measured once is not what is printed now.
    while let Some(start) = note.text.find("<!-- measured: ") {
        let end = note.text[start..].find("<!-- end -->").expect("an end");
        note.text.replace_range(start..start + end, "");
    }
    let mut servers = Servers::default();
    let mut output: Option<String> = None;
    let has_curl = has_curl();
    for (info, body) in note.fences() {
        match info {
            "sh server" => body.iter().for_each(|line| servers.start(line)),
            "sh" | "sh fails" => {
                let script = servers.real(&body.join("\n"));
                if script.contains("curl") && !has_curl {
                    eprintln!("{name}.md: NOT RUN, there is no curl with telnet: {script}");
                    output = None;
                    continue;
                }
                let script = script.replace("./run.sh", env!("CARGO_BIN_EXE_progjar"));
                let (text, succeeded) = run_script(&script);
                assert_eq!(succeeded, info == "sh", "{name}.md: {script}\n{text}");
                output = Some(text);
            }
            "text" => {
                let Some(output) = &output else { continue };
                let mut lines = output.lines();
                for wanted in &body {
                    let wanted = servers.real(wanted);
                    assert!(
                        lines.any(|line| matches(line, &wanted)),
                        "{name}.md: expected '{wanted}' in\n{output}"
                    );
                }
            }
            _ => {}
        }
    }
}

#[cfg(target_os = "linux")]
mod the_commands_do_what_the_note_says {
    use super::try_it;
    use crate::support::tool;

    #[test]
    fn in_from_python() {
        if tool("python3", "python3").is_some() {
            try_it("from-python");
        }
    }

    #[test]
    fn in_steps() {
        try_it("steps");
    }

    #[test]
    fn in_http() {
        try_it("http");
    }

    #[test]
    fn in_poller() {
        try_it("poller");
    }

    #[test]
    fn in_async_server() {
        try_it("async_server");
    }

    #[test]
    fn in_thread_server() {
        try_it("thread_server");
    }

    #[test]
    fn in_lb() {
        try_it("lb");
    }

    #[test]
    fn in_bench() {
        try_it("bench");
    }

    #[test]
    fn in_judge() {
        try_it("judge");
    }

    #[test]
    fn in_fast() {
        try_it("fast");
    }

    #[test]
    fn in_wrong_table() {
        try_it("wrong-table");
    }
}

#[test]
fn the_loop_in_python_answers_a_client_while_another_has_sent_half_a_request() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let mut servers = Servers::default();
    servers.start("python3 notes/two_clients.py 9000");
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", servers.running[&9000].1)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    let (mut a, mut b) = (connect(), connect());
    // This half is here before b's request, so the loop meets it first.
    a.write_all(b"GET / HTTP/1.0\r\n").unwrap();
    for (client, rest) in [(&mut b, "GET / HTTP/1.0\r\n\r\n"), (&mut a, "\r\n")] {
        client.write_all(rest.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("santai saja\n"), "{answer}");
    }
}

#[test]
fn every_trick_has_a_patch_that_still_takes_it_out() {
    let fast = note("fast");
    let mut patches = 0;
    for entry in fs::read_dir(root().join("notes/tricks")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        for label in ["Trick: ", "Case: ", "System: ", "Without: "] {
            assert!(text.lines().any(|l| l.starts_with(label)), "{name}: {label}");
        }
        let link = format!("](tricks/{name})");
        assert!(fast.text.contains(&link), "fast.md does not lead to {name}");
        // Its lines are still those of the code. That it also compiles, `compare tricks` finds out.
        let lines: Vec<&str> = text.lines().collect();
        for hunk in lines.split(|l| l.starts_with("@@")).skip(1) {
            let before = |l: &&&str| l.starts_with([' ', '-']) && !l.starts_with("--- ");
            let wanted: Vec<&str> = hunk.iter().filter(before).map(|l| &l[1..]).collect();
            let files = lines.iter().filter_map(|l| l.strip_prefix("--- a/"));
            let mut code = files.map(|file| fs::read_to_string(root().join(file)).unwrap());
            let is_there = code.any(|code| {
                let code: Vec<&str> = code.lines().collect();
                code.windows(wanted.len()).any(|window| window == wanted)
            });
            assert!(is_there, "{name}: the code no longer has\n{}", wanted.join("\n"));
        }
        patches += 1;
    }
    assert_eq!(fast.text.matches("](tricks/").count(), patches + 1, "and one more in an exercise");
}

/// `\r\n` and `\n` as they are written in a table.
fn unescape(text: &str) -> String {
    text.replace("\\r", "\r").replace("\\n", "\n")
}

/// The status codes of the answers in a byte stream.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        found.push(head.split(' ').nth(1).unwrap().parse().unwrap());
        let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |l| l.parse().unwrap());
        bytes = bytes.get(end + 4 + length..).expect("an answer is cut off");
    }
    assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(bytes));
    found
}

fn ask(port: u16, request: &str) -> Vec<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    statuses(&answer)
}

#[test]
fn the_tables_of_bytes_and_answers_hold_on_all_three_servers() {
    let note = note("http");
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in note.prose() {
        in_table = line.starts_with("| these bytes") || (in_table && line.starts_with('|'));
        if in_table && let Some(rest) = line.strip_prefix("| `") {
            let (bytes, rest) = rest.split_once("` | ").expect(line);
            let (answers, _) = rest.split_once(" |").expect(line);
            let answers: Vec<u16> = answers.split(", ").map(|a| a.parse().unwrap()).collect();
            rows.push((unescape(bytes), answers));
        }
    }
    assert!(rows.len() > 25, "{} rows", rows.len());
    let mut servers = Servers::default();
    for line in [
        "./run.sh async_server 9002 --quiet",
        "./run.sh thread_server 46000 --quiet",
        "./run.sh lb 44444 --quiet --backend 127.0.0.1:9002",
    ] {
        servers.start(line);
    }
    let began = Instant::now();
    for (bytes, answers) in &rows {
        for port in [9002, 46000, 44444] {
            let found = ask(servers.running[&port].1, bytes);
            assert_eq!(&found, answers, "port {port}: {bytes:?}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(30));
}

/// The module comments of every source file, by its path below the root.
fn headers(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            headers(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let header = text.lines().take_while(|l| l.starts_with("//!"));
            let header: Vec<&str> = header.collect();
            let name = path.strip_prefix(root()).unwrap().to_string_lossy();
            found.push((name.into_owned(), header.join("\n")));
        }
    }
}

#[test]
fn every_module_leads_to_its_note() {
    let mut found = Vec::new();
    headers(&root().join("src"), &mut found);
    assert!(found.len() > 50, "the sources are found");
    let readme = note("README");
    let prose = readme.prose();
    let around = prose.iter().find(|l| l.starts_with("Around the core"));
    let around = around.expect("README tells what stands around the core");
    for (name, header) in &found {
        let spans = header.split('`').skip(1).step_by(2);
        let notes: Vec<&str> = spans.filter(|s| s.ends_with(".md")).collect();
        // A part of what stands around the core may leave it to its whole.
        let mut folders = name.split('/').skip(1);
        let is_part = folders.next().is_some_and(|f| around.contains(&format!("`{f}`")));
        assert!(
            !notes.is_empty() || is_part,
            "{name}: its header names no note: Note: `notes/….md`"
        );
        for note in notes {
            assert!(root().join(note).exists(), "{name}: there is no {note}");
        }
    }
    // What the map of the rooms says of a room's note, the room says too.
    let rows = prose.iter().filter(|l| l.starts_with("| `"));
    for row in rows {
        let room = row.split('`').nth(1).unwrap();
        let (_, link) = row.rsplit_once("](").unwrap();
        let note = link.split(['#', ')']).next().unwrap();
        let files = [format!("src/{room}.rs"), format!("src/{room}/mod.rs")];
        let (name, header) = found.iter().find(|(name, _)| files.contains(name)).unwrap();
        assert!(
            header.contains(&format!("notes/{note}")),
            "{name}: notes/README.md leads to {note}"
        );
    }
}
