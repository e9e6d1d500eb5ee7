//! One bounded cache for what partitions decode: time columns, directories, index runs.
//!
//! All partitions of a store share it, so that the bound holds however many are open. Full = the entry that was not read for the longest
//! time goes, approximately (second chance). An entry larger than an eighth of the bound is not kept at all.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a cached value belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    /// Whose it is: a number from [`Cache::new_owner`].
    pub(crate) owner: u64,
    /// What sort of thing; of one type per sort.
    pub(crate) sort: u8,
    /// Which one.
    pub(crate) number: u64,
}

/// A cache of decoded things, bounded in bytes.
pub(crate) struct Cache {
    bytes_max: usize,
    owners: AtomicU64,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<CacheKey, Entry>,
    /// Every key once, the next candidate for eviction first.
    order: VecDeque<CacheKey>,
    bytes: usize,
}

struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    read: bool,
}

impl Cache {
    /// Returns an empty cache of at most so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            owners: AtomicU64::new(0),
            entries: Mutex::default(),
        }
    }

    /// Returns a number for keys that nobody else has.
    pub(crate) fn new_owner(&self) -> u64 {
        self.owners.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get<T: Any + Send + Sync>(&self, key: CacheKey) -> Option<Arc<T>> {
        let mut entries = self.lock();
        let entry = entries.by_key.get_mut(&key)?;
        entry.read = true;
        Arc::clone(&entry.value).downcast().ok()
    }

    /// Returns the value of `key`, made by `make` (which tells its size in bytes) when it is not there. Two threads may make it at once.
    pub(crate) fn get_or_make<T: Any + Send + Sync, E>(
        &self,
        key: CacheKey,
        make: impl FnOnce() -> Result<(T, usize), E>,
    ) -> Result<Arc<T>, E> {
        if let Some(found) = self.get(key) {
            return Ok(found);
        }
        let (value, bytes) = make()?;
        let value = Arc::new(value);
        if bytes <= self.bytes_max / 8 {
            self.lock().insert(
                key,
                Arc::clone(&value) as Arc<dyn Any + Send + Sync>,
                bytes,
                self.bytes_max,
            );
        }
        Ok(value)
    }

    /// Drops all that belongs to `owner`.
    pub(crate) fn forget(&self, owner: u64) {
        let mut entries = self.lock();
        entries.order.retain(|key| key.owner != owner);
        let gone: usize = entries
            .by_key
            .extract_if(|key, _| key.owner == owner)
            .map(|(_, entry)| entry.bytes)
            .sum();
        entries.bytes -= gone;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Each change is complete before anything that can panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(
        &mut self,
        key: CacheKey,
        value: Arc<dyn Any + Send + Sync>,
        bytes: usize,
        bytes_max: usize,
    ) {
        if self.by_key.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > bytes_max {
            let Some(candidate) = self.order.pop_front() else {
                break;
            };
            match self.by_key.get_mut(&candidate) {
                Some(entry) if entry.read => {
                    entry.read = false;
                    self.order.push_back(candidate);
                }
                _ => {
                    self.bytes -= self
                        .by_key
                        .remove(&candidate)
                        .map_or(0, |entry| entry.bytes);
                }
            }
        }
        self.bytes += bytes;
        self.order.push_back(key);
        self.by_key.insert(
            key,
            Entry {
                value,
                bytes,
                read: false,
            },
        );
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.lock();
        f.debug_struct("Cache")
            .field("bytes_max", &self.bytes_max)
            .field("bytes", &entries.bytes)
            .field("entries", &entries.by_key.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> CacheKey {
        CacheKey {
            owner: number % 2,
            sort: 0,
            number,
        }
    }

    fn make(cache: &Cache, number: u64) {
        let made: Result<_, ()> = cache.get_or_make(key(number), || Ok((number, 10)));
        assert_eq!(made.as_deref(), Ok(&number));
    }

    #[test]
    fn what_is_read_stays_and_the_bound_holds() {
        let cache = Cache::new(100);
        for number in 0..50 {
            make(&cache, number);
            make(&cache, 3.min(number));
            assert!(cache.lock().bytes <= 100);
        }
        assert!(cache.get::<u64>(key(3)).is_some());
        assert!(cache.get::<u64>(key(20)).is_none());
        let too_large: Result<_, ()> = cache.get_or_make(key(99), || Ok((1u64, 13)));
        assert!(too_large.is_ok() && cache.get::<u64>(key(99)).is_none());
        cache.forget(1);
        assert!(cache.get::<u64>(key(3)).is_none());
        let entries = cache.lock();
        assert_eq!(entries.order.len(), entries.by_key.len());
    }
}
