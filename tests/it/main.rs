//! Everything that needs more than one crate, in one binary.

mod processes;
mod promql;
mod remote_write;
mod sim;
mod tidy;
