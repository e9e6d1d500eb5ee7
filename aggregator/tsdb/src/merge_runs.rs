//! Making one series of runs that overlap: pages of several cohorts, late runs, head and partitions.

use storage::Segment;

/// A segment and its place in the log: where two runs have a sample at the same time, the smaller arrival stands.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// The log position of the segment's first row.
    pub(crate) arrival: u64,
    /// What arrived.
    pub(crate) segment: Segment,
}
