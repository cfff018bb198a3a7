//! What a run does: where to, which request, how often, how many at a time.
//!
//! Knows neither sockets nor the command line. Entry point: [`Plan::new`]. Note: `notes/bench.md`.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Where the requests go.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// What it is called in tables: `NAME` of `NAME=URL`, else the URL.
    pub name: String,
    /// As in the URL, without brackets.
    pub host: String,
    /// 80 unless the URL names one.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Reads `[NAME=][http://]host[:port][/path]`. The error says what is wrong.
    pub fn parse(operand: &str) -> Result<Target, String> {
        let is_name = |name: &str| !name.is_empty() && !name.contains(['/', ':', '?', '[']);
        let named = operand.split_once('=').filter(|(name, _)| is_name(name));
        let (name, url) = named.unwrap_or(("", operand));
        let wrong = |what: &str| format!("URL '{url}': {what}");
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(wrong("only http:// is spoken here")),
            None => url,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or_else(|| wrong("']' is missing"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|p| *p != 0),
            None => Some(80).filter(|_| port.is_empty()),
        };
        if host.is_empty() || host.contains('@') {
            return Err(wrong("give http://HOST[:PORT]/PATH"));
        }
        if ![path, host].iter().all(|text| text.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(wrong("write blanks and letters beyond ASCII as %XX"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut target = Target {
            name: name.to_owned(),
            host: host.to_owned(),
            port: port.ok_or_else(|| wrong("the port is a number from 1 to 65535"))?,
            path: format!("{slash}{path}"),
        };
        if name.is_empty() {
            target.name = target.url();
        }
        Ok(target)
    }

    /// `host:port`, with brackets where IPv6 needs them.
    pub(crate) fn authority(&self) -> String {
        let Target { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.authority(), self.path)
    }
}

/// One run against one target at one level.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// GET, HEAD, POST, …
    pub method: String,
    /// Whole header lines, in order; one named Host, User-Agent or Accept replaces ours.
    pub fields: Vec<String>,
    /// As name=value.
    pub cookies: Vec<String>,
    /// What each request carries.
    pub body: Option<Vec<u8>>,
    pub(crate) content_type: String,
    /// -n: exactly so many.
    pub requests: u64,
    /// -c: under way at a time.
    pub concurrency: usize,
    /// -t: stop after this time even if requests are left.
    pub time_limit: Option<Duration>,
    /// -s: a request that takes longer has failed.
    pub timeout: Duration,
    /// -k.
    pub keep_alive: bool,
    /// -r: a broken connection does not end the run.
    pub go_on: bool,
    /// -l: bodies may differ in length.
    pub(crate) any_length: bool,
    /// --rate: requests per second, on a schedule; None: a closed loop.
    pub rate: Option<f64>,
    /// --http11: as browsers send it; otherwise HTTP/1.0, as ab does.
    pub(crate) http11: bool,
    /// --idle: so many more connections are open and say nothing.
    pub(crate) idle: usize,
    /// --cpu: the processes whose CPU time is read before and after.
    pub(crate) processes: Vec<u32>,
    /// --threads; by default one per four cores: a second one may take the place of the server.
    pub(crate) threads: usize,
    /// -v.
    pub(crate) verbosity: u64,
    /// -g.
    pub(crate) rows: Option<PathBuf>,
    /// To say on stderr whenever so many more requests are done; 0: nothing.
    pub(crate) progress: u64,
}

impl Plan {
    /// One GET, as `ab URL` does; change the fields for more.
    pub fn new(url: &str) -> Result<Plan, String> {
        Ok(Plan {
            target: Target::parse(url)?,
            method: "GET".to_owned(),
            content_type: "text/plain".to_owned(),
            requests: 1,
            concurrency: 1,
            timeout: Duration::from_secs(30),
            threads: (cores() / 4).max(1),
            ..Plan::default()
        })
    }

    /// The bytes of each request, in ab's order. A line that the user gives replaces ours.
    pub fn request(&self) -> Vec<u8> {
        let (version, connection) = match (self.http11, self.keep_alive) {
            (false, false) => ("1.0", ""),
            (false, true) => ("1.0", "Keep-Alive"),
            (true, false) => ("1.1", "close"),
            (true, true) => ("1.1", ""),
        };
        let mut head = format!("{} {} HTTP/{version}\r\n", self.method, self.target.path);
        let mut ours = |name: &str, value: &str| {
            let mut theirs = self.fields.iter().filter_map(|field| field.split(':').next());
            let is_theirs = theirs.any(|found| found.trim().eq_ignore_ascii_case(name));
            if !value.is_empty() && !is_theirs {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        };
        ours("Connection", connection);
        if let Some(body) = &self.body {
            ours("Content-length", &body.len().to_string());
            ours("Content-type", &self.content_type);
        }
        self.cookies.iter().for_each(|cookie| ours("Cookie", cookie));
        // As ab: the port only if it is not the usual one.
        ours("Host", self.target.authority().trim_end_matches(":80"));
        ours("User-Agent", concat!("progjar/", env!("CARGO_PKG_VERSION")));
        ours("Accept", "*/*");
        head.extend(self.fields.iter().map(|field| format!("{field}\r\n")));
        [head.as_bytes(), b"\r\n", self.body.as_deref().unwrap_or_default()].concat()
    }

    /// The same on a schedule; within a time limit with the requests that fall due.
    pub(crate) fn at_rate(&self, rate: f64) -> Plan {
        let due = self.time_limit.map_or(u64::MAX, |t| (rate * t.as_secs_f64()).ceil() as u64);
        Plan { rate: Some(rate), requests: self.requests.min(due.max(1)), ..self.clone() }
    }

    /// The same for so long, whatever the number of requests, and without a word.
    pub(super) fn for_time(&self, limit: Duration) -> Plan {
        let quiet = Plan { rows: None, verbosity: 0, progress: 0, idle: 0, ..self.clone() };
        Plan { time_limit: Some(limit), requests: u64::MAX, ..quiet }
    }

    /// Whether a request may be sent again although the first may have arrived (RFC 9110, 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"].contains(&self.method.as_str())
    }

    pub(super) fn is_same_level(&self, other: &Plan) -> bool {
        self.concurrency == other.concurrency && self.rate == other.rate
    }

    /// The number of requests under way and, on a schedule, the rate: what a row of a table is about.
    pub(crate) fn level(&self) -> String {
        let rate = self.rate.map(|rate| format!(", {rate} requests/s"));
        format!("c = {}{}", self.concurrency, rate.unwrap_or_default())
    }
}

/// As many as this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// RFC 4648, section 4.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter = |i: usize| char::from(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize]);
        text.extend((0..4).map(|i| if i <= three.len() { letter(i) } else { '=' }));
    }
    text
}
