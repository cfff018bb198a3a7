//! HTTP-date (RFC 9110 §5.6.7): seconds since 1970 as `Sun, 06 Nov 1994 08:49:37 GMT`.
//!
//! Note: `notes/http.md`.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub const LENGTH: usize = 29;

/// Seconds since 1970 as an IMF-fixdate; years beyond 9999 are written as 9999.
pub fn format(seconds: u64) -> [u8; LENGTH] {
    let seconds = seconds.min(253_402_300_799);
    let (days, time) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = civil_from_days(days as i64);
    let text = format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        day,
        MONTHS[month as usize - 1],
        year,
        time / 3600,
        time / 60 % 60,
        time % 60
    );
    let mut bytes = [b' '; LENGTH];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// The date of the present second, for heads: rendered once a second, not once a head.
pub struct Cached {
    second: u64,
    text: [u8; LENGTH],
}

impl Cached {
    pub fn new(second: u64) -> Cached {
        Cached { second, text: format(second) }
    }

    /// That second as [`format()`] writes it.
    pub fn at(&mut self, second: u64) -> &[u8; LENGTH] {
        if second != self.second {
            *self = Cached::new(second);
        }
        &self.text
    }
}

/// Year, month and day. Counts years from March, so that the leap day comes last, and in eras of
/// 400 years, which all have the same length.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_date_is_that_of_the_second_asked_for() {
        let mut cached = Cached::new(0);
        for second in [0, 1, 1, 2, 784_111_777, 5] {
            assert_eq!(cached.at(second), &format(second));
        }
    }

    #[test]
    fn the_rfc_example_and_the_edges_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(format(seconds), *text.as_bytes(), "{text}");
        }
    }
}
