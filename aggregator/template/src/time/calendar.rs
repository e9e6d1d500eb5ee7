//! Days and dates in the Gregorian calendar, extended to all years.

use super::SECONDS_PER_DAY;

/// A date and a time of day, as a clock on the wall shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year; 0 and below are before Christ.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// Sunday is 0.
    pub weekday: i64,
    /// From 1.
    pub year_day: i64,
}

impl Civil {
    /// Returns the number of days of this month.
    pub fn days_in_month(&self) -> i64 {
        days_in_month(self.year, self.month)
    }

    /// `seconds` since 1 January 1970.
    pub(super) fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = date(days);
        Self {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            // 1 January 1970 was a Thursday.
            weekday: (days + 4).rem_euclid(7),
            year_day: days - days_since_1970(year, 1, 1) + 1,
        }
    }
}

/// Days from 1 March 0000 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
/// 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;

/// Returns year, month and day of the day `days` after 1 January 1970. Years begin in March here, so that leap days end them.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let era = days.div_euclid(DAYS_PER_ERA);
    let of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 153 days in every five.
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Returns the number of days from 1 January 1970 to a date; month and day may lie outside their ranges and count on.
pub(super) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year
        .saturating_add((month - 1).div_euclid(12))
        .clamp(-YEARS_MAX, YEARS_MAX);
    let month = (month - 1).rem_euclid(12) + 1;
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let of_era = shifted_year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5;
    let days =
        era * DAYS_PER_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_1970;
    days.saturating_add(day - 1)
}

/// Beyond these, instants are clamped: seconds of years further away do not fit.
const YEARS_MAX: i64 = 300_000_000_000;

/// Returns the number of days of a month.
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    days_since_1970(year, month + 1, 1) - days_since_1970(year, month, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_inverse() {
        for days in (-800_000..800_000).step_by(13) {
            let (year, month, day) = date(days);
            assert_eq!(days_since_1970(year, month, day), days);
        }
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(-719_162), (1, 1, 1));
        assert_eq!(days_in_month(2024, 2), 29);
        assert_eq!(days_in_month(1900, 2), 28);
    }

    #[test]
    fn extremes_do_not_overflow() {
        for seconds in [i64::MIN, i64::MAX] {
            let civil = Civil::from_seconds(seconds);
            assert!((1..=366).contains(&civil.year_day));
        }
        days_since_1970(i64::MAX, i64::MAX, i64::MAX);
        days_since_1970(i64::MIN, i64::MIN + 1, i64::MIN + 1);
    }
}
