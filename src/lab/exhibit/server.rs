//! A thread per connection, and what each does is the exhibit's affair: these servers are small
//! enough that nothing but the shown fault can be at fault.
//!
//! Entry point: [`Server::start`]. Dropped, it has ended with all its threads.
//! Note: `notes/wrong-table.md`.

use crate::cli::shutdown::Stop;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A client that says nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server on a free port of this machine.
pub struct Server {
    address: SocketAddr,
    stop: Stop,
    live: Arc<AtomicUsize>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it: each connection gets a thread that carries out `serve`, which returns when
    /// the flag is raised.
    pub fn start(
        serve: impl Fn(TcpStream, &Stop) + Send + Sync + 'static,
    ) -> Result<Server, String> {
        let wrong = |e: std::io::Error| format!("cannot start a server: {e}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let (stop, live) = (Stop::new(), Arc::new(AtomicUsize::new(0)));
        let acceptor = {
            let (stop, live) = (stop.clone(), live.clone());
            thread::Builder::new().spawn(move || accept(&listener, &serve, &stop, &live))
        };
        Ok(Server { address, stop, live, acceptor: Some(acceptor.map_err(wrong)?) })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The threads that serve a client now, or believe that they do. Those that are about to
    /// return get `grace` to do so.
    pub fn live_threads(&self, grace: Duration) -> usize {
        let deadline = Instant::now() + grace;
        loop {
            match self.live.load(SeqCst) {
                live if live == 0 || Instant::now() > deadline => return live,
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// The scope ends when all its threads have ended.
fn accept(
    listener: &TcpListener,
    serve: &(impl Fn(TcpStream, &Stop) + Sync),
    stop: &Stop,
    live: &AtomicUsize,
) {
    thread::scope(|scope| {
        for stream in listener.incoming() {
            if stop.is_raised() {
                break;
            }
            let Ok(stream) = stream else { continue };
            live.fetch_add(1, SeqCst);
            let job = move || {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                serve(stream, stop);
                live.fetch_sub(1, SeqCst);
            };
            if thread::Builder::new().spawn_scoped(scope, job).is_err() {
                live.fetch_sub(1, SeqCst);
            }
        }
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.raise();
        // One more client wakes the acceptor, which then sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers each request on the connection with `answer`, after `before` has returned.
pub fn answer_all(stream: TcpStream, stop: &Stop, answer: &[u8], before: impl Fn()) {
    let mut stream = BufReader::new(stream);
    while !stop.is_raised() && asks(&mut stream) {
        before();
        if stream.get_mut().write_all(answer).is_err() {
            return;
        }
    }
}

/// Answers the first request on the connection with `answer` and closes it.
pub fn answer_once(stream: TcpStream, answer: &[u8]) {
    let mut stream = BufReader::new(stream);
    if asks(&mut stream) {
        // The client may have gone; then there is nobody to tell.
        let _ = stream.get_mut().write_all(answer);
    }
}

/// Reads a request up to its empty line; false if the client has gone.
fn asks(stream: &mut BufReader<TcpStream>) -> bool {
    let mut line = Vec::new();
    while line != b"\r\n" {
        line.clear();
        if stream.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}
