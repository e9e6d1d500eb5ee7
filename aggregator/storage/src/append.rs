//! The way in.

use std::fmt;
use std::sync::Arc;

use rows::{AgentId, Batch, BatchNumber, CohortDefinition, Epoch, NumberSet, StoreId};

use crate::Refusals;

/// Which of an agent's streams: each has a chain of row bases of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What is sampled now.
    Live,
    /// A backlog that drains beside it.
    CatchUp,
    /// Samples with times of their own that take the place of what is stored at these times, be it there already or yet to come on another
    /// lane; where the value is [`VOID_NAN`](model::VOID_NAN), of nothing. Of several the last in the log stands. A batch of them is
    /// seen as a whole or not at all, as any other; it has no rows. For writers inside the aggregator: agents cannot change what is said.
    Correction,
}

/// Who brings data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The agent, as its certificate names it.
    pub agent: AgentId,
    /// The epoch that numbers and cohorts belong to.
    pub epoch: Epoch,
    /// The stream.
    pub lane: Lane,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is durable; what was refused inside it is listed, and need not be sent again.
    Stored(Refusals),
    /// Its number was durable before; nothing was stored.
    Duplicate,
    /// It is not durable (the disk is full or failing): send it again later. The text is for operators.
    Failed(String),
}

/// Called once, on any thread, with what became of a batch; must not block.
pub type Done = Box<dyn FnOnce(AppendOutcome) + Send>;

/// A batch that is on its way to a store; held until it is appended, or given up.
pub type Announced = Box<dyn fmt::Debug + Send + Sync>;

/// The intake is full: nothing was taken; offer it again after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's intake is full")]
pub struct Busy;

/// Takes definitions and batches, makes them durable, says so.
///
/// Calls for one [`Source`] come in order; calls for several may come from several threads. Whatever is taken is stored once per
/// (agent, epoch, number), whatever the lane and however often it comes.
pub trait Appender: Send + Sync + fmt::Debug {
    /// Returns the identity of this store, made with its data folder.
    fn store_id(&self) -> StoreId;

    /// Returns the durable numbers of an epoch; empty when the store has never seen it.
    fn known(&self, agent: &AgentId, epoch: Epoch) -> NumberSet;

    /// Tells the store that numbers below `floor` will never come (again), so that it need not tell them apart.
    fn settle(&self, agent: &AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy>;

    /// Defines slots. Takes effect before any batch appended later. Slots are accepted or refused singly (limits on series, bounds
    /// on label sets); the values of refused slots are counted in [`AppendOutcome::Stored`]. What a limit stands against may be
    /// taken later, once it does not any more, though nobody defines it again. Defining a slot that was taken again, alike, changes nothing.
    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy>;

    /// Says that a batch comes in a moment, for it is being decoded: a store may wait for it before it makes others durable, some
    /// milliseconds at most. Whoever has to wait for something himself lets go of what is returned meanwhile. By default, nobody waits.
    fn announce(&self) -> Announced {
        Box::new(())
    }

    /// Returns why nothing becomes durable at present, when it is more than a full intake: the store is not there yet, its disk fails, or it
    /// is closing. For whoever was told [`Busy`]: it says whether to wait. By default, nothing is known.
    fn failing(&self) -> Option<String> {
        None
    }

    /// Takes a batch; `done` is called when its fate is known, after the sync. When the answer is [`Busy`], `done` is dropped uncalled.
    ///
    /// Rows of undefined slots are counted as refused ([`crate::RefusalReason::Undefined`]).
    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy>;
}
