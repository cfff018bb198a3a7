//! nginx and HAProxy, configured as `notes/growing.md` says, where they are installed.

use super::{Folder, PATIENCE, free_port};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The fenced block of the note with this name.
pub fn configuration(name: &str) -> String {
    let note = Path::new(ROOT).join("notes/growing.md");
    let note = fs::read_to_string(note).expect("the note is there");
    let fence = format!("```text {name}\n");
    let (_, rest) = note.split_once(&fence).expect("the note shows it");
    let (block, _) = rest.split_once("```").expect("the block ends");
    block.to_owned()
}

/// A neighbour that runs; killed when dropped.
pub struct Neighbour {
    pub child: Child,
    pub address: SocketAddr,
    _folder: Folder,
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts what `command` makes of a free port and a folder of its own. A port that was free may be
/// gone a moment later, so it tries again.
pub fn start(command: impl Fn(u16, &Folder) -> Command) -> Neighbour {
    let mut tried = String::new();
    for _ in 0..5 {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = Folder::new();
        let mut command = command(address.port(), &folder);
        tried = format!("{command:?}");
        let child = command.stdin(Stdio::null()).spawn();
        let mut neighbour =
            Neighbour { child: child.expect("it starts"), address, _folder: folder };
        let give_up = Instant::now() + PATIENCE;
        while matches!(neighbour.child.try_wait(), Ok(None)) && Instant::now() < give_up {
            if TcpStream::connect(address).is_ok() {
                return neighbour;
            }
            std::thread::sleep(Duration::from_millis(5)); // between two looks
        }
    }
    panic!("it does not start: {tried}");
}

/// Starts a program with the configuration, its `port` replaced by a free one.
fn start_with(configuration: &str, port: u16, command: impl Fn(&str) -> Command) -> Neighbour {
    start(|free, folder| {
        let there = format!("127.0.0.1:{port}");
        let text = configuration.replace(&there, &format!("127.0.0.1:{free}"));
        let file = folder.write("configuration", text.as_bytes());
        command(file.to_str().expect("the path is UTF-8"))
    })
}

pub fn start_haproxy(program: &Path, configuration: &str) -> Neighbour {
    start_with(configuration, 44444, |file| {
        let mut command = Command::new(program);
        command.args(["-db", "-q", "-f", file]);
        command
    })
}

/// One process, so that nothing outlives it.
pub fn start_nginx(program: &Path, configuration: &str, port: u16) -> Neighbour {
    start_with(configuration, port, |file| {
        let pid = format!("daemon off; master_process off; pid {file}.pid;");
        let mut command = Command::new(program);
        command.args(["-p", ROOT, "-c", file, "-e", "stderr", "-g", &pid]);
        command
    })
}
