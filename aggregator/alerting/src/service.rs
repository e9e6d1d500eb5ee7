//! The shell around the pipeline: the time, a store, and tasks that make attempts.
//!
//! Whatever changes the pipeline is durable before its caller goes on. When the store fails, it keeps the changes and writes them with the
//! next ones (the newest of each key, so that they do not pile up), and no attempt begins meanwhile.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use files::{Journaled, JournaledError};
use model::TimestampMs;
use runtime::{Tasks, Timer, Token};
use tokio::sync::Notify;
use wire::Share;

use crate::pipeline::Record;
use crate::{Change, Config, Deliver, Failure, FailureKind, Outcome, Pipeline, ToAttempt};

/// Records read at once when the store is opened.
const PAGE: usize = 1_000;
/// How long to sleep at most, so that a clock that is set is noticed.
const NAP_MAX: Duration = Duration::from_secs(30);
/// The pause after the store has failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Says what time it is.
pub type Now = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// Takes alerts and tells people of them. Cloning shares it.
#[derive(Clone)]
pub struct Alerting(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    store: Journaled,
    now: Now,
    changed: Notify,
    /// There may be something to share with the other of a pair.
    shares: Notify,
}

struct State {
    pipeline: Pipeline,
    deliver: Arc<dyn Deliver>,
}

impl Alerting {
    /// Goes on where an earlier run has ended: takes from `store` what it left.
    pub fn open(
        mut pipeline: Pipeline,
        deliver: Arc<dyn Deliver>,
        store: Journaled,
        now: Now,
    ) -> Result<Self, JournaledError> {
        let started = now();
        for table in Pipeline::TABLES {
            let mut last: Option<Vec<u8>> = None;
            loop {
                let page = store.scan(table, &[], last.as_deref(), PAGE)?;
                last = page.last().map(|(key, _)| key.clone());
                let is_last = page.len() < PAGE;
                let records = page.into_iter();
                let records = records.map(|(key, value)| Record { table, key, value });
                pipeline.restore(records, started);
                if is_last {
                    break;
                }
            }
        }
        pipeline.go_on(started);
        let alerting = Self(Arc::new(Shared {
            state: Mutex::new(State { pipeline, deliver }),
            store,
            now,
            changed: Notify::new(),
            shares: Notify::new(),
        }));
        alerting.change(|_, _| ())?;
        Ok(alerting)
    }

    /// Changes the pipeline; what has changed is durable when this returns. Blocks for a sync of the disk. After an error the change
    /// holds, and becomes durable with the next one.
    pub fn change<T>(
        &self,
        work: impl FnOnce(&mut Pipeline, TimestampMs) -> T,
    ) -> Result<T, JournaledError> {
        let now = self.now();
        let mut state = self.state();
        let done = work(&mut state.pipeline, now);
        let written = self.write(&mut state);
        drop(state);
        self.0.changed.notify_one();
        self.0.shares.notify_one();
        written.map(|()| done)
    }

    /// Looks at the pipeline.
    pub fn see<T>(&self, look: impl FnOnce(&Pipeline, TimestampMs) -> T) -> T {
        let now = self.now();
        look(&self.state().pipeline, now)
    }

    /// Takes what is to be shared next with the other of a pair; `None` when there is nothing now. Blocks while a change is written.
    pub fn next_share(&self) -> Option<Share> {
        let now = self.now();
        self.state().pipeline.next_share(now)
    }

    /// Waits until there may be something to share. For one caller at a time.
    pub async fn shares(&self) {
        self.0.shares.notified().await;
    }

    /// Takes another configuration, and what delivers by it.
    pub fn reconfigure(
        &self,
        config: Arc<Config>,
        deliver: Arc<dyn Deliver>,
    ) -> Result<(), JournaledError> {
        self.state().deliver = deliver;
        self.change(|pipeline, now| pipeline.reconfigure(config, now))
    }

    /// Looks at groups and makes attempts until it is stopped. Attempts under way then go on as tasks of `tasks`.
    pub async fn run(self, tasks: Tasks, timer: Timer, stop: Token) {
        while !stop.is_stopped() {
            let alerting = self.clone();
            let polling = tasks.spawn_blocking("look at alert groups", move || {
                alerting.poll_after(|_, _| ())
            });
            let pause = match polling.await {
                Ok(Ok((attempts, pause))) => {
                    self.attempt_all(attempts, &tasks, &stop);
                    pause
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "alerts cannot be made durable; nobody is told of any");
                    STORE_PAUSE
                }
                // A panic is logged where it happens.
                Err(_) => STORE_PAUSE,
            };
            tokio::select! {
                () = stop.stopped() => {}
                () = self.0.changed.notified() => {}
                () = timer.sleep(pause) => {}
            }
        }
    }

    /// Changes the pipeline; returns the attempts to make then, and how long there is nothing else to do. All becomes durable at once.
    fn poll_after(
        &self,
        work: impl FnOnce(&mut Pipeline, TimestampMs),
    ) -> Result<(Vec<ToAttempt>, Duration), JournaledError> {
        let now = self.now();
        let mut state = self.state();
        work(&mut state.pipeline, now);
        let attempts = state.pipeline.poll(now);
        self.0.shares.notify_one();
        if let Err(error) = self.write(&mut state) {
            for attempt in attempts {
                let failure = Failure {
                    kind: FailureKind::Message,
                    reason: "the attempt could not be written down".to_owned(),
                };
                let outcome = Outcome::Retry {
                    after: None,
                    failure,
                };
                state.pipeline.finished(attempt.id, outcome, now);
            }
            return Err(error);
        }
        let pause = state.pipeline.next_poll().0.saturating_sub(now.0);
        let pause = Duration::from_millis(u64::try_from(pause).unwrap_or_default());
        Ok((attempts, pause.min(NAP_MAX)))
    }

    fn attempt_all(&self, attempts: Vec<ToAttempt>, tasks: &Tasks, stop: &Token) {
        for attempt in attempts {
            self.attempt(attempt, tasks.clone(), stop.clone());
        }
    }

    /// Makes an attempt, and then those for which it has made room.
    fn attempt(&self, attempt: ToAttempt, tasks: Tasks, stop: Token) {
        let (alerting, deliver) = (self.clone(), Arc::clone(&self.state().deliver));
        let notifying_tasks = tasks.clone();
        let notifying = async move {
            let outcome = deliver.deliver(&attempt.notification).await;
            if let Outcome::Retry { failure, .. } | Outcome::GiveUp(failure) = &outcome {
                let notification = &attempt.notification;
                tracing::warn!(
                    receiver = notification.receiver,
                    integration = notification.integration.kind.name(),
                    group = notification.group_key,
                    reason = %failure,
                    "notification failed"
                );
            }
            let (logging, is_last) = (alerting.clone(), stop.is_stopped());
            let finishing = tasks.spawn_blocking("log a notification", move || {
                let finish = |pipeline: &mut Pipeline, now| {
                    pipeline.finished(attempt.id, outcome, now);
                };
                if is_last {
                    logging.change(finish).map(|()| Vec::new())
                } else {
                    logging.poll_after(finish).map(|(attempts, _)| attempts)
                }
            });
            match finishing.await {
                Ok(Ok(attempts)) => alerting.attempt_all(attempts, &tasks, &stop),
                Ok(Err(error)) => {
                    tracing::error!(%error, "a notification could not be logged; it is once the disk allows");
                }
                // A panic is logged where it happens.
                Err(_) => {}
            }
            // When there is something to do next may have changed.
            alerting.0.changed.notify_one();
        };
        notifying_tasks.spawn("notify", notifying).detach();
    }

    /// Writes a store with all that is kept at this moment to `path`, where nothing may be: [`open`](Self::open) goes on with it.
    pub fn copy_to(&self, path: &Path) -> Result<(), JournaledError> {
        self.0.store.copy_to(path)
    }

    fn write(&self, state: &mut State) -> Result<(), JournaledError> {
        let changes = state.pipeline.drain_changes().into_iter();
        self.0
            .store
            .write(changes.map(|Change { table, key, value }| (table, key, value)))
    }

    fn now(&self) -> TimestampMs {
        (self.0.now)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves at worst a notification that is decided on again.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Alerting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerting").finish_non_exhaustive()
    }
}
