//! Bodies of remote write from anyone: no panic, and whatever is refused has a text.
//!
//! The first byte says how the rest is meant: bit 0, a message of 2.0 rather than 1.0; bit 1, compressed already.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use clock::SimulatedClock;
use ingest::{Metrics, Protocol, RemoteWrite};
use libfuzzer_sys::fuzz_target;
use rows::Epoch;
use storage::MemoryStore;
use telemetry::Registry;

static RECEIVER: LazyLock<RemoteWrite> = LazyLock::new(|| {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry);
    let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
    RemoteWrite::new(Arc::new(MemoryStore::new()), Epoch(1), clock, &registry, metrics)
});

fuzz_target!(|input: &[u8]| {
    let Some((how, rest)) = input.split_first() else {
        return;
    };
    let protocol = if how & 1 == 0 { Protocol::V1 } else { Protocol::V2 };
    let compressed;
    let body = if how & 2 == 0 {
        compressed = snap::raw::Encoder::new().compress_vec(rest).expect("it is short");
        &compressed[..]
    } else {
        rest
    };
    match RECEIVER.read(body, protocol) {
        Ok(readied) => drop(readied),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
