//! Cases with the outputs of Go's own engines (see `oracle/README.md`), the default templates of Alertmanager, the rule corpus, bounds.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests outside of test functions"
)]
#![expect(clippy::print_stdout, reason = "tests say what they skip and count")]

mod amtool;
mod bounds;
mod cases;
mod corpus;
mod data;
mod golden;
