//! What the tests share: the real program started on a free port and ended on drop, raw
//! requests with deadlines, one response read from a stream, and what /proc says of a process.
//!
//! Nothing here sleeps to let something happen: [`eventually`] waits for the event itself.

pub mod backend;
pub mod client;
pub mod json;
pub mod load;
pub mod neighbour;

use progjar::cli::limits::Limits;
use progjar::net::output::Peer;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Far more than it ever takes, so that a
/// busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where a program lies, if it is installed. On Debian servers lie outside a user's PATH.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(elsewhere).map(|f| f.join(program));
    places.find(|place| place.is_file())
}

/// The same of a program that a test needs: that it is missing is said aloud, and where all must be
/// there (in CI) it is an error.
pub fn tool(program: &str, package: &str) -> Option<PathBuf> {
    let found = installed(program);
    if found.is_none() {
        let missing = format!("{program} is not installed (apt install {package})");
        assert!(std::env::var_os("PROGJAR_REQUIRE_TOOLS").is_none(), "{missing}");
        // Past the test harness, which would keep the line to itself.
        let _ = writeln!(io::stderr(), "SKIPPED: {missing}");
    }
    found
}

/// A server of the real program, listening; killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts `progjar TOPIC 0 --quiet ARGUMENTS` and waits for the line that it prints when it
    /// can accept.
    pub fn start(topic: &str, arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
        command.args([topic, "0", "--quiet"]).args(arguments);
        Server::run(topic, command)
    }

    /// Starts it in a shell that has first carried out `limits`, such as `ulimit -n 64`.
    pub fn start_limited(limits: &str, topic: &str, arguments: &[&str]) -> Server {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{limits} && exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_progjar"))
            .args([topic, "0", "--quiet"])
            .args(arguments);
        Server::run(topic, command)
    }

    /// Starts `progjar lb` in front of the backends.
    pub fn start_lb(backends: &[&Server], arguments: &[&str]) -> Server {
        let mut all = Vec::new();
        let addresses: Vec<_> = backends.iter().map(|b| b.address.to_string()).collect();
        for address in &addresses {
            all.extend(["--backend", address]);
        }
        all.extend(arguments);
        Server::start("lb", &all)
    }

    /// Starts it with its log, for [`Server::lines`].
    pub fn start_with_log(topic: &str, arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
        command.args([topic, "0"]).args(arguments);
        Server::run(topic, command)
    }

    /// Starts it on a port that it had before. Somebody's connection may hold the port for a
    /// moment, so it tries until it is free.
    pub fn start_at(address: SocketAddr, topic: &str, arguments: &[&str]) -> Server {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut command = Command::new(env!("CARGO_BIN_EXE_progjar"));
            let (host, port) = (address.ip().to_string(), address.port().to_string());
            command.args([topic, &port, "--host", &host, "--quiet"]);
            command.args(arguments);
            match Server::try_run(topic, command) {
                Ok(server) => return server,
                Err(why) => assert!(Instant::now() < give_up, "{why}"),
            }
        }
    }

    /// Runs a command that starts the topic.
    pub fn run(topic: &str, command: Command) -> Server {
        Server::try_run(topic, command).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_run(topic: &str, mut command: Command) -> Result<Server, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, first_line) = mpsc::channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&lines);
        thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = sender.send(line);
            for line in stdout.lines().map_while(Result::ok) {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let line = first_line.recv_timeout(PATIENCE).unwrap_or_default();
        let address = line
            .strip_prefix(&format!("{topic}: listening on http://"))
            .and_then(|rest| rest.trim_end().strip_suffix('/'))
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{topic} did not say where it listens but: {line:?}"));
        };
        Ok(Server { child, address, lines })
    }

    /// The lines of its log so far.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock();
        lines.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a signal: `TERM`, `INT`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status();
        assert!(status.is_ok_and(|s| s.success()), "{command}");
    }

    /// Stops every thread of it, and returns when none runs: what is sent to it from now on waits
    /// until `CONT`, and is then met at once.
    pub fn freeze(&self) {
        self.signal("STOP");
        let is_stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T'))
        };
        eventually("all its threads are stopped", || {
            let mut tasks = fs::read_dir(self.proc("task")).expect("it runs").flatten();
            tasks.all(is_stopped)
        });
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is a child of ours");
        self.child.wait().expect("it ends");
    }

    /// Waits until it has ended by itself; its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        eventually("the program ends", || !self.is_running());
        self.child.wait().expect("it has ended").code()
    }

    /// Its name in X-Served-By.
    pub fn name(&self, topic: &str) -> String {
        format!("{topic}:{}", self.address.port())
    }

    /// What the load balancer says of itself.
    pub fn status(&self) -> json::Json {
        let answer = self.get("/lb-status.json");
        json::parse(&answer.text()).unwrap_or_else(|e| panic!("{e}: {answer:?}"))
    }

    /// What the load balancer says of the backend under this name.
    pub fn status_of(&self, backend: SocketAddr, name: &str) -> json::Json {
        let status = self.status();
        let is_it = |b: &&json::Json| b.get("name").text() == backend.to_string();
        let found = status.get("backends").items().iter().find(is_it);
        found.unwrap_or_else(|| panic!("{backend} in {status:?}")).get(name).clone()
    }

    /// What the load balancer says of the backend: `up` or `down`.
    pub fn state_of(&self, backend: SocketAddr) -> String {
        self.status_of(backend, "state").text().to_owned()
    }

    /// A connection whose reads and writes fail rather than wait for ever.
    pub fn connect(&self) -> TcpStream {
        connect(self.address).expect("the server takes a connection")
    }

    /// Sends the bytes on a connection of their own, reads until the server closes.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // A server that has refused the beginning need not take the rest.
        let _ = stream.write_all(bytes);
        read_to_close(&mut stream)
    }

    /// Asks for the path on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("the request is sent");
        Reader::new(stream).answer(false).unwrap_or_else(|e| panic!("no answer to GET {path}: {e}"))
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).map_or(0, Iterator::count)
    }

    /// The lengths of the files in memory that it holds.
    pub fn memory_files(&self) -> Vec<u64> {
        let open = fs::read_dir(self.proc("fd")).expect("it runs").flatten();
        let is_in_memory = |path: &PathBuf| {
            fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:"))
        };
        let paths = open.map(|entry| entry.path()).filter(is_in_memory);
        paths.filter_map(|path| Some(fs::metadata(path).ok()?.len())).collect()
    }

    /// Threads, the first one included.
    pub fn threads(&self) -> usize {
        fs::read_dir(self.proc("task")).map_or(0, Iterator::count)
    }

    /// Resident memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.status_field("VmRSS:")
    }

    /// How far resident memory rose while something was done, at its highest, in KiB.
    pub fn growth_kib(&self, work: impl FnOnce()) -> u64 {
        // Makes the peak what is resident now. Where it may not be written, the peak since the
        // start counts, which is no less.
        let _ = fs::write(self.proc("clear_refs"), "5");
        let before = self.memory_kib();
        work();
        self.status_field("VmHWM:").saturating_sub(before)
    }

    /// CPU time spent so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap_or_default();
        // Behind the name, which is in parentheses: utime and stime are fields 14 and 15.
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = behind_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|t| t.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Time that its threads have been on a CPU, to the nearest scheduler tick; None where the
    /// system does not tell.
    pub fn time_on_cpu(&self) -> Option<Duration> {
        let threads = fs::read_dir(self.proc("task")).ok()?.flatten();
        let of_thread = |thread: fs::DirEntry| {
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            times.split(' ').next()?.parse().ok().map(Duration::from_nanos)
        };
        threads.map(of_thread).sum()
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|l| l.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection whose reads and writes fail rather than wait for ever.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads until the peer closes. A reset ends it too: what came before it counts.
pub fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(e) if e.kind() != io::ErrorKind::ConnectionReset => {
            panic!("the server did not close, {} bytes came: {e}", bytes.len())
        }
        _ => bytes,
    }
}

/// Tells the server that no more will come.
pub fn half_close(stream: &TcpStream) {
    // The server may have closed first.
    let _ = stream.shutdown(Shutdown::Write);
}

/// A final response, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields, without the empty line.
    pub head: String,
    pub content: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// What a server says to a client without a socket.
#[derive(Default)]
pub struct Said(pub Vec<u8>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer for Said {
    fn send_sealed(
        &mut self,
        bytes: &[u8],
        file: &fs::File,
        at: u64,
        most: usize,
    ) -> io::Result<usize> {
        if !bytes.is_empty() {
            return self.write(bytes);
        }
        let mut some = vec![0; most];
        let n = file.read_at(&mut some, at)?;
        self.write(&some[..n])
    }
}

/// Reads responses one after the other, knowing nothing of the program's own parser.
pub struct Reader<R>(BufReader<R>);

impl<R: Read> Reader<R> {
    pub fn new(stream: R) -> Reader<R> {
        Reader(BufReader::new(stream))
    }

    pub fn get_mut(&mut self) -> &mut R {
        self.0.get_mut()
    }

    /// The next final response; interim ones are passed over.
    pub fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        loop {
            let answer = self.any_answer(to_head)?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    /// Whether the server has closed and sent nothing more.
    pub fn is_at_end(&mut self) -> bool {
        match self.0.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn any_answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the head ended after {head:?}"),
                ));
            }
        }
        head.truncate(head.len() - 4);
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        let mut answer =
            Answer { status: status.ok_or_else(|| wrong(&head))?, head, content: Vec::new() };
        if to_head || answer.status < 200 || [204, 304].contains(&answer.status) {
            return Ok(answer);
        }
        if answer.field("transfer-encoding").is_some() {
            answer.content = self.chunks()?;
        } else if let Some(length) = answer.field("content-length") {
            let length = length.parse().map_err(|_| wrong(&answer.head))?;
            answer.content = self.exactly(length)?;
        } else {
            self.0.read_to_end(&mut answer.content)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| wrong(&line))?;
            content.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(wrong("a chunk does not end where it says"));
            }
            if size == 0 {
                return Ok(content);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no response: {text:?}"))
}

/// Asks again and again until it is so; panics with `what` if it is not so in time.
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(PATIENCE, what, is_so);
}

/// The same with a patience of its own.
pub fn within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < give_up, "it never happened that {what}");
        thread::sleep(Duration::from_millis(5)); // between two looks
    }
}

/// Raises this process's own limit of descriptors. Returns how many connections one test may
/// hold, with room for the tests that run beside it.
pub fn allow_many_descriptors() -> usize {
    let limit = progjar::net::sys::raise_descriptor_limit().unwrap_or(256);
    usize::try_from(limit / 8).unwrap_or(usize::MAX)
}

/// A port where nobody listens, for a program that cannot choose one itself. It lies below those
/// that the system gives to clients, and is handed out once: no test beside takes it.
pub fn free_port() -> u16 {
    const PORTS: Range<u32> = 12_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Each process begins elsewhere, for a suite that runs beside.
    let begin = std::process::id().wrapping_mul(100);
    let port = |_| {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        u16::try_from(PORTS.start + number % PORTS.len() as u32).unwrap_or_default()
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    PORTS.map(port).find(is_free).expect("a port is free")
}

/// Does this with each at the same time.
pub fn each<T: Send>(list: impl IntoIterator<Item = T>, act: impl Fn(T) + Sync) {
    let act = &act;
    thread::scope(|scope| {
        for item in list {
            scope.spawn(move || act(item));
        }
    });
}

/// What a program has printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder of its own for one test; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("progjar-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for temporary files can be made");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// As an argument on a command line.
    pub fn text(&self) -> &str {
        self.0.to_str().expect("the path is UTF-8")
    }

    /// A file below the folder, as text.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Writes a file below the folder, and the folders on the way to it.
    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        let parent = path.parent().expect("it lies below the folder");
        fs::create_dir_all(parent).expect("the folder can be made");
        fs::write(&path, content).expect("the file can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The limits of a server that was given none.
pub fn default_limits() -> Limits {
    let long = Duration::from_secs(60);
    Limits {
        head: progjar::http::Limits::DEFAULT,
        content: 16 * 1024 * 1024,
        header_timeout: long,
        content_timeout: long,
        idle_timeout: long,
        write_timeout: long,
        drain_timeout: long,
        connections: 1000,
    }
}

/// Random numbers that are the same in every run (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }
}
