//! Late rows: which spans of the past have changed since somebody asked.
//!
//! For whoever makes something of the present that has to be made again when the past changes, as rules do. Noted once a batch is durable and
//! on its way to the heads, and by replay for what is not sealed yet, so that none is missed for a crash; whoever asks may hear of a span
//! twice.
//!
//! Spans only, whatever the series: a row has no names, and to look up those of its slots would cost as much as the row itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Spans, TimeRange, TimestampMs};
use rows::Batch;
use storage::Lane;

use crate::config::LateConfig;
use crate::record::LogSource;

/// What comes on the lane for backlogs is late, however little.
const A_MOMENT: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct LateRows {
    config: LateConfig,
    ahead_max: Duration,
    spans: Mutex<Spans>,
}

impl LateRows {
    pub(crate) fn new(config: LateConfig, ahead_max: Duration) -> Self {
        Self {
            config,
            ahead_max,
            spans: Mutex::default(),
        }
    }

    /// Returns what of a batch is late; `taken` are the bounds of time that it was taken with, which tell when it came.
    pub(crate) fn span_of(
        &self,
        source: &LogSource,
        batch: &Batch,
        taken: TimeRange,
    ) -> Option<TimeRange> {
        if source.lane == Lane::Correction || self.config.except.contains(&source.agent) {
            return None;
        }
        let came = taken.end.saturating_sub(self.ahead_max);
        let after = match source.lane {
            Lane::CatchUp => A_MOMENT,
            Lane::Live | Lane::Correction => self.config.after,
        };
        let late = TimeRange::new(taken.start, came.saturating_sub(after));
        let of_rows = batch.rows.iter().map(|row| row.row.at);
        let of_samples = batch.samples.iter().map(|sample| sample.at);
        let mut span = TimeRange::new(TimestampMs::MAX, TimestampMs::MIN);
        for at in of_rows.chain(of_samples).filter(|at| late.contains(*at)) {
            span = TimeRange::new(span.start.min(at), span.end.max(at));
        }
        (span.start <= span.end).then_some(span)
    }

    /// Notes spans.
    pub(crate) fn note(&self, spans: impl IntoIterator<Item = TimeRange>) {
        let mut noted = self.lock();
        spans.into_iter().for_each(|span| noted.add(span));
    }

    /// Returns what was noted since the last time.
    pub(crate) fn take(&self) -> Spans {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Spans> {
        // A list of spans that cover more or less: all the same to who finds it.
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use model::Value;
    use rows::{CohortId, SeriesSample};

    use super::*;

    #[test]
    fn late_is_what_came_after_its_time_by_others_than_those_excepted() {
        let config = LateConfig {
            after: Duration::from_secs(2),
            except: vec!["late-on-purpose".parse().unwrap()],
        };
        let late = LateRows::new(config, Duration::from_secs(10));
        let note = |agent: &str, lane, times: &[i64]| {
            let source = LogSource {
                agent: agent.parse().unwrap(),
                epoch: rows::Epoch(1),
                lane,
            };
            let sample = |at: &i64| SeriesSample {
                cohort: CohortId(0),
                slot: 0,
                at: TimestampMs(*at),
                value: Value::Float(0.0),
                start: TimestampMs(0),
            };
            let batch = Batch {
                number: rows::BatchNumber(0),
                bytes: std::sync::Arc::from([]),
                rows: Vec::new(),
                samples: times.iter().map(sample).collect(),
                exemplars: Vec::new(),
                metadata: Vec::new(),
            };
            // It came at 100 s; what is older than 20 s was refused.
            let taken = TimeRange::new(TimestampMs(20_000), TimestampMs(110_000));
            late.note(late.span_of(&source, &batch, taken));
            let spans = late.take();
            let spans = spans.as_slice().iter();
            spans
                .map(|span| (span.start.0, span.end.0))
                .collect::<Vec<_>>()
        };
        let all = [5_000, 20_000, 60_000, 98_000, 99_000, 100_000, 105_000];
        assert_eq!(note("a", Lane::Live, &all), [(20_000, 98_000)]);
        assert_eq!(note("a", Lane::CatchUp, &all), [(20_000, 99_000)]);
        assert_eq!(note("a", Lane::Correction, &all), []);
        assert_eq!(note("late-on-purpose", Lane::CatchUp, &all), []);
        assert_eq!(note("a", Lane::Live, &all[4..]), []);
    }
}
