//! Whether a server rests when nobody asks: the CPU time of its process, as `/proc` tells it.
//!
//! A thread that goes round for ever shows in no answer, until there are so many that every answer
//! is late. Entry point: [`check`]. Note: `notes/judge.md`.

use super::check::{Check, Finding, Outcome, Subject};
use super::contact::{ask, get_once};
use super::show::ms;
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
/// What a thread that goes round gets even of a busy machine.
const LEAST: Duration = Duration::from_millis(30);
/// So much it may run of the time in which it need not wait for a CPU: some look round now and then.
const MOST: u32 = 33;

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
    let before = cpu_times(&processes);
    thread::sleep(WATCHED);
    let (Some(before), Some(after)) = (before, cpu_times(&processes)) else {
        return Finding::not_applicable("its process cannot be seen: it is another user's");
    };
    let [ran, waited] = [0, 1].map(|n| after[n].saturating_sub(before[n]));
    let share = share(ran, waited);
    let outcome = if share <= MOST { Outcome::Pass } else { Outcome::Fail };
    let sent = format!("{REQUESTS} times GET /, each on a new connection; then nothing");
    let (ran, waited, watched) = (ms(ran), ms(waited), ms(WATCHED));
    let came = format!(
        "in {watched} without a client it ran for {ran} and waited for a CPU for {waited}: \
         {share} % of the time that it could have"
    );
    Finding::new(outcome, sent, came, format!("at most {MOST} %"))
}

/// In percent: a thread that goes round for ever runs whenever it can, on a busy machine too. Many
/// threads that look round wait for a CPU each, so the least time to run with counts too.
fn share(ran: Duration, waited: Duration) -> u32 {
    let could = WATCHED.saturating_sub(waited).max(ran).max(LEAST);
    (100.0 * ran.as_secs_f64() / could.as_secs_f64()).round() as u32
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

/// How long all threads of these processes have run, and waited for a CPU, by the first two numbers
/// of `schedstat`, in nanoseconds (sched-stats in the kernel's documentation); None: not one is there.
fn cpu_times(processes: &[PathBuf]) -> Option<[Duration; 2]> {
    let tasks = processes.iter().filter_map(|process| fs::read_dir(process.join("task")).ok());
    let times = tasks.flatten().flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let mut numbers = stat.split_whitespace().map_while(|n| n.parse().ok());
        Some([numbers.next()?, numbers.next()?].map(Duration::from_nanos))
    });
    times.reduce(|a, b| [a[0] + b[0], a[1] + b[1]])
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
    fn a_thread_that_runs_whenever_it_can_shows_on_a_busy_machine_too() {
        let table =
            [(300, 0, 100), (40, 255, 89), (90, 900, 100), (2, 150, 1), (7, 811, 23), (0, 900, 0)];
        for (ran, waited, expected) in table {
            let [ran, waited] = [ran, waited].map(Duration::from_millis);
            assert_eq!(share(ran, waited), expected);
        }
    }

    #[test]
    fn the_process_behind_a_port_is_this_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let sees = Path::new("/proc/net/tcp").exists();
        assert_eq!(cpu_times(&processes(port)).is_some(), sees);
    }
}
