//! Cohorts and their layouts.

use std::sync::Arc;

use model::{Labels, MetricType};

/// The most slots a cohort's layout may have; more series make another cohort.
pub const SLOTS_MAX: usize = 16_384;

/// The number of a cohort within its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CohortId(pub u32);

/// A place in a layout, below [`SLOTS_MAX`].
pub type Slot = u16;

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesDefinition {
    /// The series.
    pub labels: Labels,
    /// Its metric's type.
    pub kind: MetricType,
}

/// A part of a cohort's layout: the slots from `first_slot` on.
///
/// Layouts only grow, so definitions may overlap and repeat; a slot that is defined again must be defined alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CohortDefinition {
    /// The cohort.
    pub cohort: CohortId,
    /// A name that stays the same from epoch to epoch (`node/fast`, a scrape target), so that a store can keep the cohort's
    /// series together; at most 256 bytes.
    pub name: Arc<str>,
    /// The slot of the first of `series`.
    pub first_slot: Slot,
    /// The series, slot by slot.
    pub series: Vec<SeriesDefinition>,
}
