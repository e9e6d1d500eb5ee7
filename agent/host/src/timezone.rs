//! Time zones: compiled files (RFC 9636) and the rules at their end (POSIX `TZ`), for the offset of "now".
//!
//! New files keep only past transitions and leave the present to the rule, so both are needed.

const SECONDS_PER_DAY: i64 = 86_400;

/// A zone: how its offset from UTC has changed, and how it goes on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Zone {
    /// Instants, rising, and the index of what holds from then on.
    transitions: Vec<(i64, usize)>,
    /// Never empty; the first holds before all transitions.
    offsets: Vec<Offset>,
    rule: Option<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Offset {
    name: String,
    seconds: i32,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    standard: Offset,
    summer: Option<Summer>,
}

#[derive(Debug, Clone, PartialEq)]
struct Summer {
    offset: Offset,
    start: Change,
    end: Change,
}

/// A day of the year and the local time on it, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Change {
    day: Day,
    time: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Day {
    /// The 1st to 365th day; 29 February is not counted.
    ExceptLeap(i64),
    /// The 0th to 365th day.
    Plain(i64),
    /// The `week`th `weekday` (Sunday is 0) of `month`; week 5 is the last.
    OfMonth { month: i64, week: i64, weekday: i64 },
}

impl Zone {
    pub(crate) fn utc() -> Self {
        Self {
            transitions: Vec::new(),
            offsets: vec![Offset {
                name: "UTC".to_owned(),
                seconds: 0,
            }],
            rule: None,
        }
    }

    /// Reads a compiled file; `None` when it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let header = Header::read(&mut cursor)?;
        if header.version == 0 {
            return Self::read_block(&mut cursor, &header, 4);
        }
        cursor.take(header.block_bytes(4)?)?;
        let header = Header::read(&mut cursor)?;
        let mut zone = Self::read_block(&mut cursor, &header, 8)?;
        zone.rule = cursor
            .0
            .strip_prefix(b"\n")
            .and_then(|rest| rest.split(|b| *b == b'\n').next())
            .and_then(Rule::parse);
        Some(zone)
    }

    /// Returns the name and the offset, in seconds east of UTC, that hold at an instant.
    pub(crate) fn at(&self, instant: i64) -> (&str, i32) {
        let past = self
            .transitions
            .partition_point(|(from, _)| *from <= instant);
        let offset = match (past.checked_sub(1), &self.rule) {
            (Some(last), Some(rule)) if last + 1 == self.transitions.len() => rule.at(instant),
            (None, Some(rule)) if self.transitions.is_empty() => rule.at(instant),
            (Some(at), _) => &self.offsets[self.transitions[at].1],
            (None, _) => &self.offsets[0],
        };
        (&offset.name, offset.seconds)
    }

    fn read_block(cursor: &mut Cursor<'_>, header: &Header, width: usize) -> Option<Self> {
        let instants = cursor.take(header.transitions.checked_mul(width)?)?;
        let indices = cursor.take(header.transitions)?;
        let kinds = cursor.take(header.kinds.checked_mul(6)?)?;
        let names = cursor.take(header.name_bytes)?;
        cursor.take(header.rest_bytes(width)?)?;
        let offsets: Vec<Offset> = kinds
            .as_chunks::<6>()
            .0
            .iter()
            .map(|[a, b, c, d, _, name]| {
                let name = names.get(usize::from(*name)..)?;
                Some(Offset {
                    name: String::from_utf8_lossy(name.split(|b| *b == 0).next()?).into_owned(),
                    seconds: i32::from_be_bytes([*a, *b, *c, *d]),
                })
            })
            .collect::<Option<_>>()?;
        let transitions = instants
            .chunks_exact(width)
            .zip(indices)
            .map(|(instant, index)| {
                let index = usize::from(*index);
                (index < offsets.len()).then_some((signed(instant), index))
            })
            .collect::<Option<Vec<_>>>()?;
        (!offsets.is_empty()).then_some(Self {
            transitions,
            offsets,
            rule: None,
        })
    }
}

/// Reads a big-endian number of up to 8 bytes.
fn signed(bytes: &[u8]) -> i64 {
    let start = match bytes.first() {
        Some(0x80..) => -1,
        _ => 0,
    };
    bytes
        .iter()
        .fold(start, |sum: i64, byte| (sum << 8) | i64::from(*byte))
}

struct Header {
    version: u8,
    ut_flags: usize,
    standard_flags: usize,
    leaps: usize,
    transitions: usize,
    kinds: usize,
    name_bytes: usize,
}

impl Header {
    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        if cursor.take(4)? != b"TZif" {
            return None;
        }
        let version = *cursor.take(16)?.first()?;
        let mut count = || {
            let bytes = cursor.take(4)?;
            usize::try_from(signed(bytes) & 0xffff_ffff).ok()
        };
        Some(Self {
            version,
            ut_flags: count()?,
            standard_flags: count()?,
            leaps: count()?,
            transitions: count()?,
            kinds: count()?,
            name_bytes: count()?,
        })
    }

    /// What stands after the names.
    fn rest_bytes(&self, width: usize) -> Option<usize> {
        let leaps = self.leaps.checked_mul(width.checked_add(4)?)?;
        leaps
            .checked_add(self.standard_flags)?
            .checked_add(self.ut_flags)
    }

    fn block_bytes(&self, width: usize) -> Option<usize> {
        let transitions = self.transitions.checked_mul(width.checked_add(1)?)?;
        transitions
            .checked_add(self.kinds.checked_mul(6)?)?
            .checked_add(self.name_bytes)?
            .checked_add(self.rest_bytes(width)?)
    }
}

impl Rule {
    /// Reads `std offset [dst [offset] [, start [/time], end [/time]]]`.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(text);
        let standard = Offset {
            name: cursor.name()?,
            seconds: i32::try_from(-cursor.clock()?).ok()?,
        };
        if cursor.0.is_empty() {
            return Some(Self {
                standard,
                summer: None,
            });
        }
        let name = cursor.name()?;
        let seconds = match cursor.0.first() {
            None | Some(b',') => standard.seconds + 3_600,
            Some(_) => i32::try_from(-cursor.clock()?).ok()?,
        };
        let (start, end) = if cursor.0.is_empty() {
            // What a rule without dates has always meant.
            (Change::of_month(3, 2), Change::of_month(11, 1))
        } else {
            (cursor.change()?, cursor.change()?)
        };
        cursor.0.is_empty().then_some(Self {
            standard,
            summer: Some(Summer {
                offset: Offset { name, seconds },
                start,
                end,
            }),
        })
    }

    fn at(&self, instant: i64) -> &Offset {
        let Some(summer) = &self.summer else {
            return &self.standard;
        };
        let standard = i64::from(self.standard.seconds);
        let year = year_of((instant + standard).div_euclid(SECONDS_PER_DAY));
        let start = summer.start.instant(year) - standard;
        let end = summer.end.instant(year) - i64::from(summer.offset.seconds);
        let is_summer = if start < end {
            (start..end).contains(&instant)
        } else {
            !(end..start).contains(&instant)
        };
        if is_summer {
            &summer.offset
        } else {
            &self.standard
        }
    }
}

impl Change {
    const fn of_month(month: i64, week: i64) -> Self {
        Self {
            day: Day::OfMonth {
                month,
                week,
                weekday: 0,
            },
            time: 7_200,
        }
    }

    /// Returns the local time of the change, in seconds since 1970.
    fn instant(self, year: i64) -> i64 {
        let new_year = days_from_civil(year, 1, 1);
        let day = match self.day {
            Day::Plain(day) => new_year + day,
            Day::ExceptLeap(day) => {
                // Day 60 is 1 March in every year.
                let leap = days_from_civil(year, 3, 1) - new_year - 59;
                new_year + day - 1 + if day >= 60 { leap } else { 0 }
            }
            Day::OfMonth {
                month,
                week,
                weekday,
            } => {
                let first = days_from_civil(year, month, 1);
                let next = if month == 12 {
                    days_from_civil(year + 1, 1, 1)
                } else {
                    days_from_civil(year, month + 1, 1)
                };
                // 1970-01-01 was a Thursday.
                let ahead = (weekday - (first + 4)).rem_euclid(7);
                let day = first + ahead + 7 * (week - 1);
                if day >= next { day - 7 } else { day }
            }
        };
        day * SECONDS_PER_DAY + self.time
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.0.strip_prefix(&[byte]) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Letters, or anything in angle brackets.
    fn name(&mut self) -> Option<String> {
        let quoted = self.eat(b'<');
        let end = |byte: &u8| {
            if quoted {
                *byte == b'>'
            } else {
                !byte.is_ascii_alphabetic()
            }
        };
        let length = self.0.iter().position(end).unwrap_or(self.0.len());
        let name = self.take(length)?;
        if name.is_empty() || (quoted && !self.eat(b'>')) {
            return None;
        }
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// At most four digits, so nothing computed from it overflows.
    fn digits(&mut self) -> Option<i64> {
        let length = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = self.take(length)?;
        if !(1..=4).contains(&length) {
            return None;
        }
        Some(
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')),
        )
    }

    /// Reads `[+-]h[:m[:s]]` as seconds.
    fn clock(&mut self) -> Option<i64> {
        let negative = self.eat(b'-');
        if !negative {
            self.eat(b'+');
        }
        let mut seconds = self.digits()? * 3_600;
        for unit in [60, 1] {
            if !self.eat(b':') {
                break;
            }
            seconds += self.digits()? * unit;
        }
        Some(if negative { -seconds } else { seconds })
    }

    fn change(&mut self) -> Option<Change> {
        if !self.eat(b',') {
            return None;
        }
        let day = if self.eat(b'J') {
            Day::ExceptLeap(self.within(1, 365)?)
        } else if self.eat(b'M') {
            let month = self.within(1, 12)?;
            let week = self.eat(b'.').then(|| self.within(1, 5))??;
            let weekday = self.eat(b'.').then(|| self.within(0, 6))??;
            Day::OfMonth {
                month,
                week,
                weekday,
            }
        } else {
            Day::Plain(self.within(0, 365)?)
        };
        let time = if self.eat(b'/') { self.clock()? } else { 7_200 };
        Some(Change { day, time })
    }

    fn within(&mut self, least: i64, most: i64) -> Option<i64> {
        self.digits()
            .filter(|number| (least..=most).contains(number))
    }
}

/// Returns the days from 1970-01-01 to a date of the proleptic Gregorian calendar.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns the year of a day counted from 1970-01-01.
fn year_of(day: i64) -> i64 {
    // The mean year is 365.2425 days: the guess is off by one at most.
    let guess = 1970 + (day * 400).div_euclid(146_097);
    (guess - 1..=guess + 1)
        .rev()
        .find(|year| days_from_civil(*year, 1, 1) <= day)
        .unwrap_or(guess)
}

#[cfg(test)]
mod tests;
