//! Where queries run: on threads for blocking work, as many at once as configured, each under a budget.

use std::sync::Arc;
use std::time::Duration;

use http_shell::Response;
use tokio::time::timeout;

use crate::api::Api;
use crate::budget::{QueryBudget, QueryLimits};
use crate::envelope::{ApiError, ErrorType};

/// A query's place on a thread.
pub(crate) struct Place {
    /// What it may spend.
    pub(crate) budget: Arc<QueryBudget>,
    /// How long it waited for the place.
    pub(crate) waited: Duration,
}

impl Api {
    /// Waits for a place, then does `work` on a thread, answer and all. Dropped, it stops the work at its next look at the
    /// budget; the place is free again when the work has stopped.
    pub(crate) async fn on_thread(
        &self,
        limits: QueryLimits,
        work: impl FnOnce(&Place) -> Result<Response, ApiError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let late = || ApiError::new(ErrorType::Timeout, "query timed out in query queue");
        let clock = &self.parts.clock;
        let budget = QueryBudget::new(limits, Arc::clone(clock));
        let asked = clock.monotonic();
        let permit = timeout(limits.timeout, self.query_permits.acquire(1))
            .await
            .map_err(|_| late())?;
        if budget.is_late() {
            return Err(late());
        }
        let waited = clock.monotonic().saturating_since(asked);
        let _cancel = budget.cancel_on_drop();
        let working = self.parts.tasks.spawn_blocking("query", move || {
            let answer = work(&Place { budget, waited });
            drop(permit);
            answer
        });
        working.await.unwrap_or_else(|error| {
            Err(ApiError::new(
                ErrorType::Internal,
                format!("query failed: {error}"),
            ))
        })
    }
}
