//! The assignment's servers as processes of their own, each with its log.
//!
//! No server outlives us: each has its standard input from a pipe that only we hold, and stops
//! when the pipe closes ([`UNTIL_EOF`]): at the end, after Ctrl-C, and also when we are killed.
//! Entry points: [`Servers::start`], [`Servers::end`]. Note: `notes/README.md`.

use super::{End, log_lines, program};
use crate::cli::shutdown::{Stop, UNTIL_EOF};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    pub const ASSIGNED: Ports = Ports {
        async_servers: [9002, 9003, 9004, 9005],
        lb: 44444,
        thread_server: 46000,
    };
    /// Whatever the system has.
    pub const FREE: Ports = Ports {
        async_servers: [0; 4],
        lb: 0,
        thread_server: 0,
    };
}

/// Tries each port before anything is started, so that the error can name all that are in use.
pub fn check_free(ports: &Ports) -> Result<(), String> {
    let named = ports.async_servers.map(|port| (port, "async_server"));
    let others = [(ports.lb, "lb"), (ports.thread_server, "thread_server")];
    let taken: Vec<String> = named
        .into_iter()
        .chain(others)
        .filter(|(port, _)| {
            let tried = TcpListener::bind((Ipv4Addr::LOCALHOST, *port));
            tried.is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
        })
        .map(|(port, topic)| format!("{port} ({topic})"))
        .collect();
    let (noun, verb) = match taken.len() {
        0 => return Ok(()),
        1 => ("port", "is"),
        _ => ("ports", "are"),
    };
    Err(format!(
        "{noun} {} {verb} in use; stop the other program, or take any free ports: progjar all --free-ports",
        taken.join(", ")
    ))
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
        Servers {
            program: None,
            logs: logs.to_owned(),
            root: root.to_owned(),
            running: Vec::new(),
        }
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
        command
            .args([UNTIL_EOF, topic, &port.to_string()])
            .args(arguments);
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

    #[test]
    fn ports_in_use_are_named_before_anything_is_started() {
        assert_eq!(check_free(&Ports::FREE), Ok(()));
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = |l: &TcpListener| l.local_addr().expect("bound").port();
        let (one, two) = (bind(), bind());
        let mut ports = Ports::FREE;
        ports.lb = port(&one);
        let error = check_free(&ports).expect_err("in use");
        let begins = format!("port {} (lb) is in use; stop", port(&one));
        assert!(error.starts_with(&begins), "{error}");
        ports.async_servers[3] = port(&two);
        let error = check_free(&ports).expect_err("in use");
        let begins = format!(
            "ports {} (async_server), {} (lb) are",
            port(&two),
            port(&one)
        );
        assert!(error.starts_with(&begins), "{error}");
        assert!(
            error.contains("--free-ports") && !error.contains('\n'),
            "{error}"
        );
    }
}
