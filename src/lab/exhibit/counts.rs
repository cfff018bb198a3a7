//! What a table of counts leaves out: a thousand answers of 404, and a rate from a port where
//! nothing listens.
//!
//! Note: `notes/wrong-table.md`.

use super::server::{Server, answer};
use super::{Exhibit, Stage};
use crate::bench::table::{self, Table};
use crate::bench::{self, Plan};
use crate::cli::shutdown::Stop;
use crate::lab::fleet::free_address;
use crate::lab::page::number;
use crate::lab::process::{installed, output};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) const NOT_FOUND: Exhibit = Exhibit {
    name: "not-found",
    title: "a thousand answers of 404 that look like success",
    does: "\
Two servers. One has the page and answers 200 OK; the other does not and answers 404 Not
Found, byte for byte as the reference did in the assignment's report. Each gets 1,000
requests, 10 at a time. Look at the assignment's eight columns first: which server is which?",
    play: not_found,
    means: "\
\"Not Found\" is a complete answer, so it counts as complete, and no column of the table tells.
Two things do: ab's line `Non-2xx responses`, which the table has no place for, and the bytes,
122 for an answer with its head. Before you measure, look at one answer with your own eyes.",
    note: "wrong-table",
};

/// As the reference says it: 122 bytes, the last four of them not announced.
const ABSENT: &[u8] = b"HTTP/1.0 404 Not Found\r\nDate: Mon May 24 10:00:00 2021\r\n\
    Connection: close\r\nServer: myserver/1.0\r\nContent-Length: 0\r\n\r\n\r\n\r\n";
/// The same server with the page that was wanted.
const PRESENT: &[u8] = b"HTTP/1.0 200 OK\r\nDate: Mon May 24 10:00:00 2021\r\n\
    Connection: close\r\nServer: myserver/1.0\r\nContent-Length: 31\r\n\r\n\
    Ini Adalah web Server percobaan\r\n\r\n";
/// The name, and the assignment's eight columns.
const HEADING: &str =
    "server,level,time (s),complete,failed,transferred,requests/s,ms/request,Kbytes/s";

fn not_found(stage: &Stage) -> Result<String, String> {
    let mut table = Table::new(&HEADING.split(',').collect::<Vec<_>>());
    let mut below = "What the eight columns leave out:\n".to_owned();
    for (name, bytes) in [("A", ABSENT), ("B", PRESENT)] {
        let server = Server::start(move |stream, _| answer(stream, bytes, || false))?;
        let plan = Plan { go_on: true, ..server.plan(1000, 10)? };
        let outcome = bench::run(&plan, stage.stop)?;
        table.rows.push([vec![name.to_owned()], table::row(&outcome)].concat());
        below += &format!("  {name}: Non-2xx responses: {}\n", outcome.tally.non_2xx);
    }
    Ok(format!("{}\n{below}", table.text()))
}

pub(super) const DEAD_PORT: Exhibit = Exhibit {
    name: "dead-port",
    title: "a high rate from a port where nothing listens",
    does: "\
Nothing listens on the port; every attempt to connect is refused. First a counter asks
1,000 times and counts every request that has ended, well or badly, as ab -r does. Then ab
itself, if it is installed. Then progjar bench.",
    play: dead_port,
    means: "\
To refuse a connection is the fastest thing a computer can do with it. If all requests that
ended are divided by the time, a server that is not running has the best rate of the day.
A rate must only count what succeeded. If nothing did, there is no rate but an error, and
the exit code says so, so that a script notices too.",
    note: "wrong-table",
};

const REQUESTS: u32 = 1000;
/// Each needs a moment of this.
const PATIENCE: Duration = Duration::from_secs(10);

fn dead_port(stage: &Stage) -> Result<String, String> {
    let address = free_address()?; // nobody has taken it yet
    let typed = format!("-r -n {REQUESTS} -c 10 http://{address}/");
    let naive = naive(address);
    let ab = match installed("ab") {
        Some(ab) => said(&ab, &format!("-q {typed}"), stage.stop)?,
        None => "  (not installed: apt install apache2-utils)\n".to_owned(),
    };
    let us = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let ours = said(&us, &format!("bench -q {typed}"), stage.stop)?;
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

/// The lines that matter here of what a program prints, and its exit code.
fn said(program: &Path, arguments: &str, stop: &Stop) -> Result<String, String> {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$@\" 2>&1; echo exit code: $?", "sh"]).arg(program);
    let report = output(command.args(arguments.split(' ')), PATIENCE, stop)?;
    let wanted =
        ["Complete", "Failed", "   (Connect", "Requests per second", "bench:", "exit code:"];
    let lines = report.lines().filter(|line| wanted.iter().any(|w| line.starts_with(w)));
    let no_rate = if report.contains("Requests per second") { "" } else { "  (no rate)\n" };
    Ok(no_rate.to_owned() + &lines.map(|line| format!("  {line}\n")).collect::<String>())
}
