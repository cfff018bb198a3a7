//! `progjar TOPIC …`.

use progjar::bench::{self, Failure};
use progjar::shutdown::Stop;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((topic, rest)) if topic == bench::TOPIC.name => bench::TOPIC
            .parse(rest)
            .map_err(Failure::Usage)
            .and_then(|given| {
                let stop = Stop::on_signals().map_err(Failure::Work)?;
                bench::main(&given, &stop)
            }),
        _ => Err(Failure::Usage("progjar: try: progjar bench URL".to_owned())),
    };
    let (code, line) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Work(line)) => (1, line),
        Err(Failure::Usage(line)) => (2, line),
    };
    eprintln!("{line}");
    ExitCode::from(code)
}
