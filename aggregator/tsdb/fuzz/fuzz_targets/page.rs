//! Any bytes as a page and as a time column.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tsdb::fuzzing::page(input));
