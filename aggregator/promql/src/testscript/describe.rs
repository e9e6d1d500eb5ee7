//! The notation of series and histograms, for whoever tests with it outside scripts.

use std::time::Duration;

use model::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Labels, Sample, TimestampMs, Value};

use super::{load, series};
use crate::histogram::{Counts, FloatHistogram};
use gofloat::format_g;

/// Returns the labels of a series as `name{label="value"}` describes it.
pub fn series_labels(text: &str) -> Result<Labels, String> {
    series::labels(text.trim())
}

/// Returns the samples that `values` (`1+2x3 _ stale`) describes, from `start` on and `step` apart, as a store gives them back.
pub fn series_samples(
    values: &str,
    start: TimestampMs,
    step: Duration,
) -> Result<Vec<Sample>, String> {
    let items = series::items(values)?;
    let present = || {
        items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| Some((index, item.as_ref()?)))
    };
    let stored = load::as_stored(present().map(|(_, item)| &item.value));
    let at = |index: usize| {
        let steps = u32::try_from(index).unwrap_or(u32::MAX);
        start.saturating_add(step.saturating_mul(steps))
    };
    Ok(present()
        .zip(stored)
        .map(|((index, _), value)| Sample {
            at: at(index),
            value,
        })
        .collect())
}

/// Returns the one value that `text` describes.
pub fn series_value(text: &str) -> Result<Value, String> {
    let items = series::items(text)?;
    match &items[..] {
        [Some(item)] => Ok(item.value.clone()),
        _ => Err(format!("expected 1 value, got {}", items.len())),
    }
}

/// Returns the shortest description of a histogram: `{{count:2 sum:3 buckets:[2]}}`.
pub fn describe_histogram(histogram: &Histogram) -> String {
    let histogram = FloatHistogram::from_model(histogram);
    let mut parts = Vec::new();
    if histogram.schema != 0 {
        parts.push(format!("schema:{}", histogram.schema));
    }
    for (key, value) in [
        ("count", histogram.count),
        ("sum", histogram.sum),
        ("z_bucket", histogram.zero_count),
        ("z_bucket_w", histogram.zero_threshold),
    ] {
        if value != 0.0 {
            parts.push(format!("{key}:{}", format_g(value)));
        }
    }
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        parts.push(format!(
            "custom_values:[{}]",
            list(histogram.bounds.iter().copied())
        ));
    }
    match histogram.reset {
        CounterReset::Unknown => {}
        CounterReset::Reset => parts.push("counter_reset_hint:reset".to_owned()),
        CounterReset::NotReset => parts.push("counter_reset_hint:not_reset".to_owned()),
        CounterReset::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
    }
    buckets("buckets", "offset", &histogram.positive, &mut parts);
    buckets("n_buckets", "n_offset", &histogram.negative, &mut parts);
    format!("{{{{{}}}}}", parts.join(" "))
}

/// Buckets between the first and the last that count anything, empty ones among them.
fn buckets(key: &str, offset_key: &str, counts: &Counts, parts: &mut Vec<String>) {
    let counted = || counts.iter().filter(|(_, count)| *count != 0.0);
    let (Some((first, _)), Some((last, _))) = (counted().next(), counted().next_back()) else {
        return;
    };
    if *first != 0 {
        parts.push(format!("{offset_key}:{first}"));
    }
    let count_at = |index: i32| {
        let found = counts.iter().find(|(at, _)| *at == index);
        found.map_or(0.0, |(_, count)| *count)
    };
    parts.push(format!("{key}:[{}]", list((*first..=*last).map(count_at))));
}

fn list(values: impl Iterator<Item = f64>) -> String {
    values.map(format_g).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_described_as_they_are_read() {
        for text in [
            "{{}}",
            "{{schema:1 count:32.1 sum:-0.3 z_bucket:7.1 z_bucket_w:0.05 offset:-3 buckets:[5.1 10 7] n_offset:-5 n_buckets:[4.1 5]}}",
            "{{schema:-53 count:3 sum:1 custom_values:[1 2] buckets:[1 0 2]}}",
            "{{count:2 sum:3 counter_reset_hint:gauge buckets:[2]}}",
        ] {
            let Ok(Value::Histogram(histogram)) = series_value(text) else {
                panic!("{text} is a histogram")
            };
            assert_eq!(describe_histogram(&histogram), text);
        }
        assert!(series_value("1 2").is_err());
    }

    #[test]
    fn samples_stand_a_step_apart() {
        let samples =
            series_samples("1 _ 3 stale", TimestampMs(500), Duration::from_secs(1)).unwrap();
        let times: Vec<i64> = samples.iter().map(|sample| sample.at.0).collect();
        assert_eq!(times, [500, 2_500, 3_500]);
        assert!(samples[2].value.is_stale());
        assert!(series_labels("a{b=\"c\"}").unwrap().get("b") == Some("c"));
    }
}
