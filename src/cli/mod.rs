//! The parts of every program: flags and their help, limits as flags, the one stop flag, the log,
//! and how a date and a quoted string are written.
//! Notes: `notes/http.md` (limits), `notes/thread_server.md` (the stop flag), `notes/lb.md` (the log).

// flags: one table parses and helps
pub mod args;
// the limits of a client: sizes and times, as options
pub mod limits;
// the one stop flag
pub mod shutdown;
// lines of the log, from any thread to stdout, without waiting for stdout
pub mod log;

/// Of work that fails with a sentence for the user.
pub type Result<T, E = String> = std::result::Result<T, E>;

/// That second since 1970 in UTC, for reports: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn date(second: u64) -> String {
    String::from_utf8_lossy(&crate::http::date::format(second)).into_owned()
}

/// A string as JSON and Prometheus write it.
pub fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}
