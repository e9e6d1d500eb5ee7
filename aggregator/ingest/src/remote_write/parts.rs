//! A request, cut into batches that the store takes, and encoded.

use std::sync::Arc;

use model::Value;
use rows::{MetricMetadata, SampleContents, SeriesExemplar, SeriesSample, encode_samples};

use super::{Rejections, Written};

/// Samples of a batch; a larger request makes several.
const BATCH_SAMPLES_MAX: usize = 16_384;

/// Samples that go to the store together, encoded.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) bytes: Arc<[u8]>,
    pub(super) samples: Vec<SeriesSample>,
    pub(super) exemplars: Vec<SeriesExemplar>,
    pub(super) metadata: Vec<MetricMetadata>,
}

impl Part {
    /// Returns how much of each kind it brings.
    pub(super) fn contents(&self) -> Written {
        let is_histogram = |sample: &&SeriesSample| matches!(sample.value, Value::Histogram(_));
        let histograms = self.samples.iter().filter(is_histogram).count();
        Written {
            samples: (self.samples.len() - histograms) as u64,
            histograms: histograms as u64,
            exemplars: self.exemplars.len() as u64,
        }
    }
}

/// Cuts a request into parts; notes what is too heavy for any.
pub(super) fn cut(
    samples: Vec<SeriesSample>,
    exemplars: Vec<SeriesExemplar>,
    metadata: Vec<MetricMetadata>,
    rejections: &mut Rejections,
) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut runs = runs(samples);
    // Exemplars stand behind the samples of their series.
    let last = runs.pop().unwrap_or_default();
    for run in runs {
        encode(run, (Vec::new(), Vec::new()), rejections, &mut parts);
    }
    encode(last, (exemplars, metadata), rejections, &mut parts);
    parts
}

/// Cuts samples into runs of as many as a batch takes.
fn runs(mut samples: Vec<SeriesSample>) -> Vec<Vec<SeriesSample>> {
    if samples.len() <= BATCH_SAMPLES_MAX {
        return vec![samples];
    }
    let mut runs = Vec::with_capacity(samples.len().div_ceil(BATCH_SAMPLES_MAX));
    // From the end: so each is copied once, and none keeps the memory of those behind it.
    while samples.len() > BATCH_SAMPLES_MAX {
        let full = (samples.len() - 1) / BATCH_SAMPLES_MAX;
        runs.push(samples.split_off(full * BATCH_SAMPLES_MAX));
    }
    samples.shrink_to_fit();
    runs.push(samples);
    runs.reverse();
    runs
}

/// Encodes what goes together, in several parts when it is too heavy for one.
fn encode(
    mut samples: Vec<SeriesSample>,
    (mut exemplars, mut metadata): (Vec<SeriesExemplar>, Vec<MetricMetadata>),
    rejections: &mut Rejections,
    out: &mut Vec<Part>,
) {
    if samples.is_empty() && exemplars.is_empty() && metadata.is_empty() {
        return;
    }
    let contents = SampleContents {
        samples: &samples,
        exemplars: &exemplars,
        metadata: &metadata,
    };
    let error = match encode_samples(&contents) {
        Ok(bytes) => {
            out.push(Part {
                bytes,
                samples,
                exemplars,
                metadata,
            });
            return;
        }
        Err(error) => error,
    };
    let kinds = [
        samples.is_empty(),
        exemplars.is_empty(),
        metadata.is_empty(),
    ];
    if kinds.iter().filter(|empty| !**empty).count() > 1 {
        // Each kind on its own first.
        encode(samples, (Vec::new(), Vec::new()), rejections, out);
        encode(Vec::new(), (exemplars, Vec::new()), rejections, out);
        encode(Vec::new(), (Vec::new(), metadata), rejections, out);
    } else if samples.len().max(exemplars.len()).max(metadata.len()) > 1 {
        let tails = (
            exemplars.split_off(exemplars.len() / 2),
            metadata.split_off(metadata.len() / 2),
        );
        let tail = samples.split_off(samples.len() / 2);
        encode(samples, (exemplars, metadata), rejections, out);
        encode(tail, tails, rejections, out);
    } else if samples.is_empty() {
        rejections.exemplars += exemplars.len() as u64;
    } else {
        rejections.sample(|| error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use model::TimestampMs;
    use rows::CohortId;

    use super::*;

    #[test]
    fn runs_are_whole_and_keep_no_memory_but_their_own() {
        let sample = |at: usize| SeriesSample {
            cohort: CohortId(0),
            slot: 0,
            at: TimestampMs(i64::try_from(at).unwrap()),
            value: Value::Float(0.0),
            start: TimestampMs(0),
        };
        for count in [0, 1, BATCH_SAMPLES_MAX, BATCH_SAMPLES_MAX + 1, 200_000] {
            let runs = runs((0..count).map(sample).collect());
            let times = runs.iter().flatten().map(|sample| sample.at.0);
            assert!(times.eq(0..i64::try_from(count).unwrap()), "{count}");
            assert!(runs.iter().all(|run| run.len() <= BATCH_SAMPLES_MAX));
            let kept: usize = runs.iter().map(Vec::capacity).sum();
            assert!(kept <= count + BATCH_SAMPLES_MAX, "{kept} of {count}");
        }
    }
}
