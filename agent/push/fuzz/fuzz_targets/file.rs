//! Any file of groups: it is refused, or what can be read of it is restored and kept from then on.

#![no_main]

use std::path::Path;
use std::sync::Arc;

use clock::Monotonic;
use files::{FileSystem, Open, Simulated};
use libfuzzer_sys::fuzz_target;
use model::TimestampMs;
use push::{Gateway, GatewayConfig, Metrics, Now};
use telemetry::Registry;

fuzz_target!(|input: &[u8]| {
    let disk = Simulated::new();
    let file = disk.open(Path::new("groups"), Open::create());
    let file = file.expect("the simulated disk works");
    file.append(b"PRMPUSH\n\x01\0\0\0").expect("the simulated disk works");
    file.append(input).expect("the simulated disk works");
    let config = GatewayConfig {
        persistence: Some("groups".into()),
        ..GatewayConfig::default()
    };
    let open = || {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry, "0");
        let now = Now {
            wall: TimestampMs(0),
            monotonic: Monotonic::ORIGIN,
        };
        Gateway::open(&config, Arc::new(disk.clone()), &registry, metrics, now)
    };
    let first = open().expect("damage is no reason not to open").metrics_json();
    let again = open().expect("damage is no reason not to open").metrics_json();
    assert_eq!(first, again);
});
