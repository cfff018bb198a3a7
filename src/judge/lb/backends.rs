//! The backends that the judge plays: they read requests strictly, keep what came, answer as a case
//! tells them to, and everyone else honestly; they die and come back when a case wants it.
//!
//! A case is known by its number, which stands in its request-target: `/t17`. Entry point:
//! [`Backends`]. Note: `notes/judge.md`.

use super::honest;
use super::request::{Request, read};
use crate::net::{listener, sys};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a load balancer may keep a connection to a backend without a word.
const IDLE: Duration = Duration::from_secs(60);
/// Until a listener looks again whether it is to close.
const TICK: Duration = Duration::from_millis(10);
/// Enough for all clients that the judge has at once.
const BACKLOG: i32 = 1024;
/// So much is kept of what came and is no request.
const SHOWN: usize = 4096;
/// So many messages are kept; the oldest go first.
const KEPT: usize = 2000;

const REFUSAL: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A message that came to a backend.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub backend: usize,
    /// The request, or why it is none, with its bytes.
    pub request: Result<Request, (String, Vec<u8>)>,
}

/// What a backend does with a request; false: it closes behind it.
type Play = Arc<dyn Fn(usize, &Request, &TcpStream) -> bool + Send + Sync>;

#[derive(Default)]
struct Shared {
    plays: Mutex<BTreeMap<usize, Play>>,
    seen: Mutex<Vec<Seen>>,
    next: AtomicUsize,
}

/// One of them while it listens.
#[derive(Default)]
struct Listening {
    is_over: AtomicBool,
    /// The connections that it has taken, so that it can die with them.
    taken: Mutex<Vec<Weak<TcpStream>>>,
}

impl Listening {
    fn end_connections(&self) {
        for stream in lock(&self.taken).iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// None: it is dead.
type Place = Option<(Arc<Listening>, JoinHandle<()>)>;

/// All of them.
pub(crate) struct Backends {
    ports: Vec<u16>,
    shared: Arc<Shared>,
    listening: Mutex<Vec<Place>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backends {
    /// Listens on all ports.
    pub(crate) fn bind(ports: &[u16]) -> Result<Backends, String> {
        let (ports, none) = (ports.to_vec(), ports.iter().map(|_| None).collect());
        let backends = Backends { ports, shared: Arc::default(), listening: Mutex::new(none) };
        (0..backends.ports.len()).try_for_each(|backend| backends.revive(backend))?;
        Ok(backends)
    }

    /// Where they listen.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Which of them live.
    pub(crate) fn living(&self) -> Vec<usize> {
        let listening = lock(&self.listening);
        let living = listening.iter().enumerate().filter(|(_, listening)| listening.is_some());
        living.map(|(backend, _)| backend).collect()
    }

    /// A new case: what a backend does when its request comes. Returns its number.
    pub(crate) fn play(
        &self,
        play: impl Fn(usize, &Request, &TcpStream) -> bool + Send + Sync + 'static,
    ) -> usize {
        let number = self.shared.next.fetch_add(1, SeqCst);
        lock(&self.shared.plays).insert(number, Arc::new(play));
        number
    }

    /// A new case that is answered honestly.
    pub(crate) fn honest(&self) -> usize {
        self.play(|_, request, stream| honest::answer(request, stream))
    }

    /// A new case that is answered with these bytes.
    pub(crate) fn answer(&self, bytes: Vec<u8>, closes: bool) -> usize {
        self.play(move |_, _, mut stream| stream.write_all(&bytes).is_ok() && !closes)
    }

    /// What came of a case, and what came that is no request.
    pub(crate) fn seen(&self, number: usize) -> Vec<Seen> {
        let is_it = |seen: &&Seen| match &seen.request {
            Ok(request) => number_of(&request.target) == Some(number),
            Err((_, bytes)) => number_of(&String::from_utf8_lossy(bytes)) == Some(number),
        };
        lock(&self.shared.seen).iter().filter(is_it).cloned().collect()
    }

    /// Which messages have come since this was asked last, of whatever case.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.shared.seen))
    }

    /// Ends one as `kill -9` does: the port refuses, and all connections end.
    pub(crate) fn kill(&self, backend: usize) {
        let living = lock(&self.listening).get_mut(backend).and_then(Option::take);
        let Some((listening, thread)) = living else { return };
        listening.is_over.store(true, SeqCst);
        let _ = thread.join();
        listening.end_connections();
    }

    /// All end their connections, and go on listening.
    pub(crate) fn hang_up(&self) {
        lock(&self.listening).iter().flatten().for_each(|(one, _)| one.end_connections());
    }

    /// Lets it listen. The error: it cannot, since somebody else has the port.
    pub(crate) fn revive(&self, backend: usize) -> Result<(), String> {
        let port = self.ports.get(backend).copied().unwrap_or_default();
        let listener = listen(port)?;
        let (listening, shared) = (Arc::<Listening>::default(), Arc::clone(&self.shared));
        let same = Arc::clone(&listening);
        let thread = thread::Builder::new()
            .spawn(move || accept_all(backend, &listener, &same, &shared))
            .map_err(|e| format!("judge: cannot start a thread: {e}"))?;
        if let Some(place) = lock(&self.listening).get_mut(backend) {
            *place = Some((listening, thread));
        }
        Ok(())
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        (0..self.ports.len()).for_each(|backend| self.kill(backend));
    }
}

/// The number of the case in a target: behind `/t`.
pub(super) fn number_of(target: &str) -> Option<usize> {
    let numbers = target.split("/t").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    });
    numbers.filter_map(|digits| digits.parse().ok()).next()
}

fn listen(port: u16) -> Result<TcpListener, String> {
    let open = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        sys::listen_backlog(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|e: std::io::Error| match e.kind() {
        ErrorKind::AddrInUse => format!(
            "judge: port {port} is in use; stop the backend there, or name other ports: --backends"
        ),
        _ => format!("judge: cannot listen on port {port}: {e}"),
    })
}

fn accept_all(backend: usize, listener: &TcpListener, listening: &Listening, shared: &Arc<Shared>) {
    while !listening.is_over.load(SeqCst) {
        listener::wait_for_client(listener, TICK);
        while let Ok(Some((stream, _))) = listener::accept(listener) {
            let (stream, shared) = (Arc::new(stream), Arc::clone(shared));
            let mut taken = lock(&listening.taken);
            taken.retain(|stream| stream.strong_count() > 0);
            taken.push(Arc::downgrade(&stream));
            // Hundreds wait at once, each for one connection: a small stack is enough.
            let small = thread::Builder::new().stack_size(256 * 1024);
            // Without a thread the connection closes; a case that needed it says so.
            let _ = small.spawn(move || converse(backend, &stream, &shared));
        }
    }
}

/// Reads request after request, until one side closes.
fn converse(backend: usize, stream: &TcpStream, shared: &Shared) {
    let ready = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(IDLE)))
        .and_then(|()| stream.set_write_timeout(Some(IDLE)))
        .and_then(|()| stream.set_nodelay(true));
    let (mut reader, mut unread, mut told) = (stream, Vec::new(), false);
    let mut buffer = [0; 64 * 1024];
    while ready.is_ok() {
        match read(&unread) {
            Ok(Some((request, used))) => {
                unread.drain(..used);
                told = false;
                let number = number_of(&request.target);
                let play = number.and_then(|n| lock(&shared.plays).get(&n).cloned());
                note(shared, Seen { backend, request: Ok(request.clone()) });
                let keeps = match play {
                    Some(play) => play(backend, &request, stream),
                    None => honest::answer(&request, stream),
                };
                if !keeps || !request.persists() {
                    return;
                }
            }
            Ok(None) => {
                if !told && asks_to_go_on(&unread) {
                    told = true;
                    let _ = reader.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                match reader.read(&mut buffer) {
                    Ok(n) if n > 0 => unread.extend(buffer.iter().take(n)),
                    _ => return,
                }
            }
            Err(why) => {
                unread.truncate(SHOWN);
                note(shared, Seen { backend, request: Err((why, unread)) });
                let _ = reader.write_all(REFUSAL);
                return;
            }
        }
    }
}

fn note(shared: &Shared, seen: Seen) {
    let mut all = lock(&shared.seen);
    if all.len() >= KEPT {
        all.drain(..KEPT / 2);
    }
    all.push(seen);
}

/// Whether a head is here whose sender waits for `100 Continue`.
fn asks_to_go_on(unread: &[u8]) -> bool {
    let head = unread.windows(4).position(|w| w == b"\r\n\r\n").and_then(|n| unread.get(..n));
    let head = String::from_utf8_lossy(head.unwrap_or_default()).to_ascii_lowercase();
    head.contains("\r\nexpect: 100-continue")
}
