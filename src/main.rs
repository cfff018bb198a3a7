//! `progjar TOPIC …`: reads the command line, runs the topic, turns its end into an exit code.
//!
//! Note: `notes/README.md`.
#![deny(unsafe_code)]

use progjar::cli::args::{Failure, Topic};
use progjar::cli::shutdown::{Stop, UNTIL_EOF};
use progjar::lab::{compare, exhibit, floor, peers};
use progjar::{assignment, async_server, bench, judge, lb, thread_server};
use std::io::Write;
use std::process::ExitCode;

/// A topic's entry point.
type Main = fn(&progjar::cli::args::Given, &Stop) -> Result<(), Failure>;

/// The topics, in the order of the assignment.
const TOPICS: &[(&Topic, Main)] = &[
    (&async_server::TOPIC, async_server::main),
    (&thread_server::TOPIC, thread_server::main),
    (&lb::TOPIC, lb::main),
    (&bench::TOPIC, bench::main),
    (&judge::TOPIC, judge::main),
    (&assignment::TOPIC, assignment::main),
    (&compare::TOPIC, compare::main),
    (&exhibit::TOPIC, exhibit::main),
    (&peers::TOPIC, peers::main),
    (&floor::TOPIC, floor::main),
];

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let (sentence, code) = match run(&arguments) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(sentence)) => (sentence, 2),
        Err(Failure::CannotWork(sentence)) => (sentence, 1),
    };
    // The judge's report has said it already.
    if !sentence.is_empty() {
        eprintln!("{sentence}");
    }
    ExitCode::from(code)
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let find = |name: &str| {
        TOPICS
            .iter()
            .find(|(topic, _)| topic.name == name)
            .ok_or_else(|| format!("progjar: there is no topic '{name}'; see: progjar help"))
    };
    // A line end would make two lines of an error, or of the header field that shows `--name`.
    if let Some(argument) = arguments.iter().find(|a| a.contains(['\r', '\n'])) {
        let shown = argument.escape_debug();
        return Err(format!("progjar: the argument '{shown}' holds a line end").into());
    }
    let (until_eof, arguments) = match arguments.split_first() {
        Some((first, rest)) if first == UNTIL_EOF => (true, rest),
        _ => (false, arguments),
    };
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(overview()));
    };
    match (name.as_str(), rest.first()) {
        ("help" | "--help" | "-h", None) => print(&overview()),
        ("help" | "--help" | "-h", Some(topic)) => print(&find(topic)?.0.help()),
        (_, Some(first)) if first == "--help" => print(&find(name)?.0.help()),
        _ => {
            let (topic, main) = find(name)?;
            let given = topic.parse(rest)?;
            let stop = Stop::on_signals().map_err(Failure::CannotWork)?;
            if until_eof {
                stop.raise_at_eof(std::io::stdin()).map_err(Failure::CannotWork)?;
            }
            main(&given, &stop)?;
        }
    }
    Ok(())
}

/// A reader that went away (`| head`) is no fault of ours.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn overview() -> String {
    let mut text = String::from("usage: progjar TOPIC [options]\n\n");
    for (topic, _) in TOPICS {
        text.push_str(&format!("  {:<14} {}\n", topic.name, topic.summary));
    }
    text.push_str("  help [TOPIC]   this, or a topic's options\n");
    text
}
