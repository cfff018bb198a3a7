//! The real thing where an exhibit needs it: four async_servers and load balancers in front of
//! them, as processes of their own.
//!
//! Entry point: [`Fleet::start`]. Dropped, it has ended them all. Note: `notes/lb.md`.

use crate::assignment::servers::{Server, Servers};
use crate::assignment::{End, page};
use crate::cli::shutdown::Stop;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Backends, and what stands in front of them.
pub struct Fleet {
    servers: Servers,
    /// For the logs; there is nothing else to serve than `/`.
    folder: PathBuf,
}

/// A load balancer.
#[derive(Clone, Copy)]
pub struct Lb {
    address: SocketAddr,
    pub pid: u32,
}

impl Fleet {
    /// Starts an async_server with each of these delays.
    pub fn start(delays: &[&str], stop: &Stop) -> Result<Fleet, String> {
        let name = format!("progjar-exhibit-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)
            .map_err(|e| format!("cannot make the folder '{}': {e}", folder.display()))?;
        let mut fleet = Fleet { servers: Servers::new(&folder, &folder), folder };
        for delay in delays {
            fleet.add("async_server", &["--delay", delay], stop)?;
        }
        Ok(fleet)
    }

    /// Starts a load balancer in front of the async_servers.
    pub fn add_lb(&mut self, option: &str, value: &str, stop: &Stop) -> Result<Lb, String> {
        let backends = self.async_servers();
        let addresses: Vec<String> = backends.map(|s| s.address.to_string()).collect();
        let mut arguments = vec![option, value];
        for address in &addresses {
            arguments.extend(["--backend", address]);
        }
        let server = self.add("lb", &arguments, stop)?;
        Ok(Lb { address: server.address, pid: server.pid() })
    }

    fn add(
        &mut self,
        topic: &'static str,
        options: &[&str],
        stop: &Stop,
    ) -> Result<&Server, String> {
        let mut arguments = vec!["--quiet".to_owned()];
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        let started = self.servers.start(topic, 0, &arguments, stop);
        started.map_err(|end| match end {
            End::Failed(why) => why,
            End::Stopped => "stopped".to_owned(),
        })
    }

    fn async_servers(&self) -> impl Iterator<Item = &Server> {
        let all = self.servers.all().iter();
        all.filter(|server| server.topic == "async_server")
    }

    /// The processes of the backends.
    pub fn backends(&self) -> Vec<u32> {
        self.async_servers().map(Server::pid).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.servers.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Lb {
    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Each backend's share of the answers, as its status page tells it.
    pub fn shares(&self) -> Result<Vec<f64>, String> {
        let answer = page::exchange(self.address, "lb-status.json")
            .map_err(|e| format!("{}: {e}", self.url()))?;
        let json = String::from_utf8_lossy(&answer);
        let shares = json.split("\"share\":").skip(1);
        let number = |text: &str| text.split(',').next().and_then(|n| n.parse().ok());
        Ok(shares.filter_map(number).collect())
    }
}
