//! How an origin server comes to serve: its flags, its socket, site and log.
//!
//! Does not know who waits for clients: that is handed in. Entry point: [`start`].
//! Note: `notes/async_server.md`.

use crate::cli::args::{Failure, Flag, Given, flag};
use crate::cli::log::Log;
use crate::net::listener;
use crate::site::Site;
use std::io;
use std::net::TcpListener;
use std::path::Path;

pub const HOST: Flag = flag("--host", "ADDR", "127.0.0.1", "the address to listen on");
pub const ROOT: Flag = flag("--root", "DIR", "www", "the folder to serve");
pub const QUIET: Flag = flag("--quiet", "", "", "no log");

/// Without so many descriptors nobody can be served: the standard streams, what waits for Ctrl-C,
/// the listener and its copies, the poller; and a client with a file.
const DESCRIPTORS: u64 = 12;

/// Opens the listening socket, and has `run` serve the site there until it returns. `run` says
/// where it listens as soon as nothing can fail any more.
pub fn start(
    given: &Given,
    run: impl FnOnce(TcpListener, Site, &Log) -> io::Result<()>,
) -> Result<(), Failure> {
    let (topic, port) = (given.topic.name, given.port()?);
    let text = |name| given.text(name).unwrap_or_default();
    let start = || {
        let listener = listener::bind(topic, text("--host"), port)?;
        let address = listener.local_addr().map_err(|e| format!("{topic}: {e}"))?;
        let default_name = format!("{topic}:{}", address.port());
        let name = given.text("--name").unwrap_or(&default_name);
        let descriptors = crate::net::sys::raise_descriptor_limit().unwrap_or(u64::MAX);
        let site = Site::new(name, Path::new(text("--root")), descriptors);
        let site = site.map_err(|e| format!("{topic}: {e}"))?;
        let (log, _writer) = Log::start(given.has("--quiet"))?;
        if descriptors < DESCRIPTORS {
            return Err(format!(
                "{topic}: a server takes {DESCRIPTORS} descriptors at least, and the limit is {descriptors}: raise it (ulimit -n)"
            ));
        }
        run(listener, site, &log).map_err(|e| format!("{topic}: {e}"))
    };
    start().map_err(Failure::CannotWork)
}
