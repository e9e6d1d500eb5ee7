//! Samples as JSON: floats, and native histograms with their buckets written out.

use model::{Histogram, Sample, TimestampMs, Value};

use crate::json::Json;

/// Writes `"value": [t, "v"]` or `"histogram": [t, {...}]`.
pub(crate) fn write_sample(json: &mut Json, at: TimestampMs, value: &Value) {
    match value {
        Value::Float(value) => json.key("value").array(|json| {
            json.time(at).value(*value);
        }),
        Value::Histogram(histogram) => json.key("histogram").array(|json| {
            json.time(at);
            write(json, histogram);
        }),
    };
}

/// Writes `"values"` and `"histograms"`, each when there is one.
pub(crate) fn write_samples(json: &mut Json, samples: &[Sample]) {
    let is_float = |sample: &&Sample| matches!(sample.value, Value::Float(_));
    if samples.iter().any(|sample| is_float(&sample)) {
        json.key("values").array(|json| {
            for sample in samples {
                if let Value::Float(value) = sample.value {
                    json.array(|json| {
                        json.time(sample.at).value(value);
                    });
                }
            }
        });
    }
    if samples.iter().any(|sample| !is_float(&sample)) {
        json.key("histograms").array(|json| {
            for sample in samples {
                if let Value::Histogram(histogram) = &sample.value {
                    json.array(|json| {
                        json.time(sample.at);
                        write(json, histogram);
                    });
                }
            }
        });
    }
}

/// Writes `{"count", "sum", "buckets": [[rule, "left", "right", "count"]]}`; empty buckets are left out.
pub(crate) fn write(json: &mut Json, histogram: &Histogram) {
    json.object(|json| {
        json.key("count").value(histogram.count());
        json.key("sum").value(histogram.sum);
        let mut buckets = histogram.bucket_list();
        buckets.retain(|bucket| bucket.count != 0.0);
        if !buckets.is_empty() {
            json.key("buckets").array(|json| {
                for bucket in &buckets {
                    // 0: only the right bound belongs to it, 1: only the left, 2: neither, 3: both.
                    let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                        (false, true) => 0,
                        (true, false) => 1,
                        (false, false) => 2,
                        (true, true) => 3,
                    };
                    json.array(|json| {
                        json.raw(rule).value(bucket.lower).value(bucket.upper).value(bucket.count);
                    });
                }
            });
        }
    });
}
