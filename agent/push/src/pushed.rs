//! A body, read: families and their samples, whatever the format was.
//!
//! All text lies in one string and everything else points into it, so that reading a push costs a handful of allocations, not some
//! per sample. Histograms and summaries come out whole: each has its sum and its count, a histogram its bucket for `+Inf`, in a
//! fixed order. That every part comes once is checked here; whether series repeat is the store's to find.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use exposition::{Part, write_openmetrics};
use model::{Histogram, MetricType};
use rows::{SLOTS_MAX, TEXT_BYTES_MAX};

use crate::error::Inconsistent;
use crate::{Names, PushError};

mod openmetrics;
mod protobuf;
mod text;

/// The most series of a group: two slots of its layout are its own.
pub(crate) const SERIES_MAX: usize = SLOTS_MAX - 2;

/// What a body says.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    text: String,
    families: Vec<Family>,
    /// Those of a family stand together.
    samples: Vec<Sample>,
    labels: Vec<(Span, Span)>,
    histograms: Vec<Arc<Histogram>>,
    has_timestamps: bool,
}

/// A piece of [`Pushed::text`].
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Clone, Debug)]
struct Family {
    name: Span,
    help: Span,
    kind: MetricType,
    samples: Range<usize>,
}

#[derive(Clone, Debug)]
struct Sample {
    family: u32,
    /// The family's name and what the part adds.
    name: Span,
    part: Part,
    /// How the part's bound is spelt; empty when it has none.
    bound: Span,
    labels: Range<u32>,
    value: Value,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Float(f64),
    /// Which of the histograms.
    Histogram(u32),
}

/// A family of a push.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FamilyView<'a> {
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    pub(crate) kind: MetricType,
    pushed: &'a Pushed,
    samples: &'a [Sample],
}

/// A sample of a push.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampleView<'a> {
    pushed: &'a Pushed,
    sample: &'a Sample,
}

impl Pushed {
    /// Returns the number of samples.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    pub(crate) fn has_timestamps(&self) -> bool {
        self.has_timestamps
    }

    pub(crate) fn families(&self) -> impl Iterator<Item = FamilyView<'_>> + Clone {
        self.families.iter().map(|family| FamilyView {
            name: self.piece(family.name),
            help: self.piece(family.help),
            kind: family.kind,
            pushed: self,
            samples: self.samples.get(family.samples.clone()).unwrap_or_default(),
        })
    }

    fn piece(&self, span: Span) -> &str {
        self.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    fn labels_of(&self, sample: &Sample) -> impl Iterator<Item = (&str, &str)> + Clone {
        let Range { start, end } = sample.labels.clone();
        let labels = self.labels.get(start as usize..end as usize);
        let pieces = |(name, value): &(Span, Span)| (self.piece(*name), self.piece(*value));
        labels.unwrap_or_default().iter().map(pieces)
    }
}

impl<'a> FamilyView<'a> {
    pub(crate) fn samples(&self) -> impl ExactSizeIterator<Item = SampleView<'a>> + use<'a> {
        let pushed = self.pushed;
        let view = move |sample| SampleView { pushed, sample };
        self.samples.iter().map(view)
    }
}

impl<'a> SampleView<'a> {
    /// Returns the series' name.
    pub(crate) fn name(&self) -> &'a str {
        self.pushed.piece(self.sample.name)
    }

    pub(crate) const fn part(&self) -> Part {
        self.sample.part
    }

    /// Returns the labels, that of the part's bound among them, in no order; values may be empty.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let bound = self.sample.part.bound();
        let bound = bound.map(|(label, _)| (label, self.pushed.piece(self.sample.bound)));
        self.pushed.labels_of(self.sample).chain(bound)
    }

    pub(crate) fn value(&self) -> model::Value {
        match self.sample.value {
            Value::Float(value) => model::Value::Float(value),
            Value::Histogram(at) => {
                model::Value::Histogram(Arc::clone(&self.pushed.histograms[at as usize]))
            }
        }
    }
}

/// Puts a [`Pushed`] together.
#[derive(Debug)]
struct Builder<'a> {
    names: Names,
    pushed: Pushed,
    by_name: HashMap<Cow<'a, str>, u32>,
    bound: String,
}

impl<'a> Builder<'a> {
    /// `bytes` is about what the text will take.
    fn new(names: Names, bytes: usize) -> Self {
        Self {
            names,
            pushed: Pushed {
                text: String::with_capacity(bytes),
                ..Pushed::default()
            },
            by_name: HashMap::new(),
            bound: String::new(),
        }
    }

    fn existing(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Returns the family of this name; a new one has no type and no help.
    fn family(&mut self, name: Cow<'a, str>) -> Result<u32, PushError> {
        if let Some(present) = self.existing(&name) {
            return Ok(present);
        }
        if !self.names.accept_metric(&name) {
            return Err(PushError::Family {
                name: name.into_owned(),
                what: "is not a valid name for a metric".to_owned(),
            });
        }
        let family = Family {
            name: self.put(&name)?,
            help: Span::default(),
            kind: MetricType::Unknown,
            samples: 0..0,
        };
        let number = u32::try_from(self.pushed.families.len()).map_err(|_| too_many())?;
        self.pushed.families.push(family);
        self.by_name.insert(name, number);
        Ok(number)
    }

    fn name_of(&self, family: u32) -> &str {
        self.pushed
            .piece(self.pushed.families[family as usize].name)
    }

    fn kind_of(&self, family: u32) -> MetricType {
        self.pushed.families[family as usize].kind
    }

    fn set_kind(&mut self, family: u32, kind: MetricType) {
        self.pushed.families[family as usize].kind = kind;
    }

    fn set_help(&mut self, family: u32, help: &str) -> Result<(), PushError> {
        if help.len() > TEXT_BYTES_MAX {
            let what = format!("has a help text of more than {TEXT_BYTES_MAX} bytes; shorten it");
            return Err(self.broken(family, what));
        }
        self.pushed.families[family as usize].help = self.put(help)?;
        Ok(())
    }

    fn broken(&self, family: u32, what: impl Into<String>) -> PushError {
        PushError::Family {
            name: self.name_of(family).to_owned(),
            what: what.into(),
        }
    }

    /// Adds a sample; `labels` are without that of the part's bound, their names unique.
    fn sample(
        &mut self,
        family: u32,
        part: Part,
        labels: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        value: f64,
    ) -> Result<(), PushError> {
        let labels = self.put_labels(family, labels)?;
        self.put_sample(family, part, labels, Value::Float(value))
    }

    fn put_labels(
        &mut self,
        family: u32,
        labels: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Range<u32>, PushError> {
        let start = self.pushed.labels.len();
        for (name, value) in labels {
            if !self.names.accept_label(&name) {
                return Err(Inconsistent::Label {
                    family: self.name_of(family).to_owned(),
                    label: name.into_owned(),
                }
                .into());
            }
            let pair = (self.put(&name)?, self.put(&value)?);
            self.pushed.labels.push(pair);
        }
        let Pushed { text, labels, .. } = &mut self.pushed;
        let name = |span: &Span| text.get(span.start as usize..span.end as usize);
        labels[start..].sort_by(|(a, _), (b, _)| name(a).cmp(&name(b)));
        let end = labels.len();
        let number = |at| u32::try_from(at).map_err(|_| too_many());
        Ok(number(start)?..number(end)?)
    }

    fn put_sample(
        &mut self,
        family: u32,
        part: Part,
        labels: Range<u32>,
        value: Value,
    ) -> Result<(), PushError> {
        if self.pushed.samples.len() >= SERIES_MAX {
            return Err(too_many());
        }
        let Family { name, kind, .. } = self.pushed.families[family as usize];
        let name = match part.suffix(kind) {
            "" => name,
            suffix => self.put_again(name, suffix)?,
        };
        let bound = match part.bound() {
            None => Span::default(),
            Some((_, bound)) => {
                self.bound.clear();
                write_openmetrics(&mut self.bound, bound);
                let bound = std::mem::take(&mut self.bound);
                let span = self.put(&bound)?;
                self.bound = bound;
                span
            }
        };
        self.pushed.samples.push(Sample {
            family,
            name,
            part,
            bound,
            labels,
            value,
        });
        Ok(())
    }

    fn put(&mut self, text: &str) -> Result<Span, PushError> {
        let start = self.place()?;
        self.pushed.text.push_str(text);
        let end = self.place()?;
        Ok(Span { start, end })
    }

    /// Puts a piece that is there already, and what follows it.
    fn put_again(&mut self, piece: Span, suffix: &str) -> Result<Span, PushError> {
        let start = self.place()?;
        let range = piece.start as usize..piece.end as usize;
        self.pushed.text.extend_from_within(range);
        self.pushed.text.push_str(suffix);
        let end = self.place()?;
        Ok(Span { start, end })
    }

    fn place(&self) -> Result<u32, PushError> {
        u32::try_from(self.pushed.text.len()).map_err(|_| too_many())
    }

    fn finish(mut self) -> Result<Pushed, PushError> {
        let samples = &mut self.pushed.samples;
        if !samples.is_sorted_by_key(|sample| sample.family) {
            samples.sort_by_key(|sample| sample.family);
        }
        if self.pushed.families.iter().any(|f| has_parts(f.kind)) {
            self.complete()?;
        }
        let mut start = 0;
        for chunk in self.pushed.samples.chunk_by(|a, b| a.family == b.family) {
            let end = start + chunk.len();
            self.pushed.families[chunk[0].family as usize].samples = start..end;
            start = end;
        }
        self.pushed
            .families
            .retain(|family| !family.samples.is_empty());
        Ok(self.pushed)
    }

    /// Gives the metrics that have parts those that they lack, and sorts them.
    fn complete(&mut self) -> Result<(), PushError> {
        let mut samples = std::mem::take(&mut self.pushed.samples);
        for family in samples.chunk_by_mut(|a, b| a.family == b.family) {
            if !has_parts(self.kind_of(family[0].family)) {
                self.pushed.samples.extend_from_slice(family);
                continue;
            }
            family.sort_by(|a, b| {
                let labels = self.pushed.compare_labels(a, b);
                labels.then_with(|| compare_parts(a.part, b.part))
            });
            let mut rest = &*family;
            while let [first, ..] = rest {
                let same = |s: &&Sample| self.pushed.compare_labels(first, s).is_eq();
                let length = rest.iter().take_while(same).count();
                let (metric, others) = rest.split_at(length);
                self.complete_metric(metric)?;
                rest = others;
            }
        }
        Ok(())
    }

    /// `metric` has one label set and sorted parts.
    fn complete_metric(&mut self, metric: &[Sample]) -> Result<(), PushError> {
        let [first, ..] = metric else { return Ok(()) };
        let repeats = |pair: &&[Sample]| compare_parts(pair[0].part, pair[1].part).is_eq();
        if let Some([twice, ..]) = metric.windows(2).find(repeats) {
            let view = SampleView {
                pushed: &self.pushed,
                sample: twice,
            };
            return Err(Inconsistent::Repeated(view.to_string()).into());
        }
        if first.part == Part::Value {
            // A native histogram says what the classic buckets beside it say.
            self.pushed.samples.push(first.clone());
            return Ok(());
        }
        let value_of = |part| {
            let found = metric.iter().find(|sample| sample.part == part);
            found.map(|sample| sample.value)
        };
        let infinite = Part::Bucket(f64::INFINITY);
        let zero = Value::Float(0.0);
        let count = value_of(Part::Count).or_else(|| value_of(infinite));
        let mut parts = vec![(Part::Sum, zero), (Part::Count, count.unwrap_or(zero))];
        if self.kind_of(first.family) != MetricType::Summary {
            parts.insert(0, (infinite, count.unwrap_or(zero)));
        }
        let bounded = metric.iter().filter(|sample| sample.part.bound().is_some());
        self.pushed.samples.extend(bounded.cloned());
        for (part, otherwise) in parts {
            match metric.iter().find(|sample| sample.part == part) {
                Some(_) if part == infinite => {}
                Some(sample) => self.pushed.samples.push(sample.clone()),
                None => self.put_sample(first.family, part, first.labels.clone(), otherwise)?,
            }
        }
        Ok(())
    }
}

impl Pushed {
    fn compare_labels(&self, a: &Sample, b: &Sample) -> Ordering {
        self.labels_of(a).cmp(self.labels_of(b))
    }
}

impl std::fmt::Display for SampleView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        for (index, (name, value)) in self.labels().enumerate() {
            let opening = if index == 0 { "{" } else { "," };
            write!(f, "{opening}{name}={value:?}")?;
        }
        let is_bare = self.labels().next().is_none();
        f.write_str(if is_bare { "" } else { "}" })
    }
}

/// Whether metrics of this type are made of several series.
const fn has_parts(kind: MetricType) -> bool {
    matches!(
        kind,
        MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary
    )
}

/// The order in which a metric's parts stand.
fn compare_parts(a: Part, b: Part) -> Ordering {
    const fn rank(part: Part) -> (u8, f64) {
        match part {
            Part::Value => (0, 0.0),
            Part::Bucket(bound) | Part::Quantile(bound) => (1, bound),
            Part::Sum => (2, 0.0),
            Part::Count => (3, 0.0),
            Part::Created => (4, 0.0),
        }
    }
    let ((rank_a, bound_a), (rank_b, bound_b)) = (rank(a), rank(b));
    rank_a.cmp(&rank_b).then(bound_a.total_cmp(&bound_b))
}

fn too_many() -> PushError {
    PushError::TooManySeries {
        samples_max: SERIES_MAX,
    }
}

#[cfg(test)]
mod tests;
