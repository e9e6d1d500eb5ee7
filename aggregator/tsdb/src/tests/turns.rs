//! Shards take turns in sealing.

use std::sync::Arc;
use std::time::Duration;

use model::{TimeRange, TimestampMs};
use storage::{AppendOutcome, Appender, Refusals};

use crate::layout::CohortKey;
use crate::testing::*;

const SHARDS: u16 = 2;
const FULL: u64 = 200_000;
const SLOTS: usize = 100;

#[test]
fn shards_that_are_fed_alike_do_not_fill_at_the_same_time() {
    let mut world = World::new();
    world.config.seal.head_bytes = FULL;
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    let names: Vec<String> = (0..SHARDS)
        .map(|shard| name_on(shard, agent.id()))
        .collect();
    for (cohort, name) in (0..).zip(&names) {
        let series: Vec<_> = (0..SLOTS)
            .map(|slot| labels(&[("__name__", name), ("slot", &slot.to_string())]))
            .collect();
        let definition = definition(cohort, name, &series);
        store.define(&agent.source, definition).unwrap();
    }
    let mut most = 0;
    for second in 0..1_000 {
        world.clock.advance(Duration::from_secs(1));
        // Full mantissas, so that closed rows take what open ones take, and heads grow evenly.
        let values = [Some(1.0 / (second + 3) as f64); SLOTS];
        let at = START_MS + second * 1_000;
        let rows: Vec<_> = (0..u32::from(SHARDS))
            .map(|cohort| agent.row(cohort, at, &values))
            .collect();
        let batch = agent.batch(&rows, &[]);
        let stored = AppendOutcome::Stored(Refusals::default());
        assert_eq!(append(&store, &agent.source, &batch), stored);
        // Nothing is on its way, and nothing is held but the heads that are written.
        let range = TimeRange::new(TimestampMs(at), TimestampMs(at));
        let series = usize::from(SHARDS) * SLOTS;
        wait_until("the rows are applied", || {
            contents_within(&store, range).len() == series
        });
        assert!(store.keep());
        most = most.max(store.stats().head_bytes);
    }
    let seals = store.stats().seals;
    assert!(seals >= 6, "{seals} seals");
    // What a row takes, for which cells of eight are made at once.
    let slack = FULL / 8;
    assert!(most <= FULL / 2 * 3 + slack, "{most} bytes");
}

/// Returns the name of a cohort that lives on this shard.
fn name_on(shard: u16, agent: &rows::AgentId) -> String {
    let lives_there = |name: &String| {
        let (agent, name) = (agent.clone(), Arc::from(name.as_str()));
        CohortKey { agent, name }.shard(SHARDS) == shard
    };
    (0..)
        .map(|number| format!("cohort-{number}"))
        .find(lives_there)
        .unwrap()
}
