//! The ways in for fuzz targets: parsers of stored bytes, which are no part of the interface. Every function takes any bytes, ends, and
//! panics on nothing but a mistake of this crate.

use std::sync::Arc;

use files::{FileSystem as _, Open, SharedFileSystem, Simulated};
use rows::StoreId;

use crate::catalogue;
use crate::offline::walk_log;
use crate::page::{Scratch, decode_page, decode_times, page_summary};
use crate::partition::fuzzing;
use crate::record;
use crate::segment::{SegmentHeader, put_record};

const SALT: u64 = 7;

/// One record's body, its kind before it.
pub fn log_record(input: &[u8]) {
    if let Some((kind, body)) = input.split_first() {
        record::read(*kind, body).ok();
    }
}

/// A whole segment, as it stands in its file.
pub fn log_segment(input: &[u8]) {
    walk(input);
}

/// Records whose checksums are right, in a valid segment: of each its kind, the length of its body (2), its body.
pub fn log_records(input: &[u8]) {
    let header = SegmentHeader {
        store_id: StoreId(1),
        number: 1,
        salt: SALT,
        first_position: 1,
        previous: 0,
        previous_end: 0,
    };
    let mut segment = header.encode();
    let mut rest = input;
    let mut position = 0;
    while let [kind, low, high, bytes @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        let (body, behind) = bytes.split_at(length);
        position += 1;
        put_record(&mut segment, 0, SALT, *kind, position, |out| {
            out.extend_from_slice(body);
        });
        rest = behind;
    }
    walk(&segment);
}

fn walk(segment: &[u8]) {
    let disk = Simulated::new();
    let folder = std::path::Path::new("/log");
    disk.create_folders(folder)
        .expect("the simulated disk works");
    let file = disk
        .open(&crate::log::segment_path(folder, 1), Open::create())
        .expect("the simulated disk works");
    file.write_at(0, segment).expect("the simulated disk works");
    let files: SharedFileSystem = Arc::new(disk);
    walk_log(&files, folder).expect("damage is no reason to stop");
}

/// A valid partition file with bytes changed under right checksums; of each change: the block, the place in it (2), what to add.
pub fn changed_blocks(input: &[u8]) {
    fuzzing::changed_blocks(input);
}

/// A valid partition file with bytes changed; of each change: the place (4), what to add.
pub fn changed_file(input: &[u8]) {
    fuzzing::changed_file(input);
}

/// A page, and a time column.
pub fn page(input: &[u8]) {
    let mut scratch = Scratch::default();
    let summary = page_summary(input);
    if let Ok(decoded) = decode_page(input, &mut scratch) {
        let summary = summary.expect("what decodes has a summary");
        assert_eq!(summary.rows, decoded.rows());
    }
    decode_times(input, &mut scratch).ok();
}

/// What the catalogue says of a partition, an epoch, its numbers, a delete; which of them is said by the first byte.
pub fn catalogue_entry(input: &[u8]) {
    if let Some((which, bytes)) = input.split_first() {
        catalogue::decode_any(*which, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rows::{BatchNumber, Epoch};

    use super::*;

    /// Inputs from which the targets begin, by target and name.
    fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
        let mut settle = Vec::new();
        let agent = "node-1".parse().unwrap();
        record::put_settle(&mut settle, &agent, Epoch(3), BatchNumber(9));
        let mut with_kind = vec![record::SETTLE];
        with_kind.extend_from_slice(&settle);
        let mut framed = vec![record::SETTLE];
        framed.extend_from_slice(&u16::try_from(settle.len()).unwrap().to_le_bytes());
        framed.extend_from_slice(&settle);
        let header = SegmentHeader {
            store_id: StoreId(1),
            number: 1,
            salt: SALT,
            first_position: 1,
            previous: 0,
            previous_end: 0,
        };
        let mut segment = header.encode();
        put_record(&mut segment, 0, SALT, record::SETTLE, 1, |out| {
            out.extend_from_slice(&settle);
        });
        let mut floats = Vec::new();
        let values = [1.0, 2.5, f64::NAN, 4.0];
        let column = crate::page::Column {
            rows: 4,
            presence: None,
            values: crate::page::ColumnValues::Floats(&values),
            start_times: None,
        };
        crate::page::encode_page(&column, &mut Scratch::default(), &mut floats).unwrap();
        let mut entries = catalogue::examples();
        let mut all = vec![
            ("log_record", "settle", with_kind),
            ("log_records", "settle", framed),
            ("log_segment", "settle", segment),
            ("page", "floats", floats),
            ("partition_blocks", "pages", vec![1, 3, 0, 1, 4, 0, 0, 2]),
            ("partition_file", "middle", vec![0, 64, 0, 0, 8]),
        ];
        all.extend(
            entries
                .drain(..)
                .map(|(name, bytes)| ("catalogue_entry", name, bytes)),
        );
        all
    }

    fn run(target: &str, input: &[u8]) {
        match target {
            "log_record" => log_record(input),
            "log_records" => log_records(input),
            "log_segment" => log_segment(input),
            "page" => page(input),
            "partition_blocks" => changed_blocks(input),
            "partition_file" => changed_file(input),
            "catalogue_entry" => catalogue_entry(input),
            other => panic!("no such target: {other}"),
        }
    }

    #[test]
    fn seeds_and_what_is_near_them_never_panic() {
        for (target, name, seed) in seeds() {
            run(target, &seed);
            for at in 0..seed.len().min(200) {
                let mut near = seed.clone();
                near[at] ^= 0x15;
                run(target, &near);
            }
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
            let kept = std::fs::read(corpus.join(target).join(name));
            assert_eq!(kept.ok(), Some(seed), "{target}/{name}: run write_seeds");
        }
    }

    #[test]
    #[ignore = "writes the corpora that fuzzing begins from, after a format has changed"]
    fn write_seeds() {
        for (target, name, seed) in seeds() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
            let folder = folder.join(target);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), seed).unwrap();
        }
    }
}
