//! Instants and durations as Go has them: an instant stands in a time zone, prints by a layout and has methods.

mod calendar;
mod layout;
mod methods;
mod zone;

use std::fmt;

pub(crate) use layout::{format, parse};
pub(crate) use methods::{DURATION_METHODS, TIME_METHODS};
pub use zone::Zone;

pub use calendar::Civil;

/// How an instant prints: `2006-01-02 15:04:05.999999999 -0700 MST`.
const PRINTED: &str = "2006-01-02 15:04:05.999999999 -0700 MST";
/// How an instant is written in JSON.
pub(crate) const RFC3339: &str = "2006-01-02T15:04:05.999999999Z07:00";

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 1 January of year 1, which is Go's zero time, in Unix seconds.
const ZERO_SECONDS: i64 = -62_135_596_800;

/// An instant, and the zone that it is shown in. Two are equal when the instants are.
#[derive(Clone, Debug)]
pub struct Time {
    seconds: i64,
    /// Below a second.
    nanoseconds: u32,
    zone: Zone,
}

impl Time {
    /// Returns the instant `milliseconds` after 1 January 1970, in UTC.
    pub fn from_unix_ms(milliseconds: i64) -> Self {
        Self::from_unix(
            milliseconds.div_euclid(1000),
            milliseconds.rem_euclid(1000) * 1_000_000,
        )
    }

    /// Returns the instant `seconds` and `nanoseconds` after 1 January 1970, in UTC.
    pub fn from_unix(seconds: i64, nanoseconds: i64) -> Self {
        let carried = nanoseconds.div_euclid(NANOS_PER_SECOND);
        let rest = nanoseconds.rem_euclid(NANOS_PER_SECOND);
        Self {
            seconds: seconds.saturating_add(carried),
            nanoseconds: u32::try_from(rest).unwrap_or(0),
            zone: Zone::utc(),
        }
    }

    /// Returns Go's zero time: 1 January of year 1.
    pub fn zero() -> Self {
        Self::from_unix(ZERO_SECONDS, 0)
    }

    /// Returns the same instant, shown in `zone`.
    pub fn shown_in(&self, zone: Zone) -> Self {
        Self {
            zone,
            ..self.clone()
        }
    }

    /// Returns the instant that RFC 3339 `text` names, in the zone that it names.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        parse(RFC3339, text).ok()
    }

    /// Returns the instant in milliseconds since 1 January 1970, rounded down.
    pub fn unix_ms(&self) -> i64 {
        self.seconds
            .saturating_mul(1_000)
            .saturating_add(i64::from(self.nanoseconds / 1_000_000))
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.seconds == ZERO_SECONDS && self.nanoseconds == 0
    }

    /// Returns the instant in seconds since 1 January 1970; milliseconds are the finest.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of our time fit")]
    pub(crate) fn unix_seconds(&self) -> f64 {
        let milliseconds = self.seconds as f64 * 1000.0 + f64::from(self.nanoseconds / 1_000_000);
        milliseconds / 1000.0
    }

    /// Returns the instant as a number of nanoseconds since 1 January 1970.
    fn unix_nanoseconds(&self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(self.nanoseconds)
    }

    /// Returns this moved by `duration`.
    pub(crate) fn plus(&self, duration: Duration) -> Self {
        let moved = Self::from_unix(
            self.seconds
                .saturating_add(duration.0.div_euclid(NANOS_PER_SECOND)),
            i64::from(self.nanoseconds) + duration.0.rem_euclid(NANOS_PER_SECOND),
        );
        moved.shown_in(self.zone.clone())
    }

    /// Returns how long after `earlier` this is; the longest duration when it is longer.
    pub fn since(&self, earlier: &Self) -> Duration {
        let nanoseconds = self.unix_nanoseconds() - earlier.unix_nanoseconds();
        let limit = if nanoseconds < 0 { i64::MIN } else { i64::MAX };
        Duration(i64::try_from(nanoseconds).unwrap_or(limit))
    }

    /// Returns this as Go's source would have it.
    pub(crate) fn go_source(&self) -> String {
        let civil = self.civil();
        let month = format(self, "January");
        format!(
            "time.Date({}, time.{month}, {}, {}, {}, {}, {}, {})",
            civil.year,
            civil.day,
            civil.hour,
            civil.minute,
            civil.second,
            self.nanoseconds,
            self.zone.go_name()
        )
    }

    /// Returns what a calendar and a clock on the wall show, in the zone of this.
    pub fn civil(&self) -> Civil {
        let offset = self.zone.offset(self.seconds).seconds;
        Civil::from_seconds(self.seconds.saturating_add(offset))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format(self, PRINTED))
    }
}

/// A span of time in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(i64);

impl Duration {
    /// Returns `nanoseconds` as a duration.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the number of nanoseconds.
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    #[expect(clippy::cast_precision_loss, reason = "a float is asked for")]
    pub(crate) fn in_units(self, unit: i64) -> f64 {
        (self.0 / unit) as f64 + (self.0 % unit) as f64 / unit as f64
    }
}

impl fmt::Display for Duration {
    /// As Go: `1h2m3.5s`, `1.5ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanoseconds {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanoseconds}ns"),
            1_000..1_000_000 => write!(f, "{}µs", Decimal(nanoseconds, 3)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", Decimal(nanoseconds, 6)),
            _ => {
                let minutes = nanoseconds / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", Decimal(nanoseconds % 60_000_000_000, 9))
            }
        }
    }
}

/// A number and how many of its last digits are behind the point; zeros at the end are left out.
struct Decimal(u64, u32);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u64.pow(self.1);
        write!(f, "{}", self.0 / unit)?;
        let width = self.1 as usize;
        let fraction = format!("{:0width$}", self.0 % unit);
        let digits = fraction.trim_end_matches('0');
        if digits.is_empty() {
            return Ok(());
        }
        write!(f, ".{digits}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_in_go() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (3_725_500_000_000, "1h2m5.5s"),
            (-60_000_000_000, "-1m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanoseconds, expected) in cases {
            assert_eq!(Duration(nanoseconds).to_string(), expected);
        }
    }

    #[test]
    fn instants_move_and_differ() {
        let time = Time::from_unix(100, 999_999_999);
        let later = time.plus(Duration(2));
        assert_eq!((later.seconds, later.nanoseconds), (101, 1));
        assert_eq!(later.since(&time), Duration(2));
        assert_eq!(
            Time::from_unix(i64::MAX / 2, 0).since(&Time::zero()),
            Duration(i64::MAX)
        );
        assert_eq!(Time::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
    }
}
