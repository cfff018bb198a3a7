//! Large downloads and uploads through the load balancer: in bounded memory, no faster than the
//! slower side, and no longer than the client stays. `PROGJAR_STREAM_MIB=1024` sets how much
//! passes; with `--nocapture` the growth of its memory is printed.
#![cfg(target_os = "linux")] // reads /proc

use crate::support::backend::{Backend, read_head};
use crate::support::{PATIENCE, Server, eventually, half_close};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// More than the buffers of all sockets on the way together: those may grow to 4 or 6 MiB each.
const BUFFERS: u64 = 40 * MIB;

fn size() -> u64 {
    let mib = std::env::var("PROGJAR_STREAM_MIB").ok();
    mib.and_then(|mib| mib.parse().ok()).unwrap_or(128) * MIB
}

/// One piece of what is sent; no two of its places look alike when shifted by a power of two.
fn pattern() -> Vec<u8> {
    (0..251 * 256).map(|i: usize| (i % 251) as u8).collect()
}

/// Reads `size` bytes of the pattern; panics if one is not as it should be.
fn expect_pattern(reader: &mut impl Read, size: u64, so_far: &AtomicU64) {
    let pattern = pattern();
    let mut piece = vec![0; pattern.len()];
    let mut left = size;
    while left > 0 {
        let n = left.min(piece.len() as u64) as usize;
        let piece = &mut piece[..n];
        reader.read_exact(piece).expect("all of it comes");
        assert!(piece == &pattern[..n], "a byte is not as it was sent");
        left -= n as u64;
        so_far.fetch_add(n as u64, SeqCst);
    }
}

/// Writes it, until nobody takes it any more; whether all was taken.
fn send_pattern(stream: &mut TcpStream, size: u64, so_far: &AtomicU64) -> bool {
    let pattern = pattern();
    let mut left = size;
    while left > 0 {
        let n = left.min(pattern.len() as u64) as usize;
        if stream.write_all(&pattern[..n]).is_err() {
            return false;
        }
        left -= n as u64;
        so_far.fetch_add(n as u64, SeqCst);
    }
    true
}

/// A backend with what it has sent and taken so far.
struct Streamer {
    backend: Backend,
    sent: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
    /// Its connection broke before all was sent.
    broken: Arc<AtomicBool>,
    /// It reads content.
    reads: Arc<AtomicBool>,
}

impl Streamer {
    /// GET is answered with `size` bytes, content of as many is taken.
    fn start(size: u64) -> Streamer {
        let (sent, taken) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (broken, reads) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (s, t, b, r) = (sent.clone(), taken.clone(), broken.clone(), reads.clone());
        let backend = Backend::raw(move |stream| {
            let mut reader = BufReader::new(stream);
            // The last connection brings none, see `Backend::drop`.
            let Some(head) = read_head(&mut reader) else { return };
            if head.starts_with("GET") {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
                let stream = reader.get_mut();
                let all =
                    stream.write_all(head.as_bytes()).is_ok() && send_pattern(stream, size, &s);
                b.store(!all, SeqCst);
            } else {
                eventually("it may read", || r.load(SeqCst));
                expect_pattern(&mut reader, size, &t);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                let _ = reader.get_mut().write_all(answer);
            }
        });
        Streamer { backend, sent, taken, broken, reads }
    }

    /// One load balancer with one loop before it.
    fn lb(&self) -> Server {
        let address = self.backend.text();
        let arguments = ["--backend", &address, "--no-checks", "--workers", "1"];
        Server::start("lb", &arguments)
    }
}

/// Waits until nothing has been added for a while: whoever adds is held up.
fn until_it_stands_still(count: &AtomicU64) -> u64 {
    let (mut last, mut since) = (count.load(SeqCst), Instant::now());
    let what = "what is sent stands still";
    eventually(what, || {
        let now = count.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        last > 0 && since.elapsed() > Duration::from_millis(300)
    });
    last
}

fn download(lb: &Server) -> BufReader<TcpStream> {
    let mut stream = lb.connect();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).expect("it is sent");
    BufReader::new(stream)
}

fn upload(lb: &Server, size: u64) -> TcpStream {
    let mut stream = lb.connect();
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it is sent");
    stream
}

#[test]
fn a_large_download_passes_whole_and_in_bounded_memory() {
    let (size, got) = (size(), AtomicU64::new(0));
    let streamer = Streamer::start(size);
    let lb = streamer.lb();
    let begun = Instant::now();
    let grown = lb.growth_kib(|| {
        let mut reader = download(&lb);
        read_head(&mut reader).expect("a head comes");
        expect_pattern(&mut reader, size, &got);
    });
    let mib = size / MIB;
    println!("download of {mib} MiB in {:?}: the lb grew by {grown} KiB", begun.elapsed());
    assert!(grown < 1024, "{grown} KiB");
}

#[test]
fn a_large_upload_passes_whole_and_in_bounded_memory() {
    let (size, sent) = (size(), AtomicU64::new(0));
    let streamer = Streamer::start(size);
    streamer.reads.store(true, SeqCst);
    let lb = streamer.lb();
    let begun = Instant::now();
    let grown = lb.growth_kib(|| {
        let mut stream = upload(&lb, size);
        assert!(send_pattern(&mut stream, size, &sent), "all of it is taken");
        let head = read_head(&mut BufReader::new(stream)).expect("a head comes");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    });
    let mib = size / MIB;
    println!("upload of {mib} MiB in {:?}: the lb grew by {grown} KiB", begun.elapsed());
    assert!(grown < 1024, "{grown} KiB");
    assert_eq!(streamer.taken.load(SeqCst), size);
}

#[test]
fn many_downloads_at_once_cost_less_than_a_mebibyte_each() {
    const CLIENTS: u64 = 16;
    let begun = AtomicU64::new(0);
    let size = 8 * MIB;
    let streamer = Streamer::start(size);
    let lb = streamer.lb();
    let got = AtomicU64::new(0);
    let grown = lb.growth_kib(|| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut reader = download(&lb);
                    read_head(&mut reader).expect("a head comes");
                    begun.fetch_add(1, SeqCst);
                    eventually("all have begun", || begun.load(SeqCst) == CLIENTS);
                    expect_pattern(&mut reader, size, &got);
                });
            }
        });
    });
    println!("{CLIENTS} downloads at once: the lb grew by {grown} KiB");
    assert!(grown < CLIENTS * 1024, "{grown} KiB");
}

#[test]
fn a_slow_reader_slows_the_backend() {
    let size = 256 * MIB;
    let streamer = Streamer::start(size);
    let lb = streamer.lb();
    let mut reader = None;
    let grown = lb.growth_kib(|| {
        reader = Some(download(&lb)); // and reads nothing
        let sent = until_it_stands_still(&streamer.sent);
        assert!(sent < BUFFERS, "{sent} bytes were taken from the backend");
    });
    assert!(grown < 1024, "{grown} KiB");
    // It goes on as soon as the client does.
    let (before, mut reader) = (streamer.sent.load(SeqCst), reader.expect("it is here"));
    read_head(&mut reader).expect("a head comes");
    expect_pattern(&mut reader, BUFFERS, &AtomicU64::new(0));
    eventually("the backend sends on", || streamer.sent.load(SeqCst) > before);
}

#[test]
fn a_slow_reader_costs_no_cpu() {
    let streamer = Streamer::start(256 * MIB);
    let lb = streamer.lb();
    let _reader = download(&lb);
    until_it_stands_still(&streamer.sent);
    let before = lb.cpu_time();
    std::thread::sleep(Duration::from_millis(500)); // what is measured is this time
    let spent = lb.cpu_time() - before;
    assert!(spent < Duration::from_millis(150), "{spent:?} while nothing moves");
}

#[test]
fn a_slow_backend_slows_the_uploader() {
    let size = 96 * MIB;
    let streamer = Streamer::start(size);
    let lb = streamer.lb();
    let mut stream = upload(&lb, size);
    let (sent, to_send) = (Arc::new(AtomicU64::new(0)), stream.try_clone());
    let (count, mut to_send) = (sent.clone(), to_send.expect("it is cloned"));
    let grown = lb.growth_kib(|| {
        std::thread::spawn(move || send_pattern(&mut to_send, size, &count));
        let sent = until_it_stands_still(&sent);
        assert!(sent < BUFFERS, "{sent} bytes were taken from the client");
    });
    assert!(grown < 1024, "{grown} KiB");
    streamer.reads.store(true, SeqCst);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it is answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(streamer.taken.load(SeqCst), size);
}

#[test]
fn a_client_that_leaves_cancels_its_download() {
    let streamer = Streamer::start(1024 * MIB);
    let lb = streamer.lb();
    let mut reader = download(&lb);
    read_head(&mut reader).expect("a head comes");
    expect_pattern(&mut reader, MIB, &AtomicU64::new(0));
    drop(reader);
    eventually("the backend is left too", || streamer.broken.load(SeqCst));
    let status = lb.status();
    let backend = &status.get("backends").items()[0];
    assert_eq!(backend.get("in_flight").number(), 0.0, "{backend:?}");
    assert_eq!(backend.get("failures").number(), 0.0, "it was not the backend's fault");
}

#[test]
fn a_client_that_leaves_while_it_uploads_cancels_its_request() {
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    let backend = Backend::raw(move |mut stream| {
        let mut piece = [0; 65536];
        let mut any = false;
        while stream.read(&mut piece).is_ok_and(|n| n > 0) {
            any = true;
        }
        end.store(any, SeqCst);
    });
    let address = backend.text();
    let lb = Server::start("lb", &["--backend", &address, "--no-checks"]);
    let mut stream = upload(&lb, 64 * MIB);
    assert!(send_pattern(&mut stream, MIB, &AtomicU64::new(0)));
    drop(stream);
    eventually("the backend is left too", || ended.load(SeqCst));
}

/// A backend that takes a request and answers it `head`, then waits until it is left.
fn waits_after(head: &'static str) -> (Backend, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (asked, left) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let (a, l) = (asked.clone(), left.clone());
    let backend = Backend::raw(move |stream| {
        let mut reader = BufReader::new(stream);
        // The last connection brings none, see `Backend::drop`.
        if read_head(&mut reader).is_none() {
            return;
        }
        let _ = reader.get_mut().write_all(head.as_bytes());
        a.store(true, SeqCst);
        let _ = reader.get_mut().set_read_timeout(Some(PATIENCE));
        // Its end, or a reset.
        let is_left = !matches!(reader.read(&mut [0; 1]), Ok(1..));
        l.store(is_left, SeqCst);
    });
    (backend, asked, left)
}

#[test]
fn a_client_that_resets_its_connection_cancels_its_request_and_costs_no_cpu() {
    for head in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
        let (backend, asked, left) = waits_after(head);
        let address = backend.text();
        let lb = Server::start(
            "lb",
            &["--backend", &address, "--no-checks", "--response-timeout", "60s"],
        );
        let mut stream = lb.connect();
        stream
            .write_all(
                b"GET /lb-status HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            )
            .expect("they are sent");
        stream.peek(&mut [0; 1]).expect("the first is answered");
        half_close(&stream);
        eventually("the backend is asked", || asked.load(SeqCst));
        drop(stream); // with bytes that it has not read: that sends a reset
        let before = lb.cpu_time();
        eventually("the backend is left too", || left.load(SeqCst));
        let spent = lb.cpu_time() - before;
        assert!(spent < Duration::from_millis(500), "{spent:?}");
    }
}

#[test]
fn a_backend_that_breaks_down_behind_a_slow_reader_costs_no_cpu() {
    // It sends more than fits, and then resets: bytes that it was sent are not read.
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = gone.clone();
    let backend = Backend::raw(move |mut stream| {
        let _ = stream.peek(&mut [0; 1]);
        let _ = stream.set_write_timeout(Some(Duration::from_millis(500)));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 256 * MIB);
        let _ = stream.write_all(head.as_bytes());
        send_pattern(&mut stream, 256 * MIB, &AtomicU64::new(0));
        drop(stream);
        is_gone.store(true, SeqCst);
    });
    let address = backend.text();
    let lb = Server::start("lb", &["--backend", &address, "--no-checks", "--workers", "1"]);
    let _reader = download(&lb); // and reads nothing
    eventually("the backend has broken down", || gone.load(SeqCst));
    let before = lb.cpu_time();
    std::thread::sleep(Duration::from_millis(500)); // what is measured is this time
    let spent = lb.cpu_time() - before;
    assert!(spent < Duration::from_millis(150), "{spent:?} while nothing moves");
}
