//! Placeholder until the crate's first code.

#![forbid(unsafe_code)]
