//! What takes minutes, for a nightly run: `cargo test --release -p tsdb thousands -- --ignored --nocapture`.

use super::{faults, lifecycle};

#[test]
#[ignore = "takes minutes: cargo test --release -p tsdb thousands -- --ignored --nocapture"]
fn power_is_cut_at_thousands_of_points() {
    let mut all = 0;
    let mut done = |what: &str, points: usize| {
        all += points;
        println!("{what}: {points} crash points, nothing acknowledged lost, nothing doubled");
    };
    for (what, step) in [
        ("merge", lifecycle::MERGE),
        ("delete", lifecycle::DELETE),
        ("cleaning deletes", lifecycle::CLEAN_DELETES),
        ("retention", lifecycle::RETAIN),
        ("splitting anew", lifecycle::SPLIT_ANEW),
        ("cleaning tiers", lifecycle::CLEAN_TIERS),
    ] {
        done(what, lifecycle::every_crash_point(&step, 1, 0..12));
    }
    let log = faults::every_crash_point(&faults::small_segments, &faults::Feed::new(40), 1, 0..12);
    done("log", log);
    let seal = faults::every_crash_point(&faults::seal_often, &faults::Feed::new(6), 1, 0..6);
    done("seal", seal);
    let feed = faults::Feed::for_two_shards(5);
    let seals = faults::every_crash_point(&faults::seal_often, &feed, 1, 0..3);
    done("seals of two shards", seals);
    println!("{all} crash points");
    assert!(all >= 5_000, "{all}");
}

#[test]
#[ignore = "takes minutes: cargo test --release -p tsdb thousands -- --ignored --nocapture"]
fn one_of_thousands_of_bits_is_flipped() {
    faults::flip_bits_of_the_log(2_500);
    faults::flip_bits_of_a_partition(2_500);
    println!(
        "5000 flipped bits: none gave a wrong value, none went unreported where it cost something"
    );
    crate::partition::tests::flip_bits_of_a_branch_page(2_000);
    println!("2000 flipped bits of pages that lead to blocks: none cost anything");
}
