//! Any bodies, pushed one after the other in any way: nothing panics, and what is taken is shown.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use clock::Monotonic;
use files::Simulated;
use libfuzzer_sys::fuzz_target;
use model::TimestampMs;
use push::{Body, Gateway, GatewayConfig, GroupKey, Metrics, Mode, Names, Now, PushOptions, Ttl};
use telemetry::Registry;

const CONTENT_TYPES: [&str; 3] = [
    "text/plain",
    "application/openmetrics-text",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
];
const MODES: [Mode; 3] = [Mode::Replace, Mode::Merge, Mode::Sum];

fuzz_target!(|input: &[u8]| {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, "0");
    let config = GatewayConfig {
        persistence: Some("groups".into()),
        ..GatewayConfig::default()
    };
    let now = |ms| Now {
        wall: TimestampMs(ms),
        monotonic: Monotonic::from_origin(Duration::from_millis(ms.unsigned_abs())),
    };
    let disk = Arc::new(Simulated::new());
    let mut gateway = Gateway::open(&config, disk, &registry, metrics, now(0)).expect("an empty disk");
    // Each push: how, its length, its body.
    let (mut rest, mut ms) = (input, 0);
    while let [how, low, high, bytes @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        let body = Body {
            content_type: CONTENT_TYPES[usize::from(how & 3) % 3],
            content_encoding: ["", "gzip", "snappy", ""][usize::from(how >> 2 & 3)],
            bytes: &bytes[..length],
        };
        let options = PushOptions {
            mode: MODES[usize::from(how >> 4 & 3) % 3],
            ttl: Ttl::Default,
        };
        let key = GroupKey::new([("job", if how & 0x40 == 0 { "a" } else { "b" })]);
        let pushed = body.read(Names::Utf8, 1 << 16);
        let pushed = pushed.as_ref().map_err(Clone::clone);
        if let Err(error) = gateway.push(&key, pushed, options, now(ms)) {
            drop(error.to_string());
        }
        ms += i64::from(how & 1);
        rest = &bytes[length..];
    }
    drop((gateway.expose(exposition::Format::Text), gateway.metrics_json(), gateway.page(now(ms))));
});
