//! Our workloads, measured: each binary prints its figures and what they were measured on.
//!
//! What binaries share lives here: the recorded scrapes ([`Recording`]) and the CPU time of the process ([`cpu_time`]).

#![forbid(unsafe_code)]

mod cpu;
mod recording;

pub use cpu::cpu_time;
pub use recording::Recording;
