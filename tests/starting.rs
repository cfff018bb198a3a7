//! A server that says it listens serves; whatever else it is given, one line tells why not.

use crate::support::{Folder, PATIENCE, connect};
use progjar::cli::args::{Given, Topic, duration, flag, size};
use progjar::lab::{compare, exhibit, floor};
use progjar::{assignment, async_server, bench, lb, thread_server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const WWW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www");
const PROGRAM: &str = env!("CARGO_BIN_EXE_progjar");

/// How a start went.
#[derive(Debug)]
struct Start {
    /// Where it said that it listens.
    listens: Option<SocketAddr>,
    /// Whether it answered a request there, with whatever status.
    serves: bool,
    code: Option<i32>,
    stderr: String,
}

/// Runs the command until it ends, or until it listens and has been asked for something.
fn start(mut command: Command, wait: Duration) -> Start {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut stderr = child.stderr.take().expect("it is a pipe");
    let (sender, first_line) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let _ = sender.send(line);
        let _ = std::io::copy(&mut stdout, &mut std::io::sink());
    });
    let errors = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    // Some of them start a thousand threads first.
    let line = first_line.recv_timeout(PATIENCE * 3).expect("it says something");
    let listens = line
        .split_once(": listening on http://")
        .and_then(|(_, address)| address.trim_end().trim_end_matches('/').parse().ok());
    let serves = listens.is_some_and(|address| asks(address, wait));
    if listens.is_some() {
        let _ = child.kill();
    }
    let give_up = Instant::now() + PATIENCE;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(2)); // between two looks
    }
    let _ = child.kill();
    let status = child.wait().expect("it ends");
    let _ = reader.join();
    Start { listens, serves, code: status.code(), stderr: errors.join().expect("stderr is read") }
}

fn asks(address: SocketAddr, wait: Duration) -> bool {
    let Ok(mut stream) = connect(address) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(wait));
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 "
}

/// Values at the ends of what may be given, and beyond. By the name that the help gives the value.
fn extremes(value: &str) -> &'static [&'static str] {
    match value {
        "TIME" | "time" | "timelimit" | "timeout" | "S" => {
            &["0", "0.000000001", "1ms", "50ms", "999999", "1000000", "1e300", "-1", "nan", "", "x"]
        }
        "SIZE" => &[
            "0",
            "1",
            "16",
            "16k",
            "32k",
            "16383M",
            "18446744073709551615",
            "17179869184G",
            "-1",
            "",
        ],
        "N" | "K" | "T" | "R" | "DEPTH" | "requests" | "concurrency" | "verbosity" => &[
            "0",
            "1",
            "9",
            "256",
            "1000",
            "1024",
            "10000",
            "1000000",
            "1000000000",
            "18446744073709551615",
            "18446744073709551616",
            "-1",
            "1.5",
            "",
            "x",
            "1,",
        ],
        "HOST:PORT" | "IP:PORT" => &[
            "",
            ":",
            ":1",
            "127.0.0.1:0",
            "127.0.0.1:65535",
            "127.0.0.1:65536",
            "[::1]:1",
            "::1",
            "127.0.0.1:1,weight=100",
            "127.0.0.1:1,weight=101",
        ],
        // Whatever is a word: a name, a folder, a field.
        _ => &["", "x", "a\r\nb: c", "/", "\u{1F980}"],
    }
}

/// Each option of the topic with each of its extremes, behind what the topic needs besides.
fn each_alone(topic: &Topic, besides: &[&str]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for flag in topic.flags.iter().flat_map(|flags| flags.iter()) {
        // Names are looked up in the network, and these do no work here.
        if flag.name == "--host" || flag.value.is_empty() {
            continue;
        }
        for value in extremes(flag.value) {
            let mut line: Vec<String> = besides.iter().map(|word| (*word).to_owned()).collect();
            line.extend([flag.name.to_owned(), (*value).to_owned()]);
            lines.push(line);
        }
    }
    lines
}

/// All options that are times: each at one end while the others are at the other.
fn times_together(topic: &Topic, besides: &[&str]) -> Vec<Vec<String>> {
    let flags = topic.flags.iter().flat_map(|flags| flags.iter());
    let times: Vec<&str> = flags.filter(|f| f.value == "TIME").map(|f| f.name).collect();
    let mut lines = Vec::new();
    for (one, others) in [("0", "999999"), ("1ms", "999999"), ("999999", "0")] {
        for odd in &times {
            let mut line: Vec<String> = besides.iter().map(|word| (*word).to_owned()).collect();
            for name in &times {
                let value = if name == odd { one } else { others };
                line.extend([(*name).to_owned(), value.to_owned()]);
            }
            lines.push(line);
        }
    }
    lines
}

/// Runs all command lines of the topic, some at a time, and gathers what is wrong with them.
fn try_all(topic: &str, lines: Vec<Vec<String>>, judge: fn(&Start) -> bool) -> Vec<String> {
    // Some options name a file to be written.
    let folder = Folder::new();
    let (lines, wrong) = (Mutex::new(lines.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let line = lines.lock().expect("no panic").next();
                    let Some(line) = line else { break };
                    let mut command = Command::new(PROGRAM);
                    command.arg(topic).args(&line).current_dir(folder.path());
                    let start = start(command, Duration::from_millis(200));
                    if !judge(&start) {
                        let shown = format!("{topic} {line:?}: {start:?}");
                        wrong.lock().expect("no panic").push(shown);
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no panic")
}

/// It starts, or one line says why not.
fn starts_or_is_refused(start: &Start) -> bool {
    let lines = start.stderr.lines().count();
    match start.listens {
        Some(_) => !start.stderr.contains("panicked"),
        None => matches!(start.code, Some(1 | 2)) && lines == 1,
    }
}

/// What is refused is refused in one line, and the rest ends without a panic.
fn ends_or_is_refused(start: &Start) -> bool {
    match start.code {
        Some(2) => start.stderr.lines().count() == 1,
        Some(0 | 1) => !start.stderr.contains("panicked"),
        _ => false,
    }
}

#[test]
fn a_server_starts_with_any_extreme_of_its_options_or_refuses_it_in_one_line() {
    let topics: [(&Topic, &[&str]); 4] = [
        (&async_server::TOPIC, &["0", "--quiet", "--root", WWW]),
        (&thread_server::TOPIC, &["0", "--quiet", "--root", WWW]),
        (&lb::TOPIC, &["0", "--quiet"]),
        (&floor::TOPIC, &["0"]),
    ];
    let mut wrong = Vec::new();
    for (topic, besides) in topics {
        let mut lines = each_alone(topic, besides);
        lines.extend(times_together(topic, besides));
        wrong.extend(try_all(topic.name, lines, starts_or_is_refused));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_tool_takes_any_extreme_of_its_options_or_refuses_it_in_one_line() {
    // Each is given something that it cannot do, so that it ends as soon as it has understood.
    let folder = Folder::new();
    let report = ["--report", folder.text()];
    // Two of them, since the option that is tried replaces one.
    let cannot_be = ["--root", "/no/such/folder", "--notes", "/no/such/folder"];
    let all = [&["--free-ports"], &report[..], &cannot_be[..]].concat();
    let tricks = [&["tricks", "--patches", "/no/such/folder"], &report[..]].concat();
    let topics: [(&Topic, &[&str]); 4] = [
        (&bench::TOPIC, &["-q", "http://127.0.0.1:1/"]),
        (&assignment::TOPIC, &all),
        (&compare::TOPIC, &tricks),
        (&exhibit::TOPIC, &["no-such-exhibit"]),
    ];
    let mut wrong = Vec::new();
    for (topic, besides) in topics {
        wrong.extend(try_all(topic.name, each_alone(topic, besides), ends_or_is_refused));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_root_that_is_no_folder_is_refused_in_one_line() {
    for topic in ["async_server", "thread_server"] {
        for root in ["", "/no/such/folder", "/dev/null"] {
            let mut command = Command::new(PROGRAM);
            command.args([topic, "0", "--quiet", "--root", root]);
            let start = start(command, PATIENCE);
            assert_eq!(
                (start.listens.is_some(), start.code),
                (false, Some(1)),
                "{root}: {start:?}"
            );
            assert!(start.stderr.contains("cannot serve files from"), "{start:?}");
            assert_eq!(start.stderr.lines().count(), 1, "{start:?}");
        }
    }
}

const SERVERS: [&str; 3] = ["async_server", "thread_server", "lb"];

/// With this limit in force, it serves if it says that it listens; else one line, exit code 1.
fn serves_or_says_why_not(limit: &str, topic: &str, arguments: &[&str]) {
    let mut command = Command::new("sh");
    command.arg("-c");
    command.arg(format!("{limit} && exec \"$0\" \"$@\""));
    command.args([PROGRAM, topic, "0", "--quiet"]).args(arguments);
    let start = start(command, PATIENCE);
    let shown = format!("{limit}: {topic} {arguments:?}: {start:?}");
    match start.listens {
        Some(_) => assert!(start.serves, "{shown}"),
        None => {
            assert_eq!(start.code, Some(1), "{shown}");
            assert_eq!(start.stderr.lines().count(), 1, "{shown}");
        }
    }
}

#[test]
fn with_few_descriptors_a_server_that_says_it_listens_serves() {
    for topic in SERVERS {
        thread::scope(|scope| {
            for most in (4..32).chain([40, 60]) {
                let limit = format!("ulimit -n {most}");
                scope.spawn(move || serves_or_says_why_not(&limit, topic, &[]));
            }
        });
    }
}

#[test]
fn with_few_threads_a_server_that_says_it_listens_has_all_it_needs() {
    let mut is_told = false;
    for most in 1..14 {
        // The limit binds a user, not root: each number has a user of its own.
        let user = 800_000 + std::process::id() % 10_000 * 16 + most;
        let limit = format!(
            "[ \"$(id -u)\" = 0 ] && exec setpriv --reuid {user} --clear-groups \
             prlimit --nproc={most} -- \"$0\" \"$@\""
        );
        if !can_become(user) {
            println!("left out: threads cannot be limited here");
            return;
        }
        for (topic, arguments) in [
            ("async_server", &[][..]),
            ("thread_server", &["--pool", "4"]),
            ("lb", &["--workers", "4"]),
        ] {
            serves_or_says_why_not(&limit, topic, arguments);
        }
        is_told = true;
    }
    assert!(is_told);
}

/// Whether this is root and may become that user.
fn can_become(user: u32) -> bool {
    let try_it = Command::new("setpriv")
        .args(["--reuid", &user.to_string(), "--clear-groups"])
        .args([PROGRAM, "help"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    try_it.is_ok_and(|status| status.success())
}

const DEMO: Topic = Topic {
    name: "demo",
    summary: "a topic for tests",
    operand: "PORT",
    operand_default: "9002",
    flags: &[&[
        flag("--host", "ADDR", "127.0.0.1", "where"),
        flag("--quiet", "", "", "no log"),
        flag("-n", "requests", "1", "how many"),
        flag("-k", "", "", "keep-alive"),
        flag("-r", "", "", "go on"),
    ]],
    more: "",
};

fn demo(line: &str) -> Result<Given, String> {
    DEMO.parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn flags_are_taken_in_every_spelling() {
    let given = demo("-kr -n500 --host=::1 8080 --quiet").expect("valid");
    assert!(given.has("-k") && given.has("-r") && given.has("--quiet"));
    assert_eq!(given.number("-n", 1..=1000), Ok(Some(500)));
    assert_eq!(given.text("--host"), Some("::1"));
    assert_eq!(given.port(), Ok(8080));
    let defaults = demo("").expect("valid");
    assert_eq!((defaults.port(), defaults.text("--host")), (Ok(9002), Some("127.0.0.1")));
    assert_eq!(demo("-n 7").expect("valid").number("-n", 1..=9), Ok(Some(7)));
}

#[test]
fn wrong_usage_says_what_to_do() {
    for (line, says) in [
        ("--hots x", "unknown option --hots"),
        ("-x", "unknown option -x"),
        ("-n", "-n needs a value"),
        ("--quiet=1", "--quiet takes no value"),
        ("1 2", "unexpected argument '2'"),
    ] {
        let error = demo(line).expect_err(line);
        assert!(error.contains(says) && error.contains("progjar help demo"), "{line}: {error}");
    }
    assert!(demo("99999").expect("parses").port().expect_err("range").contains("no port"));
    assert!(demo("-n x").expect("parses").number("-n", 1..=9).is_err());
    assert!(demo("-n 10").expect("parses").number("-n", 1..=9).is_err());
}

#[test]
fn times_and_sizes_have_units() {
    assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
    assert_eq!(duration("0.5"), Some(Duration::from_millis(500)));
    assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
    assert_eq!((duration("-1"), duration("x"), duration("nan")), (None, None, None));
    assert_eq!((size("64k"), size("2G"), size("7")), (Some(65536), Some(1 << 31), Some(7)));
    assert_eq!((size(""), size("k"), size("99999999999G")), (None, None, None));
}
