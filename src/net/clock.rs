//! The time, read once per turn of a loop and rendered once per second.
//!
//! Note: `notes/async_server.md`.

use crate::http::date;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What time it is, as of the last [`Clock::refresh`].
#[derive(Debug, Clone)]
pub struct Clock {
    /// For deadlines.
    pub now: Instant,
    /// For the Date field.
    pub date: [u8; date::LENGTH],
    second: u64,
}

impl Clock {
    /// A clock that shows the present moment.
    pub fn new() -> Clock {
        let second = unix_time().as_secs();
        Clock { now: Instant::now(), date: date::format(second), second }
    }

    /// Reads the time again.
    pub fn refresh(&mut self) {
        self.now = Instant::now();
        let second = unix_time().as_secs();
        if second != self.second {
            self.second = second;
            self.date = date::format(second);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

/// That second since 1970 in UTC, as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn text(second: u64) -> String {
    String::from_utf8_lossy(&date::format(second)).into_owned()
}

/// The time since 1970.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
