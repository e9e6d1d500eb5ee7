//! The methods that instants and durations have in templates.

use super::layout::{MONTHS, WEEKDAYS, format};
use super::{Duration, NANOS_PER_SECOND, Time, Zone, calendar};
use crate::function::{Function, Kind};
use crate::value::{NamedInts, Value};

static MONTH: NamedInts = NamedInts {
    name: "time.Month",
    names: MONTHS,
    first: 1,
};

static WEEKDAY: NamedInts = NamedInts {
    name: "time.Weekday",
    names: WEEKDAYS,
    first: 0,
};

pub(crate) static TIME_METHODS: &[Function] = &[
    Function::new("Add", &[Kind::Time, Kind::Duration], |_, args| {
        Ok(Value::Time(time(args, 0).plus(duration(args, 1))))
    }),
    Function::new(
        "AddDate",
        &[Kind::Time, Kind::Int, Kind::Int, Kind::Int],
        |_, args| Ok(Value::Time(add_date(args))),
    ),
    Function::new("After", &[Kind::Time, Kind::Time], |_, args| {
        Ok(ordering(args).is_gt().into())
    }),
    Function::new("Before", &[Kind::Time, Kind::Time], |_, args| {
        Ok(ordering(args).is_lt().into())
    }),
    Function::new("Compare", &[Kind::Time, Kind::Time], |_, args| {
        Ok(Value::Int(ordering(args) as i64))
    }),
    Function::new("Day", &[Kind::Time], |_, args| {
        Ok(time(args, 0).civil().day.into())
    }),
    Function::new("Equal", &[Kind::Time, Kind::Time], |_, args| {
        Ok(ordering(args).is_eq().into())
    }),
    Function::new("Format", &[Kind::Time, Kind::String], |_, args| {
        Ok(format(time(args, 0), args[1].text()).into())
    }),
    Function::new("Hour", &[Kind::Time], |_, args| {
        Ok(time(args, 0).civil().hour.into())
    }),
    Function::new("IsDST", &[Kind::Time], |_, args| {
        let time = time(args, 0);
        Ok(time.zone.offset(time.seconds).summer_time.into())
    }),
    Function::new("IsZero", &[Kind::Time], |_, args| {
        Ok(time(args, 0).is_zero().into())
    }),
    Function::new("Local", &[Kind::Time], |machine, args| {
        Ok(Value::Time(
            time(args, 0).shown_in(machine.environment().zone()),
        ))
    }),
    Function::new("Minute", &[Kind::Time], |_, args| {
        Ok(time(args, 0).civil().minute.into())
    }),
    Function::new("Month", &[Kind::Time], |_, args| {
        Ok(Value::Named(&MONTH, time(args, 0).civil().month))
    }),
    Function::new("Nanosecond", &[Kind::Time], |_, args| {
        Ok(i64::from(time(args, 0).nanoseconds).into())
    }),
    Function::new("Round", &[Kind::Time, Kind::Duration], |_, args| {
        Ok(Value::Time(rounded(time(args, 0), duration(args, 1), true)))
    }),
    Function::new("Second", &[Kind::Time], |_, args| {
        Ok(time(args, 0).civil().second.into())
    }),
    Function::new("String", &[Kind::Time], |_, args| {
        Ok(time(args, 0).to_string().into())
    }),
    Function::new("Sub", &[Kind::Time, Kind::Time], |_, args| {
        Ok(Value::Duration(time(args, 0).since(time(args, 1))))
    }),
    Function::new("Truncate", &[Kind::Time, Kind::Duration], |_, args| {
        Ok(Value::Time(rounded(
            time(args, 0),
            duration(args, 1),
            false,
        )))
    }),
    Function::new("UTC", &[Kind::Time], |_, args| {
        Ok(Value::Time(time(args, 0).shown_in(Zone::utc())))
    }),
    Function::new("Unix", &[Kind::Time], |_, args| Ok(unix(args, 1))),
    Function::new("UnixMicro", &[Kind::Time], |_, args| {
        Ok(unix(args, 1_000_000))
    }),
    Function::new("UnixMilli", &[Kind::Time], |_, args| Ok(unix(args, 1_000))),
    Function::new("UnixNano", &[Kind::Time], |_, args| {
        Ok(unix(args, NANOS_PER_SECOND))
    }),
    Function::new("Weekday", &[Kind::Time], |_, args| {
        Ok(Value::Named(&WEEKDAY, time(args, 0).civil().weekday))
    }),
    Function::new("Year", &[Kind::Time], |_, args| {
        Ok(time(args, 0).civil().year.into())
    }),
    Function::new("YearDay", &[Kind::Time], |_, args| {
        Ok(time(args, 0).civil().year_day.into())
    }),
];

pub(crate) static DURATION_METHODS: &[Function] = &[
    Function::new("Abs", &[Kind::Duration], |_, args| {
        let absolute = duration(args, 0).0.checked_abs().unwrap_or(i64::MAX);
        Ok(Value::Duration(Duration(absolute)))
    }),
    Function::new("Hours", &[Kind::Duration], |_, args| {
        Ok(duration(args, 0).in_units(3600 * NANOS_PER_SECOND).into())
    }),
    Function::new("Microseconds", &[Kind::Duration], |_, args| {
        Ok((duration(args, 0).0 / 1_000).into())
    }),
    Function::new("Milliseconds", &[Kind::Duration], |_, args| {
        Ok((duration(args, 0).0 / 1_000_000).into())
    }),
    Function::new("Minutes", &[Kind::Duration], |_, args| {
        Ok(duration(args, 0).in_units(60 * NANOS_PER_SECOND).into())
    }),
    Function::new("Nanoseconds", &[Kind::Duration], |_, args| {
        Ok(duration(args, 0).0.into())
    }),
    Function::new("Round", &[Kind::Duration, Kind::Duration], |_, args| {
        Ok(Value::Duration(Duration(round_duration(
            duration(args, 0).0,
            duration(args, 1).0,
        ))))
    }),
    Function::new("Seconds", &[Kind::Duration], |_, args| {
        Ok(duration(args, 0).in_units(NANOS_PER_SECOND).into())
    }),
    Function::new("String", &[Kind::Duration], |_, args| {
        Ok(duration(args, 0).to_string().into())
    }),
    Function::new("Truncate", &[Kind::Duration, Kind::Duration], |_, args| {
        let (value, unit) = (duration(args, 0).0, duration(args, 1).0);
        let rest = if unit > 0 { value % unit } else { 0 };
        Ok(Value::Duration(Duration(value - rest)))
    }),
];

/// Returns the argument at `index`, which was checked to be an instant.
fn time(args: &[Value], index: usize) -> &Time {
    match &args[index] {
        Value::Time(time) => time,
        _ => unreachable!("checked by the kind of the parameter"),
    }
}

/// Returns the argument at `index`, which was checked to be a duration.
fn duration(args: &[Value], index: usize) -> Duration {
    match &args[index] {
        Value::Duration(duration) => *duration,
        _ => unreachable!("checked by the kind of the parameter"),
    }
}

fn ordering(args: &[Value]) -> std::cmp::Ordering {
    time(args, 0)
        .unix_nanoseconds()
        .cmp(&time(args, 1).unix_nanoseconds())
}

/// The instant in units of which `per_second` make a second; wraps around as Go does when it does not fit.
#[expect(clippy::cast_possible_truncation, reason = "wraps around as in Go")]
fn unix(args: &[Value], per_second: i64) -> Value {
    let unit = i128::from(NANOS_PER_SECOND / per_second);
    Value::Int(time(args, 0).unix_nanoseconds().div_euclid(unit) as i64)
}

fn add_date(args: &[Value]) -> Time {
    let start = time(args, 0);
    let number = |index: usize| {
        args[index]
            .as_int()
            .unwrap_or(0)
            .clamp(-100_000_000, 100_000_000)
    };
    let civil = start.civil();
    let day = |years, months, days| {
        calendar::days_since_1970(
            civil.year.saturating_add(years),
            civil.month + months,
            civil.day + days,
        )
    };
    let moved = day(number(1), number(2), number(3)).saturating_sub(day(0, 0, 0));
    let seconds = start
        .seconds
        .saturating_add(moved.saturating_mul(super::SECONDS_PER_DAY));
    // The clock on the wall shows the same, though the offset may have changed.
    let change = start.zone.offset(seconds).seconds - start.zone.offset(start.seconds).seconds;
    Time::from_unix(seconds.saturating_sub(change), i64::from(start.nanoseconds))
        .shown_in(start.zone.clone())
}

/// Returns `time` moved to a multiple of `unit` since the zero time: down, or to the nearest, halves up.
fn rounded(time: &Time, unit: Duration, nearest: bool) -> Time {
    if unit.0 <= 0 {
        return time.clone();
    }
    let since_zero = time.unix_nanoseconds() - Time::zero().unix_nanoseconds();
    let rest = since_zero.rem_euclid(i128::from(unit.0));
    let up = nearest && rest * 2 >= i128::from(unit.0);
    let moved = if up { i128::from(unit.0) - rest } else { -rest };
    time.plus(Duration(i64::try_from(moved).unwrap_or(0)))
}

/// Returns the multiple of `unit` that is nearest; halves go away from zero, and what does not fit stays at the end of the range.
fn round_duration(value: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return value;
    }
    let rest = value % unit;
    let towards_zero = value - rest;
    if i128::from(rest.abs()) * 2 < i128::from(unit) {
        towards_zero
    } else {
        towards_zero.saturating_add(unit * value.signum())
    }
}
