//! Bodies from anyone, one after the other on one stream: no panic, and what decodes can be encoded again and is then the same.
//!
//! The input is bodies, each after two bytes of length.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use rows::{BatchDecoder, BatchNumber, decode_key_row, encode_key_row};

fuzz_target!(|input: &[u8]| {
    let mut decoder = BatchDecoder::new();
    let mut rest = input;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (body, after) =
            after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        rest = after;
        let batch = match decoder.decode(BatchNumber(0), Arc::from(body)) {
            Ok(batch) => batch,
            Err(error) => {
                drop(error.to_string());
                continue;
            }
        };
        for decoded in &batch.rows {
            let bytes = encode_key_row(&decoded.row).expect("what was decoded keeps the rules");
            let again = decode_key_row(&bytes).expect("what was encoded decodes");
            assert!(again.same_bits(&decoded.row));
        }
    }
});
