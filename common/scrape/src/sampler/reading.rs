//! Reading bodies in each of the formats.

use std::borrow::Cow;

use exposition::{
    Entry, ExemplarEntry, FamilyMessage, MetricMessage, MetricValue, OpenMetricsParser, ParseError,
    Part, ProtobufParser, SampleEntry, Series, TextParser, canonical_bound, format_openmetrics,
};
use model::{Histogram, METRIC_NAME, MetricType, TimestampMs, Value};
use rows::{HISTOGRAM_PARTS_MAX, SeriesSample, TEXT_BYTES_MAX};

use super::part::parts;
use super::{ReadError, Sampler, Tally};
use crate::Job;
use crate::decode::Format;
use crate::exposed::Exposed;
use crate::memory::{Address, Owner, Recorder};

/// Stands between the parts of a key; never part of UTF-8.
const SEPARATOR: u8 = 0xff;

/// What a scrape is read for.
struct Reading<'a> {
    job: &'a Job,
    /// The time of the scrape.
    at: TimestampMs,
    tally: &'a mut Tally,
    recorder: Recorder,
    /// Where in the memory of the last body the next key is looked for.
    next: usize,
}

impl Sampler {
    /// Takes a body into the row under way; after an error the row is worth nothing.
    pub(super) fn read(
        &mut self,
        job: &Job,
        format: Format,
        body: &[u8],
        at: TimestampMs,
        tally: &mut Tally,
    ) -> Result<(), ReadError> {
        if format == Format::Text && self.replay(body, job.limits.samples, tally)? {
            return Ok(());
        }
        let mut reading = Reading {
            job,
            at,
            tally,
            recorder: Recorder::new(format == Format::Text, &self.memory),
            next: 0,
        };
        let rest = match format {
            Format::Text => self.read_entries(&mut reading, body, TextParser::new(body))?,
            Format::OpenMetrics => {
                self.read_entries(&mut reading, body, OpenMetricsParser::lenient(body))?
            }
            Format::Protobuf => self.read_families(&mut reading, body)?,
        };
        self.memory = reading.recorder.finish(rest);
        Ok(())
    }

    /// Reads a body in which only values have changed; returns whether it is one.
    fn replay(&mut self, body: &[u8], limit: u64, tally: &mut Tally) -> Result<bool, ReadError> {
        let mut replayed = Tally {
            replayed: true,
            ..Tally::default()
        };
        let parts = &mut self.parts;
        let fits = self.memory.replay(body, |owner, value| {
            replayed.exposed += 1;
            if let Some(Address { part, slot }) = owner {
                replayed.kept += 1;
                let part = parts.get_mut(usize::from(part));
                let is_first = part.is_some_and(|part| part.put(slot, value));
                replayed.duplicates += u64::from(!is_first);
            }
        });
        if !fits {
            self.begin();
            return Ok(false);
        }
        *tally = replayed;
        if tally.kept > limit {
            return Err(ReadError::Samples(limit));
        }
        Ok(true)
    }

    /// Returns what stands behind the last value.
    fn read_entries<'b>(
        &mut self,
        reading: &mut Reading<'_>,
        body: &'b [u8],
        entries: impl Iterator<Item = Result<Entry<'b>, ParseError>>,
    ) -> Result<&'b [u8], ReadError> {
        let mut piece_start = 0;
        for entry in entries {
            match entry? {
                Entry::Sample(sample) => {
                    let owner = self.owner_of_series(reading, &sample.series)?;
                    let place = Place::of(&sample.series, body);
                    let piece = body.get(piece_start..place.value).unwrap_or_default();
                    let key = sample.series.raw().as_bytes();
                    reading
                        .recorder
                        .line(piece, place.key.saturating_sub(piece_start), key, owner);
                    piece_start = place.end;
                    self.take_sample(reading, &sample, owner)?;
                }
                Entry::Type { family, kind } => {
                    self.describe(&family.decode(), |about| about.kind = kind);
                }
                Entry::Help { family, text } => {
                    self.describe(&family.decode(), |about| {
                        about.help = text.decode().into_owned()
                    });
                }
                Entry::Unit { family, unit } => {
                    self.describe(&family.decode(), |about| unit.clone_into(&mut about.unit));
                }
                Entry::Comment(_) | Entry::Eof => {}
            }
        }
        Ok(body.get(piece_start..).unwrap_or_default())
    }

    fn owner_of_series(
        &mut self,
        reading: &mut Reading<'_>,
        series: &Series<'_>,
    ) -> Result<Owner, ReadError> {
        reading.tally.exposed += 1;
        let key = series.raw().as_bytes();
        match self.memory.owner(key, &mut reading.next) {
            Some(owner) => Ok(owner),
            None => {
                let kind = self.kind_of(&series.name().decode());
                self.define(reading.job, &exposed(series, kind), kind)
            }
        }
    }

    fn take_sample(
        &mut self,
        reading: &mut Reading<'_>,
        sample: &SampleEntry<'_>,
        owner: Owner,
    ) -> Result<(), ReadError> {
        if sample.at.is_some() {
            reading.recorder.is_no_template();
        }
        let Some(address) = owner else { return Ok(()) };
        self.put(reading, address, Value::Float(sample.value), sample.at)?;
        if let Some(exemplar) = &sample.exemplar {
            self.put_exemplar(reading, address, exemplar);
        }
        Ok(())
    }

    fn put(
        &mut self,
        reading: &mut Reading<'_>,
        address: Address,
        value: Value,
        at: Option<TimestampMs>,
    ) -> Result<(), ReadError> {
        let limit = reading.job.limits.samples;
        reading.tally.kept += 1;
        if reading.tally.kept > limit {
            return Err(ReadError::Samples(limit));
        }
        let Some(part) = self.parts.get_mut(usize::from(address.part)) else {
            return Ok(());
        };
        let is_taken = match (at.filter(|_| reading.job.honor_timestamps), value) {
            (None, Value::Float(value)) => part.put(address.slot, value),
            (None, Value::Histogram(histogram)) => {
                part.put_histogram(address.slot, std::sync::Arc::unwrap_or_clone(histogram))
            }
            (Some(at), value) if part.put_timestamped(address.slot) => {
                self.samples.push(SeriesSample {
                    cohort: part.cohort,
                    slot: address.slot,
                    at,
                    value,
                    start: TimestampMs(0),
                });
                true
            }
            (Some(_), _) => false,
        };
        reading.tally.duplicates += u64::from(!is_taken);
        Ok(())
    }

    fn put_exemplar(&mut self, reading: &Reading<'_>, address: Address, entry: &ExemplarEntry<'_>) {
        let exemplar = entry.to_exemplar(reading.at);
        if exemplar.labels.text_bytes() <= TEXT_BYTES_MAX
            && let Some(part) = self.parts.get_mut(usize::from(address.part))
        {
            part.put_exemplar(address.slot, exemplar);
        }
    }

    fn read_families<'b>(
        &mut self,
        reading: &mut Reading<'_>,
        body: &'b [u8],
    ) -> Result<&'b [u8], ReadError> {
        for family in ProtobufParser::new(body) {
            let family = family?;
            self.describe(family.name, |about| {
                about.kind = family.kind;
                family.help.clone_into(&mut about.help);
                family.unit.clone_into(&mut about.unit);
            });
            for metric in family.metrics() {
                self.read_metric(reading, &family, &metric?)?;
            }
        }
        Ok(&[])
    }

    fn read_metric(
        &mut self,
        reading: &mut Reading<'_>,
        family: &FamilyMessage<'_>,
        metric: &MetricMessage<'_>,
    ) -> Result<(), ReadError> {
        let labels = metric.labels().collect::<Result<Vec<_>, _>>()?;
        let message = Message {
            family,
            labels: &labels,
            at: metric.at,
        };
        let mut put = |part: Part, value: f64| {
            let value = Value::Float(canonical(value));
            self.take_part(reading, &message, part, value)
        };
        match metric.value {
            MetricValue::Float(value) => put(Part::Value, value),
            MetricValue::Summary(summary) => {
                for quantile in summary.quantiles() {
                    let (quantile, value) = quantile?;
                    put(Part::Quantile(quantile), value)?;
                }
                put(Part::Sum, summary.sum)?;
                put(Part::Count, summary.count)
            }
            MetricValue::Histogram(histogram) => {
                let is_wanted = reading.job.native_histograms;
                let native = match is_wanted {
                    true => histogram.native(family.kind)?,
                    false => None,
                };
                let is_native = native.is_some();
                if let Some(native) = native {
                    let value = Value::Histogram(checked(native)?.into());
                    self.take_part(reading, &message, Part::Value, value)?;
                }
                if is_native && !reading.job.keeps_classic {
                    return Ok(());
                }
                let mut put = |part: Part, value: f64| {
                    let value = Value::Float(canonical(value));
                    self.take_part(reading, &message, part, value)
                };
                let mut has_infinity = false;
                for bucket in histogram.buckets() {
                    let (bound, count) = bucket?;
                    has_infinity |= bound == f64::INFINITY;
                    put(Part::Bucket(bound), count)?;
                }
                // The last bucket may be left out, for it says what the count says.
                if !has_infinity {
                    put(Part::Bucket(f64::INFINITY), histogram.count)?;
                }
                put(Part::Sum, histogram.sum)?;
                put(Part::Count, histogram.count)
            }
        }
    }

    fn take_part(
        &mut self,
        reading: &mut Reading<'_>,
        message: &Message<'_, '_>,
        part: Part,
        value: Value,
    ) -> Result<(), ReadError> {
        reading.tally.exposed += 1;
        let key = message.key(part);
        let owner = match self.memory.owner(&key, &mut reading.next) {
            Some(owner) => owner,
            None => self.define(reading.job, &message.exposed(part)?, message.family.kind)?,
        };
        reading.recorder.line(&key, 0, &key, owner);
        match owner {
            Some(address) => self.put(reading, address, value, message.at),
            None => Ok(()),
        }
    }
}

/// Where in a body the parts of a line lie.
struct Place {
    key: usize,
    value: usize,
    end: usize,
}

impl Place {
    /// `series` is a piece of `body`.
    fn of(series: &Series<'_>, body: &[u8]) -> Self {
        let key = series.raw().as_ptr().addr() - body.as_ptr().addr();
        let key_end = key + series.raw().len();
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let behind = body.get(key_end..).unwrap_or_default();
        let blanks = behind.iter().take_while(|byte| is_blank(byte)).count();
        let number = behind.iter().skip(blanks);
        let length = number
            .take_while(|byte| !is_blank(byte) && **byte != b'\n')
            .count();
        Self {
            key,
            value: key_end + blanks,
            end: key_end + blanks + length,
        }
    }
}

/// A metric of a protobuf message.
struct Message<'m, 'b> {
    family: &'m FamilyMessage<'b>,
    labels: &'m [(&'b str, &'b str)],
    at: Option<TimestampMs>,
}

impl Message<'_, '_> {
    /// Returns what tells one part of the metric from all other samples.
    fn key(&self, part: Part) -> Vec<u8> {
        let mut key = self.family.name.as_bytes().to_vec();
        key.push(SEPARATOR);
        key.extend_from_slice(part.suffix(self.family.kind).as_bytes());
        for (name, value) in self.labels {
            for text in [name, value] {
                key.push(SEPARATOR);
                key.extend_from_slice(text.as_bytes());
            }
        }
        if let Some((_, bound)) = part.bound() {
            key.push(SEPARATOR);
            key.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
        key
    }

    fn exposed(&self, part: Part) -> Result<Exposed, ReadError> {
        let name = format!("{}{}", self.family.name, part.suffix(self.family.kind));
        let mut exposed = vec![(METRIC_NAME.to_owned(), name)];
        let bound = part.bound();
        let bound = bound.map(|(name, bound)| (name.to_owned(), format_openmetrics(bound)));
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        for (name, value) in labels.chain(bound) {
            if exposed.iter().any(|(present, _)| *present == name) {
                return Err(ReadError::Histogram("a metric has a label twice"));
            }
            exposed.push((name, value));
        }
        Ok(exposed)
    }
}

fn exposed(series: &Series<'_>, kind: MetricType) -> Exposed {
    let name = (METRIC_NAME.to_owned(), series.name().decode().into_owned());
    let labels = series.labels();
    let labels = labels.iter().map(|(name, value)| {
        let (name, value): (Cow<'_, str>, Cow<'_, str>) = (name.decode(), value.decode());
        let value = canonical_bound(kind, &name, &value).into_owned();
        (name.into_owned(), value)
    });
    std::iter::once(name).chain(labels).collect()
}

fn checked(histogram: Histogram) -> Result<Histogram, ReadError> {
    if parts(&histogram) > HISTOGRAM_PARTS_MAX {
        return Err(ReadError::Histogram(
            "a native histogram has more than 16384 buckets",
        ));
    }
    Ok(Histogram {
        sum: canonical(histogram.sum),
        ..histogram
    })
}

/// One NaN for all, so that a target cannot forge a staleness mark.
const fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}
