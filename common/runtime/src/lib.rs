//! The async shell's few building blocks, on tokio: named tasks, bounded queues, permits, backoff, ordered shutdown, signals;
//! threads for long work, which take turns at the processors; and workers for tasks that may wait.
//!
//! Invariants:
//! - **Only this crate spawns.** A task has a name, is counted while it runs, can be joined, and a panic in it is logged with its
//!   name and can be awaited ([`Tasks::panicked`]); nothing dies silently.
//! - **Every queue has a bound** and a stated answer when full ([`WhenFull`]), with a counter for each outcome.
//! - **Shutdown has an order** ([`Phase`]): stop accepting, drain, flush, close. A grace period bounds all of it, and a part that
//!   hangs in one phase cannot take the time of the phases after it.
//! - Randomness and time are handed in: [`Backoff`] is pure, [`Timer`] asks a [`clock::Clock`].
//!
//! Never here: sockets, files, HTTP. Storage has threads of its own (tsdb).

#![forbid(unsafe_code)]

mod backoff;
mod build;
mod permits;
mod queue;
mod shutdown;
mod signals;
mod tasks;
mod threads;
mod timer;
mod turns;
mod workers;

pub use backoff::Backoff;
pub use build::{BLOCKING_THREADS, block_here, multi_thread, run_apart};
pub use permits::{Permit, Permits, PermitsStats};
pub use queue::{QueueReceiver, QueueSender, QueueStats, SendError, WhenFull, queue};
pub use shutdown::{Part, Phase, Shutdown, ShutdownReport, Token};
pub use signals::{Signal, Signals};
pub use tasks::{PanicReport, Task, TaskError, Tasks};
pub use threads::Threads;
pub use timer::{RuntimeClock, Timer};
pub use turns::pass_turn;
pub use workers::Workers;
