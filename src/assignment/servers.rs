//! The assignment's servers as processes of their own, each with its log.
//!
//! No server outlives us: each has its standard input from a pipe that only we hold, and stops
//! when the pipe closes ([`UNTIL_EOF`]): at the end, after Ctrl-C, and also when we are killed.
//! Entry points: [`Servers::start`], [`Servers::end`]. Note: `notes/README.md`.

use super::{End, log_lines, program, say};
use crate::cli::shutdown::{Stop, UNTIL_EOF};
use crate::net::ports::{WHAT_TO_DO, is_held_by_a_client};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long to wait for a port that a client's connection holds.
const PORT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a server may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to end: a little longer than it gives its clients.
const END_PATIENCE: Duration = Duration::from_secs(7);

/// Where the servers listen; 0 is any free port.
#[derive(Debug, PartialEq, Eq)]
pub struct Ports {
    /// The backends.
    pub async_servers: [u16; 4],
    /// The load balancer.
    pub lb: u16,
    /// The server to compare with.
    pub thread_server: u16,
}

impl Ports {
    /// The assignment's.
    pub const ASSIGNED: Ports =
        Ports { async_servers: [9002, 9003, 9004, 9005], lb: 44444, thread_server: 46000 };
    /// Whatever the system has.
    pub const FREE: Ports = Ports { async_servers: [0; 4], lb: 0, thread_server: 0 };
}

/// Tries each port before anything is started, so that the error can name all that are in use.
/// What a client's connection holds may be free in a moment: that is waited for.
pub fn check_free(ports: &Ports, stop: &Stop) -> Result<(), End> {
    let deadline = Instant::now() + PORT_PATIENCE;
    let mut told = false;
    loop {
        let taken = taken(ports);
        if taken.is_empty() {
            return Ok(());
        }
        let will_pass = taken.iter().all(|(port, _)| is_held_by_a_client(*port));
        if !will_pass || Instant::now() > deadline {
            // Whoever held a port may have left it while the system's long list was read.
            match self::taken(ports) {
                still if still == taken => return Err(End::Failed(in_use(&taken, will_pass))),
                _ => continue,
            }
        }
        if !told {
            say("all: a client's connection holds a port; waiting for its end");
            told = true;
        }
        program::pause(stop)?;
    }
}

/// The ports that cannot be bound, and for whom they are.
fn taken(ports: &Ports) -> Vec<(u16, &'static str)> {
    let named = ports.async_servers.map(|port| (port, "async_server"));
    let others = [(ports.lb, "lb"), (ports.thread_server, "thread_server")];
    let is_taken = |(port, _): &(u16, _)| {
        let tried = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
        tried.is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
    };
    named.into_iter().chain(others).filter(is_taken).collect()
}

fn in_use(taken: &[(u16, &str)], by_clients: bool) -> String {
    let names: Vec<_> = taken.iter().map(|(p, t)| format!("{p} ({t})")).collect();
    let names = names.join(", ");
    let (noun, verb) = match taken {
        [_] => ("port", "is"),
        _ => ("ports", "are"),
    };
    let why = match by_clients {
        true => WHAT_TO_DO,
        false => "in use; stop the other program",
    };
    format!("{noun} {names} {verb} {why}, or take any free ports: progjar all --free-ports")
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub topic: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What one would type to start it.
    pub command: String,
    /// Its standard output and error.
    pub log: PathBuf,
    child: Child,
}

/// All that have been started; dropping them ends them.
#[derive(Debug)]
pub struct Servers {
    /// None: this program.
    program: Option<PathBuf>,
    logs: PathBuf,
    root: PathBuf,
    running: Vec<Server>,
}

impl Servers {
    /// None yet. They will serve `root` and write their logs into the folder `logs`.
    pub fn new(logs: &Path, root: &Path) -> Servers {
        Servers { program: None, logs: logs.to_owned(), root: root.to_owned(), running: Vec::new() }
    }

    /// The servers of another build of this program.
    pub fn of(mut self, program: &Path) -> Servers {
        self.program = Some(program.to_owned());
        self
    }

    /// Starts `progjar TOPIC PORT` and waits for the line that says it listens.
    pub fn start(
        &mut self,
        topic: &'static str,
        port: u16,
        arguments: &[String],
        stop: &Stop,
    ) -> Result<&Server, End> {
        let name = match (topic, port) {
            ("async_server" | "floor", 0) => format!("{topic}-{}", self.running.len() + 1),
            ("async_server", port) => format!("{topic}-{port}"),
            _ => topic.to_owned(),
        };
        let log = self.logs.join(format!("{name}.log"));
        let child = self.spawn(topic, port, arguments, &log)?;
        // In the list at once: from here on whatever happens ends it.
        self.running.push(Server {
            topic,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            command: command_line(topic, port, arguments),
            log,
            child,
        });
        let Some(server) = self.running.last_mut() else {
            return Err(End::Stopped);
        };
        server.wait_until_it_listens(stop)?;
        Ok(server)
    }

    fn spawn(
        &self,
        topic: &str,
        port: u16,
        arguments: &[String],
        log: &Path,
    ) -> Result<Child, String> {
        let wrong = |e| format!("cannot start {topic}: {e}");
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(wrong)?,
        };
        let mut command = Command::new(program);
        command.args([UNTIL_EOF, topic, &port.to_string()]).args(arguments);
        if matches!(topic, "async_server" | "thread_server") {
            command.arg("--root").arg(&self.root);
        }
        let output = File::create(log)
            .map_err(|e| format!("cannot write the log '{}': {e}", log.display()))?;
        command
            .stdin(Stdio::piped())
            .stderr(output.try_clone().map_err(wrong)?)
            .stdout(output)
            .spawn()
            .map_err(wrong)
    }

    /// All, in the order of their start.
    pub fn all(&self) -> &[Server] {
        &self.running
    }

    /// The first of a topic.
    pub fn one(&self, topic: &str) -> Result<&Server, String> {
        self.running
            .iter()
            .find(|server| server.topic == topic)
            .ok_or_else(|| format!("{topic} has not been started"))
    }

    /// Whether all are still there; the error names the log of one that is not.
    pub fn check_running(&mut self) -> Result<(), String> {
        for server in &mut self.running {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!(
                    "{} on port {} has ended early ({status}); see {}",
                    server.topic,
                    server.address.port(),
                    server.log.display()
                ));
            }
        }
        Ok(())
    }

    /// Asks all to stop, waits until they have, and kills what does not.
    pub fn end(&mut self) {
        for server in &mut self.running {
            drop(server.child.stdin.take());
        }
        let deadline = Instant::now() + END_PATIENCE;
        for server in &mut self.running {
            program::end(&mut server.child, deadline);
        }
        self.running.clear();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.end();
    }
}

impl Server {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&mut self, stop: &Stop) -> Result<(), End> {
        let deadline = Instant::now() + START_PATIENCE;
        let beginning = format!("{}: listening on http://", self.topic);
        loop {
            let lines = log_lines(&self.log)?;
            let address = lines.iter().find_map(|l| l.strip_prefix(&beginning));
            if let Some(address) = address.and_then(|a| a.trim_end_matches('/').parse().ok()) {
                self.address = address;
                return Ok(());
            }
            if let Ok(Some(_)) = self.child.try_wait() {
                // Its last words, which may have been written after the look at the log.
                let lines = log_lines(&self.log)?;
                let why = lines.last().map_or("it said nothing", String::as_str);
                return Err(End::Failed(format!("{} did not start: {why}", self.topic)));
            }
            if Instant::now() > deadline {
                return Err(End::Failed(format!(
                    "{} does not listen after {} s; see {}",
                    self.topic,
                    START_PATIENCE.as_secs(),
                    self.log.display()
                )));
            }
            program::pause(stop)?;
        }
    }
}

fn command_line(topic: &str, port: u16, arguments: &[String]) -> String {
    let mut text = format!("./run.sh {topic} {port}");
    for argument in arguments {
        text.push(' ');
        text.push_str(argument);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    /// What is said of ports that are not free.
    fn tried(ports: &Ports) -> Option<String> {
        match check_free(ports, &Stop::new()) {
            Err(End::Failed(sentence)) => Some(sentence),
            _ => None,
        }
    }

    #[test]
    fn ports_in_use_are_named_before_anything_is_started() {
        assert_eq!(tried(&Ports::FREE), None);
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = |l: &TcpListener| l.local_addr().expect("bound").port();
        let (one, two) = (bind(), bind());
        let mut ports = Ports::FREE;
        ports.lb = port(&one);
        let error = tried(&ports).expect("in use");
        let begins = format!("port {} (lb) is in use; stop", port(&one));
        assert!(error.starts_with(&begins), "{error}");
        ports.async_servers[3] = port(&two);
        let error = tried(&ports).expect("in use");
        let begins = format!("ports {} (async_server), {} (lb) are", port(&two), port(&one));
        assert!(error.starts_with(&begins), "{error}");
        assert!(error.contains("--free-ports") && !error.contains('\n'), "{error}");
    }

    /// Waits for a port that a client's connection leaves meanwhile.
    fn wait_for_a_port() -> Result<(), End> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let there = listener.local_addr().expect("bound");
        let client = TcpStream::connect(there).expect("it listens");
        let peer = listener.accept().expect("it has come");
        let mut ports = Ports::FREE;
        ports.lb = client.local_addr().expect("connected").port();
        if !is_held_by_a_client(ports.lb) {
            eprintln!("SKIPPED: this system does not tell who holds a port");
            return Ok(());
        }
        let stop = Stop::new();
        let waits = std::thread::spawn(move || check_free(&ports, &stop));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waits.is_finished(), "the port is held");
        // The end that closes last, and knows it, keeps nothing of the connection.
        drop(peer);
        assert!(matches!((&client).read(&mut [0]), Ok(0)), "it is closed");
        drop(client);
        waits.join().expect("it does not panic")
    }

    #[test]
    fn a_port_that_a_clients_connection_holds_is_waited_for() {
        // On a busy machine another connection is given just this port when it is free. Then it is
        // that one which is told of in the end.
        let waited = wait_for_a_port();
        let is_told = matches!(&waited, Err(End::Failed(e)) if e.contains(WHAT_TO_DO));
        assert!(waited.is_ok() || is_told, "{waited:?}");
    }
}
