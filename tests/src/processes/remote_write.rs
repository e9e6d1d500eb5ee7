//! A sender of remote write 1.0, whose every sample can be told right or wrong afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::http::post_body;
use super::waiting::pause;

const HEADERS: &str = "content-encoding: snappy\r\ncontent-type: application/x-protobuf\r\nx-prometheus-remote-write-version: 0.1.0\r\n";
/// Until a request that was not acknowledged is sent again.
const AGAIN: Duration = Duration::from_millis(5);

/// Sends one sample of each of its series in a request, a millisecond apart, and each request until it is acknowledged.
///
/// Series are `storm{lane="...", series="..."}`; the sample of request `n` of series `s` has the value `1000 * n + s`.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Tells senders apart.
    pub lane: u32,
    /// How many series it has.
    pub series: u32,
}

/// What a sender did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Requests, all acknowledged.
    pub requests: u64,
    /// Attempts that were not acknowledged.
    pub failures: u64,
}

impl Sender {
    /// Sends until it is over, the first request's samples at `base_ms`.
    pub fn send_until(self, web: &str, base_ms: i64, over: &AtomicBool) -> Sent {
        let mut sent = Sent::default();
        while !over.load(Ordering::Relaxed) {
            let body = self.request(sent.requests, base_ms);
            while post_body(web, "/api/v1/write", HEADERS, &body)
                .is_none_or(|answer| !(200..300).contains(&answer.status))
            {
                sent.failures += 1;
                pause(AGAIN);
            }
            sent.requests += 1;
        }
        sent
    }

    /// Returns what `sum_over_time` of each series is, rising, after so many requests.
    pub fn sums(self, requests: u64) -> Vec<f64> {
        let of_series = |series: u32| {
            let sum =
                1_000 * requests * requests.saturating_sub(1) / 2 + requests * u64::from(series);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let sum = sum as f64;
            sum
        };
        (0..self.series).map(of_series).collect()
    }

    fn request(self, number: u64, base_ms: i64) -> Vec<u8> {
        let mut message = Vec::new();
        let at = base_ms.unsigned_abs() + number;
        for series in 0..self.series {
            let mut one = Vec::new();
            for (name, value) in [
                ("__name__", "storm".to_owned()),
                ("lane", self.lane.to_string()),
                ("series", series.to_string()),
            ] {
                let mut label = Vec::new();
                put_bytes(&mut label, 1, name.as_bytes());
                put_bytes(&mut label, 2, value.as_bytes());
                put_bytes(&mut one, 1, &label);
            }
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let value = (1_000 * number + u64::from(series)) as f64;
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_bits().to_le_bytes());
            sample.push(2 << 3);
            put_varint(&mut sample, at);
            put_bytes(&mut one, 2, &sample);
            put_bytes(&mut message, 1, &one);
        }
        uncompressed(&message)
    }
}

/// Labels, and samples: milliseconds and value.
pub type FloatSeries = (Vec<(String, String)>, Vec<(i64, f64)>);

/// Writes series of floats, each with its labels, sorted by name, and its samples in order of time; says whether they were taken.
pub fn write_series(web: &str, series: &[FloatSeries]) -> bool {
    let mut message = Vec::new();
    for (labels, samples) in series {
        let mut one = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut one, 1, &label);
        }
        for (at, value) in samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_bits().to_le_bytes());
            sample.push(2 << 3);
            put_varint(&mut sample, at.cast_unsigned());
            put_bytes(&mut one, 2, &sample);
        }
        put_bytes(&mut message, 1, &one);
    }
    post_body(web, "/api/v1/write", HEADERS, &uncompressed(&message))
        .is_some_and(|answer| (200..300).contains(&answer.status))
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Returns a block of snappy's that is one literal.
fn uncompressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    put_varint(&mut out, bytes.len() as u64);
    if let Some(last) = bytes.len().checked_sub(1) {
        out.push(63 << 2);
        let last = u32::try_from(last).expect("requests have some hundred KiB");
        out.extend_from_slice(&last.to_le_bytes());
    }
    out.extend_from_slice(bytes);
    out
}
