use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::journal::JOURNAL_BYTES_MAX;
use crate::{Fault, FileSystem as _, Operation, Simulated};

const PATH: &str = "store.redb";

/// By table and key.
type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;
/// A table, a key, and the length of what is written; `None`: it is removed.
type Write = (&'static str, u8, Option<usize>);

fn shared(disk: &Simulated) -> SharedFileSystem {
    Arc::new(disk.clone())
}

fn open(disk: &Simulated) -> Journaled {
    Journaled::open(&shared(disk), Path::new(PATH)).unwrap()
}

fn rows(store: &Journaled) -> Rows {
    let mut rows = Rows::new();
    for table in ["a", "b"] {
        for (key, value) in store.scan(table, &[], None, 1_000).unwrap() {
            rows.insert((table.to_owned(), key), value);
        }
    }
    rows
}

/// Writes values of the given lengths; what they hold is the round.
fn write(store: &Journaled, round: u8, changes: &[Write]) -> Result<(), JournaledError> {
    let change = |&(table, key, length): &Write| {
        (table, vec![key], length.map(|length| vec![round; length]))
    };
    store.write(changes.iter().map(change))
}

fn apply(rows: &mut Rows, round: u8, changes: &[Write]) {
    for &(table, key, length) in changes {
        let key = (table.to_owned(), vec![key]);
        match length {
            Some(length) => drop(rows.insert(key, vec![round; length])),
            None => drop(rows.remove(&key)),
        }
    }
}

#[test]
fn what_was_a_plain_store_goes_on() {
    let disk = Simulated::new();
    let plain = KeyValue::open(shared(&disk), Path::new(PATH)).unwrap();
    plain.put("a", &[1], b"old").unwrap();
    plain.put("a", &[2], b"old").unwrap();
    drop(plain);
    let store = open(&disk);
    write(&store, 7, &[("a", 2, None), ("b", 3, Some(1))]).unwrap();
    disk.crash(1);
    let expected = [
        (("a".to_owned(), vec![1]), b"old".to_vec()),
        (("b".to_owned(), vec![3]), vec![7]),
    ];
    assert_eq!(rows(&open(&disk)), Rows::from(expected));
}

#[test]
fn the_journal_of_another_database_does_not_count() {
    let disk = Simulated::new();
    let files = shared(&disk);
    for round in 0..3 {
        let store = open(&disk);
        assert_eq!(rows(&store), Rows::new(), "{round}");
        write(&store, 1, &[("a", 1, Some(10))]).unwrap();
        write(&store, 2, &[("a", 2, Some(10))]).unwrap();
        drop(store);
        files.remove(Path::new(PATH)).unwrap();
        // A write of the next database ends where the second frame of this one stands.
        let store = open(&disk);
        write(&store, 3, &[("a", 1, Some(10))]).unwrap();
        disk.crash(round);
        assert_eq!(rows(&open(&disk)).len(), 1);
        files.remove(Path::new(PATH)).unwrap();
    }
}

#[test]
fn what_fits_into_no_journal_is_written_all_the_same() {
    let disk = Simulated::new();
    let store = open(&disk);
    let mut expected = Rows::new();
    for (round, length) in [(1, 10), (2, JOURNAL_BYTES_MAX), (3, 10)] {
        let changes = [("a", round, Some(length))];
        write(&store, round, &changes).unwrap();
        apply(&mut expected, round, &changes);
    }
    disk.crash(3);
    assert_eq!(rows(&open(&disk)), expected);
}

#[test]
fn a_journal_that_fails_is_done_without_until_the_database_has_all() {
    let disk = Simulated::new();
    let store = open(&disk);
    let mut expected = Rows::new();
    let mut attempt = |round: u8, must_fail: bool| {
        let changes = [("a", round, Some(100))];
        assert_eq!(
            write(&store, round, &changes).is_err(),
            must_fail,
            "{round}"
        );
        apply(&mut expected, round, &changes);
    };
    attempt(1, false);
    let fault = || Fault::Error(io::ErrorKind::Other);
    disk.fail(Operation::SyncData, 0..1, fault());
    attempt(2, false);
    disk.fail(Operation::SyncData, 0..9, fault());
    attempt(3, true);
    attempt(4, true);
    disk.heal();
    attempt(5, false);
    attempt(6, false);
    disk.crash(5);
    assert_eq!(rows(&open(&disk)), expected);
}

#[test]
fn a_later_version_is_refused() {
    let disk = Simulated::new();
    let store = open(&disk);
    let appended = store.state().journal.append(&[2, 1, 2, 3]);
    appended.unwrap();
    drop(store);
    let refused = Journaled::open(&shared(&disk), Path::new(PATH));
    assert!(matches!(refused, Err(JournaledError::Version { .. })));
}

fn changes() -> impl Strategy<Value = Vec<Write>> {
    let length = prop_oneof![4 => 0_usize..200, 1 => 100_000_usize..400_000];
    let change = (
        prop::sample::select(vec!["a", "b"]),
        0_u8..12,
        prop::option::weighted(0.8, length),
    );
    prop::collection::vec(change, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever the power cut hits, and whatever failed before: what was acknowledged is there, and of what was written since, the first
    /// so many writes, each of them whole.
    #[test]
    fn an_acknowledged_write_survives_a_power_cut(
        writes in prop::collection::vec(changes(), 1..40),
        cut in 0_u64..200,
        failing in 0_u64..100,
        failures in 0_u64..4,
        seed: u64,
    ) {
        let disk = Simulated::new();
        let (mut states, mut acknowledged) = (vec![Rows::new()], 0);
        disk.fail(Operation::SyncData, failing..failing + failures, Fault::Error(io::ErrorKind::Other));
        disk.cut_power_in(cut);
        if let Ok(store) = Journaled::open(&shared(&disk), Path::new(PATH)) {
            for (round, changes) in (1_u8..).zip(&writes) {
                let mut state = states.last().cloned().unwrap_or_default();
                apply(&mut state, round, changes);
                states.push(state);
                if write(&store, round, changes).is_ok() {
                    acknowledged = states.len() - 1;
                }
                if disk.power_is_cut() {
                    break;
                }
            }
        }
        disk.crash(seed);
        disk.heal();
        let found = rows(&open(&disk));
        let possible = &states[acknowledged..];
        prop_assert!(possible.contains(&found), "{} acknowledged of {}", acknowledged, states.len());
        // What was found goes on.
        let store = open(&disk);
        let mut expected = found;
        for (round, changes) in (100_u8..).zip(writes.iter().take(5)) {
            write(&store, round, changes).unwrap();
            apply(&mut expected, round, changes);
        }
        disk.crash(seed);
        prop_assert_eq!(rows(&open(&disk)), expected);
    }
}

#[test]
fn a_copy_has_what_only_the_journal_had() {
    let disk = Simulated::new();
    let store = open(&disk);
    write(&store, 1, &[("a", 1, Some(10)), ("b", 2, Some(10))]).unwrap();
    disk.create_folders(Path::new("copy")).unwrap();
    let path = Path::new("copy").join(PATH);
    store.copy_to(&path).unwrap();
    let then = rows(&store);
    write(&store, 2, &[("a", 1, None), ("a", 3, Some(10))]).unwrap();
    disk.crash(5);
    let copy = Journaled::open(&shared(&disk), &path).unwrap();
    assert_eq!(rows(&copy), then);
    write(&copy, 3, &[("b", 9, Some(1))]).unwrap();
    drop(copy);
    let copy = Journaled::open(&shared(&disk), &path).unwrap();
    assert_eq!(rows(&copy).len(), then.len() + 1);
}
