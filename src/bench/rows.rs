//! ab's `-g`: a tab-separated row per answered request. ab keeps every request in memory and
//! sorts them at the end; here rows are written as answers complete, so that memory stays
//! constant however long the run is. Times have fractions; starttime is UTC.
//!
//! Entry point: [`Rows::add`]. Note: `notes/bench.md`.

use crate::cli;
use crate::net::clock;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Rows are handed to the system in pieces of this size.
const PIECE: usize = 64 * 1024;

/// The file that all client threads share, and the moment that ties their clock to the calendar.
#[derive(Debug)]
pub struct RowFile {
    file: Mutex<File>,
    wall: Duration,
    clock: Instant,
}

impl RowFile {
    /// Creates the file, with ab's heading.
    pub fn create(path: &Path) -> Result<RowFile, String> {
        let wrong = |e| format!("cannot write '{}': {e}", path.display());
        let mut file = File::create(path).map_err(wrong)?;
        file.write_all(b"starttime\tseconds\tctime\tdtime\tttime\twait\n").map_err(wrong)?;
        Ok(RowFile { file: Mutex::new(file), wall: clock::unix_time(), clock: Instant::now() })
    }
}

/// One thread's rows on their way to the file.
#[derive(Debug)]
pub struct Rows<'a> {
    file: &'a RowFile,
    text: String,
}

impl<'a> Rows<'a> {
    /// None yet.
    pub fn new(file: &'a RowFile) -> Rows<'a> {
        Rows { file, text: String::new() }
    }

    /// A request that began at `begun`; the times in nanoseconds.
    pub fn add(
        &mut self,
        begun: Instant,
        connect: u64,
        processing: u64,
        waiting: u64,
    ) -> Result<(), String> {
        let since = begun.saturating_duration_since(self.file.clock);
        let seconds = (self.file.wall + since).as_secs();
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let _ = writeln!(
            self.text,
            "{}\t{seconds}\t{:.3}\t{:.3}\t{:.3}\t{:.3}",
            calendar(seconds),
            ms(connect),
            ms(processing),
            ms(connect + processing),
            ms(waiting)
        );
        if self.text.len() > PIECE { self.flush() } else { Ok(()) }
    }

    /// Writes what is left.
    pub fn flush(&mut self) -> Result<(), String> {
        // A poisoned lock means that another thread died; the file is still a file.
        let mut file = self.file.file.lock().unwrap_or_else(|e| e.into_inner());
        file.write_all(self.text.as_bytes())
            .map_err(|e| format!("cannot write the file of -g: {e}"))?;
        self.text.clear();
        Ok(())
    }
}

/// As ctime(3): `Mon Nov 23 14:07:28 2026`, but in UTC.
fn calendar(seconds: u64) -> String {
    let date = cli::date(seconds);
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
