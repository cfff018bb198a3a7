//! nginx and HAProxy, under the settings under which each is at its best here: `nginx.conf`,
//! `haproxy.cfg` and the two beside them.
//!
//! The same for all sides: logs off, connections kept for ever, large pools of connections to
//! the backends, as many workers as the lb has, a backlog of 4096. Entry point: [`Others`].

use super::measure::{HOME, is_root};
use crate::bench::plan::cores;
use crate::cli::Result;
use crate::lab::fleet::{Fleet, Server};
use std::path::{Path, PathBuf};

/// As nothing ends a connection here, an idle one lives for the whole measurement.
pub(super) const IDLE_SECONDS: &str = "3600";

pub(super) struct Others {
    pub nginx: Option<PathBuf>,
    pub haproxy: Option<PathBuf>,
    /// How many connections each worker must hold.
    pub connections: u64,
}

impl Others {
    /// nginx: a server of the files of the site, one worker; or with backends a gateway.
    pub fn run_nginx(&self, fleet: &mut Fleet, name: &str, backends: &[Server]) -> Result<Server> {
        let server = match backends {
            [] => include_str!("nginx-server.conf"),
            _ => include_str!("nginx-gateway.conf"),
        };
        let text = include_str!("nginx.conf").replace("SERVER", server);
        let nginx = self.nginx.as_deref().unwrap_or(Path::new("nginx"));
        self.start(fleet, name, nginx, &["-e", "stderr", "-c", "FOLDER/settings"], &text, backends)
    }

    pub fn run_haproxy(&self, fleet: &mut Fleet, backends: &[Server]) -> Result<Server> {
        let text = include_str!("haproxy.cfg");
        let haproxy = self.haproxy.as_deref().unwrap_or(Path::new("haproxy"));
        self.start(fleet, "haproxy", haproxy, &["-db", "-f", "FOLDER/settings"], text, backends)
    }

    /// Starts it with these settings, in which a line with BACKEND stands once for each.
    fn start(
        &self,
        fleet: &mut Fleet,
        name: &str,
        program: &Path,
        arguments: &[&str],
        text: &str,
        backends: &[Server],
    ) -> Result<Server> {
        let workers = if backends.is_empty() { 1 } else { cores() };
        let words = [
            // nginx's workers would else give up being root, and could not read our files.
            ("USER\n", if is_root() { "user root;\n" } else { "" }.to_owned()),
            ("WORKERS", workers.to_string()),
            ("CONNECTIONS", self.connections.to_string()),
            ("SECONDS", IDLE_SECONDS.to_owned()),
            ("HOME", HOME.to_owned()),
        ];
        let mut whole = String::new();
        for line in text.lines() {
            let numbered = backends.iter().enumerate().map(|(i, backend)| {
                let line = line.replace("BACKEND", &backend.address.to_string());
                line.replace("NUMBER", &i.to_string()) + "\n"
            });
            match line.contains("BACKEND") {
                true => whole.extend(numbered),
                false => whole = whole + line + "\n",
            }
        }
        fleet.start_other(name, program, arguments, &whole, &words)
    }
}
