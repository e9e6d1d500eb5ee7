//! Bodies of remote write from anyone, to the store: no panic, whatever is refused has a text, and what the store takes is what was written.
//!
//! The first byte says how the rest is meant: bit 0, a message of 2.0 rather than 1.0; bit 1, compressed already.

#![no_main]

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use clock::SimulatedClock;
use ingest::{Metrics, Protocol, RemoteWrite, RemoteWriteConfig};
use libfuzzer_sys::fuzz_target;
use rows::{AgentId, Batch, BatchNumber, CohortDefinition, Epoch, NumberSet, StoreId};
use storage::{AppendOutcome, Appender, Busy, Done, Refusals, Source};
use telemetry::Registry;

/// Takes everything, and keeps nothing.
#[derive(Debug)]
struct Sink;

impl Appender for Sink {
    fn store_id(&self) -> StoreId {
        StoreId(1)
    }

    fn known(&self, _: &AgentId, _: Epoch) -> NumberSet {
        NumberSet::new()
    }

    fn settle(&self, _: &AgentId, _: Epoch, _: BatchNumber) -> Result<(), Busy> {
        Ok(())
    }

    fn define(&self, _: &Source, _: CohortDefinition) -> Result<(), Busy> {
        Ok(())
    }

    fn append(&self, _: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        let decoded = rows::BatchDecoder::new().decode(batch.number, Arc::clone(&batch.bytes));
        let decoded = decoded.expect("it was encoded");
        assert_eq!(decoded.samples.len(), batch.samples.len());
        done(AppendOutcome::Stored(Refusals::default()));
        Ok(())
    }
}

static RECEIVER: LazyLock<RemoteWrite> = LazyLock::new(|| {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry);
    let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
    let config = RemoteWriteConfig { epoch: Epoch(1), memory_bytes_max: 1 << 30 };
    RemoteWrite::new(Arc::new(Sink), config, clock, &registry, metrics)
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
    // Nothing is held, so there is room at once, and the store answers at once.
    let admitted = match at_once(RECEIVER.admit(body)) {
        Ok(admitted) => admitted,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    match RECEIVER.read(admitted, protocol) {
        Ok(readied) => assert_eq!(at_once(RECEIVER.write(readied)).failed, None),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}
