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
    sources(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut found,
    );
    assert!(found.len() > 30, "the sources are found");
    for (_, text) in &mut found {
        let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
        let lines = text[..end].lines();
        let code: Vec<&str> = lines
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        *text = code.join("\n");
    }
    found
}

/// No file of `room` names any of `forbidden`.
fn knows_nothing_of(room: &str, forbidden: &[&str]) {
    let mut files = 0;
    for (name, text) in code() {
        if name == format!("{room}.rs") || name.starts_with(&format!("{room}/")) {
            files += 1;
            for word in forbidden {
                assert!(!text.contains(word), "src/{name} names {word}");
            }
        }
    }
    assert!(files > 0, "there is a room {room}");
}

#[test]
fn http_knows_no_sockets() {
    knows_nothing_of(
        "http",
        &["std::net", "std::io", "std::os", "poller", "crate::site"],
    );
}

#[test]
fn the_poller_knows_no_http() {
    knows_nothing_of("poller", &["http", "site", "dialogue", "TcpStream"]);
    knows_nothing_of("sys", &["crate::"]);
    knows_nothing_of("timers", &["crate::", "std::net"]);
    knows_nothing_of("slots", &["crate::", "std::net"]);
}

#[test]
fn a_dialogue_knows_no_sockets() {
    let sockets = [
        "TcpStream",
        "TcpListener",
        "crate::poller",
        "crate::connection",
    ];
    knows_nothing_of("dialogue", &sockets);
    knows_nothing_of("site", &sockets);
    knows_nothing_of("output", &sockets);
}

#[test]
fn an_origin_does_not_know_who_waits() {
    knows_nothing_of("origin", &["poller", "dialogue", "thread", "_server"]);
}

#[test]
fn a_policy_knows_neither_sockets_nor_http() {
    knows_nothing_of("lb/policy", &["std::net", "std::io", "crate::"]);
    knows_nothing_of("lb/backends", &["http", "TcpStream", "std::io"]);
    knows_nothing_of("lb/rewrite", &["TcpStream", "poller", "connection::"]);
    knows_nothing_of("lb/exchange", &["TcpStream", "poller"]);
}

#[test]
fn the_bench_shares_nothing_with_what_it_measures() {
    let servers = ["crate::http", "crate::site", "crate::dialogue", "crate::lb"];
    knows_nothing_of("bench", &servers);
}

#[test]
fn the_core_does_not_know_what_stands_around_it() {
    let around = [
        "crate::assignment",
        "crate::compare",
        "crate::exhibit",
        "crate::report",
        "crate::notes",
    ];
    for room in [
        "http",
        "poller",
        "lb",
        "bench",
        "async_server",
        "thread_server",
    ] {
        knows_nothing_of(room, &around);
    }
}

#[test]
fn unsafe_stands_in_one_file() {
    for (name, text) in code() {
        let has_unsafe = text
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|w| w == "unsafe");
        assert!(
            !has_unsafe || name == "sys.rs",
            "src/{name} contains unsafe"
        );
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
