//! Bodies from anyone, one after the other on one stream: no panic, and what decodes can be encoded again and is then the same.
//!
//! The input is bodies, each after two bytes of length.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use rows::{
    BatchDecoder, BatchNumber, SampleContents, decode_key_row, encode_key_row, encode_samples,
};

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
        let contents = SampleContents {
            samples: &batch.samples,
            exemplars: &batch.exemplars,
            metadata: &batch.metadata,
        };
        // In another form samples may be too long for a body, never wrong.
        if let Ok(bytes) = encode_samples(&contents) {
            let again = BatchDecoder::new().decode(BatchNumber(0), bytes);
            let again = again.expect("what was encoded decodes");
            assert_eq!(again.samples.len(), batch.samples.len());
            for (one, other) in again.samples.iter().zip(&batch.samples) {
                assert!(one.value.same_bits(&other.value) && one.at == other.at);
            }
        }
    }
});
