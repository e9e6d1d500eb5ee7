//! A classic histogram of request times: twelve buckets, sum and count.

use std::time::Duration;

use fastrand::Rng;
use model::MetricType;

use super::{HostSeries, Names, labels, log_normal, normal, round_by_chance};

const BOUNDS: &[(&str, f64)] = &[
    ("0.005", 0.005),
    ("0.01", 0.01),
    ("0.025", 0.025),
    ("0.05", 0.05),
    ("0.1", 0.1),
    ("0.25", 0.25),
    ("0.5", 0.5),
    ("1", 1.0),
    ("2.5", 2.5),
    ("5", 5.0),
    ("10", 10.0),
    ("+Inf", f64::INFINITY),
];
/// Requests of one interval that are drawn singly; each stands for as many as are needed.
const DRAWN_MAX: i64 = 64;

/// One histogram.
#[derive(Debug)]
pub(super) struct RequestHistogram {
    /// Requests in one interval, and the median of their times.
    requests: f64,
    median: f64,
    /// Not cumulated.
    buckets: [i64; BOUNDS.len()],
    sum: f64,
}

impl RequestHistogram {
    pub(super) fn new(
        ordinal: usize,
        names: &Names,
        interval: Duration,
        rng: &mut Rng,
        series: &mut Vec<HostSeries>,
    ) -> Self {
        let instance = format!("{}:{}", names.address, 8_080 + ordinal);
        let pod = format!("frontend-{}", names.suffix);
        let handler = if ordinal.is_multiple_of(2) {
            "/api/order"
        } else {
            "/api/search"
        };
        let common = [
            ("container", "frontend"),
            ("endpoint", "http"),
            ("handler", handler),
            ("instance", instance.as_str()),
            ("job", "frontend"),
            ("namespace", "shop"),
            ("node", names.node.as_str()),
            ("pod", pod.as_str()),
            ("service", "frontend"),
        ];
        let mut describe = |name: &str, own: &[(&str, &str)]| {
            series.push(HostSeries {
                labels: labels(name, own, &common),
                kind: MetricType::Counter,
            });
        };
        for (bound, _) in BOUNDS {
            describe("http_request_duration_seconds_bucket", &[("le", bound)]);
        }
        describe("http_request_duration_seconds_sum", &[]);
        describe("http_request_duration_seconds_count", &[]);
        Self {
            requests: 5.0 * log_normal(rng, 0.7) * interval.as_secs_f64(),
            median: 0.04 * log_normal(rng, 0.5),
            buckets: [0; BOUNDS.len()],
            sum: 0.0,
        }
    }

    pub(super) fn put(&mut self, rng: &mut Rng, values: &mut Vec<f64>) {
        let requests = self.requests * log_normal(rng, 0.2);
        let requests = round_by_chance(rng, requests);
        let drawn = requests.clamp(0, DRAWN_MAX);
        for ordinal in 0..drawn {
            let weight = requests / drawn + i64::from(ordinal < requests % drawn);
            let took = self.median * (normal(rng) * 0.8).exp();
            let bucket = BOUNDS.iter().position(|(_, bound)| took <= *bound);
            self.buckets[bucket.unwrap_or(BOUNDS.len() - 1)] += weight;
            self.sum += took * weight as f64;
        }
        let mut count = 0;
        for bucket in self.buckets {
            count += bucket;
            values.push(count as f64);
        }
        values.extend([self.sum, count as f64]);
    }
}
