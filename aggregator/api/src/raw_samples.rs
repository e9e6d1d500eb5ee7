//! `samples`: stored samples as they are, to the bit, stale marks and native histograms included. Ours: tools read history by it.
//!
//! The answer is what an agent would send (`common/wire/PROTOCOL.md`): Define frames that name series, and after them Batch frames with
//! samples that have times of their own, of these series alone. Each cohort's Define frames begin with slot 0; the epoch is 0, and
//! batches are numbered from 0. No series comes twice, and its samples come in order of time.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::Arc;

use http_shell::{Form, Response, StatusCode};
use model::{Labels, Matcher, MetricType, TimeRange, TimestampMs, Value};
use rows::{
    BatchDecoder, BatchNumber, CohortDefinition, CohortId, Epoch, HISTOGRAM_PARTS_MAX, SAMPLES_MAX,
    SLOTS_MAX, SampleContents, SeriesDefinition, SeriesSample, Slot, encode_samples,
};
use storage::{Budget, Querier, Select, SeriesData};
use wire::{AgentMessage, FrameDecoder, decode_message, encode_message, split_definition};

use crate::api::Api;
use crate::envelope::{ApiError, ErrorType};
use crate::parameters;
use crate::query::refusal_of;
use crate::running::{Asker, Subject};

/// The type of the answer.
const CONTENT_TYPE: &str = "application/vnd.promontory.frames";
const EPOCH: Epoch = Epoch(0);
/// What the samples of a batch may weigh: a histogram counts as the largest that there can be.
const BATCH_WEIGHT_MAX: usize = 1 << 17;
/// So many bytes of an answer are read at once.
const READ_BYTES: usize = 64 * 1024;

impl Api {
    /// `/api/v1/samples`: the samples of the series that any `match[]` selects, from `start` to `end`.
    pub(crate) async fn raw_samples(
        &self,
        form: &Form,
        asker: &Asker,
    ) -> Result<Response, ApiError> {
        let texts = parameters::selector_texts(form);
        if texts.is_empty() {
            let why = "no match[] parameter provided";
            return Err(ApiError::new(ErrorType::BadData, why));
        }
        let range = parameters::range(form)?;
        let options = self.parts.engine.config().parser;
        let store = Arc::clone(&self.parts.store);
        let subject = Subject::new("samples", &texts.join(", "), None, asker);
        self.on_thread(self.config.query_limits, subject, move |place| {
            let budget = &*place.budget;
            let selectors = parameters::selectors(&texts, options, budget)
                .map_err(|error| refusal_of(Some("match[]"), &error))?;
            let mut writer = Writer::default();
            if range.start <= range.end {
                let querier = store.querier()?;
                write_selected(&*querier, &selectors, range, budget, &mut writer)?;
            }
            let body = writer.finish()?;
            Ok(Response::new(StatusCode::OK, CONTENT_TYPE, body))
        })
        .await
    }
}

fn write_selected(
    querier: &dyn Querier,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    budget: &dyn Budget,
    writer: &mut Writer,
) -> Result<(), ApiError> {
    let mut written = BTreeSet::new();
    for matchers in selectors {
        let select = Select {
            matchers,
            range,
            // Without hints there are raw samples, all of them.
            hints: Default::default(),
        };
        for series in querier.select(&select, budget)? {
            if selectors.len() > 1 && !written.insert(series.labels.clone()) {
                continue;
            }
            let before = writer.frames.len();
            writer.write(&series, range)?;
            budget.charge(0, (writer.frames.len() - before) as u64)?;
        }
    }
    Ok(())
}

/// Collects series for a cohort, and samples for a batch.
#[derive(Debug, Default)]
struct Writer {
    frames: Vec<u8>,
    /// The number of the cohort.
    cohort: u32,
    slots: usize,
    /// Series of the cohort that no frame has defined yet.
    undefined: Vec<SeriesDefinition>,
    samples: Vec<SeriesSample>,
    weight: usize,
    batches: u64,
}

impl Writer {
    fn write(&mut self, series: &SeriesData, range: TimeRange) -> Result<(), ApiError> {
        if self.slots == SLOTS_MAX {
            self.end_batch()?;
            self.cohort += 1;
            self.slots = 0;
        }
        let slot = Slot::try_from(self.slots).unwrap_or(Slot::MAX);
        self.slots += 1;
        self.undefined.push(SeriesDefinition {
            labels: series.labels.clone(),
            kind: MetricType::Unknown,
        });
        for sample in series.samples(range) {
            self.weight += match &sample.value {
                Value::Float(_) => 1,
                Value::Histogram(_) => 2 + HISTOGRAM_PARTS_MAX,
            };
            self.samples.push(SeriesSample {
                cohort: CohortId(self.cohort),
                slot,
                at: sample.at,
                value: sample.value,
                start: TimestampMs(0),
            });
            if self.samples.len() == SAMPLES_MAX || self.weight >= BATCH_WEIGHT_MAX {
                self.end_batch()?;
            }
        }
        Ok(())
    }

    /// Writes what series and samples there are.
    fn end_batch(&mut self) -> Result<(), ApiError> {
        let (series, samples) = (take(&mut self.undefined), take(&mut self.samples));
        self.weight = 0;
        if !series.is_empty() {
            let first_slot = Slot::try_from(self.slots - series.len()).unwrap_or(Slot::MAX);
            let definition = CohortDefinition {
                cohort: CohortId(self.cohort),
                name: Arc::from("samples"),
                first_slot,
                series,
            };
            for definition in split_definition(definition) {
                let epoch = EPOCH;
                self.send(&AgentMessage::Define { epoch, definition })?;
            }
        }
        if samples.is_empty() {
            return Ok(());
        }
        let body = encode_samples(&SampleContents {
            samples: &samples,
            ..SampleContents::default()
        });
        let message = AgentMessage::Batch {
            epoch: EPOCH,
            number: BatchNumber(self.batches),
            body: body.map_err(|error| cannot_be_written(&error))?,
        };
        self.batches += 1;
        self.send(&message)
    }

    fn send(&mut self, message: &AgentMessage) -> Result<(), ApiError> {
        encode_message(message, &mut self.frames).map_err(|error| cannot_be_written(&error))
    }

    fn finish(mut self) -> Result<Vec<u8>, ApiError> {
        self.end_batch()?;
        Ok(self.frames)
    }
}

fn cannot_be_written(error: &dyn std::error::Error) -> ApiError {
    let why = format!("samples cannot be written: {error}");
    ApiError::new(ErrorType::Internal, why)
}

/// Reads an answer of `/api/v1/samples`; calls `visit` with every sample. An error says what makes it none; what was visited before stays
/// visited.
pub fn read_samples(
    answer: &[u8],
    visit: &mut dyn FnMut(&Labels, TimestampMs, &Value),
) -> Result<(), String> {
    let mut frames = FrameDecoder::new();
    let mut layout = Layout::default();
    for piece in answer.chunks(READ_BYTES) {
        frames.push(piece).map_err(|error| error.to_string())?;
        while let Some(frame) = frames.next_frame().map_err(|error| error.to_string())? {
            match decode_message(frame).map_err(|error| error.to_string())? {
                AgentMessage::Define { definition, .. } => layout.define(definition)?,
                AgentMessage::Batch { number, body, .. } => {
                    let batch = BatchDecoder::new().decode(number, body);
                    for sample in batch.map_err(|error| error.to_string())?.samples {
                        visit(layout.series(&sample)?, sample.at, &sample.value);
                    }
                }
                other => return Err(format!("{other:?} has no place among samples")),
            }
        }
    }
    match frames.waiting() {
        0 => Ok(()),
        bytes => Err(format!(
            "the answer ends within a frame, after {bytes} bytes of it"
        )),
    }
}

/// The series of the cohort that is read.
#[derive(Debug, Default)]
struct Layout {
    cohort: Option<CohortId>,
    series: Vec<Labels>,
}

impl Layout {
    fn define(&mut self, definition: CohortDefinition) -> Result<(), String> {
        if definition.first_slot == 0 {
            self.cohort = Some(definition.cohort);
            self.series.clear();
        }
        let is_next = usize::from(definition.first_slot) == self.series.len();
        if Some(definition.cohort) != self.cohort || !is_next {
            let (cohort, slot) = (definition.cohort.0, definition.first_slot);
            return Err(format!(
                "cohort {cohort} is defined from slot {slot} on, out of order"
            ));
        }
        let series = definition.series.into_iter();
        self.series.extend(series.map(|series| series.labels));
        Ok(())
    }

    fn series(&self, sample: &SeriesSample) -> Result<&Labels, String> {
        let series = self.series.get(usize::from(sample.slot));
        let series = series.filter(|_| Some(sample.cohort) == self.cohort);
        series.ok_or_else(|| {
            let (cohort, slot) = (sample.cohort.0, sample.slot);
            format!("slot {slot} of cohort {cohort} is not defined")
        })
    }
}

#[cfg(test)]
mod tests;
