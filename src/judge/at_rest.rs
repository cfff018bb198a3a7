//! Whether a server rests when nobody asks: the CPU time of its process, as `/proc` tells it.
//!
//! A thread that goes round for ever shows in no answer, until there are so many that every answer
//! is late. Entry point: [`check`]. Note: `notes/judge.md`.

use super::check::{Check, Finding, Outcome, Subject};
use super::contact::{ask, get_once};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Requests before it is watched: each may leave something behind.
const REQUESTS: usize = 20;
/// How long they may take together.
const ASKS: Duration = Duration::from_secs(5);
/// After the last answer it may have something to tidy up.
const SETTLES: Duration = Duration::from_millis(200);
const WATCHED: Duration = Duration::from_millis(300);
/// So much it may use in that time: some look round now and then.
const MOST: Duration = Duration::from_millis(100);
/// The kernel counts in these; USER_HZ is 100 on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// The check; none where there is no `/proc`.
pub(super) fn check() -> Option<Check> {
    let why = "a thread that does not return after its answer takes the CPU from all later ones";
    let name = "it rests when no client is connected";
    Path::new("/proc/net/tcp").exists().then(|| Check::new(name, "Tugas 10", why, rests).weight(3))
}

fn rests(subject: &Subject) -> Finding {
    let request = get_once("/");
    let began = Instant::now();
    for _ in 0..REQUESTS {
        // Other checks judge the answers; one that is slow is not waited for twenty times.
        let is_answered = ask(subject, &request).is_ok();
        if !is_answered || subject.stop.is_raised() || began.elapsed() > ASKS {
            break;
        }
    }
    let processes = processes(subject.address.port());
    thread::sleep(SETTLES);
    let before = cpu_time(&processes);
    thread::sleep(WATCHED);
    let (Some(before), Some(after)) = (before, cpu_time(&processes)) else {
        return Finding::not_applicable("its process cannot be seen: it is another user's");
    };
    let used = after.saturating_sub(before);
    let outcome = if used <= MOST { Outcome::Pass } else { Outcome::Fail };
    let (used, watched, most) = (used.as_millis(), WATCHED.as_millis(), MOST.as_millis());
    let sent = format!("{REQUESTS} times GET /, each on a new connection; then nothing");
    let came = format!("in {watched} ms without a client it used {used} ms of CPU time");
    Finding::new(outcome, sent, came, format!("at most {most} ms"))
}

/// The folders in `/proc` of all processes that hold the listener on the port.
fn processes(port: u16) -> Vec<PathBuf> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let links = listeners(&(read("/proc/net/tcp") + &read("/proc/net/tcp6")), port);
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let holds_it = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut targets = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
        targets.any(|target| links.iter().any(|link| target == Path::new(link)))
    };
    folders.filter(holds_it).collect()
}

/// CPU time so far of these processes; None: not one is there.
fn cpu_time(processes: &[PathBuf]) -> Option<Duration> {
    let times = processes.iter().filter_map(|process| {
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        // Behind the name, which is in brackets: fields 14 and 15 are user and system time.
        let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
        Some(TICK * fields.filter_map(|f| f.parse::<u32>().ok()).sum())
    });
    times.reduce(|a, b| a + b)
}

/// How `/proc/PID/fd` names the sockets that listen on the port. A row of the table: number, local
/// address, remote address, state, six columns more, inode; addresses and states in hex.
fn listeners(sockets: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let local = format!(":{port:04X}");
    let of_row = |row: &str| {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let is_it = columns.get(1)?.ends_with(&local) && *columns.get(3)? == LISTEN;
        is_it.then(|| Some(format!("socket:[{}]", columns.get(9)?)))?
    };
    sockets.lines().filter_map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 0 100\n\
            1: 0100007F:1F40 0100007F:8000 01 00000000:00000000 00:00000000 00000000 0 0 4712 1 0 100\n\
            2: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1 0 100\n";
        assert_eq!(listeners(table, 8000), ["socket:[4711]"]);
        assert_eq!(listeners(table, 8002), [""; 0]);
    }

    #[test]
    fn the_process_behind_a_port_is_this_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let sees = Path::new("/proc/net/tcp").exists();
        assert_eq!(cpu_time(&processes(port)).is_some(), sees);
    }
}
