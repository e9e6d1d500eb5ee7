//! Times, durations, limits and selectors, in every form that Prometheus takes.

use std::time::Duration;

use http_shell::Form;
use model::{Matcher, TimeRange, TimestampMs, parse_duration};

use crate::envelope::{ApiError, ErrorType};

/// Go's minimum and maximum time, which Grafana sends for "everything", and what they stand for here.
const MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME: &str = "+292277025-08-18T07:12:54.999999999Z";
/// The widest range that a time may lie in; beyond it, seconds times 1,000 are no 64-bit number.
const SECONDS_MAX: f64 = 9_223_372_036_854_775.0;

/// Returns a time parameter, or `default` when it is not given.
pub(crate) fn time(form: &Form, name: &str, default: Option<TimestampMs>) -> Result<TimestampMs, ApiError> {
    match (form.get(name).filter(|text| !text.is_empty()), default) {
        (Some(text), _) => parse_time(text).map_err(|why| ApiError::parameter(name, why)),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(ApiError::parameter(name, "cannot parse \"\" to a valid timestamp")),
    }
}

/// Returns the range of `start` and `end`; all of time where they are not given.
pub(crate) fn range(form: &Form) -> Result<TimeRange, ApiError> {
    let start = time(form, "start", Some(TimestampMs::MIN))?;
    let end = time(form, "end", Some(TimestampMs::MAX))?;
    if end < start {
        return Err(ApiError::new(ErrorType::BadData, "end timestamp must not be before start timestamp"));
    }
    Ok(TimeRange::new(start, end))
}

/// Returns a duration parameter: seconds, or Prometheus' form.
pub(crate) fn duration(form: &Form, name: &str) -> Result<Option<Duration>, ApiError> {
    let Some(text) = form.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    signed_duration(text)
        .and_then(|seconds| {
            Duration::try_from_secs_f64(seconds).map_err(|_| format!("cannot parse \"{text}\" to a valid duration"))
        })
        .map(Some)
        .map_err(|why| ApiError::parameter(name, why))
}

/// Returns the step of a range query, in milliseconds.
pub(crate) fn step(form: &Form) -> Result<i64, ApiError> {
    let text = form.get("step").unwrap_or_default();
    let seconds = signed_duration(text).map_err(|why| ApiError::parameter("step", why))?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded by signed_duration")]
    let millis = (seconds * 1_000.0) as i64;
    if millis <= 0 {
        return Err(ApiError::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    Ok(millis)
}

/// Returns the bound of a list; 0: none.
pub(crate) fn limit(form: &Form, name: &str) -> Result<usize, ApiError> {
    let Some(text) = form.get(name).filter(|text| !text.is_empty()) else { return Ok(0) };
    let number: i64 = text.parse().map_err(|_| {
        ApiError::parameter(name, format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
    })?;
    usize::try_from(number).map_err(|_| ApiError::parameter(name, "limit must be non-negative"))
}

/// Returns the sets of matchers of `match[]`.
pub(crate) fn selectors(form: &Form, required: bool) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let sets: Vec<Vec<Matcher>> =
        form.all("match[]").map(selector).collect::<Result<_, _>>()?;
    if sets.is_empty() && required {
        return Err(ApiError::new(ErrorType::BadData, "no match[] parameter provided"));
    }
    Ok(sets)
}

fn selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    let matchers =
        promql::parse_selector(text, promql::ParserOptions::default()).map_err(|error| ApiError::parameter("match[]", error))?;
    if matchers.iter().all(Matcher::matches_empty) {
        return Err(ApiError::parameter("match[]", "match[] must contain at least one non-empty matcher"));
    }
    Ok(matchers)
}

/// Returns the seconds that `text` writes.
fn signed_duration(text: &str) -> Result<f64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() || seconds.abs() > SECONDS_MAX / 1_000.0 {
            return Err(format!("cannot parse \"{text}\" to a valid duration. It overflows int64"));
        }
        return Ok(seconds);
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    parse_duration(digits)
        .map(|duration| sign * duration.as_secs_f64())
        .map_err(|_| format!("cannot parse \"{text}\" to a valid duration"))
}

fn parse_time(text: &str) -> Result<TimestampMs, String> {
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
        && seconds.abs() < SECONDS_MAX
    {
        #[expect(clippy::cast_possible_truncation, reason = "bounded just before")]
        return Ok(TimestampMs((seconds * 1_000.0).round() as i64));
    }
    match text {
        MIN_TIME => Ok(TimestampMs::MIN),
        MAX_TIME => Ok(TimestampMs::MAX),
        _ => parse_rfc3339(text).ok_or_else(|| format!("cannot parse \"{text}\" to a valid timestamp")),
    }
}

/// `2006-01-02T15:04:05.999Z` or with an offset.
fn parse_rfc3339(text: &str) -> Option<TimestampMs> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let number = |text: &str, digits: usize| -> Option<i64> {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut hands = clock.split(':');
    let (hour, minute, second) = (number(hands.next()?, 2)?, number(hands.next()?, 2)?, number(hands.next()?, 2)?);
    let bad = parts.next().is_some() || hands.next().is_some();
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = number(hours, 2)? * 60 + number(minutes, 2)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    if bad || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis = number(&format!("{fraction:0<3}").chars().take(3).collect::<String>(), 3)?;
    let seconds = days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    Some(TimestampMs(seconds * 1_000 + millis))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, by counting years from March, so that the leap day is the last of a year.
const fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_every_form() {
        for (text, ms) in [
            ("0", 0),
            ("1435781430.781", 1_435_781_430_781),
            ("-1.5", -1_500),
            ("1e3", 1_000_000),
            ("2015-07-01T20:10:30.781Z", 1_435_781_430_781),
            ("2015-07-01T20:10:51.781+02:00", 1_435_774_251_781),
            ("1969-12-31T23:59:59Z", -1_000),
            ("2024-02-29T00:00:00.5Z", 1_709_164_800_500),
            (MIN_TIME, i64::MIN),
            (MAX_TIME, i64::MAX),
        ] {
            assert_eq!(parse_time(text), Ok(TimestampMs(ms)), "{text}");
        }
        for bad in ["", "NaN", "Inf", "now", "2015-07-01", "2015-13-01T00:00:00Z", "2015-02-29T00:00:00Z", "2015-07-01T25:00:00Z", "2015-07-01T00:00:00", "1e300"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_and_durations_come_as_seconds_or_in_prometheus_form() {
        let step_of = |text: &str| step(&Form::default().with("step", text)).map_err(|error| error.message);
        assert_eq!(step_of("15"), Ok(15_000));
        assert_eq!(step_of("0.5"), Ok(500));
        assert_eq!(step_of("1m"), Ok(60_000));
        assert!(step_of("0").is_err_and(|message| message.contains("zero or negative query resolution")));
        assert!(step_of("-1m").is_err_and(|message| message.contains("zero or negative query resolution")));
        assert!(step_of("").is_err_and(|message| message.contains("cannot parse \"\" to a valid duration")));
        assert!(step_of("1e40").is_err_and(|message| message.contains("overflows")));
    }

    #[test]
    fn a_range_may_be_open_and_a_limit_zero() {
        assert_eq!(range(&Form::default()), Ok(TimeRange::ALL));
        assert!(range(&Form::default().with("start", "2").with("end", "1")).is_err());
        assert_eq!(limit(&Form::default(), "limit"), Ok(0));
        assert_eq!(limit(&Form::default().with("limit", "7"), "limit"), Ok(7));
        assert!(limit(&Form::default().with("limit", "-1"), "limit").is_err());
        assert!(limit(&Form::default().with("limit", "x"), "limit").is_err());
    }
}
