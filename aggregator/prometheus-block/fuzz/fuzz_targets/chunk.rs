//! Any bytes as a chunk: decoding ends, nothing panics, timestamps rise, and memory is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prometheus_block::{CELLS_MAX, Encoding, decode_chunk};

fuzz_target!(|input: &[u8]| {
    let [number, data @ ..] = input else { return };
    let encoding = Encoding::from_number(number % 3 + 1).expect("one of three");
    let mut out = Vec::new();
    match decode_chunk(encoding, data, &mut out) {
        Ok(cells) => {
            assert!(out.len() <= cells && cells <= CELLS_MAX * 2);
            assert!(out.windows(2).all(|pair| pair[0].at < pair[1].at));
        }
        Err(_) => assert!(out.is_empty()),
    }
});
