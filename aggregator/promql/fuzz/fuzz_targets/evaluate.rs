//! Any text over a small store: evaluation never panics, as an instant and as a range.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use model::{Histogram, Labels, TimestampMs, Value};
use promql::{Engine, EngineConfig, Grid, QueryOptions};
use storage::{MemoryStore, Unlimited};

static STORE: LazyLock<MemoryStore> = LazyLock::new(|| {
    let store = MemoryStore::new();
    for (name, instance) in [("m", "a"), ("m", "b"), ("n", "a"), ("h_bucket", "a")] {
        let labels = Labels::from_pairs([("__name__", name), ("instance", instance), ("le", "1")]);
        let Ok(labels) = labels else { continue };
        for at in 0..40_i64 {
            let value = match at % 9 {
                7 => Value::Float(f64::NAN),
                8 if name == "n" => Value::Histogram(Arc::new(Histogram {
                    sum: 1.0,
                    ..Histogram::stale()
                })),
                odd => Value::Float(f64::from(i32::try_from(odd * at).unwrap_or(0))),
            };
            store.insert(&labels, TimestampMs(at * 15_000), value);
        }
    }
    store
});

fuzz_target!(|text: &str| {
    let engine = Engine::new(EngineConfig {
        samples_max: 20_000,
        ..EngineConfig::default()
    });
    let options = QueryOptions::default();
    let at = TimestampMs(300_000);
    let instant = engine.instant(&*STORE, text, at, &options, &Unlimited);
    let grid = Grid {
        start: TimestampMs(0),
        end: at,
        step_ms: 30_000,
    };
    let range = engine.range(&*STORE, text, grid, &options, &Unlimited);
    // Whatever comes, it can be shown.
    if let Err(error) = instant.and(range) {
        assert!(!error.to_string().is_empty());
    }
});
