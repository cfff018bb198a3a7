//! nginx and HAProxy, under the settings under which each is at its best here.
//!
//! The same for all sides: logs off, connections kept for ever, large pools of connections to
//! the backends, as many workers as the lb has, a backlog of 4096. Entry points: [`Nginx`],
//! [`start_haproxy`].

use super::measure::HOME;
use crate::cli::shutdown::Stop;
use crate::lab::fleet::{Fleet, Server, free_address};
use crate::lab::process::guarded;
use crate::lab::usage::is_root;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// As nothing ends a connection here, an idle one lives for the whole measurement.
pub(super) const IDLE_SECONDS: u32 = 3600;

/// What all nginx have in common.
pub(super) struct Nginx<'a> {
    pub program: &'a Path,
    pub root: &'a Path,
    /// How many connections each worker may hold.
    pub connections: u64,
    pub stop: &'a Stop,
}

impl Nginx<'_> {
    /// A server of the files below the root, one worker.
    pub fn start_server(&self, fleet: &mut Fleet, name: &str) -> Result<Server, String> {
        let address = free_address()?;
        self.start(fleet, name, address, 1, &server(address, self.root))
    }

    /// A load balancer.
    pub fn start_gateway(
        &self,
        fleet: &mut Fleet,
        workers: usize,
        backends: &[Server],
    ) -> Result<Server, String> {
        let address = free_address()?;
        self.start(fleet, "nginx-lb", address, workers, &gateway(address, backends))
    }

    fn start(
        &self,
        fleet: &mut Fleet,
        name: &str,
        address: SocketAddr,
        workers: usize,
        server: &str,
    ) -> Result<Server, String> {
        let folder = fleet.folder.join(name);
        fs::create_dir_all(&folder)
            .map_err(|e| format!("cannot write in '{}': {e}", folder.display()))?;
        // Its workers keep our user instead of an unprivileged one.
        let user = if is_root() { "user root;\n" } else { "" };
        let text = user.to_owned() + &whole(&folder, workers, self.connections, server);
        let config = write(&folder.join("nginx.conf"), &text)?;
        let prefix = folder.display().to_string();
        let arguments = ["-e", "stderr", "-p", &prefix, "-c", &config];
        fleet.start_other(name, guarded(self.program, &arguments, "TERM"), address, self.stop)
    }
}

fn whole(folder: &Path, workers: usize, connections: u64, server: &str) -> String {
    let folder = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|kind| format!("  {kind}_temp_path \"{folder}/{kind}\";\n")).concat();
    format!(
        "daemon off;
worker_processes {workers};
pid \"{folder}/pid\";
error_log stderr crit;
events {{ worker_connections {connections}; accept_mutex off; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout {IDLE_SECONDS}s;
  keepalive_requests 1000000000;
  open_file_cache max=1000 inactive={IDLE_SECONDS}s;
  open_file_cache_valid 60s;
{paths}  types {{ image/jpeg jpg; }}
{server}}}
"
    )
}

fn server(address: SocketAddr, root: &Path) -> String {
    format!(
        "  server {{
    listen {address} backlog=4096;
    root \"{}\";
    location = / {{ default_type text/plain; return 200 \"{HOME}\"; }}
  }}
",
        root.display()
    )
}

/// An answer that is larger than the buffers waits for its client, as with the lb; it is not
/// written to disk.
fn gateway(address: SocketAddr, backends: &[Server]) -> String {
    let backends = list(backends, |_, address| format!("    server {address};\n"));
    format!(
        "  upstream backends {{
{backends}    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout {IDLE_SECONDS}s;
  }}
  server {{
    listen {address} backlog=4096 reuseport;
    location / {{
      proxy_pass http://backends;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffers 16 16k;
      proxy_busy_buffers_size 64k;
      proxy_max_temp_file_size 0;
    }}
  }}
"
    )
}

fn list(backends: &[Server], line: impl Fn(usize, SocketAddr) -> String) -> String {
    backends.iter().enumerate().map(|(i, backend)| line(i, backend.address)).collect()
}

/// HAProxy as a load balancer. Left to itself it closes its pool of connections to the backends
/// when a quarter of its descriptors are in use: idle clients would cost it dearly.
pub(super) fn start_haproxy(
    fleet: &mut Fleet,
    program: &Path,
    (threads, connections): (usize, u64),
    backends: &[Server],
    stop: &Stop,
) -> Result<Server, String> {
    let address = free_address()?;
    let backends = list(backends, |i, address| format!("  server s{i} {address}\n"));
    let text = format!(
        "global
  nbthread {threads}
  maxconn {connections}
  no strict-limits
  tune.pool-low-fd-ratio 95
  tune.pool-high-fd-ratio 95
defaults
  mode http
  timeout connect 5s
  timeout client {IDLE_SECONDS}s
  timeout server {IDLE_SECONDS}s
  timeout http-keep-alive {IDLE_SECONDS}s
  option http-keep-alive
  http-reuse always
frontend clients
  bind {address} backlog 4096
  default_backend servers
backend servers
  balance roundrobin
{backends}"
    );
    let config = write(&fleet.folder.join("haproxy.cfg"), &text)?;
    let command = guarded(program, &["-db", "-f", &config], "TERM");
    fleet.start_other("haproxy", command, address, stop)
}

fn write(path: &Path, text: &str) -> Result<String, String> {
    fs::write(path, text).map_err(|e| format!("cannot write '{}': {e}", path.display()))?;
    Ok(path.display().to_string())
}
