//! A configuration from anyone: it is read, or every mistake has a message.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use scrape::read_jobs;

fuzz_target!(|input: &str| {
    if let Err(mistakes) = read_jobs(Path::new("fuzz"), input) {
        assert!(!mistakes.to_string().is_empty());
    }
});
