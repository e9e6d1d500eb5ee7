//! Where queries run: on threads of their own, which give way to all else, as many at once as configured, each under a budget and in the list of those
//! that run.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_shell::Response;
use tokio::time::timeout;

use crate::api::Api;
use crate::budget::{QueryBudget, QueryLimits};
use crate::envelope::{ApiError, ErrorType};
use crate::running::Subject;

/// A query's place on a thread.
pub(crate) struct Place {
    /// What it may spend.
    pub(crate) budget: Arc<QueryBudget>,
    /// How long it waited for the place.
    pub(crate) waited: Duration,
}

impl Api {
    /// Waits for a place, then does `work` on a thread, answer and all. Dropped, it stops the work at its next look at the
    /// budget; the place is free again, and the list without it, when the work has stopped.
    pub(crate) async fn on_thread(
        &self,
        limits: QueryLimits,
        subject: Subject,
        work: impl FnOnce(&Place) -> Result<Response, ApiError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        self.on_place(limits, subject, |place| {
            work(place).and_then(|answer| place.budget.answered(answer).map_err(ApiError::from))
        })
        .await
    }

    /// The same for work that has another outcome than an answer to a client.
    pub(crate) async fn on_place<T: Send + 'static>(
        &self,
        limits: QueryLimits,
        subject: Subject,
        work: impl FnOnce(&Place) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let late = || {
            let (waited, places) = (limits.timeout.as_millis(), self.config.query_concurrency);
            let why = format!(
                "query timed out in query queue after {waited} ms (--query.timeout): {places} run at once (--query.max-concurrency); ask again when fewer do"
            );
            ApiError::new(ErrorType::Timeout, why)
        };
        let memory = Arc::clone(&self.query_memory);
        let budget = QueryBudget::new(limits, memory, Arc::clone(&self.parts.clock));
        let listed = self.running.enter(subject, &budget);
        let permit = unless(self.query_permits.acquire(1), budget.cancelled());
        let refused = match timeout(limits.timeout, permit).await {
            Ok(Some(permit)) if !budget.is_late() => Ok(permit),
            Ok(None) => Err(ApiError::new(
                ErrorType::Canceled,
                "query was canceled in query queue",
            )),
            Ok(Some(_)) | Err(_) => Err(late()),
        };
        let permit = match refused {
            Ok(permit) => permit,
            Err(error) => {
                let answer = Err(error);
                listed.finish(&answer);
                return answer;
            }
        };
        let waited = listed.start();
        let _cancel = budget.cancel_on_drop();
        let threads = &self.parts.query_threads;
        let working = self.parts.tasks.spawn_on(threads, "query", move || {
            let place = Place { budget, waited };
            let answer = work(&place);
            listed.finish(&answer);
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

/// Waits for what is wanted, or until `stop`: then there is nothing.
async fn unless<T>(wanted: impl Future<Output = T>, stop: impl Future<Output = ()>) -> Option<T> {
    let (mut wanted, mut stop) = (pin!(wanted), pin!(stop));
    poll_fn(|context| match stop.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => wanted.as_mut().poll(context).map(Some),
    })
    .await
}
