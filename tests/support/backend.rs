//! A backend that a test writes itself: it knows nothing of the program's own code.

use super::json::Json;
use super::{PATIENCE, Server};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Nobody listens here, and the port is none that the system hands out.
pub const NOBODY: &str = "127.0.0.1:1";

/// A request as the backend got it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Request line and fields, without the empty line.
    pub head: String,
    pub content: Vec<u8>,
    /// How many requests came before it on its connection.
    pub before: usize,
}

impl Request {
    /// All values of a field.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|l| l.split_once(':'));
        fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

/// See the module; ends when dropped.
pub struct Backend {
    pub address: SocketAddr,
    /// Connections taken so far.
    pub connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

/// An answer with a length.
pub fn ok(content: &str) -> Vec<u8> {
    let length = content.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{content}").into_bytes()
}

/// On until it is turned off.
pub fn switch() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

/// For backends: waits without a deadline of its own, since whoever waits for them has one.
pub fn wait_while(switch: &AtomicBool, is_concerned: bool) {
    while is_concerned && switch.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(1)); // between two looks
    }
}

/// A load balancer before these backends. Probes would be counted as requests: there are none.
pub fn before(backends: &[&Backend], arguments: &[&str]) -> Server {
    let addresses: Vec<_> = backends.iter().map(|b| b.text()).collect();
    let mut all = vec!["--no-checks"];
    for address in &addresses {
        all.extend(["--backend", address]);
    }
    all.extend(arguments);
    Server::start("lb", &all)
}

/// Everyone is up, and nobody was ever told to be down.
pub fn nobody_is_ejected(status: &Json) {
    for backend in status.get("backends").items() {
        assert_eq!(backend.get("state").text(), "up", "{status:?}");
    }
    assert_eq!(status.get("events").items(), [], "{status:?}");
}

impl Backend {
    /// Reads request after request, and lets `play` do with the connection what it likes.
    /// It stays open if `play` says so.
    pub fn start(
        play: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Backend {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut backend = Backend::raw(move |stream| {
            let _ = converse(stream, &seen, &play);
        });
        backend.requests = requests;
        backend
    }

    /// One that answers everything with this text.
    pub fn honest(content: &'static str) -> Backend {
        Backend::start(move |_, stream| {
            use std::io::Write;
            stream.write_all(&ok(content)).is_ok()
        })
    }

    /// Hands each connection to `play`, on a thread of its own.
    pub fn raw(play: impl Fn(TcpStream) + Send + Sync + 'static) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, count, play) = (Arc::clone(&stopped), Arc::clone(&connections), Arc::new(play));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let (play, _) = (Arc::clone(&play), stream.set_nodelay(true));
                thread::spawn(move || play(stream));
            }
        });
        Backend { address, connections, requests: Arc::default(), stopped }
    }

    /// As an argument on a command line.
    pub fn text(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // It waits for a connection; this is the last.
        let _ = TcpStream::connect(self.address);
    }
}

/// None: it is over.
fn converse(
    stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    play: &impl Fn(&Request, &mut TcpStream) -> bool,
) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    for before in 0.. {
        let mut request = Request { head: read_head(&mut reader)?, content: Vec::new(), before };
        let is_chunked = !request.fields("transfer-encoding").is_empty();
        let length = request.fields("content-length").first().map(|l| l.parse());
        if !request.fields("expect").is_empty() {
            use std::io::Write;
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
            reader.get_mut().write_all(interim).ok()?;
        }
        if is_chunked {
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
                let mut chunk = vec![0; size + 2];
                reader.read_exact(&mut chunk).ok()?;
                request.content.extend(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = length {
            request.content = vec![0; length.ok()?];
            reader.read_exact(&mut request.content).ok()?;
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        if !play(&request, reader.get_mut()) {
            break;
        }
    }
    None
}

/// A head without its empty line; None: the peer has closed.
pub fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    head.truncate(head.len() - 4);
    Some(head)
}
