//! The rules of one family of OpenMetrics: metadata, suffixes, labels, values and exemplars by its type.

use std::borrow::Cow;

use model::MetricType;

use super::fingerprint::Fingerprint;
use super::histogram::HistogramCheck;
use super::lexer::{MetadataLine, SampleLine, is_overlong};
use crate::error::{Fault, shortened};
use crate::{Entry, ParseError, parse_float};

/// The present family.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: Option<MetricType>,
    pub(super) unit: Option<String>,
    pub(super) has_help: bool,
    pub(super) has_samples: bool,
    pub(super) group: Option<Group>,
    /// The line of its last line, which errors of the whole family name.
    pub(super) line: u64,
}

/// The present metric of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) mark: Fingerprint,
    pub(super) seconds: Option<f64>,
    pub(super) histogram: HistogramCheck,
}

impl Group {
    pub(super) fn check_time(&self, line: &SampleLine<'_>, is_info: bool) -> Result<(), Fault> {
        let fault = |expected| {
            Fault::new(
                line.time_offset,
                expected,
                line.text
                    .as_bytes()
                    .get(line.time_offset..)
                    .unwrap_or_default(),
            )
        };
        match (self.seconds, line.seconds) {
            (Some(_), None) | (None, Some(_)) => {
                Err(fault("timestamps on all samples of a metric, or on none"))
            }
            (Some(before), Some(now)) if now < before && !is_info => {
                Err(fault("timestamps of a metric that do not go backwards"))
            }
            _ => Ok(()),
        }
    }
}

impl Family {
    pub(super) fn new(name: String, kind: Option<MetricType>) -> Self {
        Self {
            name,
            kind,
            unit: None,
            has_help: false,
            has_samples: false,
            group: None,
            line: 0,
        }
    }

    pub(super) fn metadata(&mut self, line: &MetadataLine<'_>) -> Result<(), Fault> {
        let fault = |offset: usize, expected| {
            Fault::new(
                offset,
                expected,
                line.text.as_bytes().get(offset..).unwrap_or_default(),
            )
        };
        if self.has_samples {
            return Err(fault(0, "metadata before the family's samples"));
        }
        let is_first = match &line.entry {
            Entry::Type { kind, .. } => self.kind.replace(*kind).is_none(),
            Entry::Help { .. } => !std::mem::replace(&mut self.has_help, true),
            Entry::Unit { unit, .. } => self.unit.replace((*unit).to_owned()).is_none(),
            Entry::Comment(_) | Entry::Sample(_) | Entry::Eof => true,
        };
        if !is_first {
            return Err(fault(0, "each of TYPE, HELP and UNIT once for a family"));
        }
        match (self.kind, self.unit.as_deref()) {
            (_, None | Some("")) => Ok(()),
            (Some(MetricType::Info | MetricType::StateSet), _) => Err(fault(
                line.content_offset,
                "no unit for an info or a stateset",
            )),
            (_, Some(unit)) => {
                let stem = self
                    .name
                    .strip_suffix(unit)
                    .and_then(|stem| stem.strip_suffix('_'));
                stem.map(|_| ()).ok_or_else(|| {
                    fault(line.family_offset, "a family whose name ends with its unit")
                })
            }
        }
    }

    /// Returns the suffixes of the samples that the family may have.
    fn suffixes(&self) -> &'static [&'static str] {
        match self.kind.unwrap_or_default() {
            MetricType::Counter => &["_total", "_created"],
            MetricType::Summary => &["", "_count", "_sum", "_created"],
            MetricType::Histogram => &["_bucket", "_count", "_sum", "_created"],
            MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
            MetricType::Info => &["_info"],
            MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
        }
    }

    /// Returns the suffixes of all names that belong to the family: its own too.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let others = self
            .suffixes()
            .iter()
            .copied()
            .filter(|suffix| !suffix.is_empty());
        std::iter::once("").chain(others)
    }

    /// Returns the suffix that makes `sample` one of the family's samples.
    pub(super) fn suffix(&self, sample: &str) -> Option<&'static str> {
        let rest = sample.strip_prefix(self.name.as_str())?;
        self.suffixes()
            .iter()
            .copied()
            .find(|suffix| *suffix == rest)
    }

    /// Returns the label that tells samples of one metric apart.
    pub(super) fn reserved_label(&self, suffix: &str) -> Option<Cow<'static, str>> {
        match (self.kind?, suffix) {
            (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => {
                Some(Cow::Borrowed("le"))
            }
            (MetricType::Summary, "") => Some(Cow::Borrowed("quantile")),
            (MetricType::StateSet, _) => Some(Cow::Owned(self.name.clone())),
            _ => None,
        }
    }

    pub(super) fn check_labels(&self, suffix: &str, line: &SampleLine<'_>) -> Result<(), Fault> {
        let Some(reserved) = self.reserved_label(suffix) else {
            return Ok(());
        };
        let value = line.entry.series.labels().get(&reserved);
        let number = value.and_then(|value| parse_float(&value.decode()));
        let expected = match self.kind {
            Some(MetricType::StateSet) if value.is_some() => return Ok(()),
            Some(MetricType::StateSet) => "a label with the stateset's name and the state",
            Some(MetricType::Summary) if number.is_some_and(|q| (0.0..=1.0).contains(&q)) => {
                return Ok(());
            }
            Some(MetricType::Summary) => "a label quantile from 0 to 1",
            // One spelling for infinity, so that it is found; finite bounds may be spelt freely.
            _ => match number {
                Some(bound) if bound == f64::INFINITY && value.is_some_and(|v| v != "+Inf") => {
                    "the last bucket's le spelt +Inf"
                }
                Some(bound) if !bound.is_nan() => return Ok(()),
                _ => "a label le with the bucket's bound",
            },
        };
        Err(Fault::new(0, expected, line.text.as_bytes()))
    }

    pub(super) fn check_value(&self, suffix: &str, line: &SampleLine<'_>) -> Result<(), Fault> {
        let value = line.entry.value;
        let expected = match (self.kind.unwrap_or_default(), suffix) {
            (MetricType::StateSet, _) if value != 0.0 && value != 1.0 => {
                "0 or 1 as the value of a state"
            }
            (MetricType::Info, _) if value != 1.0 => "1 as the value of an info",
            (MetricType::Summary, "") if value < 0.0 => "a quantile's value that is not negative",
            (_, "_bucket" | "_count" | "_gcount") if value.fract() != 0.0 => {
                "a whole number as a count"
            }
            (_, "_total" | "_sum" | "_count" | "_bucket" | "_gcount" | "_gsum")
                if value.is_nan() =>
            {
                "a value that is not NaN"
            }
            (_, "_total" | "_sum" | "_count" | "_bucket" | "_gcount") if value < 0.0 => {
                "a value that is not negative"
            }
            _ => return Ok(()),
        };
        let rest = line.text.as_bytes().get(line.value_offset..);
        Err(Fault::new(
            line.value_offset,
            expected,
            rest.unwrap_or_default(),
        ))
    }

    pub(super) fn check_exemplar(&self, suffix: &str, line: &SampleLine<'_>) -> Result<(), Fault> {
        let Some(exemplar) = &line.entry.exemplar else {
            return Ok(());
        };
        let may_have_one = matches!(
            (self.kind.unwrap_or_default(), suffix),
            (MetricType::Counter, "_total")
                | (
                    MetricType::Histogram | MetricType::GaugeHistogram,
                    "_bucket"
                )
        );
        let expected = if !may_have_one {
            "exemplars on counters' totals and histograms' buckets only"
        } else if is_overlong(exemplar.labels) {
            "exemplar labels of at most 128 characters, names and values together"
        } else {
            return Ok(());
        };
        let rest = line.text.as_bytes().get(line.exemplar_offset..);
        Err(Fault::new(
            line.exemplar_offset,
            expected,
            rest.unwrap_or_default(),
        ))
    }

    fn is_histogram(&self) -> bool {
        matches!(
            self.kind,
            Some(MetricType::Histogram | MetricType::GaugeHistogram)
        )
    }

    /// Takes a sample into its histogram.
    pub(super) fn take(&mut self, suffix: &str, line: &SampleLine<'_>) -> Result<(), Fault> {
        let is_histogram = self.is_histogram();
        let Some(group) = self.group.as_mut().filter(|_| is_histogram) else {
            return Ok(());
        };
        let value = line.entry.value;
        if suffix != "_bucket" {
            group.histogram.other(suffix, value);
            return Ok(());
        }
        let bound = line
            .entry
            .series
            .labels()
            .get("le")
            .and_then(|le| parse_float(&le.decode()));
        group
            .histogram
            .bucket(bound.unwrap_or(f64::NAN), value)
            .map_err(|expected| Fault::new(0, expected, line.text.as_bytes()))
    }

    /// Checks the present histogram, which has ended.
    pub(super) fn check_histogram(&self) -> Result<(), ParseError> {
        match self.group.filter(|_| self.is_histogram()) {
            Some(group) => group
                .histogram
                .finish()
                .map_err(|expected| self.fault(expected)),
            None => Ok(()),
        }
    }

    pub(super) fn fault(&self, expected: &'static str) -> ParseError {
        ParseError {
            line: self.line,
            column: 1,
            expected,
            found: format!("family {}", shortened(self.name.as_bytes())),
        }
    }
}
