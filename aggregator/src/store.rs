//! The store while it recovers: HTTP answers from the first moment, queries once the log is replayed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rows::{AgentId, Batch, BatchNumber, CohortDefinition, Epoch, NumberSet, StoreId};
use storage::{Announced, Appender, Busy, Done, Querier, QueryError, Queryable, Source};
use tsdb::Tsdb;

/// What whoever comes too early is told.
const RECOVERING: &str = "the log is being replayed; try again in a moment";

/// A store that is there later.
#[derive(Clone, Default)]
pub(crate) struct LateStore(Arc<OnceLock<Arc<Tsdb>>>);

impl LateStore {
    /// The store is there; said once.
    pub(crate) fn arrived(&self, store: Arc<Tsdb>) {
        if self.0.set(store).is_err() {
            tracing::error!("the store arrived twice");
        }
    }

    /// Returns the store when it is there.
    pub(crate) fn get(&self) -> Option<&Arc<Tsdb>> {
        self.0.get()
    }
}

impl Queryable for LateStore {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        match self.get() {
            Some(store) => store.querier(),
            None => Err(QueryError::NotReady(RECOVERING)),
        }
    }
}

/// Until the store is there it is busy: whoever has something keeps it.
impl Appender for LateStore {
    fn store_id(&self) -> StoreId {
        self.get().map_or(StoreId(0), |store| store.store_id())
    }

    fn known(&self, agent: &AgentId, epoch: Epoch) -> NumberSet {
        self.get()
            .map_or_else(NumberSet::new, |store| store.known(agent, epoch))
    }

    fn settle(&self, agent: &AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy> {
        self.get().ok_or(Busy)?.settle(agent, epoch, floor)
    }

    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        self.get().ok_or(Busy)?.define(source, definition)
    }

    fn announce(&self) -> Announced {
        self.get()
            .map_or_else(|| Box::new(()) as Announced, |store| store.announce())
    }

    fn failing(&self) -> Option<String> {
        match self.get() {
            Some(store) => store.failing(),
            None => Some(RECOVERING.to_owned()),
        }
    }

    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        self.get().ok_or(Busy)?.append(source, batch, done)
    }
}

impl fmt::Debug for LateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LateStore")
            .field(&self.get().is_some())
            .finish()
    }
}
