//! A cohort's history made from the input: every row comes back to the bit, over deltas, growth and absence, and a decoder whose base
//! was installed reads the same as one that decoded it.
//!
//! The input is steps of 10 bytes: slot, what happens, 8 bytes of float.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use model::TimestampMs;
use rows::{BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortId, Presence, Row};

fuzz_target!(|input: &[u8]| {
    let mut encoder = BatchEncoder::new();
    let mut decoder = BatchDecoder::new();
    let mut values: Vec<Option<f64>> = Vec::new();
    for (counter, steps) in (0_u64..).zip(input.chunks(40)) {
        for step in steps.chunks_exact(10) {
            let &[slot, what, ref bits @ ..] = step else {
                continue;
            };
            let slot = usize::from(slot);
            if values.len() <= slot {
                values.resize(slot + 1, None);
            }
            let float = f64::from_bits(u64::from_le_bytes(bits.try_into().unwrap_or_default()));
            values[slot] = match what % 4 {
                0 => None,
                1 => Some(float),
                // Small moves, in a decimal place.
                2 => Some(values[slot].unwrap_or(0.0) + f64::from(bits[0])),
                _ => Some(
                    f64::from(u16::from_le_bytes([bits[0], bits[1]]))
                        / 10_f64.powi(i32::from(bits[2] % 17)),
                ),
            };
        }
        let row = Arc::new(row(counter, &values));
        let rows = [Arc::clone(&row)];
        let contents = BatchContents {
            rows: &rows,
            ..BatchContents::default()
        };
        let bytes = encoder
            .encode(&contents)
            .expect("the row keeps the rules")
            .bytes;
        let mut replay = BatchDecoder::new();
        if let Some(base) = decoder.base(CohortId(0)) {
            replay
                .install_base(Arc::clone(base))
                .expect("the row keeps the rules");
        }
        for decoder in [&mut decoder, &mut replay] {
            let batch = decoder
                .decode(BatchNumber(0), Arc::clone(&bytes))
                .expect("what was encoded decodes");
            assert!(batch.rows[0].row.same_bits(&row));
        }
    }
});

fn row(counter: u64, values: &[Option<f64>]) -> Row {
    let mut presence = Presence::filled(values.len(), false);
    for (slot, value) in values.iter().enumerate() {
        presence.set(slot, value.is_some());
    }
    Row {
        cohort: CohortId(0),
        counter,
        at: TimestampMs(0),
        presence,
        floats: values.iter().map(|value| value.unwrap_or(0.0)).collect(),
        histograms: Vec::new(),
        start_times: Vec::new(),
        exemplars: Vec::new(),
    }
}
