//! What one line of OpenMetrics may look like.

use model::{MetricType, TimestampMs};

use crate::cursor::{Cursor, Style};
use crate::error::Fault;
use crate::series::{Escapes, LabelPairs, Text, is_label_byte};
use crate::{Entry, ExemplarEntry, SampleEntry, parse_float};

/// The most characters (not bytes) that the names and values of an exemplar's labels may have together: OpenMetrics' own limit.
pub const EXEMPLAR_CHARS_MAX: usize = 128;

/// A line that is well formed by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line<'a> {
    Metadata(MetadataLine<'a>),
    Sample(SampleLine<'a>),
    Eof,
}

/// A TYPE, HELP or UNIT line.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetadataLine<'a> {
    pub(super) entry: Entry<'a>,
    pub(super) family: Text<'a>,
    /// Where in the line the family stands.
    pub(super) family_offset: usize,
    /// Where in the line its type, help or unit stands.
    pub(super) content_offset: usize,
    pub(super) text: &'a str,
}

/// A sample, and where in its line the parts stand that rules of its family speak of.
#[derive(Clone, Copy, Debug)]
pub(super) struct SampleLine<'a> {
    pub(super) entry: SampleEntry<'a>,
    /// The timestamp as written, in seconds: finer than the entry's.
    pub(super) seconds: Option<f64>,
    pub(super) value_offset: usize,
    pub(super) time_offset: usize,
    pub(super) exemplar_offset: usize,
    pub(super) text: &'a str,
}

/// `names` is scratch space.
pub(super) fn line<'a>(line: &'a [u8], names: &mut Vec<Text<'a>>) -> Result<Line<'a>, Fault> {
    if line == b"# EOF" {
        return Ok(Line::Eof);
    }
    let cursor = Cursor::over(line)?;
    match cursor.peek() {
        Some(b'#') => metadata(cursor).map(Line::Metadata),
        _ => sample(cursor, names).map(Line::Sample),
    }
}

const METADATA: &str = "# TYPE, # HELP, # UNIT or # EOF";

fn metadata(mut cursor: Cursor<'_>) -> Result<MetadataLine<'_>, Fault> {
    let text = cursor.rest();
    cursor.expect(b'#', METADATA)?;
    cursor.expect(b' ', METADATA)?;
    let keyword_offset = cursor.offset();
    let keyword = cursor.word();
    cursor.expect(b' ', "a space and a metric name")?;
    let family_offset = cursor.offset();
    let family = cursor.quoted_or(Cursor::metric_name)?;
    cursor.expect(b' ', "a space after the metric name")?;
    let content_offset = cursor.offset();
    let content = cursor.rest();
    let entry = match keyword {
        "TYPE" => {
            let kind = MetricType::from_openmetrics(content)
                .ok_or_else(|| cursor.fault("a metric type such as counter or gauge"))?;
            Entry::Type { family, kind }
        }
        "HELP" => Entry::Help {
            family,
            text: Text::new(content, Escapes::Quoted),
        },
        "UNIT" if content.bytes().all(|b| is_label_byte(b) || b == b':') => Entry::Unit {
            family,
            unit: content,
        },
        "UNIT" => return Err(cursor.fault("a unit of letters, digits and underscores")),
        _ => return Err(cursor.fault_at(keyword_offset, "TYPE, HELP or UNIT")),
    };
    Ok(MetadataLine {
        entry,
        family,
        family_offset,
        content_offset,
        text,
    })
}

trait FromOpenMetrics: Sized {
    fn from_openmetrics(text: &str) -> Option<Self>;
}

impl FromOpenMetrics for MetricType {
    /// OpenMetrics has no `untyped`.
    fn from_openmetrics(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .filter(|kind: &Self| kind.as_str() == text)
    }
}

fn sample<'a>(mut cursor: Cursor<'a>, names: &mut Vec<Text<'a>>) -> Result<SampleLine<'a>, Fault> {
    let text = cursor.rest();
    let series = cursor.series(Style::Strict, names)?;
    cursor.expect(b' ', "a space before the sample's value")?;
    let value_offset = cursor.offset();
    let value = number(&mut cursor, "a number as the sample's value")?;
    let time_offset = cursor.offset() + 1;
    let mut seconds = None;
    let mut exemplar = None;
    let mut exemplar_offset = time_offset;
    if cursor.eat(b' ') {
        if cursor.peek() != Some(b'#') {
            seconds = Some(time(&mut cursor)?);
            exemplar_offset = cursor.offset() + 1;
        }
        if cursor.peek() == Some(b'#') || cursor.eat(b' ') {
            exemplar = Some(exemplar_entry(&mut cursor, names)?);
        }
    }
    cursor.expect_end()?;
    Ok(SampleLine {
        entry: SampleEntry {
            series,
            value,
            at: seconds.map(milliseconds),
            exemplar,
        },
        seconds,
        value_offset,
        time_offset,
        exemplar_offset,
        text,
    })
}

fn exemplar_entry<'a>(
    cursor: &mut Cursor<'a>,
    names: &mut Vec<Text<'a>>,
) -> Result<ExemplarEntry<'a>, Fault> {
    const SHAPE: &str = "an exemplar such as `# {trace_id=\"1\"} 0.5`";
    cursor.expect(b'#', SHAPE)?;
    cursor.expect(b' ', SHAPE)?;
    let labels = cursor.exemplar_labels(names)?;
    cursor.expect(b' ', "a space before the exemplar's value")?;
    let value = number(cursor, "a number as the exemplar's value")?;
    let at = if cursor.eat(b' ') {
        Some(milliseconds(time(cursor)?))
    } else {
        None
    };
    Ok(ExemplarEntry { labels, value, at })
}

/// Returns whether the labels of an exemplar are longer than OpenMetrics allows.
pub(super) fn is_overlong(labels: LabelPairs<'_>) -> bool {
    let texts = labels.iter().flat_map(|(name, value)| [name, value]);
    let characters: usize = texts.map(|text| text.decode().chars().count()).sum();
    characters > EXEMPLAR_CHARS_MAX
}

fn number(cursor: &mut Cursor<'_>, expected: &'static str) -> Result<f64, Fault> {
    let start = cursor.offset();
    let value = parse_float(cursor.word()).ok_or_else(|| cursor.fault_at(start, expected))?;
    Ok(if value.is_nan() { f64::NAN } else { value })
}

fn time(cursor: &mut Cursor<'_>) -> Result<f64, Fault> {
    let start = cursor.offset();
    parse_float(cursor.word())
        .filter(|seconds| seconds.is_finite())
        .ok_or_else(|| cursor.fault_at(start, "a timestamp in seconds"))
}

/// Rounds to the nearest millisecond, and saturates.
#[expect(
    clippy::cast_possible_truncation,
    reason = "saturating at the ends of time is what is wanted"
)]
fn milliseconds(seconds: f64) -> TimestampMs {
    TimestampMs((seconds * 1_000.0).round() as i64)
}
