//! Our workloads, measured: each binary prints its figures and what they were measured on.
//!
//! What binaries share lives here: the recorded scrapes ([`Recording`]), the CPU time of the process ([`cpu_time`]) and its memory
//! ([`resident_bytes`]).

#![forbid(unsafe_code)]

mod cpu;
mod memory;
mod recording;

pub use cpu::cpu_time;
pub use memory::resident_bytes;
pub use recording::Recording;
