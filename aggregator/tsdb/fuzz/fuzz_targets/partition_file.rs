//! A valid partition file with any bytes changed.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tsdb::fuzzing::changed_file(input));
