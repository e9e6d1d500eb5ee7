//! Any bytes in any file of a spool's folder: opening and reading end, nothing panics, and the spool takes batches afterwards.

#![no_main]

use std::path::Path;
use std::sync::Arc;

use files::{FileSystem, Open, Simulated};
use libfuzzer_sys::fuzz_target;
use rows::{BatchNumber, Epoch, NumberSet};
use spool::{NewBatch, ReadFrom, Settings, Spool};

const NAMES: [&str; 5] = [
    "spool/0000000000000001-0000000000000001.segment",
    "spool/0000000000000002-0000000000000001.segment",
    "spool/cursor-6f6e65",
    "spool/gaps",
    "spool/newest-epoch",
];

fuzz_target!(|input: &[u8]| {
    let disk = Simulated::new();
    let folder = Path::new("spool");
    disk.create_folders(folder)
        .expect("the simulated disk works");
    // Each file: the index of its name, the length of its bytes, its bytes.
    let mut rest = input;
    while let [name, low, high, bytes @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        let path = Path::new(NAMES[usize::from(*name) % NAMES.len()]);
        let file = disk
            .open(path, Open::create())
            .expect("the simulated disk works");
        file.append(&bytes[..length])
            .expect("the simulated disk works");
        rest = &bytes[length..];
    }
    let opened = Spool::open(Arc::new(disk), folder, Settings::default(), Epoch(9));
    let (mut spool, _) = opened.expect("damage is no reason not to open");
    let destination = spool.destination("one").expect("one is not too many");
    let mut reader = spool.reader(ReadFrom::Oldest);
    while let Ok(Some(_)) = spool.next_record(&mut reader) {}
    for range in spool.epochs() {
        if let Some(all) = NumberSet::from_intervals([(BatchNumber(0), range.last)]) {
            spool.acknowledge_set(destination, range.epoch, &all);
        }
    }
    spool
        .begin_segment([b"layout"])
        .expect("the simulated disk works");
    let batch = NewBatch {
        number: BatchNumber(0),
        created: Default::default(),
        rows: 1,
        samples: 1,
        body: b"body",
    };
    spool.append(batch).expect("the simulated disk works");
    assert_eq!(spool.backlog(destination).batches, 1);
});
