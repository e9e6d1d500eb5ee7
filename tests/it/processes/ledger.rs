//! Nothing written to a spool is lost, doubled or bent, however often processes die.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use tests::processes::ledger::{Audit, Written, audit, copy_folder, read_spool};
use tests::processes::{Agent, Aggregator, PATIENCE, now, pause, wait_until};

use super::{await_new_rows, lean};

/// The agents of a storm, and the series of each one's ledger: at 20 rows a second, and a slot in twenty absent, more than 100,000 samples
/// a second.
const AGENTS: usize = 4;
const SERIES: u16 = 1_500;
/// What a whole storm comes to, at least.
const SAMPLES_A_SECOND: f64 = 100_000.0;
/// From a start to readiness.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// Stops in order until every spool is drained.
const DRAINS_MAX: usize = 10;

/// How many processes die, and how far apart.
struct Storm {
    seed: u64,
    aggregator_kills: usize,
    agent_kills: usize,
    /// The most milliseconds between two deaths.
    apart_ms: u64,
}

/// What a storm came to.
struct Calm {
    audit: Audit,
    slowest_ready: Duration,
    figures: String,
}

#[test]
fn every_row_that_was_spooled_is_stored_once() {
    let storm = Storm {
        seed: 0x5eed,
        aggregator_kills: 30,
        agent_kills: 10,
        apart_ms: 1_800,
    };
    println!("{}", storm.rage().figures);
}

#[test]
#[ignore = "takes a quarter of an hour: 240 kills; programs built for release"]
fn every_row_that_was_spooled_is_stored_once_in_a_long_storm() {
    for seed in 0..2 {
        let storm = Storm {
            seed,
            aggregator_kills: 120,
            agent_kills: 60,
            apart_ms: 3_000,
        };
        let calm = storm.rage();
        println!("{}", calm.figures);
        assert!(calm.audit.rate() >= SAMPLES_A_SECOND, "{}", calm.figures);
        assert!(calm.slowest_ready <= READY_WITHIN, "{}", calm.figures);
    }
}

impl Storm {
    /// Lets processes die and audits the store.
    fn rage(self) -> Calm {
        let began = now();
        let mut rng = Rng::with_seed(self.seed);
        let mut aggregator = Aggregator::new(&[]);
        let mut agents: Vec<Agent> = (0..AGENTS)
            .map(|number| join_with_ledger(&aggregator, &format!("ledger-{number}"), SERIES))
            .collect();
        let mut victims = vec![true; self.aggregator_kills];
        victims.extend(vec![false; self.agent_kills]);
        rng.shuffle(&mut victims);

        let mut written = Written::default();
        let mut slowest_ready = Duration::ZERO;
        for is_aggregator in victims {
            pause(Duration::from_millis(rng.u64(50..self.apart_ms)));
            if is_aggregator {
                aggregator.kill();
                pause(Duration::from_millis(rng.u64(0..200)));
                let started = now();
                aggregator.start();
                // One in four may die before it is ready.
                if rng.u8(..4) > 0 {
                    wait_until(PATIENCE, "readiness", || {
                        aggregator.says_ready().then_some(())
                    });
                    slowest_ready = slowest_ready.max(now().saturating_since(started));
                }
            } else {
                let victim = rng.usize(..AGENTS);
                let agent = &mut agents[victim];
                agent.kill();
                written.note(agent.id(), &read_spool(agent.spool(), agent.aggregator()));
                agent.start();
            }
        }
        drain(&aggregator, &mut agents, &mut written);
        aggregator.stop();

        let found = audit(&aggregator.data().join("tsdb"), SERIES, &written);
        assert!(found.is_clean(), "seed {:#x}: {found:?}", self.seed);
        assert!(found.runs >= AGENTS + self.agent_kills && written.runs() >= self.agent_kills);
        assert!(found.samples > 1_000_000, "the storm was becalmed: {found}");
        Calm {
            figures: format!(
                "ledger: {} + {} kills, {found}; ready after {slowest_ready:.1?} at most; seed {:#x}, {:.0?}",
                self.aggregator_kills,
                self.agent_kills,
                self.seed,
                now().saturating_since(began)
            ),
            audit: found,
            slowest_ready,
        }
    }
}

fn join_with_ledger(aggregator: &Aggregator, id: &str, series: u16) -> Agent {
    let series = series.to_string();
    let flags = ["--interval", "50ms", "--collector.ledger", &series];
    Agent::join(aggregator, id, &lean(&flags))
}

/// Stops all agents once everything that they spooled is acknowledged.
fn drain(aggregator: &Aggregator, agents: &mut [Agent], written: &mut Written) {
    for agent in agents {
        for attempt in 1.. {
            aggregator.await_fresh(agent.id());
            agent.stop();
            let spool = read_spool(agent.spool(), agent.aggregator());
            written.note(agent.id(), &spool);
            if spool.backlog == 0 {
                break;
            }
            assert!(attempt < DRAINS_MAX, "{} keeps {spool:?}", agent.id());
            agent.start();
        }
    }
}

#[test]
fn an_older_copy_of_the_data_folder_is_reported_and_wedges_nobody() {
    const WITHIN: Duration = Duration::from_secs(20);
    let mut aggregator = Aggregator::new(&[]);
    let mut agents: Vec<Agent> = (0..2)
        .map(|number| join_with_ledger(&aggregator, &format!("restored-{number}"), 40))
        .collect();
    let older = aggregator.folder().join("older");
    aggregator.stop();
    copy_folder(aggregator.data(), &older);
    aggregator.start();
    for agent in &agents {
        aggregator.await_fresh(agent.id());
        await_new_rows(&aggregator, agent);
    }

    aggregator.kill();
    replace(aggregator.data(), &older);
    let began = now();
    aggregator.start();
    let mut slowest = Duration::ZERO;
    for agent in &mut agents {
        let what = format!("fresh rows of {}", agent.id());
        wait_until(PATIENCE, &what, || {
            aggregator.is_fresh(agent.id()).then_some(())
        });
        slowest = slowest.max(now().saturating_since(began));
        agent
            .process()
            .await_line("the aggregator has less than it had acknowledged");
    }
    println!("restored copy: reported by both agents, fresh rows after {slowest:.1?}");
    assert!(slowest < WITHIN, "{slowest:?}");
    for agent in &agents {
        await_new_rows(&aggregator, agent);
    }
}

fn replace(folder: &Path, by: &Path) {
    std::fs::remove_dir_all(folder).expect("nobody uses it");
    copy_folder(by, folder);
}
