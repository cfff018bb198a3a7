//! Servers as processes, ours and others', each with its log: started on free ports or on given
//! ones, awaited until they listen, ended when the fleet is dropped and also when we are killed.
//!
//! Knows no case and no report. Entry points: [`Fleet::start`], [`Fleet::start_other`].
//! Note: `notes/README.md`.

use super::process::{Process, ours, pause};
use crate::cli::shutdown::Stop;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a server may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// A server that listens.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub topic: String,
    pub address: SocketAddr,
    /// What one would type to start it.
    pub command: String,
    pub log: PathBuf,
    /// Its process; others' descend from it.
    pub pid: u32,
}

/// All that have been started.
pub(crate) struct Fleet {
    /// The build of this program that is started next.
    pub program: PathBuf,
    /// For logs; an absolute path where others are started.
    pub folder: PathBuf,
    root: PathBuf,
    servers: Vec<Server>,
    processes: Vec<Process>,
    is_scratch: bool,
}

impl Fleet {
    /// None yet. Our servers will serve `root`; logs go into `folder`.
    pub fn new(folder: &Path, root: &Path) -> Result<Fleet, String> {
        fs::create_dir_all(folder)
            .map_err(|e| format!("cannot write in '{}': {e}", folder.display()))?;
        let program = std::env::current_exe();
        Ok(Fleet {
            program: program.map_err(|e| format!("cannot find this program: {e}"))?,
            folder: folder.to_owned(),
            root: root.to_owned(),
            servers: Vec::new(),
            processes: Vec::new(),
            is_scratch: false,
        })
    }

    /// In a folder that goes with the fleet; there is nothing to serve but `/`.
    pub fn in_scratch() -> Result<Fleet, String> {
        let folder = std::env::temp_dir().join(format!("progjar-{}", std::process::id()));
        let mut fleet = Fleet::new(&folder, &folder)?;
        fleet.is_scratch = true;
        Ok(fleet)
    }

    /// Starts `progjar TOPIC PORT ARGUMENTS` and waits for the line that says it listens; on port
    /// 0 that is any free port.
    pub fn start<A: AsRef<str>>(
        &mut self,
        topic: &str,
        port: u16,
        arguments: &[A],
        stop: &Stop,
    ) -> Result<Server, String> {
        let number = self.servers.iter().filter(|server| server.topic == topic).count();
        let name = match (number, topic) {
            (_, "async_server") if port > 0 => format!("{topic}-{port}"),
            (0, _) => topic.to_owned(),
            _ => format!("{topic}-{}", number + 1),
        };
        let log = self.folder.join(format!("{name}.log"));
        let words: Vec<&str> = arguments.iter().map(A::as_ref).collect();
        let mut command = ours(&self.program, topic);
        command.arg(port.to_string()).args(&words);
        if matches!(topic, "async_server" | "thread_server") {
            command.arg("--root").arg(&self.root);
        }
        let port = port.to_string();
        let typed = [&["./run.sh", topic, &port][..], &words].concat().join(" ");
        let beginning = format!("{topic}: listening on http://");
        self.launch(topic, typed, command, log, stop, &|lines| {
            let address = lines.iter().find_map(|line| line.strip_prefix(&beginning))?;
            address.trim_end_matches('/').parse().ok()
        })
    }

    /// Starts another's server, which is to listen on that address, and waits until it answers.
    pub fn start_other(
        &mut self,
        name: &str,
        command: Command,
        address: SocketAddr,
        stop: &Stop,
    ) -> Result<Server, String> {
        let log = self.folder.join(format!("{name}.log"));
        self.launch(name, name.to_owned(), command, log, stop, &|_| {
            get(address, "").is_ok_and(|answer| !answer.is_empty()).then_some(address)
        })
    }

    /// Starts it and waits until `address` finds where it listens, in what it has printed or not.
    fn launch(
        &mut self,
        topic: &str,
        typed: String,
        command: Command,
        log: PathBuf,
        stop: &Stop,
        address: &dyn Fn(&[String]) -> Option<SocketAddr>,
    ) -> Result<Server, String> {
        let mut process = Process::start(command, &log)?;
        let deadline = Instant::now() + START_PATIENCE;
        let address = loop {
            if let Some(address) = address(&process.lines()) {
                break address;
            }
            if process.has_ended() || Instant::now() > deadline {
                let lines = process.lines();
                let why = lines.last().map_or("it said nothing", String::as_str);
                return Err(format!("{topic} did not start: {why}"));
            }
            pause(stop)?;
        };
        let (topic, pid) = (topic.to_owned(), process.pid());
        self.processes.push(process);
        self.servers.push(Server { topic, address, command: typed, log, pid });
        self.servers.last().cloned().ok_or_else(String::new)
    }

    /// All, in the order of their start.
    pub fn all(&self) -> &[Server] {
        &self.servers
    }

    /// The first of a topic.
    pub fn one(&self, topic: &str) -> Result<&Server, String> {
        let found = self.servers.iter().find(|server| server.topic == topic);
        found.ok_or_else(|| format!("{topic} has not been started"))
    }

    /// Whether all are still there; the error names the log of one that is not.
    pub fn check_running(&mut self) -> Result<(), String> {
        for (server, process) in self.servers.iter().zip(&mut self.processes) {
            if process.has_ended() {
                let Server { topic, address, log, .. } = server;
                return Err(format!("{topic} on {address} has ended early; see {}", log.display()));
            }
        }
        Ok(())
    }
}

impl Drop for Fleet {
    /// Asks all to end before it waits for each.
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Process::close);
        self.processes.clear();
        if self.is_scratch {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// An address whose port nobody uses. Somebody may take it before its program does; then that
/// program says so and the command ends.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|e| format!("cannot find a free port: {e}"))
}

/// The answer to a GET of that path, head and all. This HTTP is the least there is (HTTP/1.0, a
/// connection per request, read to the end), so that it shares no fault with the servers.
pub(crate) fn get(server: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER_PATIENCE)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
