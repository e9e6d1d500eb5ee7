//! How fast answers are written: `cargo test --release -p api -- --ignored --nocapture speed`.

use std::sync::Arc;

use clock::{Clock, SystemClock};
use model::{TimestampMs, Value};
use storage::MemoryStore;

use super::world::{World, config, labels};

const SERIES: usize = 1_000;
const POINTS: i64 = 1_000;

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_a_large_matrix() {
    let store = MemoryStore::new();
    for series in 0..SERIES {
        let instance = format!("node-{series}.example:9100");
        let labels = labels(&[
            ("__name__", "node_cpu_seconds_total"),
            ("instance", &instance),
            ("mode", "idle"),
        ]);
        for point in 0..POINTS {
            let wave = f64::from(u32::try_from(series * 31).unwrap())
                .sin()
                .mul_add(1e3, f64::from(i32::try_from(point).unwrap()) * 0.37);
            store.insert(&labels, TimestampMs(point * 15_000), Value::Float(wave));
        }
    }
    let world = World::over(Arc::new(store), config());
    let clock = SystemClock::new();
    for query in ["node_cpu_seconds_total", "count(node_cpu_seconds_total)"] {
        let call = format!("GET /api/v1/query_range?query={query}&start=0&end=14985&step=15");
        let mut best = f64::INFINITY;
        let mut bytes = 0;
        for _ in 0..5 {
            let begun = clock.monotonic();
            bytes = world.call(&call).await.body.len();
            best = best.min(clock.monotonic().saturating_since(begun).as_secs_f64());
        }
        println!(
            "{query}: {:.1} ms, {bytes} bytes, of {SERIES} series with {POINTS} points",
            best * 1e3
        );
    }
}
