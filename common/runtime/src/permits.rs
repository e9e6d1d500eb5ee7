//! Admission before work: a permit is taken before memory is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A named number of permits, handed out in order of asking.
#[derive(Clone, Debug)]
pub struct Permits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    total: u32,
    semaphore: Arc<Semaphore>,
    waited: AtomicU64,
    refused: AtomicU64,
}

/// Some permits, given back on drop.
#[derive(Debug)]
pub struct Permit {
    held: OwnedSemaphorePermit,
}

impl Permit {
    /// Keeps `count` of these permits and gives the others back; keeps all when there are not more.
    pub fn keep(&mut self, count: u32) {
        let kept = usize::try_from(count).unwrap_or(usize::MAX);
        let others = self.held.num_permits().saturating_sub(kept);
        drop(self.held.split(others));
    }
}

/// A snapshot of a [`Permits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitsStats {
    /// The name given at creation.
    pub name: &'static str,
    /// How many exist.
    pub total: u32,
    /// How many are held now.
    pub in_use: u32,
    /// How often somebody had to wait.
    pub waited: u64,
    /// How often somebody was refused.
    pub refused: u64,
}

impl Permits {
    /// Returns `total` permits.
    pub fn new(name: &'static str, total: u32) -> Self {
        let permits = usize::try_from(total).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                name,
                total,
                semaphore: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
                waited: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            }),
        }
    }

    /// Waits for `count` permits; more than exist counts as all of them. Cancelling gives up the place in the line only.
    pub async fn acquire(&self, count: u32) -> Permit {
        if let Some(permit) = self.take(count) {
            return permit;
        }
        self.shared.waited.fetch_add(1, Ordering::Relaxed);
        let semaphore = Arc::clone(&self.shared.semaphore);
        let held = semaphore
            .acquire_many_owned(count.min(self.shared.total))
            .await
            .expect("the semaphore is never closed");
        Permit { held }
    }

    /// Returns `count` permits at once, or counts a refusal.
    pub fn try_acquire(&self, count: u32) -> Option<Permit> {
        let permit = self.take(count);
        if permit.is_none() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }

    /// Returns the present figures.
    pub fn stats(&self) -> PermitsStats {
        let free = u32::try_from(self.shared.semaphore.available_permits()).unwrap_or(u32::MAX);
        PermitsStats {
            name: self.shared.name,
            total: self.shared.total,
            in_use: self.shared.total.saturating_sub(free),
            waited: self.shared.waited.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }

    fn take(&self, count: u32) -> Option<Permit> {
        let semaphore = Arc::clone(&self.shared.semaphore);
        let held = semaphore.try_acquire_many_owned(count.min(self.shared.total));
        held.ok().map(|held| Permit { held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn permits_return_on_drop_and_refusals_are_counted() {
        let permits = Permits::new("queries", 3);
        let two = permits.try_acquire(2).unwrap();
        assert!(permits.try_acquire(2).is_none());
        assert_eq!(permits.stats().in_use, 2);
        drop(two);
        let all = permits.acquire(99).await;
        let stats = permits.stats();
        assert_eq!((stats.in_use, stats.refused, stats.waited), (3, 1, 0));
        drop(all);
        assert_eq!(permits.stats().in_use, 0);
    }

    #[tokio::test]
    async fn what_is_not_kept_goes_to_those_who_wait() {
        let permits = Permits::new("bytes", 5);
        let mut held = permits.acquire(4).await;
        let mut waiting = std::pin::pin!(permits.acquire(3));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is one"),
            () = std::future::ready(()) => {}
        }
        held.keep(9);
        assert_eq!(permits.stats().in_use, 5, "four, and one for who waits");
        held.keep(2);
        let taken = waiting.await;
        assert_eq!(permits.stats().in_use, 5);
        drop((held, taken));
        assert_eq!(permits.stats().in_use, 0);
    }

    #[tokio::test]
    async fn a_waiter_is_served_when_permits_return() {
        let permits = Permits::new("queries", 1);
        let held = permits.acquire(1).await;
        let mut waiting = std::pin::pin!(permits.acquire(1));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("served twice"),
            () = std::future::ready(()) => {}
        }
        drop(held);
        waiting.await;
        assert_eq!(permits.stats().waited, 1);
    }
}
