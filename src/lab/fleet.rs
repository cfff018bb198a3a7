//! Servers as processes, ours and others', each with its log: started on free ports or on given
//! ones, awaited until they listen, ended when the fleet is dropped.
//!
//! They also end when we are killed: each, or a shell above it, reads a pipe that only we hold,
//! and ends when the pipe closes. Knows no case and no report. Entry points: [`Fleet::start`],
//! [`Fleet::start_other`]. Note: `notes/README.md`.

use super::process::{NAP, lines, pause};
use crate::cli::Result;
use crate::cli::shutdown::{Stop, UNTIL_EOF};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to end: longer than our servers give their clients.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

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

pub(crate) struct Fleet {
    /// The build of this program that is started next.
    pub program: PathBuf,
    /// For logs; an absolute path where others are started.
    pub folder: PathBuf,
    root: PathBuf,
    /// In the order of their start.
    pub servers: Vec<Server>,
    processes: Vec<Process>,
    is_scratch: bool,
    /// Ends every wait.
    stop: Stop,
}

impl Fleet {
    /// None yet. Ours will serve `root`; logs go into `folder`, from which older ones are removed.
    pub fn new(folder: &Path, root: &Path, stop: &Stop) -> Result<Fleet> {
        let wrong = |e| format!("cannot write in '{}': {e}", folder.display());
        fs::create_dir_all(folder).map_err(wrong)?;
        for entry in fs::read_dir(folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.extension().is_some_and(|e| e == "log") {
                fs::remove_file(&path).map_err(wrong)?;
            }
        }
        let program = std::env::current_exe();
        Ok(Fleet {
            program: program.map_err(|e| format!("cannot find this program: {e}"))?,
            folder: folder.to_owned(),
            root: root.to_owned(),
            servers: Vec::new(),
            processes: Vec::new(),
            is_scratch: false,
            stop: stop.clone(),
        })
    }

    /// In a folder that goes with the fleet; there is nothing to serve but `/`.
    pub fn in_scratch(stop: &Stop) -> Result<Fleet> {
        let folder = std::env::temp_dir().join(format!("progjar-{}", std::process::id()));
        let mut fleet = Fleet::new(&folder, &folder, stop)?;
        fleet.is_scratch = true;
        Ok(fleet)
    }

    /// Starts `progjar TOPIC PORT ARGS`, and waits until it listens; port 0 is any free port.
    pub fn start<A: AsRef<str>>(&mut self, topic: &str, port: u16, args: &[A]) -> Result<Server> {
        let number = self.servers.iter().filter(|server| server.topic == topic).count();
        let log = match (number, topic) {
            (_, "async_server") if port > 0 => format!("{topic}-{port}"),
            (0, _) => topic.to_owned(),
            _ => format!("{topic}-{}", number + 1),
        };
        let port = port.to_string();
        let words: Vec<&str> = args.iter().map(A::as_ref).collect();
        let mut command = Command::new(&self.program);
        command.args([UNTIL_EOF, topic, &port]).args(&words);
        if matches!(topic, "async_server" | "thread_server") {
            command.arg("--root").arg(&self.root);
        }
        let typed = [&["./run.sh", topic, &port][..], &words].concat().join(" ");
        let beginning = format!("{topic}: listening on http://");
        self.launch(topic, &typed, command, &log, &|lines| {
            let address = lines.iter().find_map(|line| line.strip_prefix(&beginning))?;
            address.trim_end_matches('/').parse().ok()
        })
    }

    /// Starts another's server on a free port, and waits until it answers. Its settings become the
    /// file `settings` in its own FOLDER. In them and in its arguments these words in capitals are
    /// filled in, and then ADDRESS, PORT, ROOT and FOLDER.
    pub fn start_other(
        &mut self,
        name: &str,
        program: &Path,
        arguments: &[&str],
        settings: &str,
        words: &[(&str, String)],
    ) -> Result<Server> {
        let (address, folder) = (free_address()?, self.folder.join(name));
        let ours = [
            ("ADDRESS", address.to_string()),
            ("PORT", address.port().to_string()),
            ("ROOT", self.root.display().to_string()),
            ("FOLDER", folder.display().to_string()),
        ];
        let fill = |text: &str| {
            let words = words.iter().chain(&ours);
            words.fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
        };
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("settings"), fill(settings)))
            .map_err(|e| format!("cannot write in '{}': {e}", folder.display()))?;
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, "sh"]).arg(program).args(arguments.iter().map(|a| fill(a)));
        // Ctrl-C on the terminal is not for the shell: it would end without its work done.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.launch(name, name, command, name, &|_| {
            get(address, "").is_ok_and(|answer| !answer.is_empty()).then_some(address)
        })
    }

    /// Starts it and waits until `address` finds where it listens, in what it has printed or not.
    fn launch(
        &mut self,
        topic: &str,
        typed: &str,
        mut command: Command,
        log: &str,
        address: &dyn Fn(&[String]) -> Option<SocketAddr>,
    ) -> Result<Server> {
        let log = self.folder.join(format!("{log}.log"));
        let output = File::create(&log)
            .and_then(|output| Ok((output.try_clone()?, output)))
            .map_err(|e| format!("cannot write the log '{}': {e}", log.display()))?;
        command.stdin(Stdio::piped()).stderr(output.0).stdout(output.1);
        let child = command.spawn();
        let child = child.map_err(|e| format!("cannot start {:?}: {e}", command.get_program()))?;
        let mut process = Process(child);
        let deadline = Instant::now() + START_PATIENCE;
        let address = loop {
            if let Some(address) = address(&lines(&log)) {
                break address;
            }
            if process.has_ended() || Instant::now() > deadline {
                let lines = lines(&log);
                let why = lines.last().map_or("it said nothing", String::as_str);
                return Err(format!("{topic} did not start: {why}"));
            }
            pause(&self.stop)?;
        };
        let (topic, command, pid) = (topic.to_owned(), typed.to_owned(), process.0.id());
        let server = Server { topic, address, command, log, pid };
        self.processes.push(process);
        self.servers.push(server.clone());
        Ok(server)
    }

    pub fn one(&self, topic: &str) -> Result<&Server> {
        let found = self.servers.iter().find(|server| server.topic == topic);
        found.ok_or_else(|| format!("{topic} has not been started"))
    }

    /// Whether all are still there; the error names the log of one that is not.
    pub fn check_running(&mut self) -> Result<()> {
        let mut all = self.servers.iter().zip(&mut self.processes);
        match all.find_map(|(server, process)| process.has_ended().then_some(server)) {
            None => Ok(()),
            Some(Server { topic, address, log, .. }) => {
                Err(format!("{topic} on {address} has ended early; see {}", log.display()))
            }
        }
    }
}

impl Drop for Fleet {
    /// Asks all to end before it waits for each.
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(|process| drop(process.0.stdin.take()));
        self.processes.clear();
        if self.is_scratch {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Another's program below a shell, which asks it to end when its own standard input ends. The
/// signal is repeated, since nginx loses one that comes while it starts.
const SHELL: &str = "\"$@\" </dev/null &
child=$!
read -r _
kill $child 2>/dev/null
(while sleep 0.5 && kill $child; do :; done) 2>/dev/null &
again=$!
wait $child
kill $again";

/// Ours, or the shell above another's; dropped, it has ended.
struct Process(Child);

impl Process {
    /// Whether it has ended by itself. A shell has not: it waits for us.
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Process {
    /// Waits until it has ended, and kills what does not.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let deadline = Instant::now() + END_PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            // The stop flag may be what brought us here: it ends no nap.
            std::thread::sleep(NAP);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address whose port nobody uses yet; a program that finds it taken says so and ends.
pub(crate) fn free_address() -> Result<SocketAddr> {
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
