//! Text 0.0.4, read as leniently as Prometheus reads it.

use std::iter::FusedIterator;

use model::{MetricType, TimestampMs};

use crate::cursor::{Cursor, Style};
use crate::error::Fault;
use crate::lines::Lines;
use crate::series::{Escapes, Text};
use crate::{Entry, ParseError, SampleEntry, parse_float};

/// The entries of an exposition in text 0.0.4.
///
/// Lines may be blank or begin with blanks, unknown comments are passed on, the last line need not end, and nothing is checked
/// across lines: families may come in any order, types are hints, samples may repeat. Ends after an error.
#[derive(Debug)]
pub struct TextParser<'a> {
    lines: Lines<'a>,
    names: Vec<Text<'a>>,
    ended: bool,
}

impl<'a> TextParser<'a> {
    /// Returns a parser of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            lines: Lines::new(input),
            names: Vec::new(),
            ended: false,
        }
    }

    /// Returns the number of the line that the last entry stood on, from 1.
    pub fn line(&self) -> u64 {
        self.lines.number()
    }

    fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        while let Some(line) = self.lines.next_line() {
            let line = line?;
            let blanks = line
                .iter()
                .position(|b| !matches!(b, b' ' | b'\t'))
                .unwrap_or(line.len());
            let entry = match line.get(blanks) {
                None => continue,
                Some(b'#') => comment(line, blanks + 1),
                Some(_) => self.sample(line),
            };
            return entry
                .map(Some)
                .map_err(|fault| fault.on(self.lines.number()));
        }
        Ok(None)
    }

    fn sample(&mut self, line: &'a [u8]) -> Result<Entry<'a>, Fault> {
        let mut cursor = Cursor::over(line)?;
        cursor.skip_blanks();
        let series = cursor.series(Style::Lenient, &mut self.names)?;
        let braced = series.raw().ends_with('}');
        if !braced && !cursor.is_at_end() && !matches!(cursor.peek(), Some(b' ' | b'\t')) {
            return Err(cursor.fault("a blank or `{` after a metric name"));
        }
        cursor.skip_blanks();
        let start = cursor.offset();
        let value = parse_float(cursor.word())
            .ok_or_else(|| cursor.fault_at(start, "a number as the sample's value"))?;
        let at = timestamp(&mut cursor)?;
        cursor.expect_end()?;
        Ok(Entry::Sample(SampleEntry {
            series,
            value: if value.is_nan() { f64::NAN } else { value },
            at,
            exemplar: None,
        }))
    }
}

impl<'a> Iterator for TextParser<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.next_entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl FusedIterator for TextParser<'_> {}

fn timestamp(cursor: &mut Cursor<'_>) -> Result<Option<TimestampMs>, Fault> {
    cursor.skip_blanks();
    if cursor.is_at_end() {
        return Ok(None);
    }
    let start = cursor.offset();
    let at = cursor
        .word()
        .parse()
        .map_err(|_| cursor.fault_at(start, "a timestamp in whole milliseconds"))?;
    cursor.skip_blanks();
    Ok(Some(TimestampMs(at)))
}

/// `after` is the offset after the `#`.
fn comment(line: &[u8], after: usize) -> Result<Entry<'_>, Fault> {
    let text = line.get(after..).unwrap_or_default();
    match keyword(text) {
        Some(keyword) => Ok(metadata(line, keyword)?.unwrap_or(Entry::Comment(text))),
        None => Ok(Entry::Comment(text)),
    }
}

#[derive(Clone, Copy)]
enum Keyword {
    Help,
    Type,
}

/// Returns the keyword of a comment that is more than a comment: one stands between blanks.
fn keyword(text: &[u8]) -> Option<Keyword> {
    let trimmed = text.trim_ascii_start();
    if trimmed.len() == text.len() || !matches!(trimmed.get(4), Some(b' ' | b'\t')) {
        return None;
    }
    match trimmed.get(..4) {
        Some(b"HELP") => Some(Keyword::Help),
        Some(b"TYPE") => Some(Keyword::Type),
        _ => None,
    }
}

/// Returns `None` when what stands in the family's place only begins like a name: then it is a comment.
fn metadata(line: &[u8], keyword: Keyword) -> Result<Option<Entry<'_>>, Fault> {
    let mut cursor = Cursor::over(line)?;
    cursor.skip_blanks();
    cursor.eat(b'#');
    cursor.skip_blanks();
    cursor.word();
    cursor.skip_blanks();
    let family = cursor.quoted_or(Cursor::metric_name)?;
    if !cursor.is_at_end() && !cursor.eat(b' ') && !cursor.eat(b'\t') {
        return Ok(None);
    }
    Ok(Some(match keyword {
        Keyword::Help => Entry::Help {
            family,
            text: Text::new(cursor.rest(), Escapes::Help),
        },
        Keyword::Type => {
            cursor.skip_blanks();
            let start = cursor.offset();
            let kind: MetricType = cursor
                .word()
                .parse()
                .map_err(|()| cursor.fault_at(start, "a metric type such as counter or gauge"))?;
            cursor.skip_blanks();
            cursor.expect_end()?;
            Entry::Type { family, kind }
        }
    }))
}

#[cfg(test)]
mod tests;
