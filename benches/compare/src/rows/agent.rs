//! The rows of the command `agent`: what the agent takes of its node.

mod binary;
mod cpu;
mod memory;
mod push_fresh;
mod pushes;
mod spool;
mod wire;

use super::Row;

/// In their order in the table.
pub(crate) const ROWS: &[Row] = &[
    memory::ROW,
    cpu::ROW,
    wire::ROW,
    binary::ROW,
    pushes::ROW,
    push_fresh::ROW,
    spool::ROW,
];
