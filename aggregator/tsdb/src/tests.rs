//! The store as a whole, on a disk that loses, tears and fills up.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the numbers of these tests are small"
)]

mod basics;
mod concurrent;
mod faults;
mod lifecycle;
mod limits;
mod model;
mod snapshots;
mod thousands;
mod tiers;
mod turns;
