//! The plan of the house, as `src/lib.rs` draws it: who may know whom, held by reading the
//! sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path
                .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
                .expect("below src")
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(&path).expect("readable");
            found.push((name, text));
        }
    }
}

/// Every source file: its name below `src/`, and its code without comments and unit tests.
fn code() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert!(found.len() > 30, "the sources are found");
    for (_, text) in &mut found {
        let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
        let lines = text[..end].lines();
        let code: Vec<&str> = lines.filter(|line| !line.trim_start().starts_with("//")).collect();
        *text = code.join("\n");
    }
    found
}

/// Which folder of `src/` may import which; every pair that is not here is forbidden.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("http", &[]),
    ("net", &["cli"]),
    ("site", &["http", "net", "cli"]),
    ("cli", &["http"]),
    ("thread_server", &["http", "site", "net", "cli"]),
    ("async_server", &["http", "site", "net", "cli"]),
    ("lb", &["http", "net", "cli"]),
    ("bench", &["net", "cli"]),
    ("judge", &["net", "cli"]),
    ("assignment", &["bench", "lab", "net", "cli"]),
    ("lab", &["bench", "judge", "net", "cli"]),
];

/// The rooms that a file names: what follows `crate::`.
fn rooms_named(text: &str) -> Vec<&str> {
    let behind = text.split("crate::").skip(1);
    behind
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}

#[test]
fn each_room_imports_only_what_the_plan_allows() {
    let mut rooms = std::collections::BTreeSet::new();
    for (name, text) in code() {
        let Some((room, _)) = name.split_once('/') else {
            continue; // lib.rs and main.rs
        };
        rooms.insert(room.to_owned());
        let allowed = MAY_IMPORT.iter().find(|(r, _)| *r == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("src/{room} is not in the plan"));
        assert!(!text.contains("crate::{"), "src/{name}: one `use` a room");
        for other in rooms_named(&text) {
            assert!(
                other == room || allowed.contains(&other),
                "src/{name}: {room} must not import {other}"
            );
        }
    }
    let planned = MAY_IMPORT.iter().map(|(room, _)| (*room).to_owned());
    assert_eq!(rooms, planned.collect(), "every room of the plan is there");
}

/// No file whose name begins so names any of `forbidden`.
fn knows_nothing_of(file: &str, forbidden: &[&str]) {
    let mut files = 0;
    for (name, text) in code() {
        if name == format!("{file}.rs") || name.starts_with(&format!("{file}/")) {
            files += 1;
            for word in forbidden {
                assert!(!text.contains(word), "src/{name} names {word}");
            }
        }
    }
    assert!(files > 0, "there is a room {file}");
}

#[test]
fn what_understands_bytes_knows_no_sockets() {
    let sockets = ["TcpStream", "TcpListener", "net::poller", "net::connection"];
    knows_nothing_of("http", &["std::net", "std::io", "std::os"]);
    for file in ["site/session", "site/files", "net/output", "lb/rewrite"] {
        knows_nothing_of(file, &sockets);
    }
    knows_nothing_of("lb/exchange", &["TcpStream", "poller"]);
    knows_nothing_of("lb/balance/backends", &["http", "TcpStream", "std::io"]);
    knows_nothing_of("lb/retry", &["std::net", "std::io", "poller", "Instant::now"]);
    knows_nothing_of("lb/balance/policy", &["std::net", "std::io", "crate::"]);
}

#[test]
fn what_waits_knows_only_numbers_and_descriptors() {
    knows_nothing_of("net/sys", &["crate::"]);
    knows_nothing_of("net/timers", &["crate::", "std::net"]);
    knows_nothing_of("net/slots", &["crate::", "std::net"]);
    knows_nothing_of("net/poller", &["TcpStream"]);
}

#[test]
fn unsafe_stands_in_one_file() {
    for (name, text) in code() {
        let has_unsafe =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
        assert!(!has_unsafe || name == "net/sys.rs", "src/{name} contains unsafe");
    }
}

#[test]
fn the_only_packages_are_threadpool_and_ctrlc() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .expect("the manifest is readable");
    let mut packages = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && let Some((name, _)) = line.split_once('=') {
            packages.push(name.trim().to_owned());
        }
    }
    assert_eq!(packages, ["ctrlc", "threadpool"]);
}

#[test]
fn each_file_of_tests_is_a_module_of_the_one_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let all = fs::read_to_string(folder.join("all.rs")).expect("readable");
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "all") else {
            continue;
        };
        let line = format!("mod {module};");
        assert!(all.lines().any(|l| l == line), "tests/all.rs lacks {line}: it would not run");
    }
}
