//! nginx and HAProxy, under the settings under which each is at its best here: `nginx.conf`,
//! `haproxy.cfg` and the two beside them.
//!
//! The same for all sides: logs off, connections kept for ever, large pools of connections to
//! the backends, as many workers as the lb has, a backlog of 4096. Entry point: [`Others`].

use super::measure::{HOME, is_root};
use crate::lab::fleet::{Fleet, Server, free_address};
use crate::lab::notes::cores;
use std::fs;
use std::path::{Path, PathBuf};

/// As nothing ends a connection here, an idle one lives for the whole measurement.
pub(super) const IDLE_SECONDS: &str = "3600";

/// What all of them have in common.
pub(super) struct Others {
    pub nginx: Option<PathBuf>,
    pub haproxy: Option<PathBuf>,
    /// How many connections each worker must hold.
    pub connections: u64,
}

impl Others {
    /// nginx: a server of the files of the site, one worker; or with backends a gateway.
    pub fn start_nginx(
        &self,
        fleet: &mut Fleet,
        name: &str,
        backends: &[Server],
    ) -> Result<Server, String> {
        let server = match backends {
            [] => include_str!("nginx-server.conf"),
            _ => include_str!("nginx-gateway.conf"),
        };
        let text = include_str!("nginx.conf").replace("SERVER", server);
        let nginx = self.nginx.as_deref().unwrap_or(Path::new("nginx"));
        self.start(fleet, name, nginx, &["-e", "stderr", "-c"], &text, backends)
    }

    pub fn start_haproxy(
        &self,
        fleet: &mut Fleet,
        haproxy: &Path,
        backends: &[Server],
    ) -> Result<Server, String> {
        let text = include_str!("haproxy.cfg");
        self.start(fleet, "haproxy", haproxy, &["-db", "-f"], text, backends)
    }

    /// Starts it with a file of settings in which the words in capitals are filled in; a line with
    /// BACKEND stands once for each.
    fn start(
        &self,
        fleet: &mut Fleet,
        name: &str,
        program: &Path,
        arguments: &[&str],
        text: &str,
        backends: &[Server],
    ) -> Result<Server, String> {
        let (address, folder) = (free_address()?, fleet.folder.join(name));
        let workers = if backends.is_empty() { 1 } else { cores() };
        let words = [
            // nginx's workers would else give up being root, and could not read our files.
            ("USER\n", if is_root() { "user root;\n" } else { "" }.to_owned()),
            ("WORKERS", workers.to_string()),
            ("CONNECTIONS", self.connections.to_string()),
            ("SECONDS", IDLE_SECONDS.to_owned()),
            ("ADDRESS", address.to_string()),
            ("HOME", HOME.to_owned()),
            ("ROOT", fleet.folder.join("site").display().to_string()),
            ("FOLDER", folder.display().to_string()),
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
        let (text, file) = (words.into_iter().fold(whole, fill), folder.join("settings"));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&file, text))
            .map_err(|e| format!("cannot write '{}': {e}", file.display()))?;
        let file = file.display().to_string();
        fleet.start_other(name, program, &[arguments, &[&file]].concat(), address)
    }
}
