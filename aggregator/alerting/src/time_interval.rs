//! Time intervals: when routes are muted or active.

use std::ops::RangeInclusive;

use config::Node;
use template::{Civil, Time, Zone};

use crate::config::Reader;

/// Conditions on an instant, all of which have to hold. Those that are not given hold always.
#[derive(Clone, Debug, Default)]
pub struct TimeInterval {
    /// Minutes of the day from the first up to, and without, the second.
    times: Option<Vec<(i64, i64)>>,
    /// Sunday is 0.
    weekdays: Option<Vec<RangeInclusive<i64>>>,
    /// Negative ones count from the end of the month.
    days_of_month: Option<Vec<RangeInclusive<i64>>>,
    months: Option<Vec<RangeInclusive<i64>>>,
    years: Option<Vec<RangeInclusive<i64>>>,
    /// Where clock and calendar hang; UTC when not given.
    location: Option<Zone>,
}

const WEEKDAYS: &[&str] = &[
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const FIELDS: &[&str] = &[
    "times",
    "weekdays",
    "days_of_month",
    "months",
    "years",
    "location",
];

impl TimeInterval {
    /// Whether the interval contains `time`.
    pub fn contains(&self, time: &Time) -> bool {
        let zone = self.location.clone().unwrap_or_else(Zone::utc);
        let civil = time.shown_in(zone).civil();
        let minute = civil.hour * 60 + civil.minute;
        let within = |ranges: &Option<Vec<RangeInclusive<i64>>>, value: i64| match ranges {
            Some(ranges) => ranges.iter().any(|range| range.contains(&value)),
            None => true,
        };
        let in_times = match &self.times {
            Some(times) => times
                .iter()
                .any(|(start, end)| (*start..*end).contains(&minute)),
            None => true,
        };
        let in_days = match &self.days_of_month {
            Some(ranges) => ranges.iter().any(|range| is_day_in(range, &civil)),
            None => true,
        };
        in_times
            && in_days
            && within(&self.weekdays, civil.weekday)
            && within(&self.months, civil.month)
            && within(&self.years, civil.year)
    }

    /// Reads an interval; `local` is the zone called `Local`.
    pub(crate) fn read(reader: &mut Reader<'_>, node: &Node, local: &Zone) -> Self {
        let mut interval = Self::default();
        for (key, at, value) in reader.entries(node) {
            match key {
                "times" => interval.times = list(reader, value, time_range),
                "weekdays" => {
                    interval.weekdays =
                        list(reader, value, |reader, item| range(reader, item, weekdays))
                }
                "days_of_month" => {
                    interval.days_of_month =
                        list(reader, value, |reader, item| range(reader, item, days))
                }
                "months" => {
                    interval.months =
                        list(reader, value, |reader, item| range(reader, item, months))
                }
                "years" => {
                    interval.years = list(reader, value, |reader, item| range(reader, item, years))
                }
                "location" => {
                    interval.location = reader.text(value).and_then(|name| match &*name {
                        "Local" => Some(local.clone()),
                        _ => Zone::named(&name).or_else(|| {
                            reader.refuse(value.at, format!("unknown time zone {name}"))
                        }),
                    });
                }
                _ => reader.unknown(at, key, "time interval", FIELDS.iter().copied()),
            }
        }
        interval
    }
}

/// Days that a month does not have are its last; a range that begins behind its end is not in it.
fn is_day_in(range: &RangeInclusive<i64>, civil: &Civil) -> bool {
    let days = civil.days_in_month();
    let from_start = |day: i64| if day < 0 { days + day + 1 } else { day };
    let begin = from_start(*range.start());
    let end = from_start(*range.end()).min(days);
    begin <= days && (begin..=end).contains(&civil.day)
}

fn list<T>(
    reader: &mut Reader<'_>,
    node: &Node,
    read: impl Fn(&mut Reader<'_>, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    let items = reader.items(node)?;
    Some(items.iter().filter_map(|item| read(reader, item)).collect())
}

fn time_range(reader: &mut Reader<'_>, node: &Node) -> Option<(i64, i64)> {
    let (mut start, mut end) = (None, None);
    for (key, at, value) in reader.entries(node) {
        match key {
            "start_time" => start = reader.text(value),
            "end_time" => end = reader.text(value),
            _ => reader.unknown(at, key, "time range", ["start_time", "end_time"]),
        }
    }
    let (Some(start), Some(end)) = (start, end) else {
        return reader.refuse(node.at, "both start and end times must be provided");
    };
    let minute = |reader: &mut Reader<'_>, text: &str| {
        minute_of(text).or_else(|| {
            reader.refuse(
                node.at,
                format!("couldn't parse timestamp {text}, invalid format"),
            )
        })
    };
    let (start, end) = (minute(reader, &start)?, minute(reader, &end)?);
    if start >= end {
        return reader.refuse(
            node.at,
            "start time cannot be equal or greater than end time",
        );
    }
    Some((start, end))
}

/// Reads `hh:mm`, up to `24:00`.
fn minute_of(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |digits: &str| {
        (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse::<i64>().ok())?
    };
    let minute = two_digits(hours)? * 60 + two_digits(minutes).filter(|minutes| *minutes < 60)?;
    (minute <= 24 * 60).then_some(minute)
}

/// What the ends of a range are, and whether they make one.
struct Member {
    read: fn(&str) -> Result<i64, String>,
    check: fn(i64, i64) -> Result<(), String>,
}

/// Reads `a` or `a:b`.
fn range(
    reader: &mut Reader<'_>,
    node: &Node,
    member: fn() -> Member,
) -> Option<RangeInclusive<i64>> {
    let text = reader.text(node)?.to_lowercase();
    let member = member();
    let (begin, end) = text.split_once(':').unwrap_or((&text, &text));
    let parsed = if end.contains(':') {
        Err(format!("couldn't parse range {text}, invalid format"))
    } else {
        (member.read)(begin).and_then(|begin| Ok((begin, (member.read)(end)?)))
    };
    let checked = parsed.and_then(|(begin, end)| (member.check)(begin, end).map(|()| begin..=end));
    checked.map_or_else(|message| reader.refuse(node.at, message), Some)
}

fn number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}

fn index_in(names: &[&str], text: &str) -> Option<i64> {
    let index = names.iter().position(|name| *name == text)?;
    i64::try_from(index).ok()
}

fn weekdays() -> Member {
    Member {
        read: |text| {
            index_in(WEEKDAYS, text).ok_or_else(|| format!("{text} is not a valid weekday"))
        },
        check: |begin, end| {
            ordered(begin, end, || {
                "start day cannot be before end day".to_owned()
            })
        },
    }
}

fn months() -> Member {
    Member {
        read: |text| {
            let named = index_in(MONTHS, text).map(|index| index + 1);
            named
                .or_else(|| text.parse().ok())
                .ok_or_else(|| format!("{text} is not a valid month"))
        },
        check: |begin, end| {
            let name = |month: i64| {
                usize::try_from(month - 1)
                    .ok()
                    .and_then(|index| MONTHS.get(index))
                    .copied()
                    .unwrap_or_default()
            };
            ordered(begin, end, || {
                format!(
                    "end month {} is before start month {}",
                    name(end),
                    name(begin)
                )
            })
        },
    }
}

fn years() -> Member {
    Member {
        read: number,
        check: |begin, end| {
            ordered(begin, end, || {
                format!("end year {end} is before start year {begin}")
            })
        },
    }
}

fn days() -> Member {
    Member {
        read: number,
        check: |begin, end| {
            for day in [begin, end] {
                if day == 0 || !(-31..=31).contains(&day) {
                    return Err(format!(
                        "{day} is not a valid day of the month: out of range"
                    ));
                }
            }
            if begin < 0 && end > 0 {
                return Err("end day must be negative if start day is negative".to_owned());
            }
            // The shortest month has 28 days.
            let from_start = |day: i64| if day < 0 { 28 + day } else { day };
            ordered(from_start(begin), from_start(end), || {
                format!("end day {end} is always before start day {begin}")
            })
        },
    }
}

fn ordered(begin: i64, end: i64, message: impl Fn() -> String) -> Result<(), String> {
    if begin <= end { Ok(()) } else { Err(message()) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use config::parse_yaml;

    use super::*;
    use crate::MatcherMode;

    fn read(text: &str) -> Result<TimeInterval, String> {
        let path = Path::new("f");
        let node = parse_yaml(path, text).unwrap();
        let mut reader = Reader::new(path, MatcherMode::Fallback);
        let interval = TimeInterval::read(&mut reader, &node, &Zone::utc());
        match reader.mistakes.first() {
            Some(mistake) => Err(mistake.what.clone()),
            None => Ok(interval),
        }
    }

    #[test]
    fn instants_are_in_or_out() {
        let cases = [
            ("{}", "2024-03-01T00:00:00Z", true),
            (
                "times: [{start_time: '09:00', end_time: '17:00'}]",
                "2024-03-01T09:00:00Z",
                true,
            ),
            (
                "times: [{start_time: '09:00', end_time: '17:00'}]",
                "2024-03-01T17:00:00Z",
                false,
            ),
            (
                "times: [{start_time: '22:00', end_time: '24:00'}]",
                "2024-03-01T23:59:59Z",
                true,
            ),
            ("weekdays: ['monday:friday']", "2024-03-01T00:00:00Z", true),
            (
                "weekdays: ['Saturday', sunday]",
                "2024-03-01T00:00:00Z",
                false,
            ),
            ("days_of_month: ['-1']", "2024-02-29T00:00:00Z", true),
            ("days_of_month: ['-1']", "2024-02-28T00:00:00Z", false),
            ("days_of_month: ['25:31']", "2024-02-29T00:00:00Z", true),
            ("days_of_month: ['30:31']", "2024-02-29T00:00:00Z", false),
            ("days_of_month: ['1:-1']", "2024-02-15T00:00:00Z", true),
            (
                "months: ['january:march', 11]",
                "2024-11-15T00:00:00Z",
                true,
            ),
            (
                "months: ['january:march', 11]",
                "2024-04-15T00:00:00Z",
                false,
            ),
            ("years: ['2023:2024']", "2024-04-15T00:00:00Z", true),
            ("years: [2023]", "2024-04-15T00:00:00Z", false),
            (
                "{times: [{start_time: '09:00', end_time: '10:00'}], location: Asia/Tokyo}",
                "2024-03-01T00:30:00Z",
                true,
            ),
            (
                "{weekdays: [monday], months: [may]}",
                "2024-03-04T00:00:00Z",
                false,
            ),
            ("weekdays: []", "2024-03-04T00:00:00Z", false),
        ];
        for (text, instant, expected) in cases {
            let interval = read(text).unwrap();
            assert_eq!(
                interval.contains(&Time::parse_rfc3339(instant).unwrap()),
                expected,
                "{text} {instant}"
            );
        }
    }

    #[test]
    fn mistakes_are_named_as_alertmanager_does() {
        let cases = [
            (
                "times: [{start_time: '09:00'}]",
                "both start and end times must be provided",
            ),
            (
                "times: [{start_time: '9:00', end_time: '10:00'}]",
                "couldn't parse timestamp 9:00, invalid format",
            ),
            (
                "times: [{start_time: '10:00', end_time: '24:01'}]",
                "couldn't parse timestamp 24:01, invalid format",
            ),
            (
                "times: [{start_time: '10:00', end_time: '10:00'}]",
                "start time cannot be equal or greater than end time",
            ),
            ("weekdays: [someday]", "someday is not a valid weekday"),
            (
                "weekdays: ['friday:monday']",
                "start day cannot be before end day",
            ),
            (
                "days_of_month: ['0']",
                "0 is not a valid day of the month: out of range",
            ),
            (
                "days_of_month: ['-5:5']",
                "end day must be negative if start day is negative",
            ),
            (
                "days_of_month: ['10:5']",
                "end day 5 is always before start day 10",
            ),
            (
                "days_of_month: ['1:2:3']",
                "couldn't parse range 1:2:3, invalid format",
            ),
            (
                "months: ['june:may']",
                "end month may is before start month june",
            ),
            ("months: [mai]", "mai is not a valid month"),
            (
                "years: ['2024:2023']",
                "end year 2023 is before start year 2024",
            ),
            ("location: Mars/Olympus", "unknown time zone Mars/Olympus"),
            (
                "day: [1]",
                "field day not found in time interval (accepted: times, weekdays, days_of_month, months, years, location)",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).map(|_| ()), Err(expected.to_owned()), "{text}");
        }
    }
}
