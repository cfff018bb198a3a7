//! ab's `-g`: a tab-separated row per answered request. ab keeps every request in memory and
//! sorts them at the end; here rows are written as answers complete, so that memory stays
//! constant however long the run is. Times have fractions; starttime is UTC.
//!
//! Entry point: [`Rows::add`]. Note: `notes/bench.md`.

use crate::net::clock;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rows are handed to the system in pieces of this size.
const PIECE: usize = 64 * 1024;

/// The file that all client threads share, and the moment that ties their clock to the calendar.
#[derive(Debug)]
pub(super) struct RowFile {
    file: File,
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
}

/// One thread's rows on their way to the file. Whole rows are buffered, and the system writes each
/// piece behind the last one, so no lock is needed.
pub(super) struct Rows<'a> {
    file: &'a RowFile,
    buffer: BufWriter<&'a File>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(file: &'a RowFile) -> Rows<'a> {
        Rows { file, buffer: BufWriter::with_capacity(PIECE, &file.file) }
    }

    /// A request that began at `begun`; then connect, processing and waiting, in nanoseconds.
    pub(super) fn add(&mut self, begun: Instant, times: [u64; 3]) -> Result<(), String> {
        let since = begun.saturating_duration_since(self.file.clock);
        let (seconds, ms) = ((self.file.wall + since).as_secs(), times.map(|n| n as f64 / 1e6));
        let ([connect, processing, waiting], started) = (ms, calendar(seconds));
        let total = connect + processing;
        let row = format!(
            "{started}\t{seconds}\t{connect:.3}\t{processing:.3}\t{total:.3}\t{waiting:.3}\n"
        );
        self.buffer.write_all(row.as_bytes()).map_err(failed)
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        self.buffer.flush().map_err(failed)
    }
}

fn failed(error: io::Error) -> String {
    format!("cannot write the file of -g: {error}")
}

/// As ctime(3): `Mon Nov 23 14:07:28 2026`, but in UTC.
fn calendar(seconds: u64) -> String {
    let date = clock::text(seconds);
    let (weekday, day, month) = (&date[..3], &date[5..7], &date[8..11]);
    let (year, time) = (&date[12..16], &date[17..25]);
    let day = day.trim_start_matches('0');
    format!("{weekday} {month} {day:>2} {time} {year}")
}

#[cfg(test)]
mod tests {
    use super::calendar;

    #[test]
    fn a_date_is_written_as_by_ctime() {
        assert_eq!(calendar(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(calendar(1_795_442_848), "Mon Nov 23 14:07:28 2026");
    }
}
