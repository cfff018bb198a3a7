//! ab's `-g`: a tab-separated row per answered request. ab keeps every request in memory and
//! sorts them at the end; here rows are written as answers complete, so that memory stays
//! constant however long the run is. Times have fractions; starttime is UTC.
//!
//! Entry point: [`RowFile::row`]. Note: `notes/bench.md`.

use crate::cli;
use crate::net::clock;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Each thread hands its rows to the system in pieces of this size, and the system writes each
/// piece behind the last one: no lock is needed.
pub(super) const PIECE: usize = 64 * 1024;

/// The file that all client threads share, and the moment that ties their clock to the calendar.
#[derive(Debug)]
pub(super) struct RowFile {
    pub(super) file: File,
    wall: Duration,
    clock: Instant,
}

impl RowFile {
    /// Creates the file, with ab's heading.
    pub(super) fn create(path: &Path) -> Result<RowFile, String> {
        let wrong = |e| format!("cannot write '{}': {e}", path.display());
        let mut file = File::create(path).map_err(wrong)?;
        file.write_all(b"starttime\tseconds\tctime\tdtime\tttime\twait\n").map_err(wrong)?;
        Ok(RowFile { file, wall: clock::unix_time(), clock: Instant::now() })
    }

    /// A request that began at `begun`; then connect, processing and waiting, in nanoseconds.
    pub(super) fn row(&self, begun: Instant, times: [u64; 3]) -> String {
        let since = begun.saturating_duration_since(self.clock);
        let (seconds, [connect, processing, waiting]) =
            ((self.wall + since).as_secs(), times.map(|nanos| nanos as f64 / 1e6));
        let (started, total) = (calendar(seconds), connect + processing);
        format!("{started}\t{seconds}\t{connect:.3}\t{processing:.3}\t{total:.3}\t{waiting:.3}\n")
    }
}

pub(super) fn failed(error: io::Error) -> String {
    format!("cannot write the file of -g: {error}")
}

/// As ctime(3): `Mon Nov 23 14:07:28 2026`, but in UTC.
pub fn calendar(seconds: u64) -> String {
    let date = cli::date(seconds);
    let (weekday, day, month) = (&date[..3], &date[5..7], &date[8..11]);
    let (year, time) = (&date[12..16], &date[17..25]);
    let day = day.trim_start_matches('0');
    format!("{weekday} {month} {day:>2} {time} {year}")
}
