//! `progjar bench` as its users start it, against small servers that behave, or do not.

use crate::support::{Folder, json, tool};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const HELLO: &str = "HTTP/1.1 200 OK\r\nServer: test/1.0 more\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello";

/// A client's connection, seen from a test's server.
struct Peer {
    stream: BufReader<TcpStream>,
    /// Which connection this is, from 1.
    number: usize,
    /// Counts requests over all connections, from 1.
    counter: Arc<AtomicUsize>,
}

impl Peer {
    /// The next request's head, and its number; None when the client has gone.
    fn request(&mut self) -> Option<(String, usize)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        Some((head, self.counter.fetch_add(1, SeqCst) + 1))
    }

    fn say(&mut self, text: &str) {
        // The client may have gone; then there is nobody to tell.
        let _ = self.stream.get_mut().write_all(text.as_bytes());
    }
}

/// Starts a server on a free port that treats each connection so, on a thread of its own.
fn server(treat: impl Fn(Peer) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (treat, counter) = (Arc::new(treat), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming().map_while(Result::ok)) {
            let (treat, counter) = (treat.clone(), counter.clone());
            let stream = BufReader::new(stream);
            let peer = Peer { stream, number, counter };
            thread::spawn(move || treat(peer));
        }
    });
    address
}

/// Answers every request with the same text, for as long as the client likes.
fn always(answer: &'static str) -> SocketAddr {
    server(move |mut peer| {
        while peer.request().is_some() {
            peer.say(answer);
        }
    })
}

fn command(options: &str, address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
    command.arg("bench").args(options.split_whitespace());
    command.arg(format!("http://{address}/"));
    command
}

/// What a run printed and how it ended.
struct Ended {
    code: Option<i32>,
    text: String,
    errors: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn bench(options: &str, address: SocketAddr) -> Ended {
    command(options, address).output().expect("starts").into()
}

impl Ended {
    /// The first number after the label, as awk would take it.
    fn field(&self, label: &str) -> Option<f64> {
        let line = self.text.lines().find_map(|l| l.trim_start().strip_prefix(label))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    }

    /// (complete, failed) and the classes' line, which must add up.
    fn counts(&self) -> (f64, f64, String) {
        let field = |label| {
            self.field(label).unwrap_or_else(|| panic!("{label} in:\n{}{}", self.text, self.errors))
        };
        let classes = self.text.lines().find(|l| l.starts_with("   (Connect: "));
        let classes = classes.unwrap_or_default().trim().to_owned();
        let digits =
            classes.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<f64>().ok());
        let failed = field("Failed requests");
        assert_eq!(digits.sum::<f64>(), failed, "each failure is in one class: {classes}");
        (field("Complete requests"), failed, classes)
    }
}

#[test]
fn a_kept_alive_run_counts_every_request_once() {
    let ended = bench("-n 1000 -c 20 -k", always(HELLO));
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert_eq!(ended.counts(), (1000.0, 0.0, String::new()));
    assert_eq!(ended.field("Keep-Alive requests"), Some(1000.0));
    assert_eq!(ended.field("Document Length"), Some(5.0));
    assert_eq!(ended.field("HTML transferred"), Some(5000.0));
    assert_eq!(ended.field("Total transferred"), Some(1000.0 * HELLO.len() as f64));
    assert!(ended.text.contains("Server Software:        test/1.0\n"));
    assert!(
        ended.errors.contains("Completed 100 requests")
            && ended.errors.contains("Finished 1000 requests")
    );
    let several = bench("-n 1001 -c 7 -k --threads 3 -q", always(HELLO));
    assert_eq!(several.counts(), (1001.0, 0.0, String::new()));
    assert_eq!(several.errors, "");
}

#[test]
fn without_k_each_request_has_its_own_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = connections.clone();
    let address = server(move |mut peer| {
        seen.fetch_add(1, SeqCst);
        if peer.request().is_some() {
            peer.say("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n\r\n");
        }
    });
    let ended = bench("-n 100 -c 10", address);
    assert_eq!(ended.counts(), (100.0, 0.0, String::new()));
    assert_eq!(connections.load(SeqCst), 100, "and not one more to see whether it is there");
    // As ab: what follows Content-Length before the close counts as document.
    assert_eq!(ended.field("Document Length"), Some(6.0));
    assert_eq!(ended.field("Keep-Alive requests"), None);
}

#[test]
fn a_server_that_ends_kept_alive_connections_causes_no_failure() {
    let address = server(|mut peer| {
        for _ in 0..3 {
            if peer.request().is_none() {
                return;
            }
            // It says keep-alive each time, and breaks its word after the third.
            peer.say(HELLO);
        }
    });
    let ended = bench("-n 100 -c 4 -k", address);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert_eq!(ended.counts(), (100.0, 0.0, String::new()));
}

#[test]
fn answers_of_404_are_complete_and_shown_as_what_they_are() {
    let ended = bench(
        "-n 50 -c 5 -k",
        always("HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
    );
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.counts(), (50.0, 0.0, String::new()));
    assert_eq!(ended.field("Non-2xx responses"), Some(50.0));
    let table = bench(
        "-n 50 -k --table",
        always("HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"),
    );
    assert!(table.text.contains("**Non-2xx responses: 50** of 50"), "{}", table.text);
}

#[test]
fn a_dead_port_is_an_error_and_not_a_rate() {
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    for options in ["-n 1000 -c 10 -r -k", "-n 1", "-c 1,10 -n 10 --csv"] {
        let ended = bench(options, dead);
        assert_eq!(ended.code, Some(1), "{options}");
        assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
        assert!(ended.errors.contains(&format!("cannot connect to {dead}")), "{}", ended.errors);
        assert!(!ended.text.contains("Requests per second"));
    }
}

/// Every second connection ends in a reset: closing a socket with unread bytes in it sends one.
fn resetting() -> SocketAddr {
    server(|mut peer| {
        if peer.number % 2 == 0 {
            let mut byte = [0];
            let _ = peer.stream.get_mut().read(&mut byte);
            return;
        }
        if peer.request().is_some() {
            peer.say("HTTP/1.0 200 OK\r\n\r\nok");
        }
    })
}

#[test]
fn a_server_that_resets_is_counted_with_r_and_ends_the_run_without() {
    let ended = bench("-n 40 -c 1 -r", resetting());
    let (complete, failed, classes) = ended.counts();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert_eq!(complete, 40.0);
    assert!(
        failed > 0.0 && failed < 40.0 && classes.contains(&format!("Receive: {failed}")),
        "{classes}"
    );
    // Failures are in no rate, and all the others are. Both are rounded in the report.
    let field = |label| ended.field(label).expect(label);
    let (seconds, rate) = (field("Time taken for tests"), field("Requests per second"));
    let succeeded = complete - failed;
    let (least, most) = (succeeded / (seconds + 0.001), succeeded / (seconds - 0.001));
    assert!(
        seconds > 0.001 && (least..=most).contains(&rate),
        "{rate} in {seconds} s: from {least} to {most}"
    );
    let strict = bench("-n 40 -c 1", resetting());
    assert_eq!((strict.code, strict.errors.lines().count()), (Some(1), 1), "{}", strict.errors);
    assert!(strict.errors.contains("-r"), "{}", strict.errors);
}

#[test]
fn bodies_cut_short_fail_to_be_received() {
    let address = server(|mut peer| {
        if let Some((_, n)) = peer.request() {
            peer.say(if n % 2 == 0 { &HELLO[..HELLO.len() - 2] } else { HELLO });
        }
    });
    let ended = bench("-n 20 -c 1 -r", address);
    let expected = "(Connect: 0, Receive: 10, Length: 0, Exceptions: 0)".to_owned();
    assert_eq!(ended.counts(), (20.0, 10.0, expected), "{}", ended.text);
}

#[test]
fn bodies_of_another_length_fail_once_each_unless_l_allows_them() {
    let address = || {
        server(|mut peer| {
            while let Some((_, n)) = peer.request() {
                peer.say(match n % 4 {
                    0 => "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                });
            }
        })
    };
    let ended = bench("-n 40 -c 1 -k", address());
    let expected = "(Connect: 0, Receive: 0, Length: 10, Exceptions: 0)".to_owned();
    assert_eq!(ended.counts(), (40.0, 10.0, expected));
    assert_eq!(ended.field("Non-2xx responses"), Some(10.0));
    let relaxed = bench("-n 40 -c 1 -k -l", address());
    assert_eq!(relaxed.counts(), (40.0, 0.0, String::new()));
    assert!(relaxed.text.contains("Document Length:        Variable"));
}

#[test]
fn what_is_no_http_is_an_exception() {
    let ended = bench("-n 4 -c 2", always("220 mail.example ESMTP\r\n\r\n"));
    assert_eq!(ended.code, Some(1), "no request succeeded");
    let (_, failed, classes) = ended.counts();
    assert!(failed == 4.0 && classes.contains("Exceptions: 4"), "{classes}");
    assert!(
        ended.errors.contains("no request succeeded")
            && !ended.text.contains("Requests per second")
    );
}

#[test]
fn a_silent_server_costs_no_more_than_the_timeout() {
    let address = || {
        server(|mut peer| {
            while let Some((_, n)) = peer.request() {
                if n <= 3 {
                    peer.say(HELLO);
                }
            }
        })
    };
    // All timeouts together. The program must start and end as well, but not wait for them twice.
    const TIMEOUTS: Duration = Duration::from_secs(1);
    let timed = |options: &str| {
        let begun = Instant::now();
        let ended = bench(options, address());
        let took = begun.elapsed();
        let bound = TIMEOUTS..2 * TIMEOUTS;
        assert!(bound.contains(&took), "{options}: {took:?}");
        ended
    };
    let ended = timed("-n 5 -c 1 -k -r -s 0.5");
    let expected = "(Connect: 0, Receive: 2, Length: 0, Exceptions: 0)".to_owned();
    assert_eq!(ended.counts(), (5.0, 2.0, expected));
    let limited = timed("-t 1 -c 1 -k");
    assert_eq!((limited.code, limited.counts()), (Some(0), (3.0, 0.0, String::new())));
}

#[test]
fn bytes_that_come_one_by_one_and_chunks_are_read_as_any_other() {
    let address = server(|mut peer| {
        while peer.request().is_some() {
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
            let _ = peer.stream.get_mut().set_nodelay(true);
            for i in 0..answer.len() {
                peer.say(&answer[i..=i]);
            }
        }
    });
    let ended = bench("-n 10 -c 2 -k", address);
    assert_eq!(ended.counts(), (10.0, 0.0, String::new()));
    assert_eq!(ended.field("HTML transferred"), Some(50.0));
}

#[test]
fn ctrl_c_ends_a_run_with_the_report_of_what_was_done() {
    interrupted("-n 100 -c 1 -k -s 60", 1);
    interrupted("-n 100 -c 3 --threads 3 -k -s 60", 3);
}

/// Two requests get answers; the run is interrupted when each connection waits for one.
fn interrupted(options: &str, connections: usize) {
    let (sender, silent) = mpsc::channel();
    let address = server(move |mut peer| {
        while let Some((_, n)) = peer.request() {
            match n {
                1 | 2 => peer.say(HELLO),
                _ => sender.send(n).expect("the test waits"),
            }
        }
    });
    let child = command(options, address)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    for _ in 0..connections {
        silent.recv_timeout(Duration::from_secs(20)).expect("a request");
    }
    let begun = Instant::now();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill exists").success());
    let ended = Ended::from(child.wait_with_output().expect("ends"));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "it ends after {took:?}");
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert_eq!(ended.counts(), (2.0, 0.0, String::new()));
}

#[test]
fn a_schedule_shows_the_wait_that_a_closed_loop_hides() {
    // One request in sixty takes 300 ms; at 100 requests/s some 30 others fall due meanwhile.
    let address = server(|mut peer| {
        while let Some((_, n)) = peer.request() {
            if n == 10 {
                thread::sleep(Duration::from_millis(300));
            }
            peer.say(HELLO);
        }
    });
    let ended = bench("-n 60 -c 1 -k --rate 100 --json", address);
    let number = |name: &str| number(&ended.text, name);
    assert_eq!((ended.code, number("complete")), (Some(0), 60.0), "{}", ended.errors);
    assert!(number("p90_ms") < 100.0, "as the server sees it, one was slow");
    assert!(number("response_p90_ms") > 100.0, "as the clients see it, many were");
    // The schedule holds: the last request was due after 0.59 s.
    let seconds = number("seconds");
    assert!((0.59..5.0).contains(&seconds), "{seconds}");
}

#[test]
fn files_and_options_go_where_they_belong() {
    let folder = Folder::new();
    folder.write("body", b"a=1&b=2");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (sender, heads) = mpsc::channel();
    let address = server(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            let mut body = [0; 7];
            let _ = peer.stream.read_exact(&mut body);
            let _ = sender.send(head + &String::from_utf8_lossy(&body));
            peer.say(HELLO);
        }
    });
    let (body, rows, shares) = (path("body"), path("rows"), path("shares"));
    let options = format!("-n 5 -k -p {body} -T text/x -C c=1 -H X-A:b -g {rows} -e {shares}");
    let ended = bench(&options, address);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let request = heads.recv_timeout(Duration::from_secs(20)).expect("a request came");
    for line in [
        "POST / HTTP/1.0\r\n",
        "Connection: Keep-Alive\r\n",
        "Content-type: text/x\r\n",
        "Cookie: c=1\r\n",
        "X-A:b\r\n",
        "\r\n\r\na=1&b=2",
    ] {
        assert!(request.contains(line), "{line} in {request}");
    }
    assert_eq!(ended.field("Total body sent"), Some(5.0 * request.len() as f64));
    let rows = folder.read("rows");
    assert!(rows.starts_with("starttime\tseconds\tctime\tdtime\tttime\twait\n"));
    assert!(
        rows.lines().count() == 6 && rows.lines().all(|l| l.split('\t').count() == 6),
        "{rows}"
    );
    let shares = folder.read("shares");
    assert!(
        shares.starts_with("Percentage served,Time in ms\n0,") && shares.lines().count() == 102
    );
}

#[test]
fn levels_and_targets_make_the_assignments_tables() {
    let ended = bench("-n 20 -k -c 1,2 --rounds 2 -q", always(HELLO));
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    let rows: Vec<&str> = ended.text.lines().filter(|l| l.starts_with('|')).collect();
    assert_eq!(rows.len(), 4, "{}", ended.text);
    assert!(rows.iter().all(|row| row.matches('|').count() == 9), "eight columns");
    assert!(rows[2].starts_with("|1|") && rows[3].starts_with("|2|") && rows[3].contains("|20|0|"));

    let (one, other) = (always(HELLO), always(HELLO));
    let both = |options: &str| {
        let mut command = command(options, one);
        command.arg(format!("http://{other}/"));
        Ended::from(command.output().expect("starts"))
    };
    let ended = both("-n 20 -k -c 1,2 --table -q");
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
    let lines = ended.text.lines().filter_map(|line| {
        let row: Vec<&str> = line.split('|').collect();
        match row[..] {
            [_, level, _, complete, failed, ..] if level.parse::<u32>().is_ok() => {
                Some(format!("{level}: {complete}, {failed}"))
            }
            _ => line.strip_prefix("### ").map(str::to_owned),
        }
    });
    let rows = ["1: 20, 0", "2: 20, 0"].map(str::to_owned);
    let expected = [one, other].map(|a| [&[format!("http://{a}/")], &rows[..]].concat());
    assert_eq!(lines.collect::<Vec<_>>(), expected.concat(), "a table each");

    let csv = both("-n 20 -k -c 1,2 --csv -q").text;
    // Commas between quotes belong to a cell.
    let commas = |line: &str| -> usize {
        let outside = line.split('"').step_by(2);
        outside.map(|part| part.matches(',').count()).sum()
    };
    let widths: Vec<usize> = csv.lines().map(commas).collect();
    assert!(widths.len() == 5 && widths.iter().all(|w| *w == widths[0]), "{csv}");
    for address in [one, other] {
        let url = format!("http://{address}/,");
        let rows = csv.lines().filter(|line| line.starts_with(&url)).count();
        assert_eq!(rows, 2, "{url} at each level: {csv}");
    }
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let nowhere: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    for options in [
        "-n 0",
        "-c 5 -n 2",
        "-y",
        "-n",
        "--rate x",
        "-H nocolon",
        "-p /does/not/exist",
        "https://a/",
    ] {
        let ended = bench(options, nowhere);
        assert_eq!(
            (ended.code, ended.errors.lines().count()),
            (Some(2), 1),
            "{options}: {}",
            ended.errors
        );
        assert!(ended.errors.contains("progjar help bench"), "{}", ended.errors);
    }
}

/// ab's report of the same server; None, with a loud line, where there is no ab.
fn ab(options: &str, address: SocketAddr) -> Option<Ended> {
    let mut ab = Command::new(tool("ab", "apache2-utils")?);
    ab.args(options.split_whitespace()).arg(format!("http://{address}/"));
    Some(ab.output().expect("it starts").into())
}

/// The labels of a report, in order, from "Server Software" on; percentages are labels too.
fn labels(text: &str) -> Vec<String> {
    let from = text.find("Server Software").unwrap_or_default();
    let to = text.find("\nLatency:").unwrap_or(text.len());
    let lines = text[from..to].lines().filter(|l| !l.is_empty());
    // Warnings depend on the times, and so on the moment.
    let lines = lines.filter(|l| !l.contains("The median and mean") && !l.starts_with("       "));
    lines
        .map(|l| match (l.find(':'), l.find('%')) {
            (Some(colon), _) => {
                l[..=colon].to_owned() + if l.contains("across all") { " across" } else { "" }
            }
            (None, Some(percent)) => l[..=percent].to_owned(),
            (None, None) => l.to_owned(),
        })
        .collect()
}

#[test]
fn the_report_has_abs_labels_in_abs_order_and_abs_counts() {
    let closing = || {
        server(|mut peer| {
            if peer.request().is_some() {
                peer.say("HTTP/1.0 404 Not Found\r\nServer: x\r\nContent-Length: 3\r\n\r\nno!");
            }
        })
    };
    for (options, address) in [
        ("-n 300 -c 5 -k -r -s 99999", always(HELLO)),
        ("-n 40 -c 2", closing()),
        ("-n 40 -c 2 -k -d", closing()),
        ("-n 10 -k -S", always(HELLO)),
        ("-n 10 -l -k", always(HELLO)),
        ("-n 10 -k -p Cargo.toml -T text/plain", posted()),
    ] {
        let Some(theirs) = ab(options, address) else {
            return;
        };
        let ours = bench(options, address);
        assert_eq!(
            labels(&ours.text),
            labels(&theirs.text),
            "{options}\n{}\n{}",
            ours.text,
            theirs.text
        );
        for label in [
            "Server Software",
            "Server Hostname",
            "Server Port",
            "Document Path",
            "Document Length",
            "Concurrency Level",
            "Complete requests",
            "Failed requests",
            "Non-2xx responses",
            "Keep-Alive requests",
            "Total transferred",
            "HTML transferred",
        ] {
            let line = |ended: &Ended| {
                ended
                    .text
                    .lines()
                    .find(|l| l.starts_with(label))
                    .map(str::trim_end)
                    .map(str::to_owned)
            };
            assert_eq!(line(&ours), line(&theirs), "{options}");
        }
    }
}

/// A server that also reads the body of a POST.
fn posted() -> SocketAddr {
    server(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let lower = head.to_ascii_lowercase();
            let length = lower.split("content-length: ").nth(1).and_then(|l| l.lines().next());
            let mut body = vec![0; length.and_then(|l| l.parse().ok()).unwrap_or(0)];
            let _ = peer.stream.read_exact(&mut body);
            peer.say(HELLO);
        }
    })
}

/// Answers with HELLO until `n` requests have come, then reads on and says nothing more.
fn silent_after(n: usize) -> SocketAddr {
    server(move |mut peer| {
        while let Some((_, number)) = peer.request() {
            if number <= n {
                peer.say(HELLO);
            }
        }
    })
}

/// Every connection answers once and closes when it has read the next request.
fn closing_after_the_next_request(received: Arc<AtomicUsize>) -> SocketAddr {
    server(move |mut peer| {
        for turn in 0..2 {
            if peer.request().is_none() {
                return;
            }
            received.fetch_add(1, SeqCst);
            if turn == 0 {
                peer.say(HELLO);
            }
        }
    })
}

#[test]
fn what_was_due_and_not_answered_is_counted_and_makes_the_server_look_as_slow_as_it_is() {
    let ended = bench("--rate 200 -t 1.5 -c 10 -k", silent_after(50));
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert_eq!(ended.counts(), (50.0, 0.0, String::new()));
    assert_eq!(ended.field("Unanswered requests"), Some(250.0));
    let response = ended.text.lines().find(|l| l.starts_with("Response time:"));
    let p99 = response.and_then(|l| l.split_whitespace().skip_while(|w| *w != "p99").nth(1));
    let p99: f64 = p99.and_then(|p| p.parse().ok()).expect("a p99");
    assert!(p99 > 200.0, "{}", ended.text);
    assert!(ended.text.contains("short"), "said in words: {}", ended.text);
    // In every other output too.
    let json = bench("--rate 200 -t 1.5 -c 10 -k --json", silent_after(50)).text;
    let counts = ["complete", "unanswered"].map(|name| number(&json, name));
    assert_eq!(counts, [50.0, 250.0], "{json}");
    let csv = bench("--rate 200 -t 1.5 -c 10 -k --threads 3 --csv", silent_after(50)).text;
    assert_eq!(column(&csv, "unanswered"), ["250"], "{csv}");
    let table = bench("--rate 200 -t 1.5 -c 10 -k --table", silent_after(50)).text;
    assert!(table.contains("|250|"), "{table}");
    // A closed loop has a request waiting on each connection.
    let closed = bench("-t 0.5 -c 10 -k", silent_after(50));
    assert_eq!(closed.field("Unanswered requests"), Some(10.0), "{}", closed.text);
    assert!(closed.field("100%").is_some_and(|ms| ms > 250.0), "{}", closed.text);
}

/// The cells of a column of CSV whose cells hold no comma before it.
fn column(csv: &str, name: &str) -> Vec<String> {
    let mut lines = csv.lines();
    let heading = lines.next().unwrap_or_default();
    let place = heading.split(',').position(|n| n == name);
    let place = place.unwrap_or_else(|| panic!("no {name} in {heading}"));
    let cell = |line: &str| line.split(',').nth(place).unwrap_or_default().to_owned();
    lines.map(cell).collect()
}

#[test]
fn a_request_that_is_sent_again_is_counted_as_retried() {
    let received = Arc::new(AtomicUsize::new(0));
    let ended = bench("-n 20 -c 1 -k", closing_after_the_next_request(received.clone()));
    assert_eq!(ended.counts(), (20.0, 0.0, String::new()), "{}", ended.errors);
    let again = received.load(SeqCst) - 20;
    assert!(again >= 18, "the server closes on every second request: {again}");
    assert_eq!(ended.field("Retried requests"), Some(again as f64), "{}", ended.text);
    for (format, wanted) in [("--csv", ""), ("--json", "\"retried\":"), ("--table", "sent again")] {
        let received = Arc::new(AtomicUsize::new(0));
        let options = format!("-n 20 -c 1 -k {format}");
        let text = bench(&options, closing_after_the_next_request(received.clone())).text;
        let again = (received.load(SeqCst) - 20).to_string();
        match format {
            "--csv" => assert_eq!(column(&text, "retried"), [again]),
            _ => assert!(text.contains(wanted) && text.contains(&again), "{text}"),
        }
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    let folder = Folder::new();
    folder.write("body", b"");
    let body = folder.path().join("body").display().to_string();
    for method in [format!("-p {body}"), "-m PATCH".to_owned()] {
        let received = Arc::new(AtomicUsize::new(0));
        let address = closing_after_the_next_request(received.clone());
        let ended = bench(&format!("-n 10 -c 1 -k -r {method}"), address);
        assert_eq!(received.load(SeqCst), 10, "{}", ended.text);
        let (complete, failed, _) = ended.counts();
        assert_eq!((complete, failed), (10.0, 5.0), "{}", ended.text);
        assert_eq!(ended.field("Retried requests"), None);
    }
}

#[test]
fn a_request_too_long_for_one_write_goes_out_whole_on_a_kept_connection() {
    let folder = Folder::new();
    let body = folder.write("body", &vec![b'x'; 16 << 20]).display().to_string();
    let ended = bench(&format!("-n 4 -c 1 -k -r -s 20 -p {body}"), posted());
    assert_eq!(ended.counts(), (4.0, 0.0, String::new()), "{}", ended.text);
    assert_eq!(ended.field("Keep-Alive requests"), Some(4.0));
}

#[test]
fn a_request_that_timed_out_counts_with_the_time_it_waited() {
    let ended = bench("-n 20 -c 5 -k -r -s 0.3", silent_after(15));
    assert_eq!(ended.counts().1, 5.0, "{}", ended.text);
    for percent in ["80%", "90%", "100%"] {
        let ms = ended.field(percent);
        assert!(ms.is_some_and(|ms| (ms >= 300.0) == (percent != "75%")), "{}", ended.text);
    }
    assert!(ended.field("75%").is_some_and(|ms| ms < 300.0), "{}", ended.text);
    assert!(ended.text.contains("5 of these requests got no answer"), "{}", ended.text);
    let scheduled = bench("-n 20 -c 5 -k -r -s 0.3 --rate 100", silent_after(15));
    let percentages = scheduled.text.lines().filter(|l| l.trim_start().starts_with("90%"));
    let slow = percentages.filter(|l| {
        let ms = l.split_whitespace().nth(1).and_then(|ms| ms.parse::<f64>().ok());
        ms.is_some_and(|ms| ms >= 300.0)
    });
    assert_eq!(slow.count(), 2, "both tables: {}", scheduled.text);
}

#[test]
fn without_r_a_broken_connection_ends_the_run_and_leaves_the_report() {
    let address = server(|mut peer| {
        while let Some((_, n)) = peer.request() {
            if n == 16 {
                return peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
            }
            peer.say(HELLO);
        }
    });
    let ended = bench("-n 40 -c 1 -k -q", address);
    assert_eq!((ended.code, ended.errors.lines().count()), (Some(1), 1), "{}", ended.errors);
    assert!(ended.errors.contains("-r"), "{}", ended.errors);
    let (complete, failed, _) = ended.counts();
    assert_eq!((complete, failed), (16.0, 1.0), "{}", ended.text);
    assert!(ended.field("Requests per second").is_some(), "{}", ended.text);
    // The other threads, which wait for answers, end too.
    let address = server(|mut peer| {
        while let Some((_, n)) = peer.request() {
            match n {
                ..16 => peer.say(HELLO),
                16 => return,
                _ => {}
            }
        }
    });
    let begun = Instant::now();
    let ended = bench("-n 40 -c 3 --threads 3 -m POST -s 60 -k -q", address);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!((ended.code, ended.errors.lines().count()), (Some(1), 1), "{}", ended.errors);
    let (complete, failed, _) = ended.counts();
    assert!((14.0..=16.0).contains(&complete) && failed == 1.0, "{}", ended.text);
}

/// The number behind a name in JSON, the first that is there.
fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).expect(name);
    let digits = rest.split([',', '}']).next();
    digits.and_then(|n| n.parse().ok()).expect(name)
}

/// Several targets, each with the options before it.
fn bench_all(options: &str, targets: &[(&str, SocketAddr)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
    command.arg("bench").args(options.split_whitespace());
    command.args(targets.iter().map(|(name, at)| format!("{name}=http://{at}/")));
    command.output().expect("starts").into()
}

/// Answers after so many milliseconds.
fn slow(ms: u64) -> SocketAddr {
    server(move |mut peer| {
        while peer.request().is_some() {
            thread::sleep(Duration::from_millis(ms));
            peer.say(HELLO);
        }
    })
}

#[test]
fn targets_on_a_schedule_are_compared_by_their_response_times() {
    let targets = [("quick", always(HELLO)), ("slow", slow(400))];
    // Eight rounds allow the machine a hiccup.
    let ended = bench_all("-q -k -n 3 --rate 50 --rounds 8", &targets);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let verdict = ended.text.lines().find(|l| l.contains("response time (p99) of"));
    let verdict = verdict.unwrap_or_else(|| panic!("{}", ended.text));
    assert!(verdict.contains("of slow is ") && verdict.contains("x that of quick ("), "{verdict}");
    let csv = bench_all("-q -k -n 3 --rate 50 --rounds 1 --csv", &targets[1..]).text;
    let p50: f64 = column(&csv, "response_p50_ms")[0].parse().expect("a time");
    assert!(p50 >= 400.0 && csv.starts_with("target,"), "{csv}");
}

#[test]
fn a_load_curve_shows_for_each_rate_what_was_answered_how_late_and_how_much_is_missing() {
    // Two connections that take 10 ms for an answer can do 200 requests/s. A busy machine may not
    // keep up with fifty: then it is asked again.
    let asks = || {
        let ended = bench("-q -k -c 2 -t 0.5 --rate 50,2k", slow(10));
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        let lines = ended.text.lines().filter(|line| line.starts_with("|2|"));
        let cells = |line: &str| line.split('|').filter_map(|cell| cell.parse().ok()).collect();
        let rows: Vec<Vec<f64>> = lines.map(cells).collect();
        assert_eq!(rows.len(), 2, "{}", ended.text);
        (rows, ended.text)
    };
    // Level, asked, answered, short in percent, p50, p99, unanswered.
    let keeps_up = |rows: &[Vec<f64>]| (rows[0][3], rows[0][6]) == (0.0, 0.0);
    let tries = (0..5).map(|_| asks());
    let (rows, text) =
        tries.into_iter().find(|(rows, _)| keeps_up(rows)).expect("it keeps up once");
    let (easy, hard) = (&rows[0], &rows[1]);
    assert_eq!((easy[1], hard[1]), (50.0, 2000.0));
    assert!(hard[2] <= 200.0 && hard[3] >= 90.0 && hard[6] >= 800.0, "{text}");
    assert!(hard[4] > easy[4] && hard[5] >= 200.0, "{text}");
    let csv = bench("-q -k -c 2 -t 0.1 --rate auto --csv", slow(10)).text;
    let asked: Vec<f64> =
        column(&csv, "rate_asked").iter().filter_map(|r| r.parse().ok()).collect();
    assert!(asked.len() == 9 && asked.is_sorted() && asked[8] <= 250.0, "{csv}");
}

#[test]
fn a_load_curve_is_measured_also_beside_a_target_that_never_answers() {
    let targets = [("quick", slow(10)), ("dead", silent_after(0))];
    let ended = bench_all("-q -k -c 2 -t 0.1 --rate auto --csv", &targets);
    let asked = column(&ended.text, "rate_asked");
    assert_eq!((ended.code, asked.len()), (Some(1), 18), "{}{}", ended.text, ended.errors);
    assert!(ended.errors.contains("no request succeeded"), "{}", ended.errors);
}

#[test]
fn a_saved_run_says_where_it_comes_from_and_can_be_compared_with() {
    let folder = Folder::new();
    let (quick, slow) = (always(HELLO), slow(60));
    let saved = bench_all("-q -k -n 20 --rounds 8 --json", &[("server", quick)]).text;
    for name in ["version", "date", "command", "method", "machine", "client_cpu_share"] {
        assert!(saved.contains(&format!("\"{name}\":")), "{name}: {saved}");
    }
    assert!(saved.contains("--rounds 8") && number(&saved, "client_cpu_share") > 0.0);
    let csv = bench_all("-q -k -n 20 --csv", &[("server", quick)]).text;
    for name in ["version", "date", "machine"] {
        assert!(!column(&csv, name)[0].is_empty(), "{name}: {csv}");
    }
    let old = folder.write("old.json", saved.as_bytes()).display().to_string();
    let options = format!("-q -k -n 4 --rounds 8 --against {old}");
    let now = bench_all(&options, &[("server", slow)]);
    assert_eq!(now.code, Some(0), "{}", now.errors);
    assert!(now.text.contains("x as fast as server now ("), "{}", now.text);
    // What it cannot be compared with is said, also below a lone run; rows for programs hold no verdict.
    for (more, code, says) in [
        ("--rounds 8 -c 2", Some(0), "- c = 2: the saved run has no server at this level"),
        ("--rounds 1", Some(0), "No verdict: 1 round is too few"),
        ("--rounds 8 --csv", Some(2), "--against gives verdicts, --csv and --json hold none"),
    ] {
        let told = bench_all(&format!("-q -k -n 4 {more} --against {old}"), &[("server", quick)]);
        let text = told.text + &told.errors;
        assert!(told.code == code && text.contains(says), "{more}: {text}");
    }
    let half = &saved[..saved.len() / 2];
    for broken in
        ["", "[]", "{}", half, saved.trim_end().trim_end_matches('}'), &(saved.clone() + "1")]
    {
        folder.write("old.json", broken.as_bytes());
        let no = bench_all(&options, &[("server", slow)]);
        assert!(
            no.code == Some(2) && no.errors.contains("not what bench --json writes"),
            "{broken}: {}",
            no.errors
        );
    }
}

#[test]
fn a_saved_run_is_json_and_is_read_as_it_was_written() {
    let folder = Folder::new();
    let (name, server) = ("q\"uo\\te\u{1}é", always(HELLO));
    let saved =
        bench_all("-q -k -n 20 --rounds 6 --json", &[(name, server), ("other", server)]).text;
    let json = json::parse(&saved).expect("RFC 8259");
    let cells = json.get("cells").items();
    assert_eq!((cells[0].get("target").text(), cells[1].get("target").text()), (name, "other"));
    assert_eq!(cells[0].get("runs").items().len(), 6);
    // Blanks between the tokens change nothing.
    let spaced = saved.replace("\":", "\" : ").replace("},{", " }\n,\t{ ").replace("[[", "[ [");
    let old = folder.write("old.json", spaced.as_bytes()).display().to_string();
    let now = bench_all(&format!("-q -k -n 4 --rounds 6 --against {old}"), &[(name, server)]);
    assert!(now.text.contains(&format!("{name} now")), "{}{}", now.text, now.errors);
    assert!(now.text.contains(&format!("{name} of ")), "{}", now.text);
}

#[cfg(target_os = "linux")]
#[test]
fn cpu_time_of_the_named_processes_is_a_column() {
    let options = format!("-q -k -n 20000 --cpu {} --table", std::process::id());
    let ended = bench(&options, always(HELLO));
    assert!(ended.text.contains("| CPU (µs/request) |"), "{}{}", ended.text, ended.errors);
    let row = ended.text.lines().find(|l| l.starts_with("|1|")).expect("a row");
    let cpu: f64 =
        row.trim_end_matches('|').rsplit('|').next().and_then(|c| c.parse().ok()).expect("a time");
    assert!(cpu > 0.0 && cpu < 10_000.0, "{row}");
}

#[test]
fn a_server_that_is_measured_against_itself_is_no_faster_than_itself() {
    let address = always(HELLO);
    let options = "-q -k -n 300 -c 1,10 --rounds 8";
    let ended = bench_all(options, &[("one", address), ("other", address)]);
    let verdicts = ended.text.matches("cannot be told apart").count();
    let faster = ended.text.matches("x as fast as").count();
    assert!(
        verdicts + faster == 2 && ended.text.contains("corrected for 2 verdicts"),
        "{}",
        ended.text
    );
    let few = bench_all("-q -k -n 20 --rounds 5", &[("one", address), ("other", address)]);
    assert!(
        few.text.contains("No verdict: 5 rounds are too few") && few.text.contains("it takes 6"),
        "{}",
        few.text
    );
}

#[test]
fn browsers_send_http_1_1_and_so_can_bench() {
    let (sender, heads) = mpsc::channel();
    let address = server(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            let _ = sender.send(head);
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let ended = bench("-n 5 -k --http11 -q", address);
    assert_eq!(ended.counts(), (5.0, 0.0, String::new()));
    assert_eq!(ended.field("Keep-Alive requests"), Some(5.0));
    let head = heads.recv_timeout(Duration::from_secs(20)).expect("a request");
    assert!(head.starts_with("GET / HTTP/1.1\r\n") && !head.contains("Connection"), "{head}");
}

#[test]
fn one_good_answer_before_bad_ones_of_another_length_is_one_good_answer() {
    let address = server(|mut peer| {
        while let Some((_, n)) = peer.request() {
            peer.say(match n {
                1 => HELLO,
                _ => "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno",
            });
        }
    });
    let mut plan = progjar::bench::Plan::new(&format!("http://{address}/")).expect("valid");
    (plan.requests, plan.keep_alive, plan.go_on) = (10, true, true);
    let stop = progjar::cli::shutdown::Stop::new();
    let outcome = progjar::bench::run(&plan, &stop).expect("it ran");
    assert_eq!((outcome.tally.good, outcome.succeeded()), (1, 1));
    assert_eq!((outcome.tally.non_2xx, outcome.tally.failed.all()), (9, 9));
}

#[test]
fn idle_connections_have_one_answer_each_and_are_open_beside_those_that_load() {
    let [received, open, at_last] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let (count, beside) = (received.clone(), at_last.clone());
    let address = server(move |mut peer| {
        open.fetch_add(1, SeqCst);
        while peer.request().is_some() {
            if count.fetch_add(1, SeqCst) == 49 {
                thread::sleep(Duration::from_millis(100)); // the time to see who has closed
                beside.store(open.load(SeqCst), SeqCst);
            }
            peer.say(HELLO);
        }
        open.fetch_sub(1, SeqCst);
    });
    let ended = bench("-q -k -n 30 -c 3 --idle 20", address);
    assert_eq!((ended.code, ended.field("Complete requests")), (Some(0), Some(30.0)));
    assert_eq!(received.load(SeqCst), 50, "{}", ended.text);
    assert!(at_last.load(SeqCst) > 20, "{at_last:?} are open at the last request");
    let refused = bench("-q -k -n 30 --idle 20", resetting());
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    assert!(refused.errors.contains("idle connection 0 of 20"), "{}", refused.errors);
}
