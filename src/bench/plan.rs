//! What a run does: where to, which request, how often, how many at a time.
//!
//! Knows neither sockets nor the command line. Entry point: [`Plan::new`]. Note: `notes/bench.md`.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Where the requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As in the URL, without brackets.
    pub host: String,
    /// 80 unless the URL names one.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Reads `[http://]host[:port][/path]`. The error says what is wrong.
    pub fn parse(url: &str) -> Result<Target, String> {
        let wrong = |what: &str| format!("URL '{url}': {what}");
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(wrong("only http:// is spoken here")),
            None => url,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = match rest.find(['/', '?']) {
            Some(i) => rest.split_at(i),
            None => (rest, ""),
        };
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
        let clean = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if !clean(path) || !clean(host) {
            return Err(wrong("write blanks and letters beyond ASCII as %XX"));
        }
        Ok(Target {
            host: host.to_owned(),
            port: port.ok_or_else(|| wrong("the port is a number from 1 to 65535"))?,
            path: match path.starts_with('/') {
                true => path.to_owned(),
                false => format!("/{path}"),
            },
        })
    }

    /// `host:port`, with brackets where IPv6 needs them.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The whole URL.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.authority(), self.path)
    }
}

/// One run against one target at one level.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// GET, HEAD, POST, …
    pub method: String,
    /// Whole header lines, in order; one named Host, User-Agent or Accept replaces ours.
    pub fields: Vec<String>,
    /// Cookies, as name=value.
    pub cookies: Vec<String>,
    /// What each request carries.
    pub body: Option<Vec<u8>>,
    /// Of the body.
    pub content_type: String,
    /// -n: exactly so many requests.
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
    pub any_length: bool,
    /// --rate: requests per second on a fixed schedule; None: each connection sends its next
    /// request when it has the answer to the last.
    pub rate: Option<f64>,
    /// Client threads.
    pub threads: usize,
    /// -v.
    pub verbosity: u64,
    /// -g.
    pub rows: Option<PathBuf>,
}

impl Plan {
    /// One GET, as `ab URL` does; change the fields for more.
    pub fn new(url: &str) -> Result<Plan, String> {
        Ok(Plan {
            target: Target::parse(url)?,
            method: "GET".to_owned(),
            fields: Vec::new(),
            cookies: Vec::new(),
            body: None,
            content_type: "text/plain".to_owned(),
            requests: 1,
            concurrency: 1,
            time_limit: None,
            timeout: Duration::from_secs(30),
            keep_alive: false,
            go_on: false,
            any_length: false,
            rate: None,
            threads: default_threads(),
            verbosity: 0,
            rows: None,
        })
    }

    /// The bytes of each request, in ab's order.
    pub fn request(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.0\r\n", self.method, self.target.path);
        if self.keep_alive {
            head.push_str("Connection: Keep-Alive\r\n");
        }
        if let Some(body) = &self.body {
            let _ = write!(
                head,
                "Content-length: {}\r\nContent-type: {}\r\n",
                body.len(),
                self.content_type
            );
        }
        for cookie in &self.cookies {
            let _ = write!(head, "Cookie: {cookie}\r\n");
        }
        let ours = [
            ("Host", self.target.authority()),
            (
                "User-Agent",
                format!("progjar/{}", env!("CARGO_PKG_VERSION")),
            ),
            ("Accept", "*/*".to_owned()),
        ];
        for (name, value) in ours {
            if !self.fields.iter().any(|f| is_named(f, name)) {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        for field in &self.fields {
            let _ = write!(head, "{field}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

fn is_named(field: &str, name: &str) -> bool {
    field
        .split(':')
        .next()
        .is_some_and(|n| n.trim().eq_ignore_ascii_case(name))
}

/// One thread keeps a server busy that runs on the other cores of a small machine; a second
/// one would take the server's place. Measured on 2 cores; above, a quarter of the cores.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| (n.get() / 4).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_in_every_spelling() {
        for (url, host, port, path) in [
            ("http://127.0.0.1:44444/", "127.0.0.1", 44444, "/"),
            ("localhost", "localhost", 80, "/"),
            ("localhost:8080", "localhost", 8080, "/"),
            ("HTTP://a.example/x/y?q=1#part", "a.example", 80, "/x/y?q=1"),
            ("http://[::1]:9/p", "::1", 9, "/p"),
            ("http://a?q", "a", 80, "/?q"),
        ] {
            let target = Target::parse(url).expect(url);
            assert_eq!(
                (target.host.as_str(), target.port, target.path.as_str()),
                (host, port, path)
            );
        }
        for url in [
            "https://a/",
            "http:///x",
            "http://a:x/",
            "http://a:0/",
            "http://u@a/",
            "http://a/b c",
            "",
            "[::1",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_request_has_abs_lines_in_abs_order() {
        let mut plan = Plan::new("http://h:8/p").expect("valid");
        plan.keep_alive = true;
        plan.cookies = vec!["a=1".to_owned()];
        plan.fields = vec!["accept: text/html".to_owned(), "X-Y: z".to_owned()];
        plan.body = Some(b"body".to_vec());
        let text = String::from_utf8(plan.request()).expect("ASCII");
        let agent = format!("User-Agent: progjar/{}\r\n", env!("CARGO_PKG_VERSION"));
        let expected = "GET /p HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-length: 4\r\n\
            Content-type: text/plain\r\nCookie: a=1\r\nHost: h:8\r\n"
            .to_owned()
            + &agent
            + "accept: text/html\r\nX-Y: z\r\n\r\nbody";
        assert_eq!(text, expected);
    }
}
