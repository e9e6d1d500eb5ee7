//! Any bodies as records with right checksums: walking over them ends, and damage is told of.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tsdb::fuzzing::log_records(input));
