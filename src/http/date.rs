//! HTTP-date (RFC 9110 §5.6.7): seconds since 1970 to and from `Sun, 06 Nov 1994 08:49:37 GMT`.
//!
//! Note: `notes/http.md`.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The length of an IMF-fixdate.
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
#[derive(Debug)]
pub struct Cached {
    second: u64,
    text: [u8; LENGTH],
}

impl Cached {
    /// Begins with the date of that second.
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

/// An IMF-fixdate as seconds since 1970. The two obsolete forms are no longer sent by anyone;
/// a date that is not understood counts as absent.
pub fn parse(bytes: &[u8]) -> Option<u64> {
    let text = str::from_utf8(bytes).ok().filter(|t| t.len() == LENGTH && t.is_ascii())?;
    if !DAYS.contains(&&text[..3]) || &text[3..5] != ", " || &text[25..] != " GMT" {
        return None;
    }
    let number = |range: std::ops::Range<usize>| super::fields::digits(text[range].as_bytes());
    let month = MONTHS.iter().position(|m| *m == &text[8..11])? as i64 + 1;
    let (day, year) = (number(5..7)? as i64, number(12..16)? as i64);
    let (hour, minute, second) = (number(17..19)?, number(20..22)?, number(23..25)?);
    let separators = [text.as_bytes()[7], text.as_bytes()[11], text.as_bytes()[16]] == *b"   "
        && [text.as_bytes()[19], text.as_bytes()[22]] == *b"::";
    let days = days_from_civil(year, month, day);
    let exists = civil_from_days(days) == (year, month, day);
    if !separators || !exists || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    u64::try_from(days * 86400).ok().map(|s| s + hour * 3600 + minute * 60 + second)
}

// Both count years from March, so that the leap day comes last, and in eras of 400 years, which
// all have the same length.

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

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_example_and_the_edges_survive_the_round_trip() {
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        for seconds in [0, 951_782_400, 951_868_799, 1_709_164_800, 4_102_444_799, 253_402_300_799]
        {
            assert_eq!(parse(&format(seconds)), Some(seconds));
        }
    }

    #[test]
    fn a_cached_date_is_that_of_the_second_asked_for() {
        let mut cached = Cached::new(0);
        for second in [0, 1, 1, 2, 784_111_777, 5] {
            assert_eq!(cached.at(second), &format(second));
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
