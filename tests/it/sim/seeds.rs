//! Ten minutes of everything that can break, per seed.
//!
//! `PROMONTORY_SIM_SEED=123 cargo test -p tests --test it sim::seeds::replay` plays one again; `PROMONTORY_SIM_SEEDS=100` changes how
//! many are played.

use std::sync::atomic::{AtomicU64, Ordering};

use tests::sim::{Lie, Sim};

/// Seeds that every change is checked with.
const SEEDS: u64 = 2_000;
const THREADS: u64 = 2;

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own switch; no configuration is read here"
)]
fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_simulator_finds_no_violation() {
    let seeds = number_from_environment("PROMONTORY_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut batches = 0;
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return batches;
                        }
                        batches += Sim::run_seed(seed).counts().0;
                    }
                })
            })
            .collect();
        let batches: u64 = workers
            .into_iter()
            .map(|worker| worker.join().expect("no violation"))
            .sum();
        println!("{seeds} seeds of ten minutes, {batches} batches, no violation");
    });
}

#[test]
fn replay() {
    if let Some(seed) = number_from_environment("PROMONTORY_SIM_SEED") {
        let (made, unmade, excused) = Sim::run_seed(seed).counts();
        println!("seed {seed}: {made} batches, {unmade} not spooled, {excused} excused");
    }
}

#[test]
#[ignore = "runs until it finds something; start it by name and leave it alone"]
fn forever() {
    let first = number_from_environment("PROMONTORY_SIM_SEED").unwrap_or(SEEDS);
    for seed in first.. {
        Sim::run_seed(seed);
        if seed.is_multiple_of(1_000) {
            println!("seed {seed}");
        }
    }
}

#[test]
fn the_oracle_sees_through_a_store_that_lies() {
    for lie in [Lie::AcknowledgesEarly, Lie::ForgetsNumbers, Lie::Tears] {
        let caught = (1..20).any(|seed| {
            let run = std::panic::AssertUnwindSafe(|| Sim::run_seed_on(seed, lie));
            std::panic::catch_unwind(run).is_err()
        });
        assert!(caught, "{lie:?} goes unnoticed");
    }
}
