//! Expected against found.

use std::collections::HashMap;

use model::{CounterReset, Labels, Sample, Value, is_stale};

use super::series::{Described, Item};
use crate::histogram::FloatHistogram;
use crate::{Grid, GridSeries, SampleSeries, VectorSample};

/// Relative difference that floats may have.
const TOLERANCE: f64 = 1e-6;

/// Compares two floats: NaNs are equal, stale marks only among themselves, all else nearly.
pub(super) fn floats(expected: f64, found: f64) -> Result<(), String> {
    if nearly_equal(expected, found) {
        Ok(())
    } else {
        Err(format!("expected {expected}, found {found}"))
    }
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let difference = (a - b).abs();
    let sum = a.abs() + b.abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Compares the series of an instant vector.
pub(super) fn vectors(
    expected: &[Described],
    found: &[VectorSample],
    ordered: bool,
) -> Result<(), String> {
    let places: HashMap<&Labels, usize> = expected
        .iter()
        .enumerate()
        .map(|(place, series)| (&series.labels, place))
        .collect();
    for (index, sample) in found.iter().enumerate() {
        let Some(place) = places.get(&sample.labels) else {
            return Err(format!(
                "unexpected series {} {}",
                sample.labels,
                show(&sample.value)
            ));
        };
        if ordered && *place != index {
            return Err(format!(
                "series {} stands at {}, expected at {}",
                sample.labels,
                index + 1,
                place + 1
            ));
        }
        let [Some(item)] = expected[*place].items.as_slice() else {
            return Err("an instant vector has one value per series".to_owned());
        };
        value(item, &sample.value).map_err(|what| format!("{}: {what}", sample.labels))?;
    }
    if let Some(missing) = expected
        .iter()
        .find(|series| !found.iter().any(|sample| sample.labels == series.labels))
    {
        return Err(format!("no series {}", missing.labels));
    }
    Ok(())
}

/// Compares the series of a range query.
pub(super) fn grids(
    expected: &[Described],
    found: &[GridSeries],
    grid: Grid,
) -> Result<(), String> {
    if found
        .windows(2)
        .any(|pair| pair[0].labels >= pair[1].labels)
    {
        return Err("results are not sorted by labels".to_owned());
    }
    let columns = found.iter().map(|series| {
        let values = (0..grid.len()).map(|index| series.column.value(index));
        (&series.labels, values.collect())
    });
    columns_equal(expected, columns.collect(), grid)
}

/// Compares the samples of a range selector, which must stand at the instants of `grid`.
pub(super) fn samples(
    expected: &[Described],
    found: &[SampleSeries],
    grid: Grid,
) -> Result<(), String> {
    let mut columns = Vec::new();
    for series in found {
        let at_grid = |sample: &Sample| (0..grid.len()).any(|index| grid.at(index) == sample.at);
        if let Some(stray) = series.samples.iter().find(|sample| !at_grid(sample)) {
            return Err(format!(
                "{}: unexpected sample at {}",
                series.labels, stray.at
            ));
        }
        let values = (0..grid.len())
            .map(|index| {
                let at = grid.at(index);
                let sample = series.samples.iter().find(|sample| sample.at == at)?;
                Some(sample.value.clone())
            })
            .collect();
        columns.push((&series.labels, values));
    }
    columns_equal(expected, columns, grid)
}

fn columns_equal(
    expected: &[Described],
    found: Vec<(&Labels, Vec<Option<Value>>)>,
    grid: Grid,
) -> Result<(), String> {
    for (labels, values) in &found {
        let Some(series) = expected.iter().find(|series| series.labels == **labels) else {
            return Err(format!("unexpected series {labels}"));
        };
        for (index, found) in values.iter().enumerate() {
            let expected = series.items.get(index).and_then(Option::as_ref);
            match (expected, found) {
                (None, None) => {}
                (Some(expected), Some(found)) => value(expected, found)
                    .map_err(|what| format!("{labels} at {}: {what}", grid.at(index)))?,
                (None, Some(found)) => {
                    return Err(format!(
                        "{labels} at {}: expected nothing, found {}",
                        grid.at(index),
                        show(found)
                    ));
                }
                (Some(expected), None) => {
                    return Err(format!(
                        "{labels} at {}: expected {}, found nothing",
                        grid.at(index),
                        show(&expected.value)
                    ));
                }
            }
        }
        if series.items.len() > values.len() {
            return Err(format!(
                "{labels}: {} values expected over {} instants",
                series.items.len(),
                values.len()
            ));
        }
    }
    match expected.iter().find(|series| {
        series.items.iter().any(Option::is_some)
            && !found.iter().any(|(labels, _)| **labels == series.labels)
    }) {
        Some(missing) => Err(format!("no series {}", missing.labels)),
        None => Ok(()),
    }
}

fn value(expected: &Item, found: &Value) -> Result<(), String> {
    match (&expected.value, found) {
        (Value::Float(expected), Value::Float(found)) => floats(*expected, *found),
        (Value::Histogram(wanted), Value::Histogram(found)) => {
            if expected.hint_written && wanted.reset != found.reset {
                return Err(format!(
                    "expected counter reset hint {:?}, found {:?}",
                    wanted.reset, found.reset
                ));
            }
            let (mut wanted, mut found) = (
                FloatHistogram::from_model(wanted),
                FloatHistogram::from_model(found),
            );
            wanted.compact();
            found.compact();
            if histograms_equal(&wanted, &found) {
                Ok(())
            } else {
                Err(format!(
                    "expected {}, found {}",
                    show_histogram(&wanted),
                    show_histogram(&found)
                ))
            }
        }
        (expected, found) => Err(format!(
            "expected {}, found {}",
            show(expected),
            show(found)
        )),
    }
}

fn histograms_equal(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let counts_equal = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| a.0 == b.0 && nearly_equal(a.1, b.1))
    };
    a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && a.bounds == b.bounds
        && nearly_equal(a.count, b.count)
        && nearly_equal(a.sum, b.sum)
        && nearly_equal(a.zero_count, b.zero_count)
        && counts_equal(&a.positive, &b.positive)
        && counts_equal(&a.negative, &b.negative)
}

fn show(value: &Value) -> String {
    match value {
        Value::Float(value) => value.to_string(),
        Value::Histogram(histogram) => show_histogram(&FloatHistogram::from_model(histogram)),
    }
}

fn show_histogram(histogram: &FloatHistogram) -> String {
    let hint = match histogram.reset {
        CounterReset::Unknown => "",
        CounterReset::Reset => " reset",
        CounterReset::NotReset => " not reset",
        CounterReset::Gauge => " gauge",
    };
    format!(
        "{histogram} schema {} zero threshold {} bounds {:?}{hint}",
        histogram.schema, histogram.zero_threshold, histogram.bounds
    )
}
