//! What a line of OpenMetrics may mean after those before it.
//!
//! The rules, all of OpenMetrics 1.0: a family's lines stand together, metadata first and each kind of it once; its samples have
//! the suffixes and labels of its type; the samples of one metric stand together, all or none with timestamps that do not go
//! backwards; no name belongs to two families; values keep the limits of their type; histograms are complete.
//!
//! Memory: 8 bytes and a little per family name and, for the present family, per metric; both are bounded by the input's length.

use std::borrow::Cow;

use model::MetricType;

use super::family::{Family, Group};
use super::fingerprint::{Fingerprint, FingerprintSet, Fingerprints, Marks};
use super::histogram::HistogramCheck;
use super::lexer::{MetadataLine, SampleLine};
use crate::ParseError;
use crate::error::Fault;

/// What a parser remembers of the lines before.
#[derive(Debug, Default)]
pub(super) struct Families {
    keys: Fingerprints,
    /// The names that belong to families which have ended.
    taken: FingerprintSet,
    family: Option<Family>,
    /// The metrics of the present family.
    groups: FingerprintSet,
    /// The series of the present metric at its present time.
    series: FingerprintSet,
}

impl Families {
    /// Takes a TYPE, HELP or UNIT line.
    pub(super) fn metadata(
        &mut self,
        line: &MetadataLine<'_>,
        number: u64,
    ) -> Result<(), ParseError> {
        let name = line.family.decode();
        if self
            .family
            .as_ref()
            .is_none_or(|family| family.name != name)
        {
            self.finish()?;
            self.family = Some(Family::new(name.into_owned(), None));
        }
        let Some(family) = &mut self.family else {
            return Ok(());
        };
        family.line = number;
        family.metadata(line).map_err(|fault| fault.on(number))
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self, line: &SampleLine<'_>, number: u64) -> Result<(), ParseError> {
        let name = line.entry.series.name().decode();
        if self
            .family
            .as_ref()
            .is_none_or(|family| family.suffix(&name).is_none())
        {
            self.finish()?;
            self.family = Some(Family::new(
                name.clone().into_owned(),
                Some(MetricType::Unknown),
            ));
        }
        let Some(family) = &mut self.family else {
            return Ok(());
        };
        family.has_samples = true;
        let suffix = family.suffix(&name).unwrap_or_default();
        let on_line = |fault: Fault| fault.on(number);
        family.check_labels(suffix, line).map_err(on_line)?;
        family.check_value(suffix, line).map_err(on_line)?;
        family.check_exemplar(suffix, line).map_err(on_line)?;
        self.group(&name, line, number)
    }

    /// Ends the present family.
    pub(super) fn finish(&mut self) -> Result<(), ParseError> {
        let Some(family) = self.family.take() else {
            return Ok(());
        };
        family.check_histogram()?;
        for suffix in family.names() {
            if !self
                .taken
                .insert(self.keys.of(full_name(&family.name, suffix)))
            {
                return Err(family.fault("a name that no earlier family has"));
            }
        }
        forget(&mut self.groups);
        forget(&mut self.series);
        Ok(())
    }

    /// Follows which metric the samples belong to, and when they were taken.
    fn group(&mut self, name: &str, line: &SampleLine<'_>, number: u64) -> Result<(), ParseError> {
        let Some(family) = &mut self.family else {
            return Ok(());
        };
        let suffix = family.suffix(name).unwrap_or_default();
        let reserved = family.reserved_label(suffix);
        let is_info = family.kind == Some(MetricType::Info);
        let Marks { mut group, series } =
            self.keys
                .of_sample(suffix, line.entry.series.labels(), |name| {
                    reserved
                        .as_deref()
                        .is_some_and(|reserved| name == *reserved)
                });
        if is_info {
            // All labels of an info are content: which samples are one metric's cannot be told.
            group = Fingerprint::default();
        }
        let present = family.group.filter(|present| present.mark == group);
        let is_new_point = match present {
            Some(present) => {
                present
                    .check_time(line, is_info)
                    .map_err(|fault| fault.on(number))?;
                present.seconds != line.seconds
            }
            None if !self.groups.insert(group) => {
                let fault = Fault::new(
                    0,
                    "the samples of one metric side by side",
                    line.text.as_bytes(),
                );
                return Err(fault.on(number));
            }
            None => true,
        };
        if is_new_point {
            family.check_histogram()?;
            forget(&mut self.series);
            family.group = Some(Group {
                mark: group,
                seconds: line.seconds,
                histogram: HistogramCheck::default(),
            });
        }
        family.line = number;
        if self.series.insert(series) {
            return family.take(suffix, line).map_err(|fault| fault.on(number));
        }
        if line.seconds.is_none() {
            let fault = Fault::new(0, "each series once", line.text.as_bytes());
            return Err(fault.on(number));
        }
        // Equal times may be finer ones cut short, by the exposer or by us.
        Ok(())
    }
}

/// Clears `set`. Clearing costs its capacity, so one large family must not leave a large set behind for many small ones.
fn forget(set: &mut FingerprintSet) {
    if set.capacity() > 256 {
        *set = FingerprintSet::default();
    } else {
        set.clear();
    }
}

fn full_name<'a>(name: &'a str, suffix: &'a str) -> Cow<'a, str> {
    if suffix.is_empty() {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("{name}{suffix}"))
    }
}
