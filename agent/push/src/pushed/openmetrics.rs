//! OpenMetrics 1.0, whose families become those that text 0.0.4 would have: a counter's and an info's name has its suffix, and when
//! a metric began is a gauge beside it.

use std::borrow::Cow;

use exposition::{Entry, OpenMetricsParser, Part, SampleEntry, Text, parse_float};
use model::MetricType;

use super::{Builder, Pushed};
use crate::{Names, PushError};

impl Pushed {
    pub(crate) fn of_openmetrics(input: &[u8], names: Names) -> Result<Self, PushError> {
        let mut reader = Reader {
            builder: Builder::new(names, input.len()),
            name: Cow::Borrowed(""),
            kind: MetricType::Unknown,
            help: None,
        };
        for entry in OpenMetricsParser::new(input) {
            reader.take(entry?)?;
        }
        reader.builder.finish()
    }
}

/// The parser has checked that a family's lines stand together, and that its samples have the suffixes and labels of its type.
struct Reader<'a> {
    builder: Builder<'a>,
    /// The present family, as its own lines name it.
    name: Cow<'a, str>,
    kind: MetricType,
    help: Option<Text<'a>>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, entry: Entry<'a>) -> Result<(), PushError> {
        match entry {
            Entry::Type { family, kind } => {
                self.enter(family.decode());
                self.kind = kind;
            }
            Entry::Help { family, text } => {
                self.enter(family.decode());
                self.help = Some(text);
            }
            Entry::Unit { family, .. } => self.enter(family.decode()),
            Entry::Sample(sample) => return self.take_sample(sample),
            Entry::Comment(_) | Entry::Eof => {}
        }
        Ok(())
    }

    fn enter(&mut self, name: Cow<'a, str>) {
        if self.name != name {
            self.name = name;
            self.kind = MetricType::Unknown;
            self.help = None;
        }
    }

    fn take_sample(&mut self, sample: SampleEntry<'a>) -> Result<(), PushError> {
        self.builder.pushed.has_timestamps |= sample.at.is_some();
        let name = sample.series.name().decode();
        let suffix = name.strip_prefix(&*self.name).map(str::to_owned);
        let Some(suffix) = suffix else {
            // No line has introduced it: a family of its own.
            self.enter(name);
            return self.put(self.name.clone(), self.kind, Part::Value, sample);
        };
        let bound = |label| {
            let value = sample.series.labels().get(label);
            value.and_then(|value| parse_float(&value.decode()))
        };
        let (family, kind, part) = match (self.kind, suffix.as_str()) {
            (_, "_created") => (name, MetricType::Gauge, Part::Value),
            (MetricType::Counter | MetricType::Info, _) => (name, self.kind, Part::Value),
            (kind, "_bucket") => {
                let bound = bound("le").unwrap_or(f64::NAN);
                (self.name.clone(), kind, Part::Bucket(bound))
            }
            (kind, "_sum" | "_gsum") => (self.name.clone(), kind, Part::Sum),
            (kind, "_count" | "_gcount") => (self.name.clone(), kind, Part::Count),
            (MetricType::Summary, _) => {
                let quantile = bound("quantile").unwrap_or(f64::NAN);
                let kind = MetricType::Summary;
                (self.name.clone(), kind, Part::Quantile(quantile))
            }
            (kind, _) => (name, kind, Part::Value),
        };
        self.put(family, kind, part, sample)
    }

    fn put(
        &mut self,
        family: Cow<'a, str>,
        kind: MetricType,
        part: Part,
        sample: SampleEntry<'a>,
    ) -> Result<(), PushError> {
        let is_new = self.builder.existing(&family).is_none();
        let family = self.builder.family(family)?;
        if is_new {
            self.builder.set_kind(family, kind);
            if let Some(help) = self.help {
                self.builder.set_help(family, &help.decode())?;
            }
        }
        let bound = part.bound().map(|(label, _)| label);
        let labels = sample.series.labels().iter();
        let labels = labels.filter(|(name, _)| bound.is_none_or(|bound| *name != bound));
        let labels = labels.map(|(name, value)| (name.decode(), value.decode()));
        self.builder.sample(family, part, labels, sample.value)
    }
}
