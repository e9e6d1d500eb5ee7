//! Any bytes as what the catalogue says of one thing.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tsdb::fuzzing::catalogue_entry(input));
