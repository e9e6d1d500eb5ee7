//! Whole machines made of files, and groups of this machine where it permits them.

#![expect(
    clippy::unwrap_used,
    reason = "a test: what is not as it should be, fails it"
)]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod bench;
mod fixture;
mod lives;
mod robust;
