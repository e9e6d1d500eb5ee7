//! The same data in other segments: shared time columns, presence bits and cuts must not change any result.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Labels, STALE_NAN, TimeRange, TimestampMs, Value};
use promql::{Engine, Grid, QueryOptions, QueryResult};
use proptest::prelude::*;
use rows::Presence;
use storage::{
    Budget, MemoryStore, Querier, QueryError, Queryable, Segment, SegmentValues, Select,
    SeriesData, Times, Unlimited,
};

use crate::selected::{Selected, Selecting};

/// A store that answers as a cohort would: all series over the same time columns, cut at the same places.
#[derive(Clone, Debug)]
struct Cohort {
    store: MemoryStore,
    segment_len: usize,
}

impl Queryable for Cohort {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        Ok(Arc::new(Selected {
            inner: self.store.querier()?,
            by: self.clone(),
        }))
    }
}

impl Cohort {
    fn segments(&self, series: &SeriesData, columns: &[Times]) -> Vec<Segment> {
        columns
            .iter()
            .map(|times| {
                let mut presence = Presence::filled(times.as_slice().len(), false);
                let mut values = vec![Value::Float(12_345.0); times.as_slice().len()];
                for sample in series.samples(TimeRange::ALL) {
                    if let Ok(index) = times.as_slice().binary_search(&sample.at) {
                        presence.set(index, true);
                        values[index] = sample.value;
                    }
                }
                let floats: Option<Vec<f64>> = values
                    .iter()
                    .map(|value| match value {
                        Value::Float(value) => Some(*value),
                        Value::Histogram(_) => None,
                    })
                    .collect();
                let whole = presence.count() == times.as_slice().len();
                Segment {
                    times: times.clone(),
                    presence: (!whole).then(|| Arc::new(presence)),
                    values: match floats {
                        Some(floats) => SegmentValues::Floats(floats.into()),
                        None => SegmentValues::Mixed(values.into()),
                    },
                    start_times: None,
                }
            })
            .collect()
    }
}

impl Selecting for Cohort {
    fn select(
        &self,
        inner: &dyn Querier,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError> {
        // Whole pages: samples outside the range asked for come along.
        let wide = Select {
            range: TimeRange::ALL,
            ..select.clone()
        };
        let found = inner.select(&wide, budget)?;
        let times: BTreeSet<TimestampMs> = found
            .iter()
            .flat_map(|series| series.samples(TimeRange::ALL).map(|sample| sample.at))
            .collect();
        let times: Vec<TimestampMs> = times.into_iter().collect();
        let columns: Vec<Times> = times.chunks(self.segment_len).map(Times::new).collect();
        Ok(found
            .iter()
            .map(|series| SeriesData {
                labels: series.labels.clone(),
                segments: self.segments(series, &columns),
            })
            .collect())
    }
}

/// Series of floats with gaps and stale marks, some of them without any.
fn store() -> impl Strategy<Value = MemoryStore> {
    let sample = prop_oneof![
        8 => (0_u8..50).prop_map(|value| Some(f64::from(value))),
        1 => Just(None),
        1 => Just(Some(STALE_NAN)),
    ];
    let series = prop_oneof![
        prop::collection::vec(sample, 24),
        prop::collection::vec((0_u8..50).prop_map(|value| Some(f64::from(value))), 24),
    ];
    prop::collection::vec(series, 1..4).prop_map(|all| {
        let store = MemoryStore::new();
        for (number, samples) in all.into_iter().enumerate() {
            let number = number.to_string();
            let labels = Labels::from_pairs([("__name__", "m_total"), ("n", number.as_str())])
                .expect("names are unique");
            for (index, value) in (0_i64..).zip(samples) {
                if let Some(value) = value {
                    store.insert(&labels, TimestampMs(index * 15_000), Value::Float(value));
                }
            }
        }
        store
    })
}

fn values(store: &dyn Queryable, text: &str, grid: Grid) -> Vec<(Labels, Vec<u64>)> {
    let output = Engine::default()
        .range(store, text, grid, &QueryOptions::default(), &Unlimited)
        .expect("evaluates");
    let QueryResult::Grid { series, .. } = output.result else {
        panic!("a grid");
    };
    series
        .into_iter()
        .map(|series| {
            let bits = series.column.floats.iter().map(|value| value.to_bits());
            (series.labels, bits.collect())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn segments_change_nothing(store in store(), segment_len in 1_usize..30, start in 0_i64..200, step in 1_i64..40) {
        let grid = Grid {
            start: TimestampMs(start * 1_000),
            end: TimestampMs((start + 6 * step) * 1_000),
            step_ms: step * 1_000,
        };
        let cohort = Cohort { store: store.clone(), segment_len };
        for text in [
            "m_total", "m_total offset 30s", "rate(m_total[1m])", "increase(m_total[47s])", "delta(m_total[2m])", "irate(m_total[1m])",
            "sum_over_time(m_total[1m])", "timestamp(m_total)", "changes(m_total[1m])", "sum(rate(m_total[1m]))", "m_total @ 100",
            "rate(m_total[1m] anchored)", "rate(m_total[1m] smoothed)", "m_total smoothed", "max_over_time(rate(m_total[30s])[1m:10s])",
        ] {
            prop_assert_eq!(values(&store, text, grid), values(&cohort, text, grid), "{}", text);
        }
    }
}
