//! The configuration as a whole: Alertmanager's own files, and cases with Alertmanager's verdicts (see `oracle/README.md`).

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests outside of test functions"
)]
#![expect(clippy::print_stdout, reason = "tests say what they skip and count")]

mod cases;
mod conformance;
