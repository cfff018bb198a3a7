//! What nginx and HAProxy are told: the settings under which each is at its best here.
//!
//! The same for all sides: logs off, connections kept for ever, large pools of connections to
//! the backends, as many workers as the lb has, a backlog of 4096. Knows no process.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// What `/` answers on our side too.
pub const HOME: &str = "Ini Adalah web Server percobaan";
/// As nothing ends a connection here, an idle one lives for the whole measurement.
pub const IDLE_SECONDS: u32 = 3600;

/// What all nginx have in common.
#[derive(Debug)]
pub struct Nginx<'a> {
    /// For its files; an absolute path.
    pub folder: &'a Path,
    /// How many connections each worker may hold.
    pub connections: u64,
    /// Its workers keep our user instead of an unprivileged one.
    pub as_root: bool,
}

impl Nginx<'_> {
    /// A server of the files below `root`, one worker.
    pub fn server(&self, address: SocketAddr, root: &Path) -> String {
        let server = format!(
            "  server {{
    listen {address} backlog=4096;
    root \"{}\";
    location = / {{ default_type text/plain; return 200 \"{HOME}\"; }}
  }}
",
            root.display()
        );
        self.whole(1, &server)
    }

    /// A load balancer. An answer that is larger than the buffers waits for its client, as with
    /// the lb; it is not written to disk.
    pub fn gateway(&self, address: SocketAddr, workers: usize, backends: &[SocketAddr]) -> String {
        let mut server = String::from("  upstream backends {\n");
        for backend in backends {
            let _ = writeln!(server, "    server {backend};");
        }
        let _ = write!(
            server,
            "    keepalive 256;
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
        );
        self.whole(workers, &server)
    }

    fn whole(&self, workers: usize, server: &str) -> String {
        let folder = self.folder.display();
        let user = if self.as_root { "user root;\n" } else { "" };
        let mut text = format!(
            "daemon off;
{user}worker_processes {workers};
pid \"{folder}/pid\";
error_log stderr crit;
events {{ worker_connections {}; accept_mutex off; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout {IDLE_SECONDS}s;
  keepalive_requests 1000000000;
  open_file_cache max=1000 inactive={IDLE_SECONDS}s;
  open_file_cache_valid 60s;
",
            self.connections
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = writeln!(text, "  {kind}_temp_path \"{folder}/{kind}\";");
        }
        let _ = write!(text, "  types {{ image/jpeg jpg; }}\n{server}}}\n");
        text
    }
}

/// HAProxy as a load balancer. Left to itself it closes its pool of connections to the backends
/// when a quarter of its descriptors are in use: idle clients would cost it dearly.
pub fn haproxy(
    address: SocketAddr,
    threads: usize,
    backends: &[SocketAddr],
    connections: u64,
) -> String {
    let mut text = format!(
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
"
    );
    for (i, backend) in backends.iter().enumerate() {
        let _ = writeln!(text, "  server s{i} {backend}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_fair_and_whole() {
        let address: SocketAddr = ([127, 0, 0, 1], 4711).into();
        let backends: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
        let nginx = Nginx { folder: Path::new("/a b"), connections: 11_000, as_root: false };
        let server = nginx.server(address, Path::new("/w w"));
        let gateway = nginx.gateway(address, 3, &backends);
        for text in [&server, &gateway] {
            assert_eq!(text.matches('{').count(), text.matches('}').count());
            for line in [
                "daemon off;",
                "access_log off;",
                "sendfile on;",
                "open_file_cache max=1000",
                "keepalive_requests 1000000000;",
                "worker_connections 11000;",
                "listen 127.0.0.1:4711 backlog=4096",
                "pid \"/a b/pid\";",
            ] {
                assert!(text.contains(line), "{line} in {text}");
            }
            assert!(!text.contains("user root"));
        }
        assert!(server.contains("worker_processes 1;") && server.contains("root \"/w w\";"));
        assert!(gateway.contains("worker_processes 3;") && gateway.contains("keepalive 256;"));
        assert!(gateway.contains("server 127.0.0.1:1;\n    server 127.0.0.1:2;"));
        let haproxy = haproxy(address, 2, &backends, 5000);
        for line in [
            "nbthread 2",
            "maxconn 5000",
            "http-reuse always",
            "bind 127.0.0.1:4711 backlog 4096",
            "server s1 127.0.0.1:2",
        ] {
            assert!(haproxy.contains(line), "{line} in {haproxy}");
        }
    }
}
