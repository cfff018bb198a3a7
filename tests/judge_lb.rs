//! The judge on load balancers: ours passes whole, nginx and HAProxy pass what the assignment asks,
//! one that only copies bytes is told by name what it lacks, and what is no load balancer before
//! these backends gets one clear line.
#![cfg(unix)]

mod support;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use support::Server;
use support::json::{self, Json};
use support::neighbour::{Neighbour, configuration, find, start_haproxy, start_nginx};

/// Everything is judged in 60 s; a busy machine gets some more.
const BOUND: Duration = Duration::from_secs(90);

/// Four ports where nobody listens, below those that the system gives to clients. Somebody may take
/// one a moment later: then the judge says so, and the test takes others.
fn free_ports() -> [u16; 4] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 12_000 + (std::process::id() % 1000) as u16 * 20;
    [(); 4].map(|()| {
        loop {
            let port = begin + NEXT.fetch_add(1, SeqCst) % 500;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `progjar judge lb ADDRESS --backends PORTS ARGUMENTS`.
fn judge(address: SocketAddr, ports: [u16; 4], arguments: &[&str]) -> Output {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
    command.args(["judge", "lb", &address.to_string()]).args(arguments);
    command.args(["--backends", &ports.map(|p| p.to_string()).join(",")]).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    assert!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    output
}

/// Starts a load balancer before four backends, and judges it.
fn judged<T>(
    start: impl Fn([u16; 4]) -> T,
    address: impl Fn(&T) -> SocketAddr,
    arguments: &[&str],
) -> Output {
    for _ in 0..5 {
        let ports = free_ports();
        let lb = start(ports);
        let output = judge(address(&lb), ports, arguments);
        if !text(&output.stderr).contains("is in use") {
            return output;
        }
    }
    panic!("there are no free ports");
}

fn ours(ports: [u16; 4]) -> Server {
    let backends = ports.map(|port| format!("127.0.0.1:{port}"));
    let options = backends.iter().flat_map(|backend| ["--backend", backend]);
    Server::start("lb", &options.collect::<Vec<_>>())
}

fn judge_ours(arguments: &[&str]) -> Output {
    judged(ours, |lb| lb.address, arguments)
}

/// The report in JSON.
fn report(output: &Output) -> Json {
    let said = text(&output.stdout);
    json::parse(&said).unwrap_or_else(|e| panic!("{e}: {said} {}", text(&output.stderr)))
}

/// The names of the cases with this outcome.
fn cases(report: &Json, outcome: &str) -> Vec<String> {
    let chapters = report.get("chapters").items().iter();
    let cases = chapters.flat_map(|chapter| chapter.get("cases").items());
    let has_it = |case: &&Json| case.get("outcome").text() == outcome;
    cases.filter(has_it).map(|case| case.get("name").text().to_owned()).collect()
}

#[test]
fn our_load_balancer_passes_whole() {
    let output = judge_ours(&["-v"]);
    let said = text(&output.stdout);
    for line in said.lines() {
        let not_passed = ["FAIL", "WARN", "NOT APPLICABLE"].iter().any(|o| line.starts_with(o));
        assert!(!not_passed, "{line}\n{said}");
    }
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.ends_with("judge: nothing fails\n"), "{said}");
}

#[test]
fn labs_six_and_seven_are_done_by_our_load_balancer() {
    for lab in ["6", "7"] {
        let output = judge_ours(&["--lab", lab]);
        let said = text(&output.stdout);
        let last = format!("lab {lab}: done");
        assert_eq!(said.lines().last(), Some(last.as_str()), "{said}{}", text(&output.stderr));
    }
}

/// The configuration of the note, with these ports.
fn with_ports(name: &str, ports: [u16; 4]) -> String {
    let mut text = configuration(name);
    for (old, new) in (9002..).zip(ports) {
        text = text.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"));
    }
    text
}

fn judge_nginx(program: &str, arguments: &[&str]) -> Output {
    let start = |ports| start_nginx(program, &with_ports("nginx.conf", ports), 44444);
    judged(start, |nginx: &Neighbour| nginx.address, arguments)
}

fn judge_haproxy(program: &str, without: &str, arguments: &[&str]) -> Output {
    let start = |ports| {
        let text = with_ports("haproxy.cfg", ports);
        assert!(text.contains(without), "the note shows {without}");
        start_haproxy(program, &text.replace(without, ""))
    };
    judged(start, |haproxy: &Neighbour| haproxy.address, arguments)
}

#[test]
fn nginx_and_haproxy_pass_what_the_assignment_asks() {
    let nginx = find("nginx").map(|p| judge_nginx(&p, &["--level", "assignment", "--json"]));
    let arguments = ["--level", "assignment", "--json"];
    let haproxy = find("haproxy").map(|p| judge_haproxy(&p, "", &arguments));
    for output in [nginx, haproxy].iter().flatten() {
        let report = report(output);
        assert_eq!(cases(&report, "fail"), Vec::<String>::new());
        assert!(cases(&report, "pass").len() > 5, "{report:?}");
    }
}

#[test]
fn a_post_that_is_sent_twice_is_seen() {
    let Some(program) = find("haproxy") else { return };
    let name = "a backend dies with a POST in its hands: it is not sent again";
    let arguments = ["--only", name, "--json"];
    let careful = report(&judge_haproxy(&program, "", &arguments));
    assert_eq!(cases(&careful, "pass"), [name]);
    let line = "http-request disable-l7-retry if METH_POST";
    let careless = report(&judge_haproxy(&program, line, &arguments));
    assert_eq!(cases(&careless, "fail"), [name]);
}

/// A load balancer as the assignment's: a backend per connection, bytes copied unread.
fn copier(ports: [u16; 4]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let port = ports[number % ports.len()];
            let (Ok(client), Ok(backend)) = (client, TcpStream::connect(("127.0.0.1", port)))
            else {
                continue;
            };
            for (from, to) in [(&client, &backend), (&backend, &client)] {
                let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
                    continue;
                };
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    address
}

#[test]
fn one_that_copies_bytes_passes_the_assignment_and_is_told_what_it_lacks() {
    let output = judged(copier, |address| *address, &["--json"]);
    let report = report(&output);
    let failed = cases(&report, "fail");
    for chapter in report.get("chapters").items() {
        let is_assignment = chapter.get("level").text() == "assignment";
        assert!(!is_assignment || chapter.get("fail").number() == 0.0, "{failed:?}");
    }
    let turns = "the backends take turns, request by request";
    assert!(cases(&report, "warn").contains(&turns.to_owned()), "{:?}", cases(&report, "warn"));
    assert!(text(&output.stdout).contains("with keep-alive a client stays with one backend"));
    for name in [
        "a field that Connection names ends here",
        "Via names this gateway",
        "an HTTP/1.0 client gets no chunks",
        "CL.TE: the front believes the length, the back the coding",
        "two answers",
        "a backend refuses: the others serve",
        "a backend dies with a GET in its hands: another serves it",
        "a backend dies under load: nobody notices",
    ] {
        assert!(failed.contains(&name.to_owned()), "{name} is no fail: {failed:?}");
    }
    // What it does not touch arrives whole, and it does nothing twice.
    for name in [
        "content with a length arrives whole",
        "the path and the query pass unchanged",
        "a backend dies with a POST in its hands: it is not sent again",
        "requests that are sent together are answered in order",
    ] {
        assert!(cases(&report, "pass").contains(&name.to_owned()), "{name}: {failed:?}");
    }
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_cannot_be_judged_gets_one_line() {
    // Nobody listens.
    let nobody = support::backend::NOBODY.parse().expect("an address");
    let output = judged(|_| (), |()| nobody, &[]);
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("takes no connection"), "{said}");
    // It has other backends.
    let elsewhere = Server::start("async_server", &[]);
    let output = judged(|_| (), |()| elsewhere.address, &[]);
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("sends no request to a backend on"), "{said}");
    // One of the ports is taken.
    let port = elsewhere.address.port();
    let output = judge(elsewhere.address, [port; 4], &[]);
    let said = text(&output.stderr);
    let line = format!(
        "judge: port {port} is in use; stop the backend there, or name other ports: --backends\n"
    );
    assert_eq!(said, line);
    assert_eq!(output.status.code(), Some(1));
}
