//! A server's limits for its clients: sizes, times, numbers; each an option with a default.
//!
//! The three servers share this table, so that one option means the same on all of them.
//! Note: `notes/http.md`.

use crate::cli::args::{self, Flag, Given, flag};
use crate::http;
use std::time::Duration;

pub const FLAGS: &[Flag] = &[
    flag("--max-request-line", "SIZE", "8k", "longest request line, else 414"),
    flag("--max-header-size", "SIZE", "16k", "largest field section, else 431"),
    flag("--header-timeout", "TIME", "10s", "for a head to arrive, else 408"),
    flag("--content-timeout", "TIME", "30s", "between bytes of content, else 408"),
    flag("--idle-timeout", "TIME", "60s", "of a keep-alive connection, then closed"),
    flag("--write-timeout", "TIME", "30s", "for a client to read on, then closed"),
    flag("--drain-timeout", "TIME", "5s", "for answers in flight after Ctrl-C"),
];

/// For a server that answers requests itself. A gateway has its own default.
pub const CONTENT: Flag = flag("--max-content", "SIZE", "16M", "largest request content, else 413");

/// How many clients at once: the option of each server with its own default.
pub const fn connections(default: &'static str, help: &'static str) -> Flag {
    flag("--max-connections", "N", default, help)
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub head: http::Limits,
    pub content: u64,
    pub header_timeout: Duration,
    pub content_timeout: Duration,
    pub idle_timeout: Duration,
    pub write_timeout: Duration,
    pub drain_timeout: Duration,
    pub connections: usize, // connections at once; beyond it newcomers wait in the backlog
}

impl Limits {
    pub fn from(given: &Given) -> Result<Limits, String> {
        // No system call takes a timeout of zero for what it says.
        let time = |name| {
            given.duration(name).map(|time| time.unwrap_or_default().max(Duration::from_millis(1)))
        };
        let head = |name, most: usize| {
            let wanted = format!("give a size from 16 to {most} bytes");
            let fits = |n: &u64| (16..=most as u64).contains(n);
            let size = given.value(name, &wanted, |text| args::size(text).filter(fits))?;
            Ok::<_, String>(size.unwrap_or_default() as usize)
        };
        Ok(Limits {
            head: http::Limits {
                request_line: head("--max-request-line", READ / 4)?,
                field_section: head("--max-header-size", READ / 2)?,
                ..http::Limits::DEFAULT
            },
            content: given.size("--max-content")?.unwrap_or(u64::MAX),
            header_timeout: time("--header-timeout")?,
            content_timeout: time("--content-timeout")?,
            idle_timeout: time("--idle-timeout")?,
            write_timeout: time("--write-timeout")?,
            drain_timeout: time("--drain-timeout")?,
            connections: given.number("--max-connections", 1..=1_000_000)?.unwrap_or(1) as usize,
        })
    }
}

/// Bytes read at once, and the most that is kept unanswered of one client: a whole head fits.
pub const READ: usize = 64 * 1024;

/// How long a client that may still be sending gets to read its last answer (RFC 9112 §9.6).
pub const LINGER: Duration = Duration::from_secs(2);

/// How long an idle client keeps its connection once it is to go: a request may be on its way.
pub const LAST_CHANCE: Duration = Duration::from_millis(250);
