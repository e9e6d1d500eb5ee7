//! What happens when something breaks, told one at a time.

use std::time::Duration;

use tests::sim::{LIVE_WITHIN, Lie, Sim};
use wire::SessionRefusal;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn unacknowledged_batches_survive_an_aggregator_crash() {
    for real in [false, true] {
        let mut sim = Sim::seeded(7).agents(3);
        if real {
            sim = sim.real_store();
        }
        sim.run_for(seconds(60));
        sim.crash_aggregator();
        sim.run_for(seconds(60));
        sim.stop_aggregator();
        sim.run_for(seconds(20));
        sim.start_stopped_aggregator();
        sim.run_until_quiet();
        sim.verify();
        assert_eq!(sim.stored(), sim.scraped());
    }
}

#[test]
fn after_a_long_outage_what_is_live_goes_first() {
    let mut sim = Sim::seeded(8).agents(2).interval(seconds(1)).window(4);
    sim.run_for(seconds(10));
    sim.stop_aggregator();
    sim.run_for(seconds(1_200));
    assert!(sim.backlog(0) >= 1_199);
    sim.start_stopped_aggregator();
    sim.run_for(seconds(30));
    assert!(
        sim.backlog(0) > 100,
        "the backlog drains slowly: {}",
        sim.backlog(0)
    );
    assert!(
        sim.live_lag_max(0) <= seconds(2),
        "{:?}",
        sim.live_lag_max(0)
    );
    sim.run_until_quiet();
    assert_eq!(sim.stored(), sim.scraped());
}

#[test]
fn a_full_disk_at_the_aggregator_stops_acknowledgements_and_nothing_else() {
    for real in [false, true] {
        let mut sim = Sim::seeded(9).window(4);
        if real {
            sim = sim.real_store();
        }
        sim.run_for(seconds(20));
        sim.fill_aggregator_disk();
        // The real store's last block and blocks written ahead still take some.
        sim.run_for(seconds(60));
        let before = sim.delivered(0);
        assert!(before.batches_sent_back > 0);
        sim.run_for(seconds(30));
        assert_eq!(
            sim.delivered(0).batches_acknowledged,
            before.batches_acknowledged
        );
        assert!(sim.is_open(0) && sim.backlog(0) > 0);
        sim.free_aggregator_disk();
        sim.run_for(seconds(10));
        assert!(sim.delivered(0).batches_acknowledged > before.batches_acknowledged);
        sim.run_until_quiet();
        sim.verify();
        assert_eq!(sim.stored(), sim.scraped());
    }
}

#[test]
fn a_spool_that_overflows_drops_the_oldest_counts_it_and_goes_on() {
    let mut sim = Sim::seeded(10)
        .agents(1)
        .interval(seconds(1))
        .smallest_spools();
    sim.run_for(seconds(30));
    sim.stop_aggregator();
    sim.run_for(seconds(1_500));
    let dropped = sim.spool_stats(0).dropped_batches;
    assert!(dropped > 100, "{dropped} batches were dropped");
    sim.start_stopped_aggregator();
    sim.run_for(seconds(60));
    // The numbers that will never come are settled: another session finds nothing amiss.
    sim.crash_aggregator();
    sim.run_for(seconds(60));
    sim.run_until_quiet();
    assert_eq!(sim.losses_reported(0), 0);
    let (_, _, excused) = sim.counts();
    assert_eq!(excused, dropped, "just what was counted is missing");
    assert_eq!(sim.stored(), sim.scraped());
}

#[test]
fn a_restarted_agent_names_its_predecessor_and_is_let_in_at_once() {
    let mut sim = Sim::seeded(11).agents(2).interval(seconds(40));
    sim.run_for(seconds(45));
    for _ in 0..3 {
        sim.kill_agent(0, seconds(1));
        sim.run_for(seconds(41));
        assert!(sim.is_open(0), "within the two intervals that guard an id");
        assert_eq!(sim.refusal(0), None);
    }
    sim.run_until_quiet();
    assert_eq!(sim.stored(), sim.scraped());
}

#[test]
fn more_runs_than_a_hello_can_offer_are_all_delivered() {
    let mut sim = Sim::seeded(12).agents(1);
    sim.run_for(seconds(10));
    sim.stop_aggregator();
    for _ in 0..100 {
        sim.kill_agent(0, Duration::from_millis(100));
        sim.run_for(seconds(5));
    }
    sim.start_stopped_aggregator();
    sim.run_for(seconds(60));
    assert_eq!(sim.backlog(0), 0);
    sim.run_until_quiet();
    assert_eq!(sim.stored(), sim.scraped());
}

#[test]
fn a_twin_with_the_same_id_is_refused_while_the_first_lives() {
    let mut sim = Sim::seeded(13).agents(2);
    sim.run_for(seconds(20));
    let twin = sim.start_twin_of(0);
    sim.run_for(seconds(60));
    assert_eq!(sim.refusal(twin), Some(SessionRefusal::IdInUse));
    assert!(sim.is_open(0) && sim.live_lag_max(0) < LIVE_WITHIN);
    assert_eq!(sim.backlog(0), 0);
    // The first goes for good: the id is free once it has been silent.
    sim.kill_agent(0, seconds(3_600));
    sim.run_for(seconds(60));
    assert!(sim.is_open(twin));
    assert_eq!(sim.backlog(twin), 0);
}

#[test]
fn a_clock_too_far_off_is_refused_and_its_rows_wait() {
    let mut sim = Sim::seeded(14).agents(2);
    sim.set_clock_of_agent(0, 1_200_000);
    // The connection that was opened before the step says nothing of clocks.
    sim.kill_agent(0, seconds(1));
    sim.run_for(seconds(30));
    assert_eq!(sim.refusal(0), Some(SessionRefusal::ClockSkew));
    assert!(sim.backlog(0) > 5 && sim.is_open(1));
    sim.set_clock_of_agent(0, 0);
    sim.run_for(seconds(30));
    assert!(sim.is_open(0));
    sim.run_until_quiet();
    assert_eq!(sim.stored(), sim.scraped());
}

#[test]
fn a_restored_backup_is_reported_and_what_is_still_spooled_comes_again() {
    for real in [false, true] {
        let mut sim = Sim::seeded(15).agents(2);
        if real {
            sim = sim.real_store();
        }
        sim.run_for(seconds(60));
        sim.back_up_aggregator();
        sim.run_for(seconds(60));
        assert_eq!(sim.losses_reported(0), 0);
        sim.restore_aggregator();
        sim.run_for(seconds(60));
        assert!(sim.losses_reported(0) > 0 && sim.losses_reported(1) > 0);
        sim.run_until_quiet();
        sim.verify();
        let reported = sim.losses_reported(0);
        sim.crash_aggregator();
        sim.run_for(seconds(60));
        assert_eq!(sim.losses_reported(0), reported, "told once");
        sim.run_until_quiet();
        sim.verify();
    }
}

#[test]
fn what_cannot_be_decoded_is_sent_again_and_then_put_aside() {
    let mut sim = Sim::seeded(16).agents(1);
    sim.run_for(seconds(20));
    sim.mangle_batches(0, 1);
    sim.run_for(seconds(20));
    let delivered = sim.delivered(0);
    assert!(delivered.batches_resent >= 1);
    assert_eq!(delivered.batches_quarantined, 0);
    sim.mangle_batches(0, 2);
    sim.run_for(seconds(20));
    assert_eq!(sim.delivered(0).batches_quarantined, 1);
    sim.run_until_quiet();
    let (_, _, excused) = sim.counts();
    assert_eq!(excused, 1);
    assert_eq!(sim.stored(), sim.scraped());
    // A later session does not take the batch that was put aside for a loss.
    sim.crash_aggregator();
    sim.run_for(seconds(30));
    assert_eq!(sim.losses_reported(0), 0);
}

#[test]
fn a_power_cut_of_an_agent_costs_at_most_what_was_not_synced() {
    let mut sim = Sim::seeded(17)
        .agents(1)
        .interval(Duration::from_millis(250));
    sim.run_for(seconds(5));
    sim.stop_aggregator();
    sim.run_for(seconds(60));
    sim.cut_power_of_agent(0, seconds(2));
    sim.run_for(seconds(10));
    sim.start_stopped_aggregator();
    sim.run_for(seconds(30));
    sim.run_until_quiet();
    sim.verify();
    let (_, _, excused) = sim.counts();
    assert!(excused <= 5, "{excused} batches of a quarter second each");
}

#[test]
fn a_full_disk_at_an_agent_costs_rows_that_are_counted_and_no_definitions() {
    let mut sim = Sim::seeded(18).agents(1).interval(seconds(1));
    sim.run_for(seconds(30));
    sim.fill_agent_disk(0, seconds(300));
    sim.run_for(seconds(600));
    let (_, unmade, _) = sim.counts();
    assert!(unmade > 0, "rows could not be spooled");
    sim.run_until_quiet();
    assert_eq!(sim.stored(), sim.scraped());
}

/// Breaks a connection while the store has batches that it has not synced: they come again on the next one.
fn batches_come_twice_before_they_are_durable(mut sim: Sim) -> Sim {
    sim.run_for(seconds(20));
    for _ in 0..5 {
        sim.stall_store(seconds(20));
        sim.run_for(seconds(5));
        sim.break_connection_of(0);
        sim.run_for(seconds(30));
    }
    sim.run_until_quiet();
    sim
}

#[test]
fn a_batch_that_comes_twice_is_acknowledged_when_it_is_durable_and_not_before() {
    let sim = batches_come_twice_before_they_are_durable(Sim::seeded(19).agents(1));
    assert_eq!(sim.stored(), sim.scraped());
}

#[test]
#[should_panic(expected = "acknowledged and not durable")]
fn a_store_that_says_duplicate_too_early_is_caught() {
    let lying = Sim::seeded(19).agents(1);
    batches_come_twice_before_they_are_durable(lying.store_that_lies(Lie::DuplicateBeforeDurable));
}
