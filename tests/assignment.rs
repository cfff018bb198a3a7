//! `progjar all` as a student runs it, on free ports and with few requests.

use crate::support::{Folder, text, within};
use progjar::assignment::fetch::check_rotation as check_rotation_of;
use progjar::assignment::ports::check_free;
use progjar::cli::shutdown::Stop;
use progjar::net::ports::{WHAT_TO_DO, is_held_by_a_client};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take; far more than it ever takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// `progjar all`, small and quick, in a folder of its own.
fn all(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
    command
        .args(["all", "--root", concat!(env!("CARGO_MANIFEST_DIR"), "/www")])
        .args(["-n", "100", "--rounds", "1"])
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command
}

/// The rows of the assignment's tables: the cells of each.
fn rows(markdown: &str) -> Vec<Vec<String>> {
    let lines = markdown.lines().filter(|line| {
        let first = line.strip_prefix('|').and_then(|l| l.split('|').next());
        first.is_some_and(|c| c.parse::<u32>().is_ok()) && line.matches('|').count() == 9
    });
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::to_owned).collect();
    lines.map(cells).collect()
}

fn check_rows(markdown: &str) {
    let rows = rows(markdown);
    let levels: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(levels, ["1", "10", "50", "100"].repeat(3), "{markdown}");
    for row in &rows {
        assert_eq!((row[2].as_str(), row[3].as_str()), ("100", "0"), "{row:?}");
        assert!(row[5].parse::<f64>().is_ok_and(|rate| rate > 0.0), "{row:?}");
    }
}

/// The addresses that the servers were started on.
fn addresses(output: &str) -> Vec<SocketAddr> {
    let lines = output.lines().filter_map(|line| {
        let (topic, rest) = line.strip_prefix("      ")?.split_once(": http://")?;
        let known = ["async_server", "lb", "thread_server"].contains(&topic);
        known.then(|| rest.trim_end_matches('/').parse().ok())?
    });
    lines.collect()
}

fn answers(address: &SocketAddr) -> bool {
    TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok()
}

fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    within(PATIENCE, "the program ends", || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    status.expect("it has ended")
}

#[test]
fn the_assignment_is_carried_out_and_handed_in() {
    let folder = Folder::new();
    folder.write("notes/lb.md", b"# lb\n<!-- measured: lb -->\nold\n<!-- end -->\nthe rest\n");
    folder.write("notes/bench.md", b"<!-- measured: bench -->\n<!-- end -->\n");
    let ab = folder.write("bin/ab", AB.as_bytes());
    fs::set_permissions(&ab, PermissionsExt::from_mode(0o755)).expect("it can be run");
    let programs = format!("{}/bin:/usr/bin:/bin", folder.text());
    let mut command = all(&folder, &["--free-ports", "--notes", "notes"]);
    let Output { status, stdout, stderr } = command.env("PATH", programs).output().expect("runs");
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert!(status.success() && stderr.is_empty(), "{stdout}{stderr}");
    check_rows(&stdout);
    assert!(!stdout.contains('\x1b'), "no control codes in a pipe");
    let servers = addresses(&stdout);
    assert_eq!(servers.len(), 6, "{stdout}");
    assert!(!servers.iter().any(answers), "a server has been left behind");

    let markdown = folder.read("report/report.md");
    check_rows(&markdown);
    let headings: Vec<&str> = markdown.lines().filter(|l| l.starts_with("## ")).collect();
    let expected = [
        "## Soal",
        "## Jalankan async_server.py pada port 9002, 9003, 9004, 9005",
        "## Jalankan file lb.py, jalankan di port 44444",
        "## Jalankan browser, akseslah http://localhost:44444/page.html",
        "## Setiap request akan dilayani oleh backend yang bergantian",
        "## Performance Test",
        "## Tabel",
    ];
    assert_eq!(headings[..expected.len()], expected);
    assert!(markdown.contains("### Async + Load Balancer\n| Concurrency level |"));
    assert!(markdown.contains("### Thread\n| Concurrency level |"));
    for name in ["load-curve.svg", "load-curve-median.svg", "requests.svg"] {
        assert!(markdown.contains(&format!("({name})")), "{name}");
        assert!(folder.read(&format!("report/{name}")).contains("</svg>"));
    }
    let lb = servers[4];
    let shown = format!("ab -n 100 -c 50 -r -k -s 99999 http://{lb}/");
    assert!(markdown.contains(&shown), "{shown}");

    check_rotation(&folder, &servers[..4]);
    check_csv(&folder.read("report/results.csv"));
    check_html(&folder.read("report/report.html"));
    check_notes(&folder);
}

/// The results blocks of notes are filled from the run.
fn check_notes(folder: &Folder) {
    // ab was asked at three levels of four, for each of three systems.
    let beside = folder.read("notes/bench.md");
    assert_eq!(beside.matches("|24,267 (24,267–24,267)|3|\n").count(), 9, "{beside}");
    let new = folder.read("notes/lb.md");
    assert!(new.starts_with("# lb\n<!-- measured: lb -->\nCommand: "), "{new}");
    assert!(new.ends_with("<!-- end -->\nthe rest\n") && !new.contains("old"), "{new}");
    assert_eq!(rows(&new).len(), 4, "{new}");
}

/// The report shows sixteen lines of the lb's log, in which each backend has its turn four times.
fn check_rotation(folder: &Folder, backends: &[SocketAddr]) {
    let log = folder.read("report/logs/lb.log");
    let markdown = folder.read("report/report.md");
    let is_shown = |line: &&str| line.contains(" -> ") && markdown.contains(line);
    let lines: Vec<&str> = log.lines().filter(is_shown).collect();
    assert_eq!(lines.len(), 16, "{lines:?}");
    for backend in backends {
        let name = format!("-> {backend} 200");
        assert_eq!(lines.iter().filter(|l| l.contains(&name)).count(), 4, "{lines:?}");
    }
}

fn check_csv(csv: &str) {
    let mut lines = csv.lines();
    let heads: Vec<&str> = lines.next().expect("a heading").split(',').collect();
    let column = |name| heads.iter().position(|h| *h == name).expect("a column");
    let (complete, failed) = (column("complete"), column("failed"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 12);
    for row in rows {
        assert_eq!((row[complete], row[failed]), ("100", "0"), "{row:?}");
    }
}

/// One file that loads nothing, with the tables before the charts.
fn check_html(html: &str) {
    for loads in ["<script", "<link", "<iframe", "@import", "url(", "src=\"http", "href="] {
        assert!(!html.contains(loads), "report.html has {loads}");
    }
    let place = |what: &str| html.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(place(">Async + Load Balancer</h3>") < place(">Thread</h3>"));
    assert!(place(">Thread</h3>") < place("<svg"));
    assert_eq!(html.matches("<svg").count(), 3);
    assert!(!html.contains("NaN") && !html.contains(">inf"));
}

/// An ab that says what ab says; at the level 10 that it could not connect.
const AB: &str = "#!/bin/sh
case \"$*\" in *\"-c 10 \"*) echo 'ab: apr_socket_connect(): Connection refused'; exit;; esac
echo 'Concurrency Level:      10
Complete requests:      1000
Failed requests:        3
   (Connect: 0, Receive: 0, Length: 3, Exceptions: 0)
Non-2xx responses:      7
Total transferred:      252000 bytes
Requests per second:    24267.13 [#/sec] (mean)'
";

#[test]
fn a_results_block_of_an_unknown_name_is_refused_before_anything_starts() {
    let folder = Folder::new();
    folder.write("lb.md", b"<!-- measured: nginx -->\n<!-- end -->\n");
    let output = all(&folder, &["--free-ports", "--notes", folder.text()]).output().expect("runs");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("lb.md: line 1") && stderr.contains("thread_server"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(addresses(&text(&output.stdout)), []);
}

#[test]
fn a_block_that_is_not_whole_is_named_by_its_line() {
    let folder = Folder::new();
    let check = |text: &str| {
        folder.write("a.md", text.as_bytes());
        progjar::lab::notes::check(folder.path())
    };
    assert_eq!(check("```\n<!-- measured: NAME -->\n```\n"), Ok(()), "only shown");
    assert_eq!(check("<!-- measured: exhibit-spin -->\n```text\nold\n```\n<!-- end -->\n"), Ok(()));
    let known = progjar::lab::notes::names().join(", ");
    for (text, says) in [
        ("\n<!-- measured: nginx -->\n<!-- end -->\n", known.as_str()),
        ("\n<!-- measured: lb -->\n", "no end"),
        ("\n<!-- measured: lb -->\n<!-- measured: bench -->\n<!-- end -->\n", "no end"),
    ] {
        let error = check(text).expect_err(text);
        assert!(error.contains("line 2:") && error.contains(says), "{error}");
    }
}

#[test]
fn the_results_blocks_of_this_repository_have_known_names() {
    let notes = Path::new(env!("CARGO_MANIFEST_DIR")).join("notes");
    assert_eq!(progjar::lab::notes::check(&notes), Ok(()));
}

/// Starts `all` and reads its output until a line contains `moment`.
#[cfg(unix)]
fn run_until(folder: &Folder, moment: &str) -> (Child, BufReader<impl Read>, String) {
    // Many rounds: it does not end by itself while we look.
    let mut command = all(folder, &["--free-ports", "--rounds", "1000"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("runs");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut output = String::new();
    while !output.lines().last().unwrap_or_default().contains(moment) {
        let read = reader.read_line(&mut output).expect("text");
        assert!(read > 0, "ended before {moment}: {output}");
    }
    (child, reader, output)
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    let sent = kill.args([name, &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

#[cfg(target_os = "linux")]
/// The processes whose standard output goes into a file of this folder: the servers.
fn that_write_into(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = entries.filter(|entry| {
        let output = fs::read_link(entry.path().join("fd/1"));
        output.is_ok_and(|file| file.starts_with(folder.path()))
    });
    named.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_at_any_moment_leaves_no_server_behind() {
    for moment in ["[2/7]", "async_server: http", "lb: http", "[4/7]", "[6/7]", "round 2/"] {
        let folder = Folder::new();
        let (mut child, mut reader, mut output) = run_until(&folder, moment);
        let runs = !that_write_into(&folder).is_empty();
        assert!(runs || moment == "[2/7]", "after {moment} there are servers");
        signal(&child, "-INT");
        let status = wait(&mut child);
        reader.read_to_string(&mut output).expect("text");
        assert_eq!(status.code(), Some(0), "after {moment}: {output}");
        assert!(output.contains("all: stopped before the end"), "{output}");
        // Processes, not addresses: another program may have been given a port that is free now.
        let left = that_write_into(&folder);
        assert!(left.is_empty(), "after {moment}: {left:?}");
    }
}

#[cfg(unix)]
#[test]
fn servers_end_even_if_all_is_killed() {
    let folder = Folder::new();
    let (mut child, _reader, output) = run_until(&folder, "round 1/");
    let servers = addresses(&output);
    assert!(servers.len() == 6 && servers.iter().all(answers), "{output}");
    signal(&child, "-KILL");
    wait(&mut child);
    within(PATIENCE, "no server is left", || !servers.iter().any(answers));
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let folder = Folder::new();
    // These are the ports that `all` wants. Another suite, or a connection of a client, may have
    // the first one for a while.
    let patience = Instant::now() + Duration::from_secs(30);
    let mut held = TcpListener::bind("127.0.0.1:44444");
    while held.is_err() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(5));
        held = TcpListener::bind("127.0.0.1:44444");
    }
    if let Err(error) = held {
        println!("SKIPPED: port 44444 cannot be taken: {error}");
        return;
    }
    let other = TcpListener::bind("127.0.0.1:46000");
    let output = all(&folder, &[]).output().expect("runs");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    if other.is_ok() {
        assert!(stderr.contains("44444 (lb), 46000 (thread_server) are "), "{stderr}");
        assert!(stderr.contains("--free-ports"), "{stderr}");
    }
    assert!(
        stderr.contains("44444 (lb)")
            && (stderr.contains("in use; stop") || stderr.contains("a client's connection")),
        "{stderr}"
    );
    drop((held, other));
    assert!(!folder.path().join("report").exists(), "nothing has been begun");
}

/// Waits for a port that a client's connection leaves meanwhile.
fn wait_for_a_port() -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let there = listener.local_addr().expect("bound");
    let client = TcpStream::connect(there).expect("it listens");
    let peer = listener.accept().expect("it has come");
    let port = client.local_addr().expect("connected").port();
    if !is_held_by_a_client(port) {
        eprintln!("SKIPPED: this system does not tell who holds a port");
        return Ok(());
    }
    let waits = thread::spawn(move || check_free(&[("lb", port)], &Stop::new()));
    thread::sleep(Duration::from_millis(200));
    assert!(!waits.is_finished(), "the port is held");
    // The end that closes last, and knows it, keeps nothing of the connection.
    drop(peer);
    assert!(matches!((&client).read(&mut [0]), Ok(0)), "it is closed");
    drop(client);
    waits.join().expect("it does not panic")
}

#[test]
fn a_port_that_a_clients_connection_holds_is_waited_for() {
    // On a busy machine another connection is given just this port when it is free: then it is
    // that one which is told of in the end. Or another program listens there: then once more.
    let holds = |waited: &Result<(), String>| match waited {
        Ok(()) => true,
        Err(why) => why.contains(WHAT_TO_DO),
    };
    assert!((0..5).any(|_| holds(&wait_for_a_port())));
}

#[test]
fn wrong_usage_and_a_missing_page_are_said_in_one_line() {
    let folder = Folder::new();
    for (arguments, code, says) in [
        (&["--rounds", "0"][..], 2, "--rounds '0'"),
        (&["--free-ports", "--root", "nowhere"], 1, "nowhere"),
        (&["--free-ports", "--notes", "nowhere"], 1, "cannot read 'nowhere'"),
        (&["--report", "/dev/null/x", "--free-ports"], 1, "--report"),
    ] {
        let output = all(&folder, arguments).output().expect("runs");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_rotation_repeats_four_different_backends() {
    assert!(check_rotation_of(&["c", "d", "a", "b", "c", "d", "a"]).is_ok());
    for order in [["a", "a", "b", "c", "d"], ["a", "b", "c", "d", "b"], ["a", "b", "a", "b", "a"]] {
        let error = check_rotation_of(&order).expect_err("no rotation");
        assert!(error.ends_with(&order.join(", ")), "{error}");
    }
}
