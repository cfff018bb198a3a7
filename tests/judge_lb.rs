//! The judge on load balancers: ours passes whole, nginx and HAProxy pass what the assignment asks,
//! and what is no load balancer before these backends gets one clear line. One that only copies
//! bytes is judged in tests/judge_labs.rs.
#![cfg(unix)]

use crate::support::backend::NOBODY;
use crate::support::json::{self, Json};
use crate::support::neighbour::{Neighbour, configuration, start_haproxy, start_nginx};
use crate::support::{Server, free_port, text, tool};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Everything is judged in 60 s; a busy machine gets some more.
const BOUND: Duration = Duration::from_secs(90);

/// Four of them. Somebody may take one a moment later: then the judge says so, and the test takes
/// others.
fn free_ports() -> [u16; 4] {
    [(); 4].map(|()| free_port())
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
    let options = options.chain(["--response-timeout", "2s"]); // the judge waits for it
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
    for tries in 1.. {
        let output = judge_ours(&["-v", "--time", "300s"]);
        let said = text(&output.stdout);
        let outcomes = ["FAIL", "WARN", "NOT APPLICABLE"];
        let is_not_passed = |line: &&str| outcomes.iter().any(|o| line.starts_with(o));
        let not_passed: Vec<&str> = said.lines().filter(is_not_passed).collect();
        // What is measured gets three tries, for a busy machine.
        let is_measured = not_passed.iter().all(|line| line.contains("what the others feel"));
        if !not_passed.is_empty() && is_measured && tries < 3 {
            continue;
        }
        assert_eq!(not_passed, [""; 0], "{said}");
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        assert!(said.ends_with("judge: nothing fails\n"), "{said}");
        break;
    }
}

#[test]
fn labs_six_and_seven_are_done_by_our_load_balancer() {
    let done = |lab: &str| {
        let output = judge_ours(&["--lab", lab]);
        let said = text(&output.stdout);
        let last = format!("lab {lab}: done");
        assert_eq!(said.lines().last(), Some(last.as_str()), "{said}{}", text(&output.stderr));
    };
    both(|| done("6"), || done("7"));
}

/// Does two things at the same time.
fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
    })
}

/// The configuration of the note, with these ports.
fn with_ports(name: &str, ports: [u16; 4]) -> String {
    let mut text = configuration(name);
    for (old, new) in (9002..).zip(ports) {
        text = text.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"));
    }
    text
}

fn judge_nginx(program: &Path, arguments: &[&str]) -> Output {
    let start = |ports| start_nginx(program, &with_ports("nginx.conf", ports), 44444);
    judged(start, |nginx: &Neighbour| nginx.address, arguments)
}

fn judge_haproxy(program: &Path, without: &str, arguments: &[&str]) -> Output {
    let start = |ports| {
        let text = with_ports("haproxy.cfg", ports);
        assert!(text.contains(without), "the note shows {without}");
        start_haproxy(program, &text.replace(without, ""))
    };
    judged(start, |haproxy: &Neighbour| haproxy.address, arguments)
}

#[test]
fn nginx_and_haproxy_pass_what_the_assignment_asks() {
    let arguments = ["--level", "assignment", "--json"];
    let (nginx, haproxy) = both(
        || tool("nginx", "nginx-light").map(|program| judge_nginx(&program, &arguments)),
        || tool("haproxy", "haproxy").map(|program| judge_haproxy(&program, "", &arguments)),
    );
    for output in [nginx, haproxy].iter().flatten() {
        let report = report(output);
        assert_eq!(cases(&report, "fail"), Vec::<String>::new());
        assert!(cases(&report, "pass").len() > 5, "{report:?}");
    }
}

#[test]
fn a_post_that_is_sent_twice_is_seen() {
    let Some(program) = tool("haproxy", "haproxy") else { return };
    let name = "a backend dies with a POST in its hands: it is not sent again";
    let arguments = ["--only", name, "--json"];
    let line = "http-request disable-l7-retry if METH_POST";
    let (careful, careless) = both(
        || judge_haproxy(&program, "", &arguments),
        || judge_haproxy(&program, line, &arguments),
    );
    assert_eq!(cases(&report(&careful), "pass"), [name]);
    assert_eq!(cases(&report(&careless), "fail"), [name]);
}

#[test]
fn lab_six_asks_what_becomes_of_fields_that_connection_names() {
    let Some(program) = tool("haproxy", "haproxy") else { return };
    let name = "a field that Connection names ends here";
    let output = judge_haproxy(&program, "", &["--lab", "6", "--only", name, "--json"]);
    assert_eq!(cases(&report(&output), "fail"), [name; 2], "in each direction");
}

#[test]
fn what_cannot_be_judged_gets_one_line() {
    // Nobody listens.
    let nobody = NOBODY.parse().expect("an address");
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
