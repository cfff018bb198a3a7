//! `progjar compare` with the smallest of measurements: the shape of what it says, and that it
//! leaves nothing behind.
#![cfg(target_os = "linux")]

use crate::support::{Folder, text, tool, within};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything may take; far more than it ever takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processes with the folder on their command line: the servers, nginx, HAProxy.
fn processes(folder: &Folder) -> Vec<String> {
    let lines = fs::read_dir("/proc").expect("Linux").flatten().map(|entry| {
        let bytes = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    });
    lines.filter(|line| line.contains(folder.text())).collect()
}

fn compare(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
    command
        .args(["compare", "--root", concat!(env!("CARGO_MANIFEST_DIR"), "/www")])
        .args(["--rounds", "1", "--report"])
        .arg(folder.path().join("report"))
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// The rows of a table, by the first of its heading's cells.
fn rows(markdown: &str, first: &str) -> Vec<Vec<String>> {
    let mut lines = markdown.lines();
    let heading = lines.find(|line| line.starts_with(&format!("| {first} |")));
    let heading = heading.unwrap_or_else(|| panic!("no table '{first}' in {markdown}"));
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells.map(str::to_owned).collect()
    };
    let rows: Vec<Vec<String>> =
        lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
    for row in &rows {
        assert_eq!(row.len(), cells(heading).len(), "{row:?}");
    }
    rows
}

fn value(cell: &str) -> f64 {
    let number = cell.split(' ').next().unwrap_or_default().replace(',', "");
    number.parse().unwrap_or_else(|e| panic!("'{cell}': {e}"))
}

#[test]
fn every_system_stands_in_the_table_and_none_is_left_running() {
    let folder = Folder::new();
    let run = |seconds| {
        let arguments =
            ["--seconds", seconds, "--only", "keep-alive", "--only", "idle", "--idle", "50"];
        let output = compare(&folder, &arguments).output().expect("runs");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && stderr.is_empty(), "{stdout}{stderr}");
        stdout
    };
    // A busy machine may not come to one answer in 0.2 seconds.
    let stdout = Some(run("0.2")).filter(|stdout| !stdout.contains("\nFailed: "));
    let stdout = stdout.unwrap_or_else(|| run("2"));
    let mut systems = vec!["async_server", "thread_server"];
    let (nginx, haproxy) =
        (tool("nginx", "nginx-light").is_some(), tool("haproxy", "haproxy").is_some());
    systems.extend(nginx.then_some("nginx"));
    systems.push("floor");
    systems.extend(["lb + 4 async_servers", "lb --pipeline 32 + 4"]);
    systems.extend(nginx.then_some("nginx + 4 nginx"));
    systems.extend((nginx && haproxy).then_some("HAProxy + 4 nginx"));
    systems.push("floor + 4 floors");
    let cases = rows(&stdout, "Case");
    let named: Vec<&str> = cases.iter().map(|row| row[1].as_str()).collect();
    // A measurement that fails on a busy machine is told and costs its row; none of ours fails.
    let failed: BTreeSet<&str> = stdout.lines().filter(|l| l.starts_with("Failed: ")).collect();
    let mut expected = systems.repeat(2);
    // The floors know nothing of idle connections.
    for name in &mut expected[systems.len()..] {
        *name = if name.starts_with("floor") { "" } else { name };
    }
    for line in &failed {
        let guest = ["nginx + 4 nginx", "HAProxy + 4 nginx", "nginx"];
        let who = guest.into_iter().find(|name| line.contains(&format!(", {name}, round")));
        let who = who.unwrap_or_else(|| panic!("{line}"));
        let half = if line.contains("idle,") { systems.len() } else { 0 };
        let at = half + systems.iter().position(|s| *s == who).expect("it is there");
        expected[at] = "";
    }
    expected.retain(|name| !name.is_empty());
    assert_eq!(named, expected, "{failed:?}");
    for row in &cases {
        assert!(value(&row[2]) > 0.0 && value(&row[4]) > 0.0, "{row:?}");
        assert_eq!(row[8], "0", "{row:?}");
        let is_told = row[9] != "–" && value(&row[9]) >= 0.0;
        assert_eq!(is_told, row[1] != "thread_server", "preempted: {row:?}");
        if nginx && failed.is_empty() {
            assert!(value(&row[6]) > 0.0 && value(&row[7]) > 0.0, "{row:?}");
        }
    }
    // One round proves nothing, and that is said.
    assert_eq!(stdout.contains("* No verdict: 1 round is too few"), nginx, "{stdout}");
    assert!(folder.read("report/compare.md").contains("| Case | System |"));
    assert!(folder.read("report/compare.html").contains("</svg>"));
    let left = processes(&folder);
    assert!(left.is_empty(), "still there: {left:?}");
}

#[test]
fn the_pollers_stand_side_by_side() {
    let folder = Folder::new();
    let notes = folder.path().join("notes");
    fs::create_dir(&notes).expect("a folder");
    let note = "# Pollers\n<!-- measured: pollers -->\nold\n<!-- end -->\n\
        <!-- measured: lb -->\nkept\n<!-- end -->\n";
    fs::write(notes.join("poller.md"), note).expect("written");
    let arguments = ["pollers", "--seconds", "0.1", "--only", "1", "--only", "100", "--notes"];
    let mut command = compare(&folder, &arguments);
    let output = command.arg(&notes).output().expect("runs");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{stdout}{stderr}");
    let rows = rows(&stdout, "Connections");
    let named: Vec<(&str, &str)> = rows.iter().map(|r| (r[0].as_str(), r[1].as_str())).collect();
    let expected: Vec<(&str, &str)> = ["1", "100"]
        .into_iter()
        .flat_map(|size| ["scan", "poll", "epoll"].map(|poller| (size, poller)))
        .collect();
    assert_eq!(named, expected);
    assert!(rows.iter().all(|row| value(&row[2]) > 0.0), "{rows:?}");
    let refreshed = folder.read("notes/poller.md");
    assert!(refreshed.contains("|100|epoll|") && !refreshed.contains("old"));
    assert!(refreshed.contains("\nkept\n"), "{refreshed}");
    assert!(folder.read("report/pollers.html").contains("</svg>"));
    let left = processes(&folder);
    assert!(left.is_empty(), "still there: {left:?}");
}

#[test]
fn a_trick_stands_beside_its_absence() {
    let folder = Folder::new();
    let header = "Trick: none\nCase: keep-alive\nSystem: lb\nWithout: the same\n";
    folder.write("patches/nothing.patch", header.as_bytes());
    let (patches, without) = (folder.path().join("patches"), folder.path().join("without"));
    let tricks = || {
        let mut command = compare(&folder, &["tricks", "--seconds", "0.5", "--patches"]);
        command.arg(&patches).arg("--without").arg(&without);
        command.output().expect("runs")
    };
    let output = tricks();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the program without a trick"), "{stderr}");

    fs::create_dir(&without).expect("a folder");
    fs::copy(env!("CARGO_BIN_EXE_progjar"), without.join("nothing")).expect("a copy");
    let output = tricks();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{stdout}{stderr}");
    let rows = rows(&stdout, "Trick");
    let programs: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(programs, ["with it", "without it"]);
    for row in &rows {
        assert_eq!(row[0], "`nothing`: none; without it: the same (lb, keep-alive)");
        for place in [2, 4, 6, 7] {
            assert!(value(&row[place]) > 0.0, "{rows:?}");
        }
    }
    assert!(stdout.contains("* No verdict: 1 round is too few"), "{stdout}");
    let left = processes(&folder);
    assert!(left.is_empty(), "still there: {left:?}");
}

#[test]
fn what_there_is_not_is_named() {
    let folder = Folder::new();
    for (arguments, says) in [
        (["--only", "fast"].as_slice(), "the cases are keep-alive,"),
        (&["pollers", "--only", "7"], "the cases are 1, 10, 100"),
        (&["clouds"], "give servers, pollers or tricks"),
    ] {
        let output = compare(&folder, arguments).output().expect("runs");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    }
}

fn wait(child: &mut Child, what: &str) {
    within(PATIENCE, what, || child.try_wait().expect("a child").is_some());
}

#[test]
fn nothing_outlives_it_even_when_it_is_killed() {
    for signal in ["INT", "KILL"] {
        let folder = Folder::new();
        let mut child = compare(&folder, &["--seconds", "30", "--only", "keep-alive"])
            .stdout(Stdio::null())
            .spawn()
            .expect("runs");
        let wanted = if tool("nginx", "nginx-light").is_some() { 8 } else { 6 };
        within(PATIENCE, "the systems run", || processes(&folder).len() > wanted);
        let kill =
            Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
        wait(&mut child, "it ends");
        within(PATIENCE, "nothing is left", || processes(&folder).is_empty());
    }
}
