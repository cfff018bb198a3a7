//! nginx and HAProxy, configured as `notes/growing.md` says, where they are installed.

use super::{Folder, PATIENCE};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
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

/// The program, if it is installed; else the test is skipped, aloud, or fails where tools are
/// required.
pub fn find(program: &str) -> Option<String> {
    let places = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let found = places
        .split(':')
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| Path::new(path).exists());
    if found.is_none() {
        assert!(
            std::env::var_os("PROGJAR_REQUIRE_TOOLS").is_none(),
            "{program} is missing: apt install {program}"
        );
        eprintln!("SKIPPED: {program} is not installed (apt install {program})");
    }
    found
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

/// Starts a program with the configuration, its `port` replaced by a free one. A port that was
/// free may be gone a moment later, so it tries again.
fn start(configuration: &str, port: u16, command: impl Fn(&str) -> Command) -> Neighbour {
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let folder = Folder::new();
        let text = configuration.replace(&format!("127.0.0.1:{port}"), &address.to_string());
        let file = folder.write("configuration", text.as_bytes());
        let mut command = command(file.to_str().expect("the path is UTF-8"));
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
    panic!("it does not start with\n{configuration}");
}

pub fn start_haproxy(program: &str, configuration: &str) -> Neighbour {
    start(configuration, 44444, |file| {
        let mut command = Command::new(program);
        command.args(["-db", "-q", "-f", file]);
        command
    })
}

/// One process, so that nothing outlives it.
pub fn start_nginx(program: &str, configuration: &str, port: u16) -> Neighbour {
    start(configuration, port, |file| {
        let pid = format!("daemon off; master_process off; pid {file}.pid;");
        let mut command = Command::new(program);
        command.args(["-p", ROOT, "-c", file, "-e", "stderr", "-g", &pid]);
        command
    })
}
