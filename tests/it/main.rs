//! Everything that needs more than one crate, in one binary.

mod processes;
mod promql;
mod sim;
mod tidy;
