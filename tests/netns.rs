//! Four backends on four hosts of their own: network namespaces, each with a wire to this one.
//! One wire is cut, so that no reset and no refusal comes from there, only silence.
//! Needs root and `ip`; traffic stays in the namespaces of this test.
#![cfg(target_os = "linux")]

use crate::support::load::Load;
use crate::support::{Server, eventually};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("ip: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Five network namespaces: the load balancer's, and four hosts with a wire each to it. Removed
/// when dropped, and their wires with them.
struct Network {
    prefix: String,
    made: Vec<String>,
}

impl Network {
    fn build() -> Result<Network, String> {
        // Both ends of a wire lie in namespaces, and so do its names and its addresses: two runs
        // at once have nothing in common.
        let mut network =
            Network { prefix: format!("progjar-{}-", std::process::id()), made: Vec::new() };
        network.add("lb")?;
        for number in 0..4 {
            network.add(&format!("b{number}"))?;
            let (lb, host) = (network.name("lb"), network.name(&format!("b{number}")));
            ip(&format!("link add w{number} netns {lb} type veth peer name eth0 netns {host}"))?;
            let lb_side = format!("-n {lb} addr add 10.77.{number}.1/24 dev w{number}");
            for command in [
                lb_side,
                format!("-n {lb} link set w{number} up"),
                format!("-n {host} addr add 10.77.{number}.2/24 dev eth0"),
                format!("-n {host} link set eth0 up"),
            ] {
                ip(&command)?;
            }
        }
        Ok(network)
    }

    fn name(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    fn add(&mut self, host: &str) -> Result<(), String> {
        let name = self.name(host);
        ip(&format!("netns add {name}"))?;
        self.made.push(name.clone());
        ip(&format!("-n {name} link set lo up"))
    }

    /// The program on a host of this network.
    fn start(&self, host: &str, topic: &str, arguments: &[&str]) -> Server {
        let mut command = Command::new("ip");
        let program = env!("CARGO_BIN_EXE_progjar");
        command.args(["netns", "exec", &self.name(host), program, topic]);
        command.args(arguments).arg("--quiet");
        Server::run(topic, command)
    }

    /// Cuts a host's wire at its own end, or mends it.
    fn set_wire(&self, number: usize, state: &str) {
        let host = self.name(&format!("b{number}"));
        ip(&format!("-n {host} link set eth0 {state}")).expect("the wire is there");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.made {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// The network, or the reason why there is none here, aloud.
fn network() -> Option<Network> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|l| l.starts_with("Uid:\t0\t"));
    let network = match is_root {
        true => Network::build(),
        false => Err("only root may make network namespaces".to_owned()),
    };
    if let Err(why) = &network {
        eprintln!("SKIPPED: no network of one's own: {why}");
    }
    network.ok()
}

/// Says to the test, started anew by itself, that it is on the load balancer's host; and how
/// the hosts' names begin.
const INSIDE: &str = "PROGJAR_TEST_NETWORK";

/// How many clients there are.
const CLIENTS: usize = 4;

/// `at_most`: how long clients wait, and what decides that. `late`: how many requests may be
/// answered 504, since their time was over.
fn cut_one_off(network: &Network, arguments: &[&str], at_most: Duration, late: usize) {
    let start = |number: usize| {
        let host = format!("10.77.{number}.2");
        network.start(&format!("b{number}"), "async_server", &["0", "--host", &host])
    };
    let backends = [0, 1, 2, 3].map(start);
    let lb = Server::start_lb(&backends.each_ref(), arguments);
    let cut_off = &backends[2];
    let name = cut_off.name("async_server");

    let load = Load::start(lb.address, CLIENTS, |answer| answer.status == 200);
    load.wait_for(100);
    network.set_wire(2, "down");
    let begun = Instant::now();
    eventually("it is ejected", || lb.state_of(cut_off.address) == "down");
    let noticed = begun.elapsed();
    load.wait_for(400);
    network.set_wire(2, "up");
    let (begun, before) = (Instant::now(), load.served_by(&name));
    eventually("it takes traffic again", || load.served_by(&name) > before);
    let back = begun.elapsed();
    load.wait_for(100);
    let figures = load.end();
    println!(
        "wire cut, lb {}: {figures}; ejected after {} ms, takes traffic again after {} ms",
        arguments.join(" "),
        noticed.as_millis(),
        back.as_millis()
    );
    let failures = &figures.failures;
    assert!(failures.len() <= late, "{failures:?}");
    assert!(failures.iter().all(|f| f.contains("status: 504")), "{failures:?}");
    assert!(figures.slowest < at_most, "{figures}");
    assert!(back < at_most, "{back:?}");
}

#[test]
fn a_backend_whose_wire_is_cut_fails_nobody_if_probed_else_one_request_a_client_and_comes_back() {
    if let Ok(prefix) = std::env::var(INSIDE) {
        let network = Network { prefix, made: Vec::new() };
        // A probe finds out within its interval and its timeout, a second each.
        cut_one_off(&network, &["--workers", "2"], Duration::from_secs(5), 0);
        // Without probes the clients find out, each with one request that waits for its timeout.
        let alone = ["--workers", "2", "--no-checks", "--response-timeout", "1s"];
        return cut_one_off(&network, &alone, Duration::from_secs(5), CLIENTS);
    }
    let Some(network) = network() else { return };
    let status = Command::new("ip")
        .args(["netns", "exec", &network.name("lb")])
        .arg(std::env::current_exe().expect("this test has a file"))
        .args(["--exact", "--nocapture"])
        .arg("a_backend_whose_wire_is_cut_fails_nobody_if_probed_else_one_request_a_client_and_comes_back")
        .env(INSIDE, &network.prefix)
        .stdin(Stdio::null())
        .status();
    assert!(status.is_ok_and(|s| s.success()), "see above");
}
