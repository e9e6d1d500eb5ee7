//! A sender of remote write 1.0, whose every sample can be told right or wrong afterwards.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::http::{Answer, post_body};
use super::waiting::pause;
use crate::protobuf::{Message, put_bytes, put_double, put_varint, uncompressed};

pub(super) const HEADERS: &str = "content-encoding: snappy\r\ncontent-type: application/x-protobuf\r\nx-prometheus-remote-write-version: 0.1.0\r\n";
const HEADERS_2: &str = "content-encoding: snappy\r\ncontent-type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\n\
    x-prometheus-remote-write-version: 2.0.0\r\n";
pub(super) const WRITE: &str = "/api/v1/write";
/// Until a request that was not acknowledged is sent again.
const AGAIN: Duration = Duration::from_millis(5);

/// Sends one sample of each of its series in a request, a millisecond apart, and each request until it is acknowledged.
///
/// Series are `storm{lane="...", series="..."}`; the sample of request `n` of series `s` has the value `1000 * n + s`.
#[derive(Debug)]
pub struct Sender {
    lane: u32,
    /// The labels of its series, as requests have them.
    series: Vec<Vec<u8>>,
    acknowledged: AtomicU64,
    failures: AtomicU64,
}

impl Sender {
    /// Returns a sender of so many series; `lane` tells senders apart.
    pub fn new(lane: u32, series: u32) -> Self {
        let labels = |series: u32| {
            let text = |name: &str, value: String| (name.to_owned(), value);
            encode_labels(&[
                text("__name__", "storm".to_owned()),
                text("lane", lane.to_string()),
                text("series", series.to_string()),
            ])
        };
        Self {
            lane,
            series: (0..series).map(labels).collect(),
            acknowledged: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Returns what tells its series from those of others.
    pub const fn lane(&self) -> u32 {
        self.lane
    }

    /// Returns how many requests are acknowledged by now: all before that one were, too.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Returns how many attempts were not acknowledged.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Sends until it is over, the first request's samples at `base_ms`.
    pub fn send_until(&self, web: &str, base_ms: i64, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let body = self.request(self.acknowledged(), base_ms);
            while !is_taken(post_body(web, WRITE, HEADERS, &body)) {
                self.failures.fetch_add(1, Ordering::Relaxed);
                pause(AGAIN);
            }
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns what `sum_over_time` of each series is, rising, after what is acknowledged by now.
    pub fn sums(&self) -> Vec<f64> {
        let requests = self.acknowledged();
        let of_series = |series: u64| {
            let sum = 1_000 * requests * requests.saturating_sub(1) / 2 + requests * series;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let sum = sum as f64;
            sum
        };
        (0..).map(of_series).take(self.series.len()).collect()
    }

    fn request(&self, number: u64, base_ms: i64) -> Vec<u8> {
        let at = base_ms.saturating_add_unsigned(number);
        let series = (0..).zip(&self.series).map(|(series, labels)| {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let value = (1_000 * number + series) as f64;
            let mut one = labels.clone();
            put_bytes(&mut one, 2, &sample(at, value));
            one
        });
        request(series)
    }
}

/// Labels, sorted by name, and samples: milliseconds and value, in order of time.
pub type FloatSeries = (Vec<(String, String)>, Vec<(i64, f64)>);
/// Labels, sorted by name, and the times of native histograms: the first has one observation in each of its buckets, the next two.
pub type HistogramSeries = (Vec<(String, String)>, Vec<i64>);

/// The buckets of the histograms of [`write_histograms`].
const BUCKETS: usize = 40;

/// Writes series of floats; says whether they were taken.
pub fn write_series(web: &str, series: &[FloatSeries]) -> bool {
    is_taken(post_body(web, WRITE, HEADERS, &floats_request(series)))
}

/// Writes series of native histograms; says whether they were taken.
pub fn write_histograms(web: &str, series: &[HistogramSeries]) -> bool {
    let encoded = series.iter().map(|(labels, times)| {
        let histograms = (1..).zip(times).map(|(number, at)| histogram(number, *at));
        time_series(labels, 4, histograms)
    });
    is_taken(post_body(web, WRITE, HEADERS, &request(encoded)))
}

/// Returns the body of a request that writes series of floats.
pub(super) fn floats_request(series: &[FloatSeries]) -> Vec<u8> {
    let encoded = series.iter().map(|(labels, samples)| {
        let samples = samples.iter().map(|(at, value)| sample(*at, *value));
        time_series(labels, 2, samples)
    });
    request(encoded)
}

/// Sends a message of remote write 2.0.
pub fn write_message(web: &str, message: &Message) -> Option<Answer> {
    post_body(web, WRITE, HEADERS_2, &message.block())
}

fn is_taken(answer: Option<Answer>) -> bool {
    answer.is_some_and(|answer| (200..300).contains(&answer.status))
}

fn request(series: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut message = Vec::new();
    for one in series {
        put_bytes(&mut message, 1, &one);
    }
    uncompressed(&message)
}

fn time_series(
    labels: &[(String, String)],
    field: u8,
    samples: impl Iterator<Item = Vec<u8>>,
) -> Vec<u8> {
    let mut one = encode_labels(labels);
    for sample in samples {
        put_bytes(&mut one, field, &sample);
    }
    one
}

fn encode_labels(labels: &[(String, String)]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        put_bytes(&mut label, 1, name.as_bytes());
        put_bytes(&mut label, 2, value.as_bytes());
        put_bytes(&mut fields, 1, &label);
    }
    fields
}

fn sample(at: i64, value: f64) -> Vec<u8> {
    let mut sample = Vec::new();
    put_double(&mut sample, 1, value);
    sample.push(2 << 3);
    put_varint(&mut sample, at.cast_unsigned());
    sample
}

/// A histogram of whole numbers whose buckets all hold `each`.
fn histogram(each: u32, at: i64) -> Vec<u8> {
    let mut message = vec![1 << 3];
    put_varint(&mut message, u64::from(each) * BUCKETS as u64);
    put_double(&mut message, 3, f64::from(each) * 100.0);
    let span = [2 << 3, BUCKETS.to_le_bytes()[0]];
    put_bytes(&mut message, 11, &span);
    // The first bucket is a difference to nothing, and no other differs from the one before.
    let mut deltas = Vec::new();
    put_varint(&mut deltas, u64::from(each) << 1);
    deltas.resize(deltas.len() + BUCKETS - 1, 0);
    put_bytes(&mut message, 12, &deltas);
    message.push(15 << 3);
    put_varint(&mut message, at.cast_unsigned());
    message
}
