//! The proleptic Gregorian calendar in UTC, for the calendar functions.

/// A civil date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: u32,
    /// 1 to 31.
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
    /// 0 is Sunday.
    pub(crate) weekday: u32,
    /// 1 to 366.
    pub(crate) year_day: u32,
}

const DAY_SECONDS: i64 = 86_400;
/// Seconds from the first instant that Go's calendar can name, the start of a year, to the Unix epoch: whole days.
const BEFORE_EPOCH: u64 = 9_223_372_028_715_321_600;

impl Civil {
    /// Returns the civil time of `seconds` since the Unix epoch, as Prometheus does on amd64: what is no number or does not fit counts as
    /// the least integer.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what does not fit is told apart before"
    )]
    pub(crate) fn from_float(seconds: f64) -> Self {
        const BOUND: f64 = 9_223_372_036_854_775_808.0;
        let fits = (-BOUND..BOUND).contains(&seconds);
        Self::from_seconds(if fits { seconds as i64 } else { i64::MIN })
    }

    /// Returns the civil time of `seconds` since the Unix epoch. The calendar has an end, behind which it begins anew, as Go's.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "days are far below 2^63, and remainders are within the ranges that the fields document"
    )]
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        let day_seconds = DAY_SECONDS.unsigned_abs();
        let absolute = seconds.cast_unsigned().wrapping_add(BEFORE_EPOCH);
        let days = (absolute / day_seconds) as i64 - (BEFORE_EPOCH / day_seconds) as i64;
        let of_day = (absolute % day_seconds) as u32;
        // Days are counted from 0000-03-01, so that a leap day ends its year; eras are of 400 years.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month,
            day,
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            weekday: (days + 4).rem_euclid(7) as u32,
            year_day: (1..month)
                .map(|month| days_in_month(year, month))
                .sum::<u32>()
                + day,
        }
    }

    /// Returns the number of days in the month of this date.
    pub(crate) fn days_in_month(self) -> u32 {
        days_in_month(self.year, self.month)
    }
}

fn days_in_month(year: i64, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other() {
        let mut yesterday = Civil::from_seconds(-800 * 366 * DAY_SECONDS);
        for day in (-800 * 366 + 1)..(800 * 366) {
            let today = Civil::from_seconds(day * DAY_SECONDS);
            assert_eq!(today.weekday, (yesterday.weekday + 1) % 7);
            if today.day == 1 {
                assert_eq!(yesterday.day, yesterday.days_in_month());
            } else {
                assert_eq!(
                    (today.day, today.month),
                    (yesterday.day + 1, yesterday.month)
                );
                assert_eq!(today.year_day, yesterday.year_day + 1);
            }
            yesterday = today;
        }
    }

    #[test]
    fn known_instants() {
        let leap_day_end = Civil::from_seconds(1_456_790_399);
        assert_eq!(
            (leap_day_end.year, leap_day_end.month, leap_day_end.day),
            (2016, 2, 29)
        );
        assert_eq!(
            Civil::from_seconds(0).weekday,
            4,
            "the epoch was a Thursday"
        );
        assert_eq!(Civil::from_seconds(1_483_191_420).year_day, 366);
    }
}
