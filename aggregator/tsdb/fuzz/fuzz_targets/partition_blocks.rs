//! A valid partition with bytes changed under right checksums: every question is answered or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tsdb::fuzzing::changed_blocks(input));
