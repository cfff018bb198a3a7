//! A high rate from nothing: a port where nobody listens.
//!
//! Note: `notes/wrong-table.md`.

use super::{Exhibit, Stage};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::free_address;
use crate::lab::page::number;
use crate::lab::process::{installed, output};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(super) const EXHIBIT: Exhibit = Exhibit {
    name: "dead-port",
    title: "a high rate from a port where nothing listens",
    does: "\
Nothing listens on the port; every attempt to connect is refused. First a counter asks
1,000 times and counts every request that has ended, well or badly, as ab -r does. Then ab
itself, if it is installed. Then progjar bench.",
    play,
    means: "\
To refuse a connection is the fastest thing a computer can do with it: no server, no work.
If all requests that ended are divided by the time, a server that is not running has the
best rate of the whole day. ab without -r would have stopped at the first error; with -r it
goes on, and its `Failed requests` are even more than the requests, since it counts some in
two classes. A rate must only count what succeeded. If nothing did, there is no rate but an
error, and the exit code says so, so that a script notices too.",
};

const REQUESTS: u32 = 1000;
/// ab needs a moment of this.
const AB_PATIENCE: Duration = Duration::from_secs(10);

fn play(stage: &Stage) -> Result<String, String> {
    let address = free_address()?; // nobody has taken it yet
    let (count, url) = (REQUESTS.to_string(), format!("http://{address}/"));
    let arguments = ["-r", "-n", &count, "-c", "10", &url];
    let typed = arguments.join(" ");
    let (naive, ab, ours) = (naive(address), ab(&arguments, stage.stop), ours(&arguments)?);
    Ok(format!(
        "A counter that takes every end for a success:\n{naive}\nab {typed}\n{ab}\nprogjar bench {typed}\n{ours}"
    ))
}

/// The counter with the fault.
fn naive(address: SocketAddr) -> String {
    let (begun, mut complete) = (Instant::now(), 0);
    while complete < REQUESTS {
        // Connected or refused: it has ended.
        let _ = TcpStream::connect(address);
        complete += 1;
    }
    let rate = number(f64::from(complete) / begun.elapsed().as_secs_f64().max(1e-9));
    format!("  Complete requests:   {complete}\n  Requests per second: {rate}\n")
}

/// The lines of ab's report that matter here.
fn ab(arguments: &[&str], stop: &Stop) -> String {
    let Some(ab) = installed(&["ab"]) else {
        return "  (not installed: apt install apache2-utils)\n".to_owned();
    };
    let report = output(Command::new(ab).arg("-q").args(arguments), AB_PATIENCE, stop);
    let wanted = ["Complete", "Failed", "   (Connect", "Requests per second"];
    let report = report.unwrap_or_else(|why| format!("Complete requests: none, {why}"));
    let lines = report.lines().filter(|line| wanted.iter().any(|w| line.starts_with(w)));
    lines.map(|line| format!("  {line}\n")).collect()
}

/// What this program says of the same.
fn ours(arguments: &[&str]) -> Result<String, String> {
    let program = std::env::current_exe();
    let output = program.and_then(|program| {
        Command::new(program).args(["bench", "-q"]).args(arguments).stdin(Stdio::null()).output()
    });
    let Output { status, stdout, stderr } =
        output.map_err(|e| format!("cannot run progjar bench: {e}"))?;
    let [report, error] = [stdout, stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    let rate = report.lines().find(|line| line.starts_with("Requests per second"));
    let (rate, code) = (rate.unwrap_or("(no rate)"), status.code().unwrap_or(-1));
    Ok(format!("  {rate}\n  {}\n  exit code: {code}\n", error.trim()))
}
