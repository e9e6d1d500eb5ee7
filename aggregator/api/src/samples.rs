//! Values of expressions as JSON: scalars, texts, vectors, matrices; floats and native histograms.

use std::sync::Arc;

use model::{Histogram, Sample, TimestampMs, Value, is_stale};
use promql::{Column, Grid, HistogramView, QueryResult};

use crate::json::Json;

/// So many samples are written between two looks at the budget.
const SAMPLES_PER_LOOK: usize = 1_024;

/// Writes the value of `result`; stops short when the budget refuses, which [`Json::finish`] then says.
pub(crate) fn write_result(json: &mut Json, result: &QueryResult) {
    json.array(|json| match result {
        QueryResult::Scalar { at, value } => {
            json.short_time(*at).plain_value(*value);
        }
        QueryResult::String { at, value } => {
            json.short_time(*at).string(value);
        }
        QueryResult::Vector { at, samples } => {
            for sample in samples {
                json.object(|json| {
                    json.key("metric").labels(&sample.labels);
                    write_sample(json, *at, &sample.value);
                });
                if !json.settle() {
                    return;
                }
            }
        }
        QueryResult::Grid { grid, series } => {
            let heads = Heads::of(*grid);
            for series in series {
                json.object(|json| {
                    json.key("metric").labels(&series.labels);
                    write_column(json, &heads, &series.column);
                });
                if !json.settle() {
                    return;
                }
            }
        }
        QueryResult::Samples(series) => {
            for series in series {
                json.object(|json| {
                    json.key("metric").labels(&series.labels);
                    write_samples(json, &series.samples);
                });
                if !json.settle() {
                    return;
                }
            }
        }
    });
}

/// Writes `"value": [t, "v"]` or `"histogram": [t, {...}]`.
fn write_sample(json: &mut Json, at: TimestampMs, value: &Value) {
    match value {
        Value::Float(value) => write_float(json.key("value"), at, *value),
        Value::Histogram(histogram) => write_histogram(json.key("histogram"), at, histogram),
    }
}

/// Writes `"values"` and `"histograms"`, each when there is one.
fn write_column(json: &mut Json, heads: &Heads, column: &Column) {
    let floats = column
        .floats
        .iter()
        .enumerate()
        .filter(|(_, value)| !is_stale(**value));
    write_list(json, "values", floats, |json, (index, value)| {
        json.point(heads.at(index), *value);
    });
    let histograms = column.histograms.iter().enumerate();
    let histograms = histograms.filter_map(|(index, value)| Some((index, value.as_ref()?)));
    write_list(json, "histograms", histograms, |json, (index, value)| {
        write_histogram(json, heads.grid.at(index), value);
    });
}

/// How points begin at each instant of a grid: as many as a query may have, some 14 bytes each.
struct Heads {
    grid: Grid,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Heads {
    fn of(grid: Grid) -> Self {
        let mut text = Vec::new();
        let ends = (0..grid.len()).map(|index| {
            Json::push_point_head(&mut text, grid.at(index));
            text.len()
        });
        let ends = ends.collect();
        Self { grid, text, ends }
    }

    fn at(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }
}

/// Writes `"values"` and `"histograms"`, each when there is one.
fn write_samples(json: &mut Json, samples: &[Sample]) {
    let floats = samples.iter().filter_map(|sample| match sample.value {
        Value::Float(value) => Some((sample.at, value)),
        Value::Histogram(_) => None,
    });
    write_list(json, "values", floats, |json, (at, value)| {
        write_float(json, at, value)
    });
    let histograms = samples.iter().filter_map(|sample| match &sample.value {
        Value::Histogram(value) => Some((sample.at, value)),
        Value::Float(_) => None,
    });
    write_list(json, "histograms", histograms, |json, (at, value)| {
        write_histogram(json, at, value);
    });
}

/// Writes a key and the list of all items, unless there are none.
fn write_list<T>(
    json: &mut Json,
    key: &str,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut Json, T),
) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    json.key(key).array(|json| {
        for (count, item) in items.enumerate() {
            if count % SAMPLES_PER_LOOK == 0 && !json.settle() {
                return;
            }
            write(json, item);
        }
    });
}

fn write_float(json: &mut Json, at: TimestampMs, value: f64) {
    json.array(|json| {
        json.time(at).value(value);
    });
}

/// Writes `[t, {"count", "sum", "buckets": [[rule, "left", "right", "count"]]}]`; empty buckets are left out.
fn write_histogram(json: &mut Json, at: TimestampMs, histogram: &Arc<Histogram>) {
    json.array(|json| {
        let view = HistogramView::new(histogram);
        json.time(at).object(|json| {
            json.key("count").value(view.count);
            json.key("sum").value(view.sum);
            if view.buckets.is_empty() {
                return;
            }
            json.key("buckets").array(|json| {
                for bucket in &view.buckets {
                    json.array(|json| {
                        json.raw(bucket.boundaries)
                            .value(bucket.lower)
                            .value(bucket.upper)
                            .value(bucket.count);
                    });
                }
            });
        });
    });
}
