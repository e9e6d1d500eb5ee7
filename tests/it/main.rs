//! Everything that needs more than one crate, in one binary.

mod processes;
mod sim;
mod tidy;
