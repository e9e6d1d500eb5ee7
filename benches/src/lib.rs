//! Our workloads, measured: each binary prints its figures and what they were measured on.
//!
//! What binaries share lives here: the recorded scrapes ([`Recording`]), the endless [`Workload`] made of them, the CPU time of
//! process and thread ([`cpu_time`], [`thread_cpu_time`]) and the memory of the process ([`resident_bytes`]).

#![forbid(unsafe_code)]

mod cpu;
mod memory;
mod recording;
mod workload;

pub use cpu::{cpu_time, thread_cpu_time};
pub use memory::resident_bytes;
pub use recording::Recording;
pub use workload::{HOSTS, Host, HostSeries, Shape, Workload};
