mod tiers;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use files::{Fault, FileSystem, Open, Operation, Simulated};
use model::{Labels, MatchOp, Matcher, TimeRange, TimestampMs};
use storage::{AppendOutcome, Appender as _, Refusals};

use super::{FileKind, Offline, OpenError};
use crate::testing::*;
use crate::{RepairAction, TsdbConfig};

/// A folder with partitions of two spans and shards, and a log with rows that no partition has; and what a query finds in it.
fn folder() -> (World, Contents) {
    let mut world = World::new();
    world.config.seal.head_bytes = 1;
    let (store, _) = world.open();
    let mut agents = [Agent::new("node-1", 1), Agent::new("node-2", 1)];
    let series = |agent: &Agent| -> Vec<Labels> {
        (0..3)
            .map(|id| {
                labels(&[
                    ("__name__", "m"),
                    ("id", &id.to_string()),
                    ("node", agent.id().as_str()),
                ])
            })
            .collect()
    };
    let rows = |store: &crate::Tsdb, agent: &mut Agent, from: i64| {
        let cohort = definition(0, "fast", &series(agent));
        store.define(&agent.source, cohort).unwrap();
        for step in from..from + 40 {
            let at = START_MS - 3 * 60 * 60 * 1_000 + step * 90_000;
            let values = [
                Some(step as f64),
                Some(0.1 * step as f64),
                (step % 2 == 0).then_some(1.0),
            ];
            let row = agent.row(0, at, &values);
            let batch = agent.batch(&[row], &[]);
            let outcome = append(store, &agent.source, &batch);
            assert_eq!(outcome, AppendOutcome::Stored(Refusals::default()));
        }
    };
    for agent in &mut agents {
        rows(&store, agent, 0);
        rows(&store, agent, 40);
    }
    wait_until("all is sealed", || store.stats().head_series == 0);
    drop(store);
    world.config.seal.head_bytes = u64::MAX;
    let (store, _) = world.open();
    for agent in &mut agents {
        rows(&store, agent, 80);
    }
    store.close();
    let before = contents(&store);
    drop(store);
    (world, before)
}

fn offline(world: &World) -> Offline {
    Offline::open(Arc::new(world.disk.clone()), &world.config.folder).unwrap()
}

/// Returns the names of what lies in the folder of partitions.
fn partitions(disk: &Simulated) -> Vec<String> {
    let entries = disk.list(Path::new("/data/partitions")).unwrap();
    let names = entries.into_iter().map(|entry| entry.name.into_string());
    names.map(Result::unwrap).collect()
}

fn read(disk: &Simulated, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Open::read()).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// Returns a world with the same files.
fn copy(world: &World) -> World {
    let mut twin = World::new();
    twin.config = TsdbConfig {
        ..world.config.clone()
    };
    for folder in ["/data", "/data/log", "/data/partitions"] {
        let folder = Path::new(folder);
        twin.disk.create_folders(folder).unwrap();
        for entry in world.disk.list(folder).unwrap() {
            if !entry.folder {
                let path = folder.join(entry.name);
                let file = twin.disk.open(&path, Open::create()).unwrap();
                file.write_at(0, &read(&world.disk, &path)).unwrap();
            }
        }
    }
    twin
}

fn subset(part: &Contents, whole: &Contents) -> bool {
    part.iter().all(|(labels, samples)| {
        let all = whole.get(labels);
        all.is_some_and(|all| samples.iter().all(|sample| all.contains(sample)))
    })
}

#[test]
fn a_whole_folder_is_found_whole_and_left_alone() {
    let (world, before) = folder();
    let files = || -> Vec<_> {
        let all =
            ["/data/log", "/data/partitions"].map(|folder| world.disk.list(Path::new(folder)));
        all.into_iter().flat_map(Result::unwrap).collect()
    };
    let catalogue = read(&world.disk, Path::new("/data/catalogue.redb"));
    let present = files();
    let offline = offline(&world);
    let mut told = 0;
    let report = offline.check(&mut |_| told += 1).unwrap();
    assert_eq!(report.damages, []);
    assert_eq!((told, report.damage_count), (report.files.len(), 0));
    let samples = |kind| -> u64 {
        let files = report.files.iter().filter(|file| file.kind == kind);
        files.map(|file| file.samples).sum()
    };
    let stored: usize = before.values().map(Vec::len).sum();
    assert!(samples(FileKind::Segment) > 0);
    let listed = offline.list().unwrap();
    assert!(listed.len() >= 2, "two spans at least");
    assert!(
        listed.iter().all(|file| file.series.is_some()),
        "{listed:?}"
    );
    let in_partitions: u64 = listed.iter().map(|file| file.samples).sum();
    assert_eq!(samples(FileKind::Partition), in_partitions);

    let mut found = Contents::new();
    let summary = offline
        .dump(&[], TimeRange::ALL, &mut |sample| {
            let samples = found.entry(sample.labels.clone()).or_default();
            samples.push((sample.at.0, text_of(sample.value)));
        })
        .unwrap();
    found.values_mut().for_each(|samples| samples.sort());
    assert_eq!(summary.samples, stored as u64);
    assert_eq!(found, before);
    let one = [vec![
        Matcher::new("id", MatchOp::Regex, "0|9").unwrap(),
        Matcher::equal("node", "node-2"),
    ]];
    let range = TimeRange::new(TimestampMs(START_MS), TimestampMs::MAX);
    let mut count = 0;
    offline.dump(&one, range, &mut |_| count += 1).unwrap();
    let expected = before
        .iter()
        .filter(|(labels, _)| labels.get("id") == Some("0") && labels.get("node") == Some("node-2"))
        .flat_map(|(_, samples)| samples.iter().filter(|(at, _)| *at >= START_MS))
        .count();
    assert_eq!(count, expected);

    assert_eq!(offline.repair(true).unwrap().actions, []);
    assert_eq!(files(), present);
    assert_eq!(
        read(&world.disk, Path::new("/data/catalogue.redb")),
        catalogue
    );
    let held = Offline::open(Arc::new(world.disk.clone()), &world.config.folder);
    assert!(matches!(held.unwrap_err(), OpenError::Lock(_)));
    drop(offline);
    assert_eq!(contents(&world.open().0), before);
}

#[test]
fn what_is_deleted_is_not_dumped() {
    let (world, before) = folder();
    let (store, _) = world.open();
    let hit = [vec![Matcher::equal("id", "1")]];
    let until = TimeRange::new(
        TimestampMs::MIN,
        TimestampMs(START_MS - 2 * 60 * 60 * 1_000),
    );
    store.delete(&hit, until).unwrap();
    store.close();
    drop(store);
    let mut expected: Vec<(Labels, i64)> = Vec::new();
    for (labels, samples) in &before {
        let left = samples
            .iter()
            .filter(|(at, _)| labels.get("id") != Some("1") || !until.contains(TimestampMs(*at)));
        expected.extend(left.map(|(at, _)| (labels.clone(), *at)));
    }
    let mut found = Vec::new();
    offline(&world)
        .dump(&[], TimeRange::ALL, &mut |sample| {
            found.push((sample.labels.clone(), sample.at.0));
        })
        .unwrap();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_folder_in_use_or_of_something_else_is_refused() {
    let world = World::new();
    let nothing = Offline::open(Arc::new(world.disk.clone()), &world.config.folder);
    assert!(matches!(nothing.unwrap_err(), OpenError::Io { .. }));
    let (store, _) = world.open();
    let held = Offline::open(Arc::new(world.disk.clone()), &world.config.folder);
    let message = held.unwrap_err().to_string();
    assert!(message.contains("is in use by process"), "{message}");
    drop(store);
    assert!(offline(&world).list().unwrap().is_empty());
}

#[test]
fn a_damaged_partition_is_rewritten_without_what_is_lost() {
    let (original, before) = folder();
    let name = offline(&original).list().unwrap()[0].file.clone();
    let path = Path::new("/data/partitions").join(&name);
    let bytes = read(&original.disk, &path);
    let mut rewritten = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 64) {
        let world = copy(&original);
        let file = world.disk.open(&path, Open::write()).unwrap();
        file.write_at(at as u64, &[bytes[at] ^ 0x10]).unwrap();
        let report = offline(&world).check(&mut |_| {}).unwrap();
        let planned = offline(&world).repair(false).unwrap();
        assert_eq!(
            planned.actions.is_empty(),
            report.damage_count == 0,
            "byte {at}"
        );
        let aside = format!("{name}.damaged");
        assert!(
            !partitions(&world.disk).contains(&aside),
            "a plan changes nothing"
        );
        let done = offline(&world).repair(true).unwrap();
        assert_eq!(done.actions, planned.actions, "byte {at}");
        let again = offline(&world).check(&mut |_| {}).unwrap();
        assert_eq!(again.damages, [], "byte {at}");
        let (store, _) = world.open();
        let after = contents(&store);
        assert!(subset(&after, &before), "byte {at}: nothing is made up");
        match done.actions.as_slice() {
            [] => assert_eq!(after, before, "byte {at}"),
            [RepairAction::Rewrite { file, samples, .. }] => {
                rewritten += 1;
                assert_eq!(*file, name);
                let in_file = offline_samples(&world, store);
                assert!(in_file >= *samples, "byte {at}");
                assert!(partitions(&world.disk).contains(&aside));
            }
            [RepairAction::SetAside { file, .. }] => {
                assert_eq!(*file, name);
                assert!(partitions(&world.disk).contains(&aside));
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
    println!("{rewritten} of 64 files were rewritten in part");
}

/// A disk that fails is none that has lost anything.
#[test]
fn a_partition_that_cannot_be_read_now_is_no_damage() {
    let (original, before) = folder();
    let reads = {
        let world = copy(&original);
        let counted = (0..).find(|first| {
            world.disk.heal();
            world.disk.fail(
                Operation::Read,
                *first..u64::MAX,
                Fault::Error(ErrorKind::Other),
            );
            offline(&world).repair(false).is_ok()
        });
        counted.unwrap()
    };
    for first in (0..reads).step_by(7) {
        let world = copy(&original);
        let fault = Fault::Error(ErrorKind::Other);
        world.disk.fail(Operation::Read, first..u64::MAX, fault);
        let repaired = offline(&world).repair(true);
        assert!(repaired.is_err(), "read {first} of {reads}: {repaired:?}");
        world.disk.heal();
        assert_eq!(contents(&world.open().0), before, "read {first} of {reads}");
    }
}

fn offline_samples(world: &World, store: crate::Tsdb) -> u64 {
    drop(store);
    let listed = offline(world).list().unwrap();
    listed.iter().map(|file| file.samples).sum()
}

#[test]
fn a_lost_catalogue_is_made_anew_from_partitions_and_log() {
    let (original, before) = folder();
    let id = original.open().0.store_id();
    let path = Path::new("/data/catalogue.redb");
    for damage in [None, Some(0x40)] {
        let world = copy(&original);
        match damage {
            None => world.disk.remove(path).unwrap(),
            Some(byte) => {
                let file = world.disk.open(path, Open::write()).unwrap();
                file.write_at(byte, &[0xff; 64]).unwrap();
            }
        }
        assert!(world.try_open().is_err());
        let planned = offline(&world).repair(false).unwrap();
        let [
            RepairAction::RebuildCatalogue {
                same_store,
                partitions,
                ..
            },
        ] = planned.actions.as_slice()
        else {
            panic!("{planned:?}");
        };
        assert!(*same_store && *partitions >= 2);
        assert!(world.try_open().is_err(), "a plan changes nothing");
        offline(&world).repair(true).unwrap();
        assert_eq!(offline(&world).check(&mut |_| {}).unwrap().damages, []);
        let aside = world
            .disk
            .exists(&path.with_extension("redb.damaged"))
            .unwrap();
        assert_eq!(aside, damage.is_some());
        let (store, _) = world.open();
        assert_eq!(store.store_id(), id);
        assert_eq!(contents(&store), before);
        // Only what the log still proves is said to be known: the rest may come again.
        let mut agent = Agent::new("node-1", 1);
        let series = [labels(&[("__name__", "later")])];
        store
            .define(&agent.source, definition(7, "later", &series))
            .unwrap();
        agent.next_number = 1_000;
        let row = agent.row(7, START_MS, &[Some(1.0)]);
        let batch = agent.batch(&[row], &[]);
        assert_eq!(
            append(&store, &agent.source, &batch),
            AppendOutcome::Stored(Refusals::default())
        );
    }
}

#[test]
fn what_a_catalogue_names_and_is_missing_is_forgotten() {
    let (world, before) = folder();
    let listed = offline(&world).list().unwrap();
    let path = Path::new("/data/partitions").join(&listed[0].file);
    world.disk.remove(&path).unwrap();
    let report = offline(&world).check(&mut |_| {}).unwrap();
    assert_eq!(report.damage_count, 1);
    assert!(report.damages[0].what.contains("the file is missing"));
    let done = offline(&world).repair(true).unwrap();
    assert_eq!(
        done.actions,
        [RepairAction::Forget {
            file: listed[0].file.clone(),
            samples: listed[0].samples
        }]
    );
    assert_eq!(offline(&world).check(&mut |_| {}).unwrap().damage_count, 0);
    let after = contents(&world.open().0);
    assert!(subset(&after, &before) && after != before);
}
