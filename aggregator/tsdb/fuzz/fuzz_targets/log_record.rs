//! Any bytes as a record of the log.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tsdb::fuzzing::log_record(input));
