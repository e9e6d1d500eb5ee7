//! Two pipelines, a link and a receiver in virtual time: clocks that differ, words that take their time, deaths, cuts.

mod configurations;
mod merging;
mod world;

use world::{Faults, SECOND, World};

#[test]
fn as_long_as_the_link_is_up_everybody_is_told_once() {
    for seed in 0..200 {
        let mut world = World::new(seed, Faults::default());
        world.play();
        assert_eq!(world.lost(), Vec::<String>::new(), "seed {seed}");
        assert_eq!(world.doubled(), Vec::<String>::new(), "seed {seed}");
        assert_eq!(world.alone(), 0, "seed {seed}");
        world.assert_converged();
    }
}

#[test]
fn a_receiver_that_is_slow_or_fails_for_one_is_told_once_by_either() {
    let (mut by_first, mut by_second) = (0, 0);
    for seed in 0..200 {
        let faults = Faults {
            receiver: true,
            ..Faults::default()
        };
        let mut world = World::new(seed, faults);
        world.play();
        assert_eq!(world.lost(), Vec::<String>::new(), "seed {seed}");
        assert_eq!(world.doubled(), Vec::<String>::new(), "seed {seed}");
        let told = world.told_by();
        (by_first, by_second) = (by_first + told[0], by_second + told[1]);
        world.assert_converged();
    }
    // The check above is worth something only if both have told.
    assert!(by_first > 100 && by_second > 100, "{by_first} {by_second}");
}

#[test]
fn nobody_is_forgotten_whoever_dies_and_whatever_is_cut() {
    let (mut alone, mut doubled) = (0, 0);
    for seed in 0..300 {
        let faults = Faults {
            receiver: seed % 2 == 0,
            deaths: seed % 3 != 0,
            cuts: seed % 3 != 1,
        };
        let mut world = World::new(seed, faults);
        world.play();
        assert_eq!(world.lost(), Vec::<String>::new(), "seed {seed}");
        (alone, doubled) = (alone + world.alone(), doubled + world.doubled().len());
        world.assert_converged();
    }
    assert!(alone > 100 && doubled > 0, "{alone} {doubled}");
}

#[test]
fn when_the_first_is_dead_the_second_tells_within_the_timeout() {
    for seed in 0..50 {
        let mut world = World::new(seed, Faults::default());
        world.run_for(10 * SECOND);
        world.kill(0);
        let began = world.begin_episode(false);
        world.run_for(120 * SECOND);
        let told = world.first_told();
        // The alert's way, the group's wait, and the wait for the first.
        let at_most = began + (5 + 10 + 15 + 1) * SECOND;
        assert!(told <= at_most, "seed {seed}: {told} {at_most}");
    }
}

#[test]
fn a_restart_of_either_tells_nothing_again() {
    for seed in 0..50 {
        let mut world = World::new(seed, Faults::default());
        world.run_for(10 * SECOND);
        world.begin_episode(false);
        world.run_for(100 * SECOND);
        assert_eq!(world.told_by().iter().sum::<usize>(), 1, "seed {seed}");
        for side in [0, 1, 0, 1] {
            world.kill(side);
            world.run_for(30 * SECOND);
            world.start(side);
            world.run_for(200 * SECOND);
        }
        world.run_for(1_000 * SECOND);
        assert_eq!(world.told_by().iter().sum::<usize>(), 2, "seed {seed}");
        assert_eq!(world.doubled(), Vec::<String>::new(), "seed {seed}");
    }
}
