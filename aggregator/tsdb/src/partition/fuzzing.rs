//! A small valid file, and the same with bytes changed under right checksums: what only reaches a reader from a broken writer.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use files::{FileSystem, Open, Simulated};
use model::{Exemplar, Labels, MatchOp, Matcher, Metadata, MetricType, TimeRange, TimestampMs};

use super::blocks::Blocks;
use super::database::BlockWriter;
use super::{Partition, PartitionKey, PartitionWriter};
use crate::cache::Cache;
use crate::index::{IndexRead, label_names, label_values, select};
use crate::page::{Column, ColumnValues, Scratch, encode_page};

const VALID: &str = "/valid.redb";
const CHANGED: &str = "/changed.redb";
const SALVAGED: &str = "/salvaged.redb";
/// A change: which block, where in its content (2), what to add.
const CHANGE_BYTES: usize = 4;

/// The stored blocks of a small valid file, and the content of its header.
static PARTS: LazyLock<(Vec<Vec<u8>>, Vec<u8>)> = LazyLock::new(|| {
    let disk = valid();
    let path = Path::new(VALID);
    let blocks = Blocks::open(&disk, path, Arc::new(Cache::new(0)), None).expect("it is valid");
    let stored = (0..).map_while(|number| blocks.stored(number));
    (stored.collect(), blocks.header().encode())
});

/// The file as a whole.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let file = valid().open(Path::new(VALID), Open::read());
    let file = file.expect("it was written");
    let length = file.len().expect("the simulated disk works");
    let mut bytes = vec![0; usize::try_from(length).expect("some KiB")];
    file.read_exact_at(0, &mut bytes)
        .expect("the simulated disk works");
    bytes
});

/// Reads a file that was changed byte by byte: place (4), what to add.
pub(crate) fn changed_file(changes: &[u8]) {
    let mut bytes = FILE.clone();
    for change in changes.chunks_exact(5) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], change[3]]);
        let at = place as usize % bytes.len();
        bytes[at] = bytes[at].wrapping_add(change[4]);
    }
    let disk = Simulated::new();
    let file = disk
        .open(Path::new(CHANGED), Open::create())
        .expect("the simulated disk works");
    file.write_at(0, &bytes).expect("the simulated disk works");
    read_all(&disk);
}

/// Reads a file whose blocks were changed and have right checksums all the same.
pub(crate) fn changed_blocks(changes: &[u8]) {
    let (mut blocks, mut header) = PARTS.clone();
    for change in changes.chunks_exact(CHANGE_BYTES) {
        let which = usize::from(change[0]) % (blocks.len() + 1);
        let content = match blocks.get_mut(which) {
            Some(block) => &mut block[super::block::HEADER_BYTES..],
            None => &mut header[..],
        };
        let at = usize::from(u16::from_le_bytes([change[1], change[2]]));
        let length = content.len().max(1);
        if let Some(byte) = content.get_mut(at % length) {
            *byte = byte.wrapping_add(change[3]);
        }
    }
    let disk = Simulated::new();
    let writer = BlockWriter::create(&disk, Path::new(CHANGED)).expect("the disk is empty");
    for (number, block) in (0..).zip(&mut blocks) {
        writer.put(number, block).expect("the simulated disk works");
    }
    writer
        .finish(&disk, &header)
        .expect("the simulated disk works");
    read_all(&disk);
}

/// Puts every question to the changed file; answers may be wrong, but they come, and nothing panics.
fn read_all(disk: &Simulated) {
    let cache = Arc::new(Cache::new(1 << 20));
    let Ok(partition) = Partition::open(disk, Path::new(CHANGED), &cache) else {
        return;
    };
    // A header that speaks of more series than anybody wrote is believed only as far as the index bears it out.
    let all = partition.index().all();
    for (op, value) in [
        (MatchOp::Regex, "a.*|"),
        (MatchOp::Equal, "1"),
        (MatchOp::NotEqual, "1"),
    ] {
        let matcher = Matcher::new("id", op, value).expect("a valid matcher");
        select(partition.index(), &[matcher]).ok();
    }
    label_names(partition.index(), Some(&all)).ok();
    label_values(partition.index(), "id", Some(&all), 0, &storage::Unlimited).ok();
    partition.verify(&mut |_| {});
    for series in all.iter().take(64) {
        partition.read(series, TimeRange::ALL).ok();
    }
    partition.last_arrival();
    partition
        .salvage(disk, Path::new(SALVAGED), &mut |_| {})
        .ok();
}

/// Some series of floats, one with gaps, an exemplar, metadata.
fn valid() -> Simulated {
    let disk = Simulated::new();
    let key = PartitionKey {
        shard: 0,
        span: TimeRange::new(TimestampMs(0), TimestampMs(7_199_999)),
    };
    let mut writer = PartitionWriter::create(&disk, Path::new(VALID), key).expect("an empty disk");
    let times: Vec<TimestampMs> = (0..40).map(|row| TimestampMs(row * 15_000)).collect();
    let column = writer.add_times(&times).expect("times that rise");
    let mut scratch = Scratch::default();
    for id in 0..5_u32 {
        let labels = Labels::from_pairs([("__name__", "m"), ("id", &id.to_string())]);
        let labels = labels.expect("two names");
        writer.start_series(&labels).expect("in order");
        let values: Vec<f64> = (0..40).map(|row| f64::from(row * id) / 10.0).collect();
        let mut page = Vec::new();
        let values = Column {
            rows: values.len(),
            presence: None,
            values: ColumnValues::Floats(&values),
            start_times: None,
        };
        encode_page(&values, &mut scratch, &mut page).expect("a small page");
        writer
            .add_page(
                column,
                0,
                crate::merge_runs::Arrival::at(u64::from(id) + 1),
                &page,
            )
            .expect("a page of its column");
    }
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace", "x")]).expect("one name"),
        value: 1.0,
        at: TimestampMs(5),
    };
    writer.add_exemplar(&exemplar).expect("of the last series");
    let metadata = Metadata {
        kind: MetricType::Gauge,
        help: "Some.".to_owned(),
        unit: String::new(),
    };
    writer.add_metadata("m", &metadata).expect("it fits");
    writer.finish().expect("the simulated disk works");
    disk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_reach_every_block_and_nothing_panics() {
        let blocks = u8::try_from(PARTS.0.len()).unwrap();
        assert!(blocks > 5, "times, pages, index, directories");
        changed_blocks(&[]);
        changed_file(&[]);
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let mut change = || [random.u8(..=blocks), random.u8(..64), 0, random.u8(1..)];
            changed_blocks(&[change(), change()].concat());
        }
        for at in (0..u32::try_from(FILE.len()).unwrap()).step_by(997) {
            let mut change = at.to_le_bytes().to_vec();
            change.push(0x20);
            changed_file(&change);
        }
    }
}
