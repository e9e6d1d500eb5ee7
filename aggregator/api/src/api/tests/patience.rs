//! How soon a query notices that nobody wants it any more; on a busy machine the clock measures the others, too: `cargo test --release -p api -- --ignored --nocapture patience`.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use clock::{Clock, Monotonic, SystemClock};
use model::{TimestampMs, Value};
use promql::{Engine, EngineConfig, Grid, QueryOptions};
use storage::{Budget, BudgetExceeded, MemoryStore};

use super::world::labels;

const SERIES: u32 = 30_000;
const POINTS: i32 = 40;

/// Allows everything, and measures the longest time between two looks.
struct Watched {
    clock: SystemClock,
    last: Mutex<(Monotonic, Duration)>,
}

impl Watched {
    fn new() -> Self {
        let clock = SystemClock::new();
        let last = Mutex::new((clock.monotonic(), Duration::ZERO));
        Self { clock, last }
    }

    fn look(&self) {
        let now = self.clock.monotonic();
        let mut last = self.last.lock().unwrap();
        *last = (now, last.1.max(now.saturating_since(last.0)));
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl Budget for Watched {
    fn charge(&self, _: u64, _: u64) -> Result<(), BudgetExceeded> {
        self.check()
    }

    fn release(&self, _: u64) {}

    fn check(&self) -> Result<(), BudgetExceeded> {
        self.look();
        Ok(())
    }
}

#[test]
#[ignore = "a measurement"]
fn patience_of_slow_queries() {
    let store = MemoryStore::new();
    for series in 0..SERIES {
        let (instance, pod) = (format!("node-{series}"), format!("pod-{}", series % 1_000));
        let le = f64::from(series % 10).to_string();
        let labels = labels(&[
            ("__name__", "m_bucket"),
            ("instance", &instance),
            ("le", &le),
            ("pod", &pod),
        ]);
        for point in 0..POINTS {
            let at = TimestampMs(i64::from(point) * 15_000);
            store.insert(
                &labels,
                at,
                Value::Float(f64::from(series + point.unsigned_abs())),
            );
        }
    }
    let grid = Grid {
        start: TimestampMs(0),
        end: TimestampMs(600_000),
        step_ms: 15_000,
    };
    let engine = Engine::new(EngineConfig::default());
    for text in [
        "m_bucket",
        "rate(m_bucket[5m])",
        "m_bucket + m_bucket",
        "m_bucket * on (pod) group_left () sum by (pod) (m_bucket)",
        "m_bucket and m_bucket",
        "m_bucket unless on (instance) m_bucket",
        "-m_bucket",
        "m_bucket > 10",
        "sum by (pod) (m_bucket)",
        "topk(10, m_bucket)",
        "quantile(0.9, m_bucket)",
        "count_values(\"v\", m_bucket)",
        "sort_desc(m_bucket)",
        "sort_by_label(m_bucket, \"pod\")",
        "abs(m_bucket)",
        "round(m_bucket, 5)",
        "label_replace(m_bucket, \"x\", \"$1\", \"instance\", \"(.*)-(.*)\")",
        "label_join(m_bucket, \"x\", \"-\", \"instance\", \"pod\")",
        "histogram_quantile(0.9, m_bucket)",
        "absent(m_bucket)",
        "scalar(m_bucket)",
        "timestamp(m_bucket)",
        "max_over_time(rate(m_bucket[1m])[5m:15s])",
        "max_over_time(vector(time())[1h:1ms])",
        "quantile_over_time(0.9, vector(time())[1h:100ms])",
        "limitk(10, m_bucket)",
    ] {
        let watched = Watched::new();
        let begun = watched.clock.monotonic();
        let result = engine.range(&store, text, grid, &QueryOptions::default(), &watched);
        let outcome = result.map_or_else(|error| error.to_string(), |_| "answered".to_owned());
        watched.look();
        let took = watched.clock.monotonic().saturating_since(begun);
        let (_, longest) = *watched.last.lock().unwrap();
        println!("{longest:>12.1?} of {took:>10.1?}  {text}  {outcome}");
    }
}
