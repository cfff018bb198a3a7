//! ab's `-g`: a tab-separated row per answered request. ab keeps every request in memory and
//! sorts them at the end; here rows are written as answers complete, so that memory stays
//! constant however long the run is. Times have fractions; starttime is UTC.
//!
//! Entry point: [`Rows::add`]. Note: `notes/bench.md`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
        file.write_all(b"starttime\tseconds\tctime\tdtime\tttime\twait\n")
            .map_err(wrong)?;
        Ok(RowFile {
            file: Mutex::new(file),
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            clock: Instant::now(),
        })
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
        Rows {
            file,
            text: String::new(),
        }
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
        if self.text.len() > PIECE {
            self.flush()
        } else {
            Ok(())
        }
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

/// As ctime(3): `Mon Nov 23 14:07:28 2026`, in UTC. The days are counted in years that begin
/// in March, so that a leap day is the last of its year.
fn calendar(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb",
    ];
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let since_march_0 = days + 719_468;
    let era = since_march_0 / 146_097;
    let of_era = since_march_0 % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    format!(
        "{} {} {day:2} {:02}:{:02}:{:02} {year}",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::calendar;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (951_868_799, "Tue Feb 29 23:59:59 2000"),
            (951_868_800, "Wed Mar  1 00:00:00 2000"),
            (1_795_442_848, "Mon Nov 23 14:07:28 2026"),
        ] {
            assert_eq!(calendar(seconds), date);
        }
    }
}
