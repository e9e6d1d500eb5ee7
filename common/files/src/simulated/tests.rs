use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::Disk;

/// One call on a folder with three possible files.
#[derive(Clone, Debug)]
enum Call {
    Write(usize, u64, Vec<u8>),
    Append(usize, Vec<u8>),
    Read(usize, u64, usize),
    SetLen(usize, u64),
    Preallocate(usize, u64),
    CreateNew(usize),
    Rename(usize, usize),
    Remove(usize),
    Sync(usize),
    List,
}

fn any_call() -> impl Strategy<Value = Call> {
    let file = 0usize..3;
    let bytes = prop::collection::vec(any::<u8>(), 0..700);
    prop_oneof![
        (file.clone(), 0u64..3_000, bytes.clone()).prop_map(|(f, o, b)| Call::Write(f, o, b)),
        (file.clone(), bytes).prop_map(|(f, b)| Call::Append(f, b)),
        (file.clone(), 0u64..4_000, 0usize..1_000).prop_map(|(f, o, n)| Call::Read(f, o, n)),
        (file.clone(), 0u64..4_000).prop_map(|(f, n)| Call::SetLen(f, n)),
        (file.clone(), 0u64..4_000).prop_map(|(f, n)| Call::Preallocate(f, n)),
        file.clone().prop_map(Call::CreateNew),
        (file.clone(), file.clone()).prop_map(|(a, b)| Call::Rename(a, b)),
        file.clone().prop_map(Call::Remove),
        file.prop_map(Call::Sync),
        Just(Call::List),
    ]
}

/// Makes the call and describes all that it told.
fn make(files: &dyn FileSystem, folder: &Path, call: &Call) -> Result<String, ErrorKind> {
    let path = |file: &usize| folder.join(format!("file-{file}"));
    let told = match call {
        Call::Write(file, offset, bytes) => files
            .open(&path(file), Open::create())
            .and_then(|file| file.write_at(*offset, bytes))
            .map(|()| String::new()),
        Call::Append(file, bytes) => files
            .open(&path(file), Open::write())
            .and_then(|file| file.append(bytes))
            .map(|at| at.to_string()),
        Call::Read(file, offset, length) => {
            files.open(&path(file), Open::read()).and_then(|file| {
                let mut out = vec![0; *length];
                let read = file.read_at(*offset, &mut out)?;
                let exact = file.read_exact_at(*offset, &mut out).map_err(|e| e.kind());
                Ok(format!("{read} {exact:?} {out:?} {}", file.len()?))
            })
        }
        Call::SetLen(file, len) => files
            .open(&path(file), Open::write())
            .and_then(|file| file.set_len(*len))
            .map(|()| String::new()),
        Call::Preallocate(file, len) => files
            .open(&path(file), Open::create())
            .and_then(|file| file.preallocate(*len))
            .map(|()| String::new()),
        Call::CreateNew(file) => files
            .open(&path(file), Open::create_new())
            .map(|_| String::new()),
        Call::Rename(from, to) => files.rename(&path(from), &path(to)).map(|()| String::new()),
        Call::Remove(file) => files.remove(&path(file)).map(|()| String::new()),
        Call::Sync(file) => files
            .open(&path(file), Open::read())
            .and_then(|file| file.sync_data())
            .and_then(|()| files.sync_folder(folder))
            .map(|()| String::new()),
        Call::List => files.list(folder).map(|entries| format!("{entries:?}")),
    };
    told.map_err(|error| error.kind())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_twin_answers_as_the_disk_does(calls in prop::collection::vec(any_call(), 1..60)) {
        let temporary = tempfile::tempdir().unwrap();
        let (disk, twin) = (temporary.path().join("a/b"), PathBuf::from("a/b"));
        let simulated = Simulated::new();
        Disk.create_folders(&disk).unwrap();
        simulated.create_folders(&twin).unwrap();
        for call in &calls {
            prop_assert_eq!(make(&Disk, &disk, call), make(&simulated, &twin, call), "{:?}", call);
        }
    }

    /// A sector of a crashed file is one that was written there at some time, and no older than the last sync.
    #[test]
    fn a_crash_keeps_what_was_synced_and_tears_the_rest_at_sectors(
        writes in prop::collection::vec((0usize..4_000, 1usize..2_000, any::<bool>()), 1..12),
        seed: u64,
    ) {
        let disk = Simulated::new();
        let file = disk.open(Path::new("f"), Open::create()).unwrap();
        disk.sync_folder(Path::new("")).unwrap();
        let mut model = vec![0u8; 6_000];
        // Each state of the file since the last sync; 0 is a byte never written.
        let mut states = vec![model.clone()];
        for (value, (offset, length, sync)) in (1u8..).zip(writes) {
            file.write_at(offset as u64, &vec![value; length]).unwrap();
            model[offset..offset + length].fill(value);
            states.push(model.clone());
            if sync {
                file.sync_data().unwrap();
                states = vec![model.clone()];
            }
        }
        disk.crash(seed);
        prop_assert!(file.len().is_err());
        let mut found = disk.contents(Path::new("f")).unwrap();
        found.resize(6_000, 0);
        for (at, byte) in found.iter().enumerate() {
            let allowed: BTreeSet<u8> = states.iter().map(|state| state[at]).collect();
            prop_assert!(allowed.contains(byte), "byte {} is {} not in {:?}", at, byte, allowed);
        }
    }
}

#[test]
fn an_entry_that_was_not_synced_can_vanish_with_its_synced_bytes() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..64 {
        let disk = Simulated::new();
        let file = disk.open(Path::new("f"), Open::create()).unwrap();
        file.append(b"bytes").unwrap();
        file.sync_data().unwrap();
        disk.crash(seed);
        outcomes.insert(disk.contents(Path::new("f")).ok());
    }
    assert_eq!(outcomes, BTreeSet::from([None, Some(b"bytes".to_vec())]));
}

#[test]
fn a_failed_sync_loses_its_bytes_even_if_a_later_one_succeeds() {
    let disk = Simulated::new();
    let file = disk.open(Path::new("f"), Open::create()).unwrap();
    disk.sync_folder(Path::new("")).unwrap();
    disk.fail(Operation::SyncData, 0..1, Fault::Error(ErrorKind::Other));
    file.append(b"lost").unwrap();
    assert!(file.sync_data().is_err());
    file.append(b"kept").unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.contents(Path::new("f")).unwrap(), b"lostkept");
    disk.crash(3);
    assert_eq!(disk.contents(Path::new("f")).unwrap(), b"\0\0\0\0kept");
}

#[test]
fn planned_faults_hit_the_operations_they_name() {
    let disk = Simulated::new();
    let file = disk.open(Path::new("f"), Open::create()).unwrap();
    disk.fail(Operation::Write, 1..2, Fault::Short);
    disk.fail(Operation::Read, 0..2, Fault::Error(ErrorKind::TimedOut));
    file.append(b"one.").unwrap();
    assert!(file.append(b"two.").is_err());
    file.append(b"three").unwrap();
    let mut out = [0; 4];
    for expected in [Err(ErrorKind::TimedOut), Err(ErrorKind::TimedOut), Ok(4)] {
        assert_eq!(file.read_at(0, &mut out).map_err(|e| e.kind()), expected);
    }
    assert_eq!(disk.contents(Path::new("f")).unwrap(), b"one.twthree");
    assert_eq!(disk.faults_hit(), 3);
}

#[test]
fn a_full_disk_takes_what_fits_and_room_comes_back() {
    let disk = Simulated::new();
    disk.set_capacity(Some(8_192));
    let file = disk.open(Path::new("f"), Open::create()).unwrap();
    file.set_len(1 << 20).unwrap();
    assert_eq!(disk.used_bytes(), 0);
    file.set_len(0).unwrap();
    let full = file.write_at(0, &[1; 10_000]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 8_192);
    assert_eq!(disk.space(Path::new("")).unwrap().free_bytes, 0);
    let other = disk.open(Path::new("g"), Open::create()).unwrap();
    assert!(other.preallocate(1).is_err());
    file.set_len(100).unwrap();
    other.preallocate(4_096).unwrap();
    disk.remove(Path::new("f")).unwrap();
    assert_eq!(disk.used_bytes(), 8_192, "an open file keeps its space");
    drop(file);
    assert_eq!(disk.used_bytes(), 4_096);
}

#[test]
fn the_power_stays_off_until_the_crash() {
    let disk = Simulated::new();
    let file = disk.open(Path::new("f"), Open::create()).unwrap();
    disk.sync_folder(Path::new("")).unwrap();
    let before = disk.changes();
    disk.cut_power_in(1);
    file.append(b"a").unwrap();
    assert!(!disk.power_is_cut());
    assert!(file.sync_data().is_err());
    assert!(disk.power_is_cut());
    assert!(file.append(b"b").is_err());
    assert!(disk.open(Path::new("f"), Open::read()).is_err());
    assert_eq!(disk.changes() - before, 2);
    disk.crash(0);
    assert!(disk.open(Path::new("f"), Open::read()).is_ok());
}

#[test]
fn a_flipped_bit_is_seen_before_and_after_a_sync() {
    let disk = Simulated::new();
    let file = disk.open(Path::new("f"), Open::create()).unwrap();
    disk.sync_folder(Path::new("")).unwrap();
    file.append(&[0; 4]).unwrap();
    disk.flip_bit(Path::new("f"), 9).unwrap();
    file.sync_data().unwrap();
    disk.crash(0);
    assert_eq!(disk.contents(Path::new("f")).unwrap(), [0, 2, 0, 0]);
    assert!(disk.flip_bit(Path::new("f"), 32).is_err());
}
