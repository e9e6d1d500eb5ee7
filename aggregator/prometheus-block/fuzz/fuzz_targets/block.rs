//! Any bytes as index, chunks and tombstones of a block, with right checksums where the input asks for it: opening and visiting end and
//! nothing panics.

#![no_main]

use std::convert::Infallible;
use std::path::Path;

use files::{FileSystem, Open, Simulated};
use libfuzzer_sys::fuzz_target;
use model::{Labels, Sample, TimeRange};
use prometheus_block::{Block, Damage, Visitor};

const META: &[u8] =
    br#"{"ulid":"01HF0000000000000000000000","minTime":0,"maxTime":1,"version":1}"#;
const NAMES: [&str; 3] = ["index", "chunks/000001", "tombstones"];

struct Nobody;

impl Visitor for Nobody {
    type Error = Infallible;

    fn series(&mut self, _: &Labels, samples: Vec<Sample>) -> Result<(), Infallible> {
        assert!(samples.windows(2).all(|pair| pair[0].at < pair[1].at));
        Ok(())
    }

    fn damaged(&mut self, _: Damage) {}
}

fuzz_target!(|input: &[u8]| {
    let disk = Simulated::new();
    let folder = Path::new("block");
    disk.create_folders(&folder.join("chunks"))
        .expect("the simulated disk works");
    let append = |name: &str, bytes: &[u8]| {
        let file = disk.open(&folder.join(name), Open::create());
        let file = file.expect("the simulated disk works");
        file.append(bytes).expect("the simulated disk works");
    };
    append("meta.json", META);
    // Each piece: file and whether its checksum follows, the length of its bytes, its bytes.
    let mut rest = input;
    while let [what, low, high, bytes @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        let (piece, behind) = bytes.split_at(length);
        let name = NAMES[usize::from(*what) % NAMES.len()];
        append(name, piece);
        if what & 0x80 != 0 {
            append(name, &crc32c::crc32c(piece).to_be_bytes());
        }
        rest = behind;
    }
    if let Ok(mut block) = Block::open(&disk, folder) {
        let Ok(_) = block.visit(TimeRange::ALL, &mut Nobody);
    }
});
