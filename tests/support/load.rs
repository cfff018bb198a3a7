//! A steady load: some connections, each with a thread of its own that asks again and again.

use super::{Answer, Reader, connect, eventually};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between an answer and the next request of the same client: the load is steady, and leaves
/// the machine to those who share it.
const PAUSE: Duration = Duration::from_millis(1);

/// What a client makes of an answer.
pub type Judge = fn(&Answer) -> bool;

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    pub sent: u64,
    /// Not answered, or not as the judge wants it.
    pub failures: Vec<String>,
    pub slowest: Duration,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (sent, failed, ms) = (self.sent, self.failures.len(), self.slowest.as_millis());
        let statuses = &self.statuses;
        write!(f, "{sent} requests sent, {failed} failed, slowest {ms} ms, by status {statuses:?}")
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    served: Mutex<BTreeMap<String, u64>>,
}

/// See the module.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Figures>>,
}

impl Load {
    /// `connections` clients that ask `server` for `/`.
    pub fn start(server: SocketAddr, connections: usize, judge: Judge) -> Load {
        let shared = Arc::new(Shared::default());
        let client = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || client(server, judge, &shared))
        };
        let clients = (0..connections).map(client).collect();
        Load { shared, clients }
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    pub fn wait_for(&self, more: u64) {
        let goal = self.answered() + more;
        eventually("the clients get their answers", || self.answered() >= goal);
    }

    /// Answers so far that say they come from there.
    pub fn served_by(&self, name: &str) -> u64 {
        let served = self.shared.served.lock();
        let served = served.unwrap_or_else(PoisonError::into_inner);
        served.get(name).copied().unwrap_or_default()
    }

    /// Lets every client get its last answer.
    pub fn end(self) -> Figures {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Figures::default();
        for client in self.clients {
            let one = client.join().expect("a client does not panic");
            all.sent += one.sent;
            all.failures.extend(one.failures);
            all.slowest = all.slowest.max(one.slowest);
            for (status, count) in one.statuses {
                *all.statuses.entry(status).or_default() += count;
            }
        }
        all
    }
}

fn client(server: SocketAddr, judge: Judge, shared: &Shared) -> Figures {
    let mut figures = Figures::default();
    let mut kept = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let (began, at) = (Instant::now(), figures.sent);
        figures.sent += 1;
        match ask(server, &mut kept) {
            Ok(answer) => {
                if !judge(&answer) {
                    figures.failures.push(format!("request {at}: {answer:?}"));
                }
                *figures.statuses.entry(answer.status).or_default() += 1;
                let name = answer.field("x-served-by").unwrap_or_default().to_owned();
                let served = shared.served.lock();
                let mut served = served.unwrap_or_else(PoisonError::into_inner);
                *served.entry(name).or_default() += 1;
                drop(served);
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                kept = None;
                figures.failures.push(format!("request {at}: {error}"));
            }
        }
        figures.slowest = figures.slowest.max(began.elapsed());
        thread::sleep(PAUSE);
    }
    figures
}

fn ask(server: SocketAddr, kept: &mut Option<Reader<TcpStream>>) -> io::Result<Answer> {
    let mut reader = match kept.take() {
        Some(reader) => reader,
        None => Reader::new(connect(server)?),
    };
    let request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    reader.get_mut().write_all(request)?;
    let answer = reader.answer(false)?;
    if answer.field("connection") != Some("close") {
        *kept = Some(reader);
    }
    Ok(answer)
}
