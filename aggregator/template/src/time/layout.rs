//! Layouts: how Go describes a form of dates, by writing the instant `Mon Jan 2 15:04:05 MST 2006` in it.

use std::fmt::Write as _;

use super::calendar::{Civil, days_in_month, days_since_1970};
use super::zone::Offset;
use super::{SECONDS_PER_DAY, Time, Zone};

pub(super) const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: &[&str] = &[
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// What a piece of a layout stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    LongMonth,
    ShortMonth,
    LongWeekday,
    ShortWeekday,
    Year,
    /// Its last two digits.
    ShortYear,
    Number(Number, Pad),
    /// Upper case or not.
    HalfDay(bool),
    ZoneName,
    Offset(OffsetForm),
    Fraction(Fraction),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Month,
    Day,
    YearDay,
    Hour,
    HalfDayHour,
    Minute,
    Second,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pad {
    None,
    Space,
    Zero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OffsetForm {
    /// `Z` stands for UTC.
    z: bool,
    colons: bool,
    minutes: bool,
    seconds: bool,
}

/// `.000` or `,999`: digits of a second; with nines, zeros at the end are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fraction {
    separator: char,
    digits: usize,
    trimmed: bool,
}

const PIECES: &[(&str, Piece)] = {
    use Number as N;
    use Pad as P;
    use Piece::Number as Num;
    // Of pieces that begin alike the longer comes first.
    &[
        ("January", Piece::LongMonth),
        ("Jan", Piece::ShortMonth),
        ("Monday", Piece::LongWeekday),
        ("Mon", Piece::ShortWeekday),
        ("MST", Piece::ZoneName),
        ("2006", Piece::Year),
        ("__2", Num(N::YearDay, P::Space)),
        ("_2", Num(N::Day, P::Space)),
        ("002", Num(N::YearDay, P::Zero)),
        ("01", Num(N::Month, P::Zero)),
        ("02", Num(N::Day, P::Zero)),
        ("03", Num(N::HalfDayHour, P::Zero)),
        ("04", Num(N::Minute, P::Zero)),
        ("05", Num(N::Second, P::Zero)),
        ("06", Piece::ShortYear),
        ("15", Num(N::Hour, P::Zero)),
        ("1", Num(N::Month, P::None)),
        ("2", Num(N::Day, P::None)),
        ("3", Num(N::HalfDayHour, P::None)),
        ("4", Num(N::Minute, P::None)),
        ("5", Num(N::Second, P::None)),
        ("PM", Piece::HalfDay(true)),
        ("pm", Piece::HalfDay(false)),
    ]
};

/// The forms of offsets behind `-` or `Z`: colons, minutes, seconds.
const OFFSETS: &[(&str, bool, bool, bool)] = &[
    ("07:00:00", true, true, true),
    ("070000", false, true, true),
    ("07:00", true, true, false),
    ("0700", false, true, false),
    ("07", false, false, false),
];

/// Returns the piece at the start of `layout` and its length.
fn piece_at(layout: &str) -> Option<(Piece, usize)> {
    let first = layout.chars().next()?;
    if let Some(rest) = layout.strip_prefix(['-', 'Z']) {
        let (form, colons, minutes, seconds) =
            OFFSETS.iter().find(|(form, ..)| rest.starts_with(form))?;
        let form_bytes = form.len();
        let (colons, minutes, seconds, z) = (*colons, *minutes, *seconds, first == 'Z');
        return Some((
            Piece::Offset(OffsetForm {
                z,
                colons,
                minutes,
                seconds,
            }),
            1 + form_bytes,
        ));
    }
    if let Some(rest) = layout.strip_prefix(['.', ',']) {
        let digit = rest
            .chars()
            .next()
            .filter(|digit| matches!(digit, '0' | '9'))?;
        let after = rest.trim_start_matches(digit);
        let digits = rest.len() - after.len();
        let fraction = Fraction {
            separator: first,
            digits,
            trimmed: digit == '9',
        };
        let ends = !after.starts_with(|next: char| next.is_ascii_digit());
        return ends.then_some((Piece::Fraction(fraction), 1 + digits));
    }
    let (text, piece) = PIECES.iter().find(|(text, _)| layout.starts_with(text))?;
    let after = layout.get(text.len()..)?;
    match piece {
        // "_2006" is an underscore and a year.
        Piece::Number(Number::Day, Pad::Space) if after.starts_with("006") => None,
        // "Month" and "Janus" are words.
        Piece::ShortMonth | Piece::ShortWeekday
            if after.starts_with(|next: char| next.is_ascii_lowercase()) =>
        {
            None
        }
        _ => Some((*piece, text.len())),
    }
}

/// Returns what is literally in front of the first piece of `layout`, that piece, and what follows.
fn next_piece(layout: &str) -> (&str, Option<Piece>, &str) {
    for (at, _) in layout.char_indices() {
        let (before, rest) = layout.split_at(at);
        if let Some((piece, bytes)) = piece_at(rest) {
            return (before, Some(piece), rest.get(bytes..).unwrap_or_default());
        }
    }
    (layout, None, "")
}

/// Returns `time` in the form of `layout`.
pub(crate) fn format(time: &Time, layout: &str) -> String {
    let offset = time.zone.offset(time.seconds);
    let civil = time.civil();
    let mut text = String::with_capacity(layout.len() + 10);
    let mut rest = layout;
    loop {
        let (before, piece, after) = next_piece(rest);
        text.push_str(before);
        let Some(piece) = piece else { return text };
        // Writing to a String does not fail.
        let _written = write_piece(&mut text, piece, &civil, time.nanoseconds, &offset);
        rest = after;
    }
}

fn write_piece(
    text: &mut String,
    piece: Piece,
    civil: &Civil,
    nanoseconds: u32,
    offset: &Offset,
) -> std::fmt::Result {
    let named = |names: &[&'static str], index: i64| {
        usize::try_from(index)
            .ok()
            .and_then(|index| names.get(index).copied())
            .unwrap_or("")
    };
    let short = |name: &'static str| name.get(..3).unwrap_or(name);
    match piece {
        Piece::LongMonth => text.push_str(named(MONTHS, civil.month - 1)),
        Piece::ShortMonth => text.push_str(short(named(MONTHS, civil.month - 1))),
        Piece::LongWeekday => text.push_str(named(WEEKDAYS, civil.weekday)),
        Piece::ShortWeekday => text.push_str(short(named(WEEKDAYS, civil.weekday))),
        Piece::Year if civil.year < 0 => write!(text, "-{:04}", -civil.year)?,
        Piece::Year => write!(text, "{:04}", civil.year)?,
        Piece::ShortYear => write!(text, "{:02}", civil.year.rem_euclid(100))?,
        Piece::Number(number, pad) => {
            let value = match number {
                Number::Month => civil.month,
                Number::Day => civil.day,
                Number::YearDay => civil.year_day,
                Number::Hour => civil.hour,
                Number::HalfDayHour => (civil.hour + 11) % 12 + 1,
                Number::Minute => civil.minute,
                Number::Second => civil.second,
            };
            let width = if number == Number::YearDay { 3 } else { 2 };
            match pad {
                Pad::None => write!(text, "{value}")?,
                Pad::Space => write!(text, "{value:width$}")?,
                Pad::Zero => write!(text, "{value:0width$}")?,
            }
        }
        Piece::HalfDay(upper) => text.push_str(match (civil.hour < 12, upper) {
            (true, true) => "AM",
            (true, false) => "am",
            (false, true) => "PM",
            (false, false) => "pm",
        }),
        Piece::ZoneName if offset.name.is_empty() => {
            let (z, colons, minutes, seconds) = (false, false, true, false);
            write_offset(
                text,
                OffsetForm {
                    z,
                    colons,
                    minutes,
                    seconds,
                },
                offset.seconds,
            )?;
        }
        Piece::ZoneName => text.push_str(&offset.name),
        Piece::Offset(form) if form.z && offset.seconds == 0 => text.push('Z'),
        Piece::Offset(form) => write_offset(text, form, offset.seconds)?,
        Piece::Fraction(fraction) => {
            let mut digits = format!("{nanoseconds:09}");
            digits.truncate(fraction.digits);
            // Digits beyond nanoseconds are zeros.
            let missing = if fraction.trimmed {
                0
            } else {
                fraction.digits.saturating_sub(9)
            };
            digits.extend(std::iter::repeat_n('0', missing));
            if fraction.trimmed {
                digits.truncate(digits.trim_end_matches('0').len());
            }
            if !digits.is_empty() {
                text.push(fraction.separator);
                text.push_str(&digits);
            }
        }
    }
    Ok(())
}

fn write_offset(text: &mut String, form: OffsetForm, seconds: i64) -> std::fmt::Result {
    let colon = if form.colons { ":" } else { "" };
    text.push(if seconds < 0 { '-' } else { '+' });
    let seconds = seconds.abs();
    write!(text, "{:02}", seconds / 3600)?;
    if form.minutes {
        write!(text, "{colon}{:02}", seconds / 60 % 60)?;
    }
    if form.seconds {
        write!(text, "{colon}{:02}", seconds % 60)?;
    }
    Ok(())
}

/// What has been read of an instant.
#[derive(Default)]
struct Read {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    half_day_hour: Option<i64>,
    minute: i64,
    second: i64,
    nanoseconds: i64,
    afternoon: Option<bool>,
    offset: Option<i64>,
    zone_name: String,
}

/// Returns the instant that `text` shows in the form of `layout`; in UTC when no offset is shown.
pub(crate) fn parse(layout: &str, text: &str) -> Result<Time, String> {
    let refuse = |what: &str| format!("parsing time {text:?} as {layout:?}: {what}");
    let mut read = Read::default();
    let (mut layout_rest, mut text_rest) = (layout, text);
    loop {
        let (before, piece, after) = next_piece(layout_rest);
        text_rest = skip_literal(text_rest, before)
            .ok_or_else(|| refuse(&format!("cannot parse {text_rest:?} as {before:?}")))?;
        let Some(piece) = piece else { break };
        let piece_text = layout_rest
            .get(before.len()..layout_rest.len() - after.len())
            .unwrap_or_default();
        let next = read
            .piece(piece, text_rest, after)
            .ok_or_else(|| refuse(&format!("cannot parse {text_rest:?} as {piece_text:?}")))?;
        (layout_rest, text_rest) = (after, next);
    }
    if !text_rest.is_empty() {
        return Err(refuse(&format!("extra text: {text_rest:?}")));
    }
    read.instant()
        .map_err(|what| refuse(&format!("{what} out of range")))
}

/// Skips `literal`; a space in it stands for any number of spaces.
fn skip_literal<'t>(text: &'t str, literal: &str) -> Option<&'t str> {
    let mut rest = text;
    for part in literal.split_inclusive(' ') {
        let word = part.trim_end_matches(' ');
        rest = rest.strip_prefix(word)?;
        if word.len() < part.len() {
            rest = rest.trim_start_matches(' ');
        }
    }
    Some(rest)
}

impl Read {
    /// Reads one piece from the start of `text`; `layout` is what follows it. Returns the rest of the text.
    fn piece<'t>(&mut self, piece: Piece, text: &'t str, layout: &str) -> Option<&'t str> {
        let rest;
        match piece {
            Piece::LongMonth | Piece::ShortMonth => {
                let (index, after) = name_in(MONTHS, text, piece == Piece::ShortMonth)?;
                self.month = Some(index + 1);
                rest = after;
            }
            Piece::LongWeekday | Piece::ShortWeekday => {
                rest = name_in(WEEKDAYS, text, piece == Piece::ShortWeekday)?.1;
            }
            Piece::Year => (self.year, rest) = digits(text, 4, 4)?,
            Piece::ShortYear => {
                let (year, after) = digits(text, 2, 2)?;
                self.year = year + if year >= 69 { 1900 } else { 2000 };
                rest = after;
            }
            Piece::Number(number, pad) => rest = self.number(number, pad, text, layout)?,
            Piece::HalfDay(upper) => {
                let (marks, after) = text.split_at_checked(2)?;
                let afternoon = ["AM", "PM"].iter().position(|mark| {
                    if upper {
                        *mark == marks
                    } else {
                        mark.to_lowercase() == marks
                    }
                })?;
                self.afternoon = Some(afternoon == 1);
                rest = after;
            }
            Piece::ZoneName => {
                let bytes = text.len()
                    - text
                        .trim_start_matches(|c: char| c.is_ascii_uppercase())
                        .len();
                let (name, after) = text.split_at(bytes);
                if !(3..=5).contains(&bytes) {
                    return None;
                }
                self.zone_name = name.to_owned();
                rest = after;
            }
            Piece::Offset(form) => rest = self.offset(form, text)?,
            Piece::Fraction(fraction) => {
                // With nines a fraction need not be there.
                if fraction.trimmed && !text.starts_with(['.', ',']) {
                    return Some(text);
                }
                let after = text.strip_prefix(['.', ','])?;
                let bytes =
                    after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                if !fraction.trimmed && bytes != fraction.digits || bytes == 0 {
                    return None;
                }
                rest = self.fraction(after, bytes)?;
            }
        }
        Some(rest)
    }

    fn number<'t>(
        &mut self,
        number: Number,
        pad: Pad,
        text: &'t str,
        layout: &str,
    ) -> Option<&'t str> {
        let unpadded = if pad == Pad::Space {
            text.trim_start_matches(' ')
        } else {
            text
        };
        let most = if number == Number::YearDay { 3 } else { 2 };
        let zeros = pad == Pad::Zero && number != Number::Hour;
        let least = if zeros { most } else { 1 };
        let (value, rest) = digits(unpadded, least, most)?;
        match number {
            Number::Month => self.month = Some(value),
            Number::Day => self.day = Some(value),
            Number::YearDay => self.year_day = Some(value),
            Number::Hour => self.hour = value,
            Number::HalfDayHour => (self.hour, self.half_day_hour) = (value, Some(value)),
            Number::Minute => self.minute = value,
            Number::Second => {
                self.second = value;
                // A fraction may follow though the layout has none.
                let (before, piece, _) = next_piece(layout);
                let expected = before.is_empty() && matches!(piece, Some(Piece::Fraction(_)));
                if let (false, Some(after)) = (expected, rest.strip_prefix(['.', ','])) {
                    let bytes =
                        after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                    if bytes > 0 {
                        return self.fraction(after, bytes);
                    }
                }
            }
        }
        Some(rest)
    }

    /// Takes the first `bytes` digits of `text` as a fraction of a second.
    fn fraction<'t>(&mut self, text: &'t str, bytes: usize) -> Option<&'t str> {
        let (digits, rest) = text.split_at_checked(bytes)?;
        let mut padded = digits.to_owned();
        padded.truncate(9);
        self.nanoseconds = format!("{padded:0<9}").parse().ok()?;
        Some(rest)
    }

    fn offset<'t>(&mut self, form: OffsetForm, text: &'t str) -> Option<&'t str> {
        if let (true, Some(rest)) = (form.z, text.strip_prefix('Z')) {
            self.offset = Some(0);
            return Some(rest);
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let (hours, mut rest) = digits(text.strip_prefix(['+', '-'])?, 2, 2)?;
        let mut seconds = hours * 3600;
        for (wanted, unit) in [(form.minutes, 60), (form.seconds, 1)] {
            if wanted {
                let digits_at = if form.colons {
                    rest.strip_prefix(':')?
                } else {
                    rest
                };
                let (value, after) = digits(digits_at, 2, 2)?;
                seconds += value * unit;
                rest = after;
            }
        }
        self.offset = Some(sign * seconds);
        Some(rest)
    }

    fn instant(self) -> Result<Time, &'static str> {
        if self.half_day_hour.is_some_and(|hour| hour > 12) {
            return Err("hour");
        }
        let hour = match self.afternoon {
            // 12 o'clock begins a half.
            Some(afternoon) if self.hour == 12 => {
                if afternoon {
                    12
                } else {
                    0
                }
            }
            Some(true) if self.hour < 12 => self.hour + 12,
            _ => self.hour,
        };
        let month = self.month.unwrap_or(1);
        let day = self.day.unwrap_or(1);
        for (value, range, what) in [
            (month, 1..=12, "month"),
            (day, 1..=days_in_month(self.year, month.clamp(1, 12)), "day"),
            (hour, 0..=23, "hour"),
            (self.minute, 0..=59, "minute"),
            (self.second, 0..=59, "second"),
        ] {
            if !range.contains(&value) {
                return Err(what);
            }
        }
        let days = match self.year_day {
            Some(year_day) => {
                let days = days_since_1970(self.year, 1, 1) + year_day - 1;
                if year_day < 1 || days >= days_since_1970(self.year + 1, 1, 1) {
                    return Err("day-of-year");
                }
                days
            }
            None => days_since_1970(self.year, month, day),
        };
        let wall = days * SECONDS_PER_DAY + hour * 3600 + self.minute * 60 + self.second;
        let offset = self.offset.unwrap_or(0);
        let zone = Zone::fixed(offset, &self.zone_name);
        Ok(Time::from_unix(wall - offset, self.nanoseconds).shown_in(zone))
    }
}

/// Returns the index of the name at the start of `text` and what follows it.
fn name_in<'t>(names: &[&str], text: &'t str, short: bool) -> Option<(i64, &'t str)> {
    let mut indexes = 0..;
    names.iter().find_map(|name| {
        let index = indexes.next()?;
        let name = if short { name.get(..3)? } else { name };
        let start = text.get(..name.len())?;
        start
            .eq_ignore_ascii_case(name)
            .then(|| text.get(name.len()..).map(|rest| (index, rest)))?
    })
}

/// Reads between `least` and `most` digits.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    let (digits, rest) = text.split_at(count);
    (count >= least).then(|| digits.parse().ok().map(|value| (value, rest)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_say_the_form() {
        let time = Time::from_unix(1_709_287_445, 60_700_000);
        let cases = [
            ("2006-01-02T15:04:05.000Z07:00", "2024-03-01T10:04:05.060Z"),
            ("Monday, Jan _2 06 3:04PM", "Friday, Mar  1 24 10:04AM"),
            ("January 2 is day 002 or __2", "March 1 is day 061 or  61"),
            ("Mon Jan 2 15:04:05 MST 2006", "Fri Mar 1 10:04:05 UTC 2024"),
            (".999 .0000 ,00", ".06 .0607 ,06"),
            ("_2006 Month 1pm", "_2024 Month 3am"),
            ("-0700 -07:00:00 Z07", "+0000 +00:00:00 Z"),
        ];
        for (layout, expected) in cases {
            assert_eq!(format(&time, layout), expected, "{layout}");
        }
        let india = time.shown_in(Zone::named("Asia/Kolkata").unwrap());
        assert_eq!(format(&india, "15:04 -0700 MST"), "15:34 +0530 IST");
    }

    #[test]
    fn what_a_layout_shows_can_be_read_back() {
        let cases = [
            (
                "2006-01-02",
                "2024-02-29",
                Ok("2024-02-29 00:00:00 +0000 UTC"),
            ),
            ("2006-01-02", "2023-02-29", Err("day out of range")),
            (
                "2006-01-02T15:04:05Z07:00",
                "2024-02-29T01:02:03.25+02:00",
                Ok("2024-02-29 01:02:03.25 +0200 +0200"),
            ),
            (
                "Jan 2 2006 3:04pm",
                "mar 7 2024 12:30am",
                Ok("2024-03-07 00:30:00 +0000 UTC"),
            ),
            ("2006-002", "2024-366", Ok("2024-12-31 00:00:00 +0000 UTC")),
            ("2006", "24", Err("cannot parse \"24\" as \"2006\"")),
            ("2006", "2024 ", Err("extra text: \" \"")),
        ];
        for (layout, text, expected) in cases {
            match (parse(layout, text), expected) {
                (Ok(time), Ok(expected)) => assert_eq!(time.to_string(), expected, "{text}"),
                (Err(error), Err(expected)) => assert!(error.ends_with(expected), "{error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
