//! When a head is sealed for its size: shards take turns.
//!
//! Heads that are filled alike would be full at the same time, and while all are sealed as many new ones fill: twice their bytes at the worst.
//! So a head that is the largest is sealed before it is full, once all together hold what they would hold if they stood at equal distances
//! between nothing and full. It begins again at nothing, the next one is the largest, and soon each of them is sealed when it is full, at
//! equal distances from the others. What a head has at once, for its series, keeps them closer together: then they are sealed a little smaller,
//! at 28 of 32 MiB if that is 12. A turn is nothing that a shard has or waits for: whatever the others do, one that is full is sealed.
//!
//! Never here: other reasons to seal, which are age, log, samples that came one by one, and want of memory.

/// What the heads that are written hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) shards: u64,
    /// All heads together.
    pub(crate) all: u64,
    /// The largest of them.
    pub(crate) largest: u64,
}

impl Held {
    pub(crate) fn of(heads: impl Iterator<Item = u64>) -> Self {
        heads.fold(Self::default(), |held, bytes| Self {
            shards: held.shards + 1,
            all: held.all + bytes,
            largest: held.largest.max(bytes),
        })
    }
}

/// Returns whether a head of so many bytes is to be sealed for its size, when `full` bytes are the most that it may have. `held` looks at all
/// heads, this one among them, unless no turn is to be taken; two shards that look in the same moment may both find theirs the largest,
/// which costs nothing but this turn.
pub(crate) fn is_full(bytes: u64, full: u64, held: impl FnOnce() -> Option<Held>) -> bool {
    if bytes >= full {
        return true;
    }
    // The largest of so many bytes has more than half of what is full: the others need not be asked.
    if bytes <= full / 2 {
        return false;
    }
    held().is_some_and(|held| {
        bytes >= held.largest && held.all >= all_at_equal_distances(held.shards, full)
    })
}

/// Returns what heads hold together of which the first is full, and each has as much less than the one before it as the last one has.
const fn all_at_equal_distances(shards: u64, full: u64) -> u64 {
    full.saturating_mul(shards + 1) / 2
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const FULL: u64 = 10_000;

    /// What became of heads that grew.
    #[derive(Debug, Default)]
    struct Grown {
        /// The most that was held together, in heads that are written and in those that are being sealed.
        written: u64,
        all: u64,
        /// The sizes at which heads were sealed in the second half of the steps.
        sealed: Vec<u64>,
    }

    /// Lets heads that have `begin` bytes at once grow by these at each step, while one after the other of those that ended is sealed, so
    /// many bytes of it at each step. As in a shard, a head does not end while the one before it is sealed.
    fn grow(begin: u64, growth: &[u64], sealed_per_step: u64) -> Grown {
        const STEPS: usize = 100_000;
        let mut heads = vec![begin; growth.len()];
        let mut ended: VecDeque<(usize, u64, u64)> = VecDeque::new();
        let mut grown = Grown::default();
        for step in 0..STEPS {
            for (at, bytes) in growth.iter().enumerate() {
                heads[at] += bytes;
                let held = Held::of(heads.iter().copied());
                let in_seals: u64 = ended.iter().map(|(_, bytes, _)| bytes).sum();
                grown.written = grown.written.max(held.all);
                grown.all = grown.all.max(held.all + in_seals);
                let is_free = ended.iter().all(|(shard, ..)| *shard != at);
                if is_free && is_full(heads[at], FULL, || Some(held)) {
                    if step >= STEPS / 2 {
                        grown.sealed.push(heads[at]);
                    }
                    ended.push_back((at, heads[at], heads[at]));
                    heads[at] = begin;
                }
            }
            if let Some((_, _, left)) = ended.front_mut() {
                *left = left.saturating_sub(sealed_per_step);
                if *left == 0 {
                    ended.pop_front();
                }
            }
        }
        grown
    }

    #[test]
    fn heads_that_are_filled_alike_are_sealed_in_turn_when_they_are_full() {
        for shards in [1, 2, 3, 8] {
            let growth = vec![10; shards];
            let shards = shards as u64;
            // A seal goes ten times as fast as rows come.
            let grown = grow(0, &growth, 100 * shards);
            let bound = all_at_equal_distances(shards, FULL) + 10 * shards;
            assert!(grown.written <= bound, "{shards}: {}", grown.written);
            // What comes during a seal.
            let bound = bound + FULL / 10 + 10 * shards;
            assert!(grown.all <= bound, "{shards}: {}", grown.all);
            assert!(!grown.sealed.is_empty());
            for bytes in grown.sealed {
                assert!(
                    (FULL / 20 * 19..=FULL + 10).contains(&bytes),
                    "{shards}: {bytes}"
                );
            }
        }
    }

    #[test]
    fn no_head_is_larger_than_full_or_sealed_small_however_rows_are_spread() {
        for growth in [
            vec![10, 0],
            vec![10, 1],
            vec![10, 0, 0, 0],
            vec![10, 1, 1, 1],
            vec![10, 10, 1, 0],
            vec![7, 5, 3, 2, 1],
        ] {
            let all: u64 = growth.iter().sum();
            let grown = grow(0, &growth, 10 * all);
            let bound = all_at_equal_distances(growth.len() as u64, FULL) + all;
            assert!(grown.written <= bound, "{growth:?}: {}", grown.written);
            assert!(!grown.sealed.is_empty());
            for bytes in grown.sealed {
                assert!(
                    (FULL / 2..=FULL + 10).contains(&bytes),
                    "{growth:?}: {bytes}"
                );
            }
        }
    }

    #[test]
    fn heads_whose_series_take_much_are_sealed_a_little_smaller_and_in_turn() {
        for (begin, least) in [(FULL / 8, FULL / 24 * 22), (FULL / 8 * 3, FULL / 24 * 20)] {
            let grown = grow(begin, &[10, 10], 200);
            let bound = all_at_equal_distances(2, FULL) + 20;
            assert!(grown.written <= bound, "{begin}: {}", grown.written);
            assert!(!grown.sealed.is_empty());
            for bytes in grown.sealed {
                assert!((least..=FULL).contains(&bytes), "{begin}: {bytes}");
            }
        }
    }

    #[test]
    fn rows_that_come_as_fast_as_heads_are_sealed_are_still_sealed() {
        for shards in [1, 2, 4] {
            let growth = vec![10; shards];
            let shards = shards as u64;
            let grown = grow(0, &growth, 10 * shards);
            // Nobody can end a head while its last one is sealed; each ends as soon as it may.
            assert!(grown.all <= FULL * 2 * shards, "{shards}: {}", grown.all);
        }
    }
}
