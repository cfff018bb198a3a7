//! All systems that are compared, each started with its backends and listening.
//!
//! Entry point: [`Lineup::start`]. Dropping it ends them all.

use super::cases::Case;
use super::configs::{self, IDLE_SECONDS, Nginx};
use super::guest::{Guest, free_port};
use super::usage::{family, is_root};
use crate::assignment::program;
use crate::assignment::servers::Servers;
use crate::assignment::{End, say};
use crate::cli::shutdown::Stop;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;

/// Backends of each load balancer, as in the assignment.
pub const BACKENDS: usize = 4;

/// What a system does; it is compared with others that do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Answers by itself.
    Server,
    /// Has others answer.
    Gateway,
}

/// Something that can be measured.
#[derive(Debug, Clone)]
pub struct System {
    /// As in the tables.
    pub name: &'static str,
    pub role: Role,
    /// Where its clients go.
    pub address: SocketAddr,
    /// Its processes, backends included.
    pub pids: Vec<u32>,
    /// The cases that it can do.
    pub can: fn(&Case) -> bool,
}

/// The names of the systems.
pub const ASYNC_SERVER: &str = "async_server";
pub const THREAD_SERVER: &str = "thread_server";
pub const NGINX: &str = "nginx";
pub const LB: &str = "lb + 4 async_servers";
pub const LB_PIPELINE: &str = "lb --pipeline 32 + 4";
pub const NGINX_LB: &str = "nginx + 4 nginx";
pub const HAPROXY: &str = "HAProxy + 4 nginx";
/// What makes the same system calls and does not think.
pub const FLOOR: &str = "floor";
pub const FLOOR_LB: &str = "floor + 4 floors";

/// What is started from.
#[derive(Debug)]
pub struct Place<'a> {
    /// For configurations and logs; an absolute path.
    pub folder: &'a Path,
    /// The files to serve; an absolute path.
    pub root: &'a Path,
    /// How many connections a server must hold.
    pub connections: u64,
}

/// All of them, running.
#[derive(Debug)]
pub struct Lineup {
    pub systems: Vec<System>,
    /// What is not installed.
    pub missing: Vec<String>,
    ours: Servers,
    guests: Vec<Guest>,
}

impl Lineup {
    /// Starts ours and, where installed, the others.
    pub fn start(place: &Place, stop: &Stop) -> Result<Lineup, End> {
        let mut lineup = Lineup {
            systems: Vec::new(),
            missing: Vec::new(),
            ours: Servers::new(place.folder, place.root),
            guests: Vec::new(),
        };
        lineup.start_ours(place, stop)?;
        match installed("nginx") {
            Some(nginx) => lineup.start_others(place, &nginx, stop)?,
            None => lineup.misses("nginx is not installed (apt install nginx-light): it is left out, and HAProxy, which needs it as backend"),
        }
        lineup.start_floors(stop)?;
        // Servers first, as in the tables; each kind stays in the order of its start.
        lineup.systems.sort_by_key(|s| s.role == Role::Gateway);
        // Only now: a program's workers are born a moment after it listens.
        for system in &mut lineup.systems {
            system.pids = system.pids.iter().flat_map(|pid| family(*pid)).collect();
        }
        Ok(lineup)
    }

    fn misses(&mut self, what: &str) {
        say(what);
        self.missing.push(what.to_owned());
    }

    fn start_ours(&mut self, place: &Place, stop: &Stop) -> Result<(), End> {
        let common = [
            "--quiet".to_owned(),
            format!("--idle-timeout={IDLE_SECONDS}s"),
            format!("--max-connections={}", place.connections),
        ];
        let mut backends: Vec<(SocketAddr, u32)> = Vec::new();
        for _ in 0..BACKENDS {
            let server = self.ours.start("async_server", 0, &common, stop)?;
            backends.push((server.address, server.pid()));
        }
        for (name, topic) in [(ASYNC_SERVER, "async_server"), (THREAD_SERVER, "thread_server")] {
            let server = self.ours.start(topic, 0, &common, stop)?;
            let (address, pids) = (server.address, vec![server.pid()]);
            self.add(name, Role::Server, address, pids, |_| true);
        }
        for (name, depth) in [(LB, 1), (LB_PIPELINE, 32)] {
            let mut arguments = common.to_vec();
            arguments.push(format!("--workers={}", workers()));
            arguments.push(format!("--pipeline={depth}"));
            arguments.extend(backends.iter().map(|(a, _)| format!("--backend={a}")));
            let server = self.ours.start("lb", 0, &arguments, stop)?;
            let (address, mut pids) = (server.address, vec![server.pid()]);
            pids.extend(backends.iter().map(|(_, pid)| *pid));
            self.add(name, Role::Gateway, address, pids, |_| true);
        }
        Ok(())
    }

    /// They know one answer, and either keep a connection or close it.
    fn start_floors(&mut self, stop: &Stop) -> Result<(), End> {
        let keeps: fn(&Case) -> bool = |case| case.is_small() && case.keep_alive;
        let closes: fn(&Case) -> bool = |case| case.is_small() && !case.keep_alive;
        let workers = format!("--workers={}", workers());
        let (mut backends, mut backend_pids) = (Vec::new(), Vec::new());
        for _ in 0..BACKENDS {
            let server = self.ours.start("floor", 0, &[], stop)?;
            backends.push(format!("--backend={}", server.address));
            backend_pids.push(server.pid());
        }
        for (can, close) in [(keeps, None), (closes, Some("--close".to_owned()))] {
            let alone: Vec<String> = close.iter().cloned().collect();
            let server = self.ours.start("floor", 0, &alone, stop)?;
            let (address, pids) = (server.address, vec![server.pid()]);
            self.add(FLOOR, Role::Server, address, pids, can);
            let copying = [&alone[..], &backends, std::slice::from_ref(&workers)].concat();
            let server = self.ours.start("floor", 0, &copying, stop)?;
            let address = server.address;
            let pids = [&backend_pids[..], &[server.pid()]].concat();
            self.add(FLOOR_LB, Role::Gateway, address, pids, can);
        }
        Ok(())
    }

    fn start_others(&mut self, place: &Place, nginx: &Path, stop: &Stop) -> Result<(), End> {
        let (address, pid) = self.start_nginx(place, nginx, "nginx", stop, &|nginx, address| {
            nginx.server(address, place.root)
        })?;
        self.add(NGINX, Role::Server, address, vec![pid], |_| true);
        let (mut backends, mut backend_pids) = (Vec::new(), Vec::new());
        for i in 1..=BACKENDS {
            let name = format!("nginx-backend-{i}");
            let (address, pid) =
                self.start_nginx(place, nginx, &name, stop, &|nginx, address| {
                    nginx.server(address, place.root)
                })?;
            backends.push(address);
            backend_pids.push(pid);
        }
        let (address, pid) =
            self.start_nginx(place, nginx, "nginx-lb", stop, &|nginx, address| {
                nginx.gateway(address, workers(), &backends)
            })?;
        let mut pids = backend_pids.clone();
        pids.push(pid);
        self.add(NGINX_LB, Role::Gateway, address, pids, |_| true);
        let Some(haproxy) = installed("haproxy") else {
            self.misses("HAProxy is not installed (apt install haproxy): it is left out");
            return Ok(());
        };
        let address = (Ipv4Addr::LOCALHOST, free_port()?).into();
        let text = configs::haproxy(address, workers(), &backends, place.connections);
        let config = write(&place.folder.join("haproxy.cfg"), &text)?;
        let arguments = ["-db", "-f", &config];
        let pid = self.start_guest(place, &haproxy, "haproxy", &arguments, address, stop)?;
        backend_pids.push(pid);
        self.add(HAPROXY, Role::Gateway, address, backend_pids, |_| true);
        Ok(())
    }

    /// The address and the processes of an nginx with the configuration that `text` says.
    fn start_nginx(
        &mut self,
        place: &Place,
        program: &Path,
        name: &str,
        stop: &Stop,
        text: &dyn Fn(&Nginx, SocketAddr) -> String,
    ) -> Result<(SocketAddr, u32), End> {
        let folder = place.folder.join(name);
        fs::create_dir_all(&folder)
            .map_err(|e| format!("cannot write in '{}': {e}", folder.display()))?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()?).into();
        let nginx = Nginx { folder: &folder, connections: place.connections, as_root: is_root() };
        let config = write(&folder.join("nginx.conf"), &text(&nginx, address))?;
        let prefix = folder.display().to_string();
        let arguments = ["-e", "stderr", "-p", &prefix, "-c", &config];
        let pid = self.start_guest(place, program, name, &arguments, address, stop)?;
        Ok((address, pid))
    }

    fn start_guest(
        &mut self,
        place: &Place,
        program: &Path,
        name: &str,
        arguments: &[&str],
        address: SocketAddr,
        stop: &Stop,
    ) -> Result<u32, End> {
        let log = place.folder.join(format!("{name}.log"));
        let guest = Guest::start(program, arguments, "TERM", &log)?;
        guest.wait_until_it_answers(address, stop)?;
        let pid = guest.pid();
        self.guests.push(guest);
        Ok(pid)
    }

    fn add(
        &mut self,
        name: &'static str,
        role: Role,
        address: SocketAddr,
        pids: Vec<u32>,
        can: fn(&Case) -> bool,
    ) {
        say(&format!("{name}: http://{address}/"));
        self.systems.push(System { name, role, address, pids, can });
    }

    /// Whether all are still there.
    pub fn check_running(&mut self) -> Result<(), String> {
        self.ours.check_running()
    }
}

/// The same number for every load balancer.
pub fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// On Debian servers lie outside a user's PATH.
pub fn installed(name: &str) -> Option<PathBuf> {
    let elsewhere = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(|f| Path::new(f).join(name));
    program::find(&[name]).or_else(|| elsewhere.into_iter().find(|path| path.is_file()))
}

fn write(path: &Path, text: &str) -> Result<String, String> {
    fs::write(path, text).map_err(|e| format!("cannot write '{}': {e}", path.display()))?;
    Ok(path.display().to_string())
}
