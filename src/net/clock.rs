//! The time, read once per turn of a loop.
//!
//! Note: `notes/async_server.md`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub now: Instant, // for deadlines
    pub second: u64,  // for dates: seconds since 1970
}

impl Clock {
    pub fn read() -> Clock {
        Clock { now: Instant::now(), second: unix_time().as_secs() }
    }
}

pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
