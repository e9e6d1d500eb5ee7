//! Text 0.0.4. Read as leniently as `exposition` reads it within lines; across lines as a Pushgateway does.

use std::borrow::Cow;

use exposition::{Entry, Part, SampleEntry, Text, TextParser, parse_float};
use model::MetricType;

use super::{Builder, Pushed};
use crate::{Names, PushError};

impl Pushed {
    pub(crate) fn of_text(input: &[u8], names: Names) -> Result<Self, PushError> {
        let mut reader = Reader {
            builder: Builder::new(names, input.len()),
            declared: Vec::new(),
            line: 0,
        };
        let mut parser = TextParser::new(input);
        while let Some(entry) = parser.next() {
            let entry = entry?;
            reader.line = parser.line();
            reader.take(entry)?;
        }
        if !matches!(input, [] | [.., b'\n']) {
            return Err(
                reader.refuse("unexpected end of input stream: the last line needs a line feed")
            );
        }
        reader.builder.finish()
    }
}

struct Reader<'a> {
    builder: Builder<'a>,
    /// By family: what lines have said of it.
    declared: Vec<Declared>,
    line: u64,
}

#[derive(Clone, Copy, Default)]
struct Declared {
    kind: bool,
    help: bool,
    samples: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, entry: Entry<'a>) -> Result<(), PushError> {
        match entry {
            Entry::Type { family, kind } => self.take_type(family, kind),
            Entry::Help { family, text } => {
                let (family, declared) = self.family(family.decode())?;
                if std::mem::replace(&mut declared.help, true) {
                    let name = self.builder.name_of(family);
                    return Err(self.refuse(&format!("second HELP line for metric name {name:?}")));
                }
                self.builder.set_help(family, &text.decode())
            }
            Entry::Sample(sample) => self.take_sample(sample),
            Entry::Unit { .. } | Entry::Comment(_) | Entry::Eof => Ok(()),
        }
    }

    fn take_type(&mut self, family: Text<'a>, kind: MetricType) -> Result<(), PushError> {
        if let MetricType::GaugeHistogram | MetricType::Info | MetricType::StateSet = kind {
            return Err(self.refuse(&format!("unknown metric type {:?}", kind.as_str())));
        }
        let (family, declared) = self.family(family.decode())?;
        if declared.samples || std::mem::replace(&mut declared.kind, true) {
            let name = self.builder.name_of(family);
            let what = format!(
                "second TYPE line for metric name {name:?}, or TYPE reported after samples"
            );
            return Err(self.refuse(&what));
        }
        self.builder.set_kind(family, kind);
        Ok(())
    }

    fn take_sample(&mut self, sample: SampleEntry<'a>) -> Result<(), PushError> {
        self.builder.pushed.has_timestamps |= sample.at.is_some();
        let (family, part) = self.place(sample.series.name().decode(), &sample)?;
        let bound = part.bound().map(|(label, _)| label);
        let labels = sample.series.labels().iter();
        let labels = labels.filter(|(name, _)| bound.is_none_or(|bound| *name != bound));
        let labels = labels.map(|(name, value)| (name.decode(), value.decode()));
        self.builder.sample(family, part, labels, sample.value)
    }

    /// Which family's part a sample is: of the family with its very name, or of a histogram or summary that it is named after.
    fn place(
        &mut self,
        name: Cow<'a, str>,
        sample: &SampleEntry<'a>,
    ) -> Result<(u32, Part), PushError> {
        if self.builder.existing(&name).is_none() {
            for (suffix, part) in [
                ("_sum", Part::Sum),
                ("_count", Part::Count),
                ("_bucket", Part::Bucket(0.0)),
            ] {
                let stem = name.strip_suffix(suffix);
                let Some(family) = stem.and_then(|stem| self.builder.existing(stem)) else {
                    continue;
                };
                let part = match (self.builder.kind_of(family), part) {
                    (MetricType::Histogram, Part::Bucket(_)) => {
                        Part::Bucket(self.bound(sample, "le")?)
                    }
                    (MetricType::Histogram | MetricType::Summary, Part::Sum | Part::Count) => part,
                    _ => continue,
                };
                self.declared_of(family).samples = true;
                return Ok((family, part));
            }
        }
        let (family, declared) = self.family(name)?;
        declared.samples = true;
        let part = match self.builder.kind_of(family) {
            MetricType::Summary => Part::Quantile(self.bound(sample, "quantile")?),
            MetricType::Histogram => {
                let what = "is a histogram: its samples are named after its buckets, sum and count";
                return Err(self.builder.broken(family, what));
            }
            _ => Part::Value,
        };
        Ok((family, part))
    }

    fn bound(&self, sample: &SampleEntry<'_>, label: &str) -> Result<f64, PushError> {
        let value = sample.series.labels().get(label);
        let value = value.ok_or_else(|| {
            let series = sample.series;
            self.refuse(&format!("{series:?} lacks the label {label:?}"))
        })?;
        let bound = parse_float(&value.decode());
        bound.ok_or_else(|| {
            let what = format!("expected float as value for {label:?} label, got {value:?}");
            self.refuse(&what)
        })
    }

    fn family(&mut self, name: Cow<'a, str>) -> Result<(u32, &mut Declared), PushError> {
        let family = self.builder.family(name)?;
        Ok((family, self.declared_of(family)))
    }

    fn declared_of(&mut self, family: u32) -> &mut Declared {
        let at = family as usize;
        if self.declared.len() <= at {
            self.declared.resize(at + 1, Declared::default());
        }
        &mut self.declared[at]
    }

    fn refuse(&self, what: &str) -> PushError {
        PushError::Line {
            line: self.line,
            what: what.to_owned(),
        }
    }
}
