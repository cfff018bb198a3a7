//! nginx and HAProxy, under the settings under which each is at its best here: `nginx.conf`,
//! `haproxy.cfg` and the two beside them.
//!
//! The same for all sides: logs off, connections kept for ever, large pools of connections to
//! the backends, as many workers as the lb has, a backlog of 4096. Entry point: [`Others`].

use super::measure::HOME;
use super::usage::is_root;
use crate::lab::fleet::{Fleet, Server, free_address};
use crate::lab::machine::cores;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// As nothing ends a connection here, an idle one lives for the whole measurement.
pub(super) const IDLE_SECONDS: &str = "3600";

/// What all of them have in common.
pub(super) struct Others<'a> {
    pub nginx: Option<PathBuf>,
    pub haproxy: Option<PathBuf>,
    pub root: &'a Path,
    /// How many connections each worker must hold.
    pub connections: u64,
}

impl Others<'_> {
    /// nginx: a server of the files below the root, one worker; or with backends a gateway.
    pub fn start_nginx(
        &self,
        fleet: &mut Fleet,
        name: &str,
        backends: &[Server],
    ) -> Result<Server, String> {
        let (server, workers) = match backends {
            [] => (include_str!("nginx-server.conf"), 1),
            _ => (include_str!("nginx-gateway.conf"), cores()),
        };
        let folder = fleet.folder.join(name);
        fs::create_dir_all(&folder)
            .map_err(|e| format!("cannot write in '{}': {e}", folder.display()))?;
        let (address, file) = (free_address()?, folder.join("nginx.conf"));
        let text = include_str!("nginx.conf").replace("SERVER", server);
        let config = self.write(&file, &text, address, backends, workers)?;
        let arguments = ["-e", "stderr", "-p", &folder.display().to_string(), "-c", &config];
        let nginx = self.nginx.as_deref().unwrap_or(Path::new("nginx"));
        fleet.start_other(name, nginx, &arguments, address)
    }

    pub fn start_haproxy(
        &self,
        fleet: &mut Fleet,
        haproxy: &Path,
        backends: &[Server],
    ) -> Result<Server, String> {
        let (address, file) = (free_address()?, fleet.folder.join("haproxy.cfg"));
        let config = include_str!("haproxy.cfg");
        let config = self.write(&file, config, address, backends, cores())?;
        fleet.start_other("haproxy", haproxy, &["-db", "-f", &config], address)
    }

    /// Fills in the words in capitals; a line with BACKEND stands once for each. The file's path.
    fn write(
        &self,
        file: &Path,
        text: &str,
        address: SocketAddr,
        backends: &[Server],
        workers: usize,
    ) -> Result<String, String> {
        let folder = file.parent().unwrap_or(file).display().to_string();
        let words = [
            // nginx's workers would else give up being root, and could not read our files.
            ("USER\n", if is_root() { "user root;\n" } else { "" }.to_owned()),
            ("WORKERS", workers.to_string()),
            ("CONNECTIONS", self.connections.to_string()),
            ("SECONDS", IDLE_SECONDS.to_owned()),
            ("ADDRESS", address.to_string()),
            ("HOME", HOME.to_owned()),
            ("ROOT", self.root.display().to_string()),
            ("FOLDER", folder),
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
        let fill = |text: String, (word, value): (&str, String)| text.replace(word, &value);
        fs::write(file, words.into_iter().fold(whole, fill))
            .map_err(|e| format!("cannot write '{}': {e}", file.display()))?;
        Ok(file.display().to_string())
    }
}
