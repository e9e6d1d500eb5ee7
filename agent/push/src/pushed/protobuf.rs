//! Delimited protobuf.

use std::borrow::Cow;
use std::collections::HashSet;

use exposition::{FamilyMessage, MetricMessage, MetricValue, Part, ProtobufParser};
use model::Histogram;
use rows::HISTOGRAM_PARTS_MAX;

use super::{Builder, Pushed, Value};
use crate::{Names, PushError};

impl Pushed {
    pub(crate) fn of_protobuf(input: &[u8], names: Names) -> Result<Self, PushError> {
        let mut builder = Builder::new(names, input.len());
        for family in ProtobufParser::new(input) {
            builder.take_family(&family?)?;
        }
        builder.finish()
    }
}

impl<'a> Builder<'a> {
    fn take_family(&mut self, message: &FamilyMessage<'a>) -> Result<(), PushError> {
        if let Some(present) = self.existing(message.name) {
            return Err(self.broken(present, "comes twice in this push"));
        }
        let family = self.family(Cow::Borrowed(message.name))?;
        self.set_kind(family, message.kind);
        self.set_help(family, message.help)?;
        for metric in message.metrics() {
            self.take_metric(family, message, &metric?)?;
        }
        Ok(())
    }

    fn take_metric(
        &mut self,
        family: u32,
        message: &FamilyMessage<'a>,
        metric: &MetricMessage<'a>,
    ) -> Result<(), PushError> {
        self.pushed.has_timestamps |= metric.at.is_some();
        let pairs = metric.labels().collect::<Result<Vec<_>, _>>()?;
        let mut seen = HashSet::with_capacity(pairs.len());
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !seen.insert(*name)) {
            return Err(self.broken(family, format!("has the label {name:?} twice")));
        }
        let bound = match metric.value {
            MetricValue::Float(_) => None,
            MetricValue::Summary(_) => Some("quantile"),
            MetricValue::Histogram(_) => Some("le"),
        };
        if seen.iter().any(|name| Some(*name) == bound) {
            return Err(self.broken(family, "has the label of its parts' bounds itself"));
        }
        let pairs = pairs.into_iter();
        let pairs = pairs.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        let labels = self.put_labels(family, pairs)?;
        let mut put = |part, value| self.put_sample(family, part, labels.clone(), value);
        match metric.value {
            MetricValue::Float(value) => put(Part::Value, Value::Float(canonical(value)))?,
            MetricValue::Summary(summary) => {
                for quantile in summary.quantiles() {
                    let (quantile, value) = quantile?;
                    put(Part::Quantile(quantile), Value::Float(canonical(value)))?;
                }
                put(Part::Sum, Value::Float(canonical(summary.sum)))?;
                put(Part::Count, Value::Float(summary.count))?;
            }
            MetricValue::Histogram(histogram) => {
                if let Some(native) = histogram.native(message.kind)? {
                    let value = self.put_histogram(family, native)?;
                    return self.put_sample(family, Part::Value, labels, value);
                }
                for bucket in histogram.buckets() {
                    let (bound, count) = bucket?;
                    put(Part::Bucket(bound), Value::Float(canonical(count)))?;
                }
                put(Part::Sum, Value::Float(canonical(histogram.sum)))?;
                put(Part::Count, Value::Float(canonical(histogram.count)))?;
            }
        }
        Ok(())
    }

    fn put_histogram(&mut self, family: u32, histogram: Histogram) -> Result<Value, PushError> {
        if parts(&histogram) > HISTOGRAM_PARTS_MAX {
            let what = format!("has a histogram of more than {HISTOGRAM_PARTS_MAX} buckets");
            return Err(self.broken(family, what));
        }
        let number = u32::try_from(self.pushed.histograms.len()).map_err(|_| super::too_many())?;
        let histogram = Histogram {
            sum: canonical(histogram.sum),
            ..histogram
        };
        self.pushed.histograms.push(histogram.into());
        Ok(Value::Histogram(number))
    }
}

/// What the codec of rows counts.
fn parts(histogram: &Histogram) -> usize {
    let buckets = match &histogram.buckets {
        model::Buckets::Integer {
            positive, negative, ..
        } => positive.len() + negative.len(),
        model::Buckets::Float {
            positive, negative, ..
        } => positive.len() + negative.len(),
    };
    histogram.positive_spans.len() + histogram.negative_spans.len() + buckets
}

/// One NaN for all, so that a push cannot forge a staleness mark.
const fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}
