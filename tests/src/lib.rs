//! The simulator and what the whole-system tests share.
//!
//! [`sim`] runs agents, links and an aggregator in one thread under one seeded virtual clock, breaks everything that can break, and
//! compares what the store has with what was promised.

#![forbid(unsafe_code)]

pub mod hostile;
pub mod processes;
pub mod protobuf;
pub mod sim;
