//! Bounded queues with a stated answer when full.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

/// What a sender meets at a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits for room.
    Wait,
    /// Its item is handed back.
    Reject,
    /// The oldest item in the queue gives way and is counted.
    DropOldest,
}

/// Why an item was not queued; the item comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// The queue is full.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> SendError<T> {
    /// Returns the item that was not queued.
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::Closed(_) => "the queue's receiver is gone",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for SendError<T> {}

/// A snapshot of a queue's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// The name given at creation.
    pub name: &'static str,
    /// The bound, in items.
    pub capacity: usize,
    /// Items in the queue now.
    pub length: usize,
    /// Items ever queued.
    pub sent: u64,
    /// Items ever taken out by the receiver.
    pub received: u64,
    /// Items handed back because the queue was full.
    pub rejected: u64,
    /// Oldest items that gave way.
    pub dropped: u64,
    /// Sends that had to wait.
    pub waited: u64,
}

/// Returns the two ends of a queue of at most `capacity` items (at least one).
pub fn queue<T>(
    name: &'static str,
    capacity: usize,
    when_full: WhenFull,
) -> (QueueSender<T>, QueueReceiver<T>) {
    let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
    let shared = Arc::new(Shared {
        name,
        capacity,
        when_full,
        room: Semaphore::new(capacity),
        arrived: Notify::new(),
        state: Mutex::new(State {
            items: VecDeque::new(),
            senders: 1,
            counters: Counters::default(),
        }),
    });
    let sender = QueueSender {
        shared: Arc::clone(&shared),
    };
    (sender, QueueReceiver { shared })
}

/// The sending end; cheap to clone. The queue ends when all senders are gone and it is empty.
pub struct QueueSender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving end; the only one.
pub struct QueueReceiver<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    name: &'static str,
    capacity: usize,
    when_full: WhenFull,
    /// One permit per free place; closed with the receiver.
    room: Semaphore,
    arrived: Notify,
    state: Mutex<State<T>>,
}

struct State<T> {
    items: VecDeque<T>,
    senders: usize,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    sent: u64,
    received: u64,
    rejected: u64,
    dropped: u64,
    waited: u64,
}

impl<T> QueueSender<T> {
    /// Queues `item`, acting as the queue's [`WhenFull`] says. Cancelling it before it returns means that the item was not queued.
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        if self.shared.when_full != WhenFull::Wait {
            return self.try_send(item);
        }
        let permit = match self.shared.room.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_full_or_closed) => {
                self.shared.state().counters.waited += 1;
                self.shared.room.acquire().await
            }
        };
        let Ok(permit) = permit else {
            return Err(SendError::Closed(item));
        };
        permit.forget();
        self.shared.push(item);
        Ok(())
    }

    /// Queues `item` without waiting: a full queue with [`WhenFull::Wait`] hands it back too.
    pub fn try_send(&self, item: T) -> Result<(), SendError<T>> {
        loop {
            if let Ok(permit) = self.shared.room.try_acquire() {
                permit.forget();
                self.shared.push(item);
                return Ok(());
            }
            if self.shared.room.is_closed() {
                return Err(SendError::Closed(item));
            }
            if self.shared.when_full != WhenFull::DropOldest {
                self.shared.state().counters.rejected += 1;
                return Err(SendError::Full(item));
            }
            let oldest = self.shared.make_room();
            drop(oldest); // outside the lock: an item's drop may be anything
        }
    }

    /// Returns the present figures.
    pub fn stats(&self) -> QueueStats {
        self.shared.stats()
    }
}

/// Why there is no item to take.
enum Nothing {
    Yet,
    Ever,
}

impl<T> QueueReceiver<T> {
    /// Returns the oldest item; `None` once the queue is empty and all senders are gone. Cancelling loses nothing.
    pub async fn receive(&mut self) -> Option<T> {
        loop {
            match self.take() {
                Ok(item) => return Some(item),
                Err(Nothing::Ever) => return None,
                // An arrival since the look has left its permit in `arrived`.
                Err(Nothing::Yet) => self.shared.arrived.notified().await,
            }
        }
    }

    /// Returns the oldest item if there is one.
    pub fn try_receive(&mut self) -> Option<T> {
        self.take().ok()
    }

    /// Returns the present figures.
    pub fn stats(&self) -> QueueStats {
        self.shared.stats()
    }

    fn take(&self) -> Result<T, Nothing> {
        let mut state = self.shared.state();
        match state.items.pop_front() {
            Some(item) => {
                state.counters.received += 1;
                drop(state);
                self.shared.room.add_permits(1);
                Ok(item)
            }
            None if state.senders == 0 => Err(Nothing::Ever),
            None => Err(Nothing::Yet),
        }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Single pushes, pops and additions: a panicking holder cannot leave them half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an item whose place has been taken from `room`.
    fn push(&self, item: T) {
        let mut state = self.state();
        state.items.push_back(item);
        state.counters.sent += 1;
        drop(state);
        self.arrived.notify_one();
    }

    fn make_room(&self) -> Option<T> {
        let mut state = self.state();
        let oldest = state.items.pop_front();
        if oldest.is_some() {
            state.counters.dropped += 1;
            self.room.add_permits(1);
        }
        oldest
    }

    fn stats(&self) -> QueueStats {
        let state = self.state();
        QueueStats {
            name: self.name,
            capacity: self.capacity,
            length: state.items.len(),
            sent: state.counters.sent,
            received: state.counters.received,
            rejected: state.counters.rejected,
            dropped: state.counters.dropped,
            waited: state.counters.waited,
        }
    }
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.shared.state().senders += 1;
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.senders -= 1;
        if state.senders == 0 {
            drop(state);
            self.shared.arrived.notify_one();
        }
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        self.shared.room.close();
        let rest = std::mem::take(&mut self.shared.state().items);
        drop(rest); // outside the lock
    }
}

impl<T> fmt::Debug for QueueSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueSender").field(&self.stats()).finish()
    }
}

impl<T> fmt::Debug for QueueReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueReceiver").field(&self.stats()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_waiting_sender_gets_in_when_room_appears() {
        let (sender, mut receiver) = queue("test", 1, WhenFull::Wait);
        sender.send(1).await.unwrap();
        {
            let mut waiting = pin!(sender.send(2));
            assert!(poll_once(waiting.as_mut()).is_pending());
            assert_eq!(receiver.receive().await, Some(1));
            assert_eq!(poll_once(waiting), Poll::Ready(Ok(())));
        }
        {
            let cancelled = pin!(sender.send(3));
            assert!(poll_once(cancelled).is_pending());
        }
        assert_eq!(sender.try_send(4), Err(SendError::Full(4)));
        assert_eq!(receiver.receive().await, Some(2));
        drop(sender);
        assert_eq!(receiver.receive().await, None);
        let stats = receiver.stats();
        assert_eq!(
            (stats.sent, stats.received, stats.waited, stats.rejected),
            (2, 2, 2, 1)
        );
    }

    #[tokio::test]
    async fn a_rejecting_queue_hands_the_item_back() {
        let (sender, receiver) = queue("test", 1, WhenFull::Reject);
        sender.send("a").await.unwrap();
        assert_eq!(sender.send("b").await, Err(SendError::Full("b")));
        assert_eq!(receiver.stats().rejected, 1);
        drop(receiver);
        assert_eq!(sender.send("c").await, Err(SendError::Closed("c")));
    }

    #[tokio::test]
    async fn a_dropping_queue_keeps_the_newest() {
        let (sender, mut receiver) = queue("test", 2, WhenFull::DropOldest);
        for item in 0..5 {
            sender.send(item).await.unwrap();
        }
        assert_eq!(receiver.stats().dropped, 3);
        assert_eq!(receiver.try_receive(), Some(3));
        assert_eq!(receiver.try_receive(), Some(4));
        assert_eq!(receiver.try_receive(), None);
    }

    #[tokio::test]
    async fn a_send_after_the_receiver_left_wakes_and_fails() {
        let (sender, receiver) = queue("test", 1, WhenFull::Wait);
        sender.send(1).await.unwrap();
        let mut waiting = pin!(sender.send(2));
        assert!(poll_once(waiting.as_mut()).is_pending());
        drop(receiver);
        assert_eq!(waiting.await, Err(SendError::Closed(2)));
    }

    #[tokio::test]
    async fn the_last_sender_ends_a_waiting_receiver() {
        let (sender, mut receiver) = queue::<u8>("test", 1, WhenFull::Wait);
        let second = sender.clone();
        let mut waiting = pin!(receiver.receive());
        assert!(poll_once(waiting.as_mut()).is_pending());
        drop(sender);
        assert!(poll_once(waiting.as_mut()).is_pending());
        drop(second);
        assert_eq!(waiting.await, None);
    }
}
