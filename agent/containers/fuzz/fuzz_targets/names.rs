//! Any path of a cgroup, and any snapshot of a runtime's answers: nothing panics.

#![no_main]

use containers::{Names, Place};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(path) = std::str::from_utf8(input) {
        drop(Place::of(path));
    }
    if let Err(error) = Names::new().learn_snapshot(input) {
        drop(error.to_string());
    }
});
