//! What rules and routes would have told whom, had they been there: stored history through the same rules and the same alerting as live,
//! in virtual time.
//!
//! [`Backtest`] goes from one due time to the next. A group of rules is evaluated over a [`Window`] of history that moves along; what it
//! records is seen by later rules and goes nowhere else; its alerts go into a pipeline whose receivers answer at once. [`Told`] is one
//! notification; [`Totals`] counts them by receiver; [`Difference`] says what another set of rules would have changed.
//!
//! Invariants:
//! - The same history, rules and configuration give the same notifications, to the millisecond: nothing here reads a clock or a random
//!   number.
//! - History that rules have recorded in the time that is replayed is not seen: the rules at hand record it anew.
//! - A rule sees no sample later than its evaluation, whatever its offsets.
//! - Memory is bounded: a chunk of history and what the rules look back on, up to [`Plan::samples_max`].
//!
//! What differs from a live run: history is complete, so that a row that came late is there in time; receivers never fail; alerts that
//! fired before the first evaluation are new to it, which [`Plan::warm_up`] makes good; queries in templates see only series that the
//! expressions of rules look at.
//!
//! Never here: clocks, sockets, files, how history is stored.

#![forbid(unsafe_code)]

mod difference;
mod replay;
mod told;
mod window;

pub use difference::{Changed, Difference, Episode, Episodes};
pub use replay::{Backtest, BacktestError, Plan, Progress, posted};
pub use told::{Told, ToldAlert, Totals};
pub use window::{History, StoreHistory, Window};
