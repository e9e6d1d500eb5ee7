//! Times, durations, limits and selectors, in every form that Prometheus takes.

use std::time::Duration;

use http_shell::Form;
use model::{Matcher, TimeRange, TimestampMs, parse_duration};
use promql::{ParserOptions, QueryError};
use storage::Budget;

use crate::envelope::{ApiError, ErrorType};

/// The first and the last time that Prometheus takes, and how its clients write them, for "everything".
const MIN_TIME: (TimestampMs, &str) = (
    TimestampMs(-9_223_309_901_257_974_000),
    "-292273086-05-16T16:47:06Z",
);
const MAX_TIME: (TimestampMs, &str) = (
    TimestampMs(9_223_309_901_257_974_999),
    "292277025-08-18T07:12:54.999999999Z",
);
/// The longest duration that nanoseconds in 64 bits can count.
const SECONDS_MAX: f64 = 9_223_372_036.0;

/// Returns a time parameter that must be given.
pub(crate) fn time(form: &Form, name: &str) -> Result<TimestampMs, ApiError> {
    let text = form.get(name).unwrap_or_default();
    parse_time(text).map_err(|why| ApiError::parameter(name, why))
}

/// Returns a time parameter, or `default` when it is not given.
pub(crate) fn time_or(
    form: &Form,
    name: &str,
    default: TimestampMs,
) -> Result<TimestampMs, ApiError> {
    let Some(text) = given(form, name) else {
        return Ok(default);
    };
    parse_time(text)
        .map_err(|why| ApiError::parameter(name, format!("invalid time value for '{name}': {why}")))
}

/// Returns the range of `start` and `end`; all of time where they are not given. It may be empty.
pub(crate) fn range(form: &Form) -> Result<TimeRange, ApiError> {
    let start = time_or(form, "start", MIN_TIME.0)?;
    let end = time_or(form, "end", MAX_TIME.0)?;
    Ok(TimeRange::new(start, end))
}

/// Returns a duration parameter: seconds, or Prometheus' form.
pub(crate) fn duration(form: &Form, name: &str) -> Result<Option<Duration>, ApiError> {
    let Some(text) = given(form, name) else {
        return Ok(None);
    };
    signed_duration(text)
        .and_then(|seconds| {
            Duration::try_from_secs_f64(seconds).map_err(|_| {
                format!("cannot parse \"{text}\" to a valid duration: it must not be negative")
            })
        })
        .map(Some)
        .map_err(|why| ApiError::parameter(name, why))
}

/// Returns how long a query may take; a negative time is none at all.
pub(crate) fn timeout(form: &Form) -> Result<Option<Duration>, ApiError> {
    let Some(text) = given(form, "timeout") else {
        return Ok(None);
    };
    let seconds = signed_duration(text).map_err(|why| ApiError::parameter("timeout", why))?;
    Ok(Some(
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO),
    ))
}

/// Returns the lookback of a query; none, and what is not positive, stands for the engine's own.
pub(crate) fn lookback(form: &Form) -> Result<Option<Duration>, ApiError> {
    let Some(text) = given(form, "lookback_delta") else {
        return Ok(None);
    };
    let seconds = signed_duration(text).map_err(|why| {
        let why = format!("error parsing lookback delta duration: {why}");
        ApiError::new(ErrorType::BadData, why)
    })?;
    let lookback = Duration::try_from_secs_f64(seconds).ok();
    Ok(lookback.filter(|lookback| !lookback.is_zero()))
}

/// Returns whether a query asks for samples alone: `tier=raw`. `tier=auto`, or nothing, lets summaries of a downsampling tier stand for
/// samples where these are gone, or where windows are made of whole buckets and reading samples would cost more. Ours; Prometheus has
/// no such parameter.
pub(crate) fn raw_only(form: &Form) -> Result<bool, ApiError> {
    match given(form, "tier") {
        None | Some("auto") => Ok(false),
        Some("raw") => Ok(true),
        Some(other) => Err(ApiError::parameter(
            "tier",
            format!("unknown tier {other:?}: it is \"auto\" (the default) or \"raw\""),
        )),
    }
}

/// Returns the step of a range query, in milliseconds.
pub(crate) fn step(form: &Form) -> Result<i64, ApiError> {
    let text = form.get("step").unwrap_or_default();
    let seconds = signed_duration(text).map_err(|why| ApiError::parameter("step", why))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded by signed_duration"
    )]
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
    let Some(text) = given(form, name) else {
        return Ok(0);
    };
    let number: i64 = text.parse().map_err(|_| {
        ApiError::parameter(
            name,
            format!("strconv.Atoi: parsing \"{text}\": invalid syntax"),
        )
    })?;
    usize::try_from(number).map_err(|_| ApiError::parameter(name, "limit must be non-negative"))
}

/// Returns the bound of a list as `metadata` takes it: what is negative is none, too.
pub(crate) fn loose_limit(form: &Form, name: &str) -> Result<usize, ApiError> {
    let Some(text) = given(form, name) else {
        return Ok(0);
    };
    let number: i64 = text
        .parse()
        .map_err(|_| ApiError::new(ErrorType::BadData, format!("{name} must be a number")))?;
    Ok(usize::try_from(number).unwrap_or(0))
}

/// Returns the texts of `match[]`.
pub(crate) fn selector_texts(form: &Form) -> Vec<String> {
    form.all("match[]").map(str::to_owned).collect()
}

/// Returns the sets of matchers of `match[]`, none of which matches everything; what they take is charged to the budget, and stays so.
pub(crate) fn selectors(
    texts: &[String],
    options: ParserOptions,
    budget: &dyn Budget,
) -> Result<Vec<Vec<Matcher>>, QueryError> {
    let nothing = || {
        let why = "match[] must contain at least one non-empty matcher";
        QueryError::BadData(why.to_owned())
    };
    let selector = |text: &String| {
        let matchers =
            promql::parse_selector(text, options, budget).map_err(|error| match &error {
                // The parser finds it too, and says it otherwise than this parameter does in Prometheus.
                QueryError::Parse(errors)
                    if (errors.first().message)
                        .ends_with("must contain at least one non-empty matcher") =>
                {
                    nothing()
                }
                _ => error,
            })?;
        if matchers.iter().all(Matcher::matches_empty) {
            return Err(nothing());
        }
        Ok(matchers)
    };
    texts.iter().map(selector).collect()
}

fn given<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    form.get(name).filter(|text| !text.is_empty())
}

/// Returns the seconds that `text` writes.
fn signed_duration(text: &str) -> Result<f64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() || seconds.abs() > SECONDS_MAX {
            return Err(format!(
                "cannot parse \"{text}\" to a valid duration. It overflows int64"
            ));
        }
        return Ok(seconds);
    }
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or((1.0, text), |rest| (-1.0, rest));
    parse_duration(digits)
        .map(|duration| sign * duration.as_secs_f64())
        .map_err(|_| format!("cannot parse \"{text}\" to a valid duration"))
}

/// Returns the time that `text` writes: seconds since 1970, or RFC 3339; the error says what is wrong with it.
pub fn parse_time(text: &str) -> Result<TimestampMs, String> {
    let refuse = || format!("cannot parse \"{text}\" to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        // Saturates, and makes 0 of what is no number.
        #[expect(clippy::cast_possible_truncation, reason = "checked just after")]
        let at = TimestampMs((seconds * 1_000.0).round() as i64);
        let is_in_range = seconds.is_finite() && (MIN_TIME.0..=MAX_TIME.0).contains(&at);
        return if is_in_range { Ok(at) } else { Err(refuse()) };
    }
    for (at, written) in [MIN_TIME, MAX_TIME] {
        if text == written {
            return Ok(at);
        }
    }
    parse_rfc3339(text).ok_or_else(refuse)
}

/// `2006-01-02T15:04:05.999Z` or with an offset.
pub(crate) fn parse_rfc3339(text: &str) -> Option<TimestampMs> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let number = |text: &str, digits: usize| -> Option<i64> {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    let mut parts = date.split('-');
    let (year, month, day) = (
        number(parts.next()?, 4)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut hands = clock.split(':');
    let (hour, minute, second) = (
        number(hands.next()?, 2)?,
        number(hands.next()?, 2)?,
        number(hands.next()?, 2)?,
    );
    let bad = parts.next().is_some() || hands.next().is_some();
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = hours * 60 + minutes;
            if zone.starts_with('-') {
                -minutes
            } else {
                minutes
            }
        }
    };
    if bad
        || !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis = number(
        &format!("{fraction:0<3}")
            .chars()
            .take(3)
            .collect::<String>(),
        3,
    )?;
    let seconds = days_from_epoch(year, month, day) * 86_400
        + hour * 3_600
        + (minute - offset_minutes) * 60
        + second;
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
    use proptest::prelude::*;

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
            (MIN_TIME.1, MIN_TIME.0.0),
            (MAX_TIME.1, MAX_TIME.0.0),
        ] {
            assert_eq!(parse_time(text), Ok(TimestampMs(ms)), "{text}");
        }
        for bad in [
            "",
            "NaN",
            "Inf",
            "now",
            "2015-07-01",
            "2015-13-01T00:00:00Z",
            "2015-02-29T00:00:00Z",
            "2015-07-01T25:00:00Z",
            "2015-07-01T00:00:00",
            "2015-07-01T00:00:00Z01:00",
            "2015-07-01T00:00:00+24:00",
            "2015-07-01T00:00:00.Z",
            "1e300",
            "-1e16",
        ] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_as_a_time_reads_back(ms in -62_135_596_800_000_i64..253_402_300_800_000) {
            let written = promql::number::rfc3339(ms);
            prop_assert_eq!(parse_time(&written), Ok(TimestampMs(ms)), "{}", written);
        }

        #[test]
        fn no_text_breaks_the_parsers(text in "[0-9TZ:.+-]{0,30}") {
            drop((parse_time(&text), signed_duration(&text)));
        }
    }

    #[test]
    fn steps_and_durations_come_as_seconds_or_in_prometheus_form() {
        let step_of =
            |text: &str| step(&Form::default().with("step", text)).map_err(|error| error.message);
        assert_eq!(step_of("15"), Ok(15_000));
        assert_eq!(step_of("0.5"), Ok(500));
        assert_eq!(step_of("1m"), Ok(60_000));
        assert!(
            step_of("0")
                .is_err_and(|message| message.contains("zero or negative query resolution"))
        );
        assert!(
            step_of("-1m")
                .is_err_and(|message| message.contains("zero or negative query resolution"))
        );
        assert!(
            step_of("")
                .is_err_and(|message| message.contains("cannot parse \"\" to a valid duration"))
        );
        assert!(step_of("1e40").is_err_and(|message| message.contains("overflows")));
    }

    #[test]
    fn a_range_may_be_open_and_a_limit_zero() {
        assert_eq!(
            range(&Form::default()),
            Ok(TimeRange::new(MIN_TIME.0, MAX_TIME.0))
        );
        assert_eq!(limit(&Form::default(), "limit"), Ok(0));
        assert_eq!(limit(&Form::default().with("limit", "7"), "limit"), Ok(7));
        assert!(limit(&Form::default().with("limit", "-1"), "limit").is_err());
        assert!(limit(&Form::default().with("limit", "x"), "limit").is_err());
        assert_eq!(
            loose_limit(&Form::default().with("limit", "-1"), "limit"),
            Ok(0)
        );
    }
}
