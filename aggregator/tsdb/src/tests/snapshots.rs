//! Snapshots: whole, made while rows flow, nothing left of one that fails.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use files::{Fault, FileSystem, Operation};
use model::{TimeRange, TimestampMs};
use rows::{BatchNumber, CohortDefinition};
use storage::{AppendOutcome, Appender, Refusals};

use crate::testing::*;
use crate::{Beside, SnapshotError, SnapshotRequest, SnapshotSummary, Tsdb};

const FOLDER: &str = "/snapshots";

fn request(skip_head: bool) -> SnapshotRequest {
    SnapshotRequest {
        folder: PathBuf::from(FOLDER),
        store: PathBuf::from("tsdb"),
        beside: None,
        skip_head,
    }
}

fn copy_of(summary: &SnapshotSummary) -> PathBuf {
    Path::new(FOLDER).join(&summary.name).join("tsdb")
}

/// Opens a copy on the disk of `world`.
fn open_copy(world: &World, folder: PathBuf) -> Tsdb {
    let mut config = world.config.clone();
    config.folder = folder;
    let clock = std::sync::Arc::<clock::SimulatedClock>::clone(&world.clock);
    let files = std::sync::Arc::new(world.disk.clone());
    let (store, report) = Tsdb::open(config, files, clock).unwrap();
    assert_eq!(report.damage_count, 0, "{report:?}");
    store
}

fn stored() -> AppendOutcome {
    AppendOutcome::Stored(Refusals::default())
}

/// A store in which some rows are in partitions and some in the log.
fn filled(world: &mut World) -> (Tsdb, Agent) {
    world.config.seal.head_bytes = 3_600;
    let (store, _) = world.open();
    let mut agent = Agent::new("node-1", 1);
    store.define(&agent.source, four_series()).unwrap();
    for second in 0..200 {
        assert_eq!(write(&store, &mut agent, second), stored());
    }
    wait_until("a head is sealed, and all is applied", || {
        store.stats().seals > 0 && dump(&store).len() == 200 * 3
    });
    (store, agent)
}

fn four_series() -> CohortDefinition {
    let series: Vec<_> = (0..4)
        .map(|id| labels(&[("id", &id.to_string())]))
        .collect();
    definition(0, "fast", &series)
}

fn write(store: &Tsdb, agent: &mut Agent, second: i64) -> AppendOutcome {
    let values = [Some(second as f64), Some(1.0), None, Some(3.0)];
    let row = agent.row(0, START_MS + second * 1_000, &values);
    let batch = agent.batch(&[row], &[]);
    append(store, &agent.source, &batch)
}

#[test]
fn a_copy_says_what_the_store_says_and_both_go_on() {
    let mut world = World::new();
    let (store, mut agent) = filled(&mut world);
    let summary = store.snapshot(request(false)).unwrap();
    assert!(summary.partitions > 0 && summary.log_segments > 0);
    let then = contents(&store);
    assert_eq!(write(&store, &mut agent, 200), stored());

    let copy = open_copy(&world, copy_of(&summary));
    assert!(contents(&copy) == then);
    assert_eq!(copy.store_id(), store.store_id());
    let known = copy.known(agent.id(), agent.source.epoch);
    assert!(known.contains(BatchNumber(199)) && !known.contains(BatchNumber(200)));
    agent.reconnect();
    copy.define(&agent.source, four_series()).unwrap();
    let row = agent.row(0, START_MS + 500_000, &[Some(9.0), None, None, None]);
    let batch = agent.batch(&[row], &[]);
    for store in [&store, &copy] {
        assert_eq!(append(store, &agent.source, &batch), stored());
    }
    drop((store, copy));
    let rows = |store: &Tsdb| dump(store).len() as i64;
    assert_eq!(rows(&world.open().0), 200 * 3 + 3 + 1);
    assert_eq!(rows(&open_copy(&world, copy_of(&summary))), 200 * 3 + 1);
}

#[test]
fn without_the_head_the_copy_knows_no_numbers() {
    let mut world = World::new();
    let (store, agent) = filled(&mut world);
    let summary = store.snapshot(request(true)).unwrap();
    assert!(summary.partitions > 0 && summary.log_segments == 0);
    let copy = open_copy(&world, copy_of(&summary));
    let all = contents(&store);
    let held = contents(&copy);
    assert!(!held.is_empty() && held != all);
    for (labels, samples) in &held {
        assert!(samples.iter().all(|sample| all[labels].contains(sample)));
    }
    let known = copy.known(agent.id(), agent.source.epoch);
    assert!(
        !known.contains(BatchNumber(0)),
        "else an agent drops what is not here"
    );
}

#[test]
fn a_copy_made_while_rows_flow_has_all_that_was_acknowledged_before() {
    const ROWS: i64 = 400;
    let mut world = World::new();
    world.config.seal.head_bytes = 4_000;
    world.config.log.segment_bytes = 16 * 1024;
    let (store, _) = world.open();
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut copies = Vec::new();
    thread::scope(|scope| {
        let (store, done, acknowledged) = (&store, &done, &acknowledged);
        scope.spawn(move || {
            let mut agent = Agent::new("node-1", 1);
            let series = [labels(&[("id", "0")]), labels(&[("id", "1")])];
            store
                .define(&agent.source, definition(0, "fast", &series))
                .unwrap();
            for second in 0..ROWS {
                let values = [Some(second as f64), Some(0.5)];
                let row = agent.row(0, START_MS + second * 1_000, &values);
                let batch = agent.batch(&[row], &[]);
                assert_eq!(append(store, &agent.source, &batch), stored());
                acknowledged.store(second.unsigned_abs() + 1, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let before = acknowledged.load(Ordering::Acquire);
            copies.push((before, store.snapshot(request(false)).unwrap()));
        }
    });
    assert!(copies.len() > 1);
    for (before, summary) in &copies {
        let copy = open_copy(&world, copy_of(summary));
        let range = TimeRange::new(TimestampMs(START_MS), TimestampMs::MAX);
        let found = contents_within(&copy, range);
        let rows = found.values().map(Vec::len).max().unwrap_or(0) as u64;
        assert!(rows >= *before, "{rows} rows, {before} were acknowledged");
        let whole = |samples: &Vec<(i64, String)>| samples.len() as u64 == rows;
        assert!(found.values().all(whole), "rows are whole and without gaps");
        // A number that is known has its rows.
        let known = copy.known(&"node-1".parse().unwrap(), rows::Epoch(1));
        for number in 0..ROWS.unsigned_abs() {
            assert_eq!(known.contains(BatchNumber(number)), number < rows);
        }
    }
}

fn entries(world: &World) -> Vec<String> {
    let entries = world.disk.list(Path::new(FOLDER)).unwrap_or_default();
    entries
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect()
}

#[test]
fn a_full_disk_and_failing_links_leave_nothing_behind() {
    let mut world = World::new();
    let (store, mut agent) = filled(&mut world);
    let failures = [
        (Operation::Link, 0..1, std::io::ErrorKind::Other),
        (Operation::Link, 1..2, std::io::ErrorKind::StorageFull),
        (
            Operation::CreateFolders,
            1..2,
            std::io::ErrorKind::StorageFull,
        ),
        (Operation::SyncFolder, 0..1, std::io::ErrorKind::Other),
        (Operation::Rename, 1..2, std::io::ErrorKind::Other),
        (Operation::Write, 0..1, std::io::ErrorKind::StorageFull),
    ];
    for (operation, which, kind) in failures {
        world
            .disk
            .fail(operation, which.clone(), Fault::Error(kind));
        let error = store.snapshot(request(false)).unwrap_err();
        assert!(!matches!(error, SnapshotError::Closing), "{error}");
        world.disk.heal();
        assert_eq!(
            entries(&world),
            Vec::<String>::new(),
            "{operation:?} {which:?}: {error}"
        );
    }
    assert_eq!(write(&store, &mut agent, 200), stored());
    let summary = store.snapshot(request(false)).unwrap();
    let copy = open_copy(&world, copy_of(&summary));
    wait_until("all is applied", || dump(&store).len() == 201 * 3);
    assert!(contents(&copy) == contents(&store));
    store.close();
    assert!(matches!(
        store.snapshot(request(false)),
        Err(SnapshotError::Closing)
    ));
}

#[test]
fn a_power_cut_leaves_a_whole_copy_or_none_and_the_store_unharmed() {
    let mut cuts = 0;
    for cut in 0..60 {
        let mut world = World::new();
        let (store, _) = filled(&mut world);
        let expected = contents(&store);
        world.disk.cut_power_in(cut);
        let made = store.snapshot(request(false));
        let cut_came = world.disk.power_is_cut();
        drop(store);
        world.disk.crash(cut);
        cuts += u64::from(cut_came);
        for name in entries(&world) {
            if !name.ends_with(".tmp") {
                let copy = open_copy(&world, Path::new(FOLDER).join(name).join("tsdb"));
                assert!(contents(&copy) == expected, "cut {cut}");
            }
        }
        let (store, _) = world.open();
        assert!(contents(&store) == expected, "cut {cut}");
        let summary = store.snapshot(request(false)).unwrap();
        let left: Vec<String> = entries(&world);
        assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
        let copy = open_copy(&world, copy_of(&summary));
        assert!(contents(&copy) == expected, "after cut {cut}");
        if !cut_came {
            assert!(made.is_ok());
            break;
        }
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn what_lies_beside_the_store_is_older_than_the_store_and_a_failure_leaves_nothing() {
    let mut world = World::new();
    let (store, mut agent) = filled(&mut world);
    let store = std::sync::Arc::new(store);
    let disk = world.disk.clone();
    let fails = std::sync::Arc::new(AtomicBool::new(true));
    let failing = std::sync::Arc::clone(&fails);
    let acknowledged = std::sync::Arc::new(AtomicU64::new(200));
    let said = std::sync::Arc::clone(&acknowledged);
    let request = SnapshotRequest {
        beside: Some(Beside::new(move |folder| {
            let text = said.load(Ordering::SeqCst).to_string();
            files::write_atomically(&disk, &folder.join("beside"), text.as_bytes(), None)
                .map_err(std::io::Error::other)?;
            if failing.load(Ordering::SeqCst) {
                return Err(std::io::Error::other("no room"));
            }
            Ok(())
        })),
        ..request(false)
    };
    let error = store.snapshot(request.clone()).unwrap_err();
    assert!(error.to_string().contains("beside the store"), "{error}");
    assert!(world.disk.list(Path::new(FOLDER)).unwrap().is_empty());
    fails.store(false, Ordering::SeqCst);
    let done = AtomicBool::new(false);
    let summary = thread::scope(|scope| {
        scope.spawn(|| {
            for second in 200.. {
                assert_eq!(write(&store, &mut agent, second), stored());
                acknowledged.store(second.unsigned_abs() + 1, Ordering::SeqCst);
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let summary = store.snapshot(request).unwrap();
        done.store(true, Ordering::SeqCst);
        summary
    });
    let folder = Path::new(FOLDER).join(&summary.name);
    let said = world.disk.contents(&folder.join("beside")).unwrap();
    let said: usize = String::from_utf8(said).unwrap().parse().unwrap();
    let copy = open_copy(&world, folder.join("tsdb"));
    assert!(dump(&copy).len() >= said * 3);
}
