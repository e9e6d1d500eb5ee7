//! The store while it recovers: HTTP answers from the first moment, queries once the log is replayed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use storage::{Querier, QueryError, Queryable};
use tsdb::Tsdb;

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
            None => Err(QueryError::NotReady(
                "the log is being replayed; try again in a moment",
            )),
        }
    }
}

impl fmt::Debug for LateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LateStore")
            .field(&self.get().is_some())
            .finish()
    }
}
