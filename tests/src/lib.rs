//! The simulator and what the whole-system tests share.

#![forbid(unsafe_code)]
