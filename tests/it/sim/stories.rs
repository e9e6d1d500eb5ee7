//! What happens when something breaks, told one at a time.

use std::time::Duration;

use tests::sim::Sim;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn everything_arrives_when_nothing_breaks() {
    let mut sim = Sim::seeded(1);
    sim.run_for(seconds(120));
    sim.run_until_quiet();
    assert_eq!(sim.stored(), sim.scraped());
}
