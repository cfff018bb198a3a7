//! run.sh and .ci/run, with a stand-in for cargo: nothing is built here.
#![cfg(unix)]

use crate::support::{Folder, text, tool};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

const RUN_SH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/run.sh");
const CI_RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/run");

/// A folder with a `cargo` that does what the script says, and a built program; gone after.
struct Stage(Folder);

impl Stage {
    fn new(cargo: Option<&str>) -> Stage {
        let folder = Folder::new();
        let path = folder.path();
        fs::create_dir(path.join("bin")).expect("a folder");
        fs::create_dir(path.join("release")).expect("a folder");
        symlink(env!("CARGO_BIN_EXE_progjar"), path.join("release/progjar")).expect("a link");
        for tool in ["sh", "dirname", "env", "cat"] {
            let place = ["/usr/bin", "/bin"].map(|b| Path::new(b).join(tool));
            let place = place.into_iter().find(|p| p.exists()).expect(tool);
            symlink(place, path.join("bin").join(tool)).expect("a link");
        }
        if let Some(script) = cargo {
            let cargo = folder.write("bin/cargo", format!("#!/bin/sh\n{script}\n").as_bytes());
            fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        Stage(folder)
    }

    /// run.sh in a folder that is not the repository's.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(RUN_SH);
        command
            .args(arguments)
            .env("PATH", self.0.path().join("bin"))
            .env("HOME", self.0.path())
            .env("CARGO_TARGET_DIR", self.0.path())
            .current_dir(self.0.path());
        command.output().expect("run.sh runs")
    }
}

#[test]
fn help_names_every_topic_from_any_folder() {
    let stage = Stage::new(Some("exit 0"));
    let output = stage.run(&["help"]);
    let help = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut program = Command::new(env!("CARGO_BIN_EXE_progjar"));
    let usage = text(&program.arg("help").output().expect("it runs").stdout);
    let topics = usage.lines().filter_map(|line| line.strip_prefix("  "));
    let topics: Vec<_> = topics.filter_map(|line| line.split(' ').next()).collect();
    assert!(topics.contains(&"all") && topics.len() > 7, "{usage}");
    for word in topics.into_iter().chain(["test", "notes"]) {
        assert!(help.contains(&format!("\n  {word} ")), "{word} in {help}");
    }
    let topic = stage.run(&["help", "lb"]);
    assert!(text(&topic.stdout).starts_with("lb: "));
    assert_eq!(stage.run(&[]).stdout, output.stdout);
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let stage = Stage::new(Some("exit 0"));
    assert_eq!(stage.run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(stage.run(&["lb", "--nonsense"]).status.code(), Some(2));
    let dead = stage.run(&["bench", "-q", "http://127.0.0.1:9/"]);
    assert_eq!(dead.status.code(), Some(1));
}

#[test]
fn a_build_that_fails_runs_nothing() {
    let stage = Stage::new(Some("echo 'error: no' >&2; exit 101"));
    let output = stage.run(&["lb", "0"]);
    assert_eq!(output.status.code(), Some(101));
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        (String::new(), "error: no\n".to_owned())
    );
}

#[test]
fn without_cargo_it_says_how_to_get_it() {
    let stage = Stage::new(None);
    for topic in ["all", "test", "lb"] {
        let output = stage.run(&[topic]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cargo is missing") && stderr.contains("rustup.rs"), "{stderr}");
    }
}

#[test]
fn the_last_line_of_test_says_what_failed() {
    let stage = Stage::new(Some("[ \"$1\" = fmt ]"));
    let output = stage.run(&["test"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    let last = stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("Not well: 'cargo clippy"), "{stdout}");
}

#[test]
fn the_scripts_are_as_shellcheck_wants_them() {
    let Some(shellcheck) = tool("shellcheck", "shellcheck") else { return };
    let output = Command::new(shellcheck).args([RUN_SH, CI_RUN]).output().expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stdout));
}
