//! What is merged comes to the same in whatever order, and however often, it comes.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Matcher, TimestampMs};
use proptest::prelude::*;

use crate::notification_log::{Entry, Lane, NotificationLog};
use crate::silence::Silences;
use crate::{Fingerprint, IntegrationKind, Remembered, Silence, SilenceRequest};

/// Versions of a few silences: of few times, so that many have the same.
fn silence() -> impl Strategy<Value = Silence> {
    (0..3_u8, 0..4_i64, 0..3_i64, "[ab]?").prop_map(|(id, updated_at, ends_at, comment)| Silence {
        id: id.to_string(),
        request: SilenceRequest {
            matcher_sets: vec![vec![Matcher::equal("a", "b")]],
            ends_at: TimestampMs(ends_at),
            comment,
            ..SilenceRequest::default()
        },
        updated_at: TimestampMs(updated_at),
    })
}

fn lane() -> Lane {
    Lane {
        receiver: "ops".into(),
        kind: IntegrationKind::Webhook,
        index: 0,
    }
}

fn entry() -> impl Strategy<Value = (String, Entry)> {
    let firing = prop::collection::btree_set((0..3_u64).prop_map(Fingerprint), 0..3);
    ("[ab]", 0..4_i64, firing, 0..3_i64).prop_map(|(group, at, firing, expires_at)| {
        let entry = Entry {
            at: TimestampMs(at),
            firing,
            resolved: BTreeSet::new(),
            remembered: Remembered::new(),
            expires_at: TimestampMs(expires_at),
            repeats: 0,
        };
        (group, entry)
    })
}

/// A list, and another with the same items in another order, some of them more than once.
fn in_two_orders<T: Clone + std::fmt::Debug + 'static>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = (Vec<T>, Vec<T>)> {
    let items = prop::collection::vec(item, 1..12);
    items.prop_flat_map(|items| {
        let again = prop::sample::subsequence(items.clone(), 0..=items.len());
        let first = items.clone();
        let other = again.prop_map(move |again| [first.clone(), again].concat());
        (Just(items), other.prop_shuffle())
    })
}

proptest! {
    #[test]
    fn silences_come_to_the_same((one, other) in in_two_orders(silence())) {
        let merged = |versions: Vec<Silence>| {
            let mut silences = Silences::default();
            for silence in versions { silences.merge(silence); }
            silences.iter().cloned().collect::<Vec<_>>()
        };
        let expected = merged(one.clone());
        prop_assert_eq!(&expected, &merged(other));
        // Two that have each a part of them, and then each what the other has.
        let (left, right) = one.split_at(one.len() / 2);
        let (left, right) = (merged(left.to_vec()), merged(right.to_vec()));
        prop_assert_eq!(&expected, &merged([left.clone(), right.clone()].concat()));
        prop_assert_eq!(&expected, &merged([right, left].concat()));
    }

    #[test]
    fn logs_come_to_the_same((one, other) in in_two_orders(entry())) {
        let merged = |versions: Vec<(String, Entry)>| {
            let mut log = NotificationLog::default();
            for (group, entry) in versions { log.merge(&Arc::from(group), &lane(), entry); }
            ["a", "b"].map(|group| log.known(&Arc::from(group), &lane()).last.cloned())
        };
        prop_assert_eq!(merged(one), merged(other));
    }
}
