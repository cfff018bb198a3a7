//! A thread per connection, and what each does is the exhibit's affair: these servers are small
//! enough that nothing but the shown fault can be at fault.
//!
//! Entry point: [`Server::start`]. Dropped, it has ended with all its threads.
//! Note: `notes/wrong-table.md`.

use crate::bench::Plan;
use crate::cli::Result;
use crate::cli::shutdown::Stop;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A client that says nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer after which the server closes the connection.
pub const LAST: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// A server on a free port of this machine.
pub struct Server {
    address: SocketAddr,
    stop: Stop,
    /// Each thread that serves a client holds one, the acceptor too.
    live: Arc<()>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Each connection gets a thread that carries out `serve`, which returns when the flag is raised.
    pub fn start(serve: impl Fn(TcpStream, &Stop) + Send + Sync + 'static) -> Result<Server> {
        let wrong = |e: std::io::Error| format!("cannot start a server: {e}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let (stop, live) = (Stop::new(), Arc::new(()));
        let (flag, one) = (stop.clone(), live.clone());
        let accept = move || {
            // The scope ends when all its threads have ended.
            thread::scope(|scope| {
                for stream in listener.incoming().take_while(|_| !flag.is_raised()).flatten() {
                    let (serve, flag, one) = (&serve, &flag, one.clone());
                    let job = move || {
                        let _ = stream.set_read_timeout(Some(PATIENCE));
                        serve(stream, flag);
                        drop(one);
                    };
                    let _ = thread::Builder::new().spawn_scoped(scope, job);
                }
            });
        };
        let acceptor = thread::Builder::new().spawn(accept);
        Ok(Server { address, stop, live, acceptor: Some(acceptor.map_err(wrong)?) })
    }

    /// A plan for it: `requests` by `clients` at a time.
    pub fn plan(&self, requests: u64, clients: usize) -> Result<Plan> {
        let plan = Plan::new(&format!("http://{}/", self.address))?;
        Ok(Plan { requests, concurrency: clients, ..plan })
    }

    /// The threads that serve a client, or believe so; those that are about to return get `grace`.
    pub fn live_threads(&self, grace: Duration) -> usize {
        let deadline = Instant::now() + grace;
        loop {
            match Arc::strong_count(&self.live).saturating_sub(2) {
                live if live == 0 || Instant::now() > deadline => return live,
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.raise();
        // One more client wakes the acceptor, which then sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

/// Answers each request with `answer`, until the client has gone or `before` says it is the last.
pub fn answer(stream: TcpStream, answer: &[u8], before: impl Fn() -> bool) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // The empty line ends a request.
        if line == b"\r\n" {
            let goes_on = before();
            if stream.get_mut().write_all(answer).is_err() || !goes_on {
                return;
            }
        }
        line.clear();
    }
}
