//! The shell: a queue and a task for each Alertmanager.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_shell::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http_shell::{Call, HttpUrl, Method, Outgoing, OutgoingConfig, Reach};
use runtime::{QueueReceiver, QueueSender, Tasks, Timer, Token, WhenFull, queue};
use scrape::WatchedFiles;
use telemetry::Registry;
use tokio::time::timeout;

use crate::config::AlertmanagerSet;
use crate::metrics::Metrics;
use crate::{Alert, Alertmanagers, Config};

const AGENT: &str = concat!("Promontory/", env!("CARGO_PKG_VERSION"));
/// How often files of targets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Alertmanagers that are sent to; more are left out.
const ALERTMANAGERS_MAX: usize = 64;
/// How long the queues may take to become empty at the end.
const DRAIN_WITHIN: Duration = Duration::from_secs(8);

/// How alerts are sent.
#[derive(Clone, Debug)]
pub struct NotifierConfig {
    /// Alerts that may wait for each Alertmanager; then the oldest is dropped.
    pub queue_capacity: usize,
    /// Alerts posted together.
    pub batch_max: usize,
    /// Whether what waits is posted before the end.
    pub drains: bool,
    /// Where connections may go.
    pub reach: Reach,
}

/// Sends alerts to Alertmanagers. Cloning shares it.
#[derive(Clone)]
pub struct Notifier(Arc<Shared>);

struct Shared {
    config: NotifierConfig,
    metrics: Metrics,
    timer: Timer,
    /// The senders, so that the end can wait for them.
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    config: Arc<Config>,
    files: Vec<WatchedFiles>,
    /// By the place of the set, and the URL.
    running: BTreeMap<(usize, String), QueueSender<Arc<Alert>>>,
    found: Alertmanagers,
}

impl Notifier {
    /// Returns a notifier that sends to nobody yet.
    pub fn new(config: NotifierConfig, timer: Timer, registry: &Registry) -> Self {
        let metrics = Metrics::register(registry);
        metrics.queue_capacity.set_count(config.queue_capacity);
        let notifier = Self(Arc::new(Shared {
            config,
            metrics,
            timer,
            tasks: Tasks::new("alertmanagers"),
            state: Mutex::default(),
        }));
        let shown = Arc::downgrade(&notifier.0);
        registry.on_gather(move || {
            if let Some(shared) = shown.upgrade() {
                shared.show();
            }
        });
        notifier
    }

    /// Takes a configuration: what waits for the Alertmanagers of the old one is still posted as it was to be. Reads files, on this
    /// thread; must be called within the async runtime.
    pub fn load(&self, config: Config) {
        let mut state = self.0.state();
        state.files.clear();
        for set in &config.sets {
            let mut files = WatchedFiles::default();
            files.look(&set.files);
            state.files.push(files);
        }
        state.config = Arc::new(config);
        state.running.clear();
        self.0.settle(&mut state);
    }

    /// Sends alerts to every Alertmanager. Does not wait: a full queue loses its oldest.
    pub fn send(&self, alerts: impl IntoIterator<Item = Alert>) {
        let state = self.0.state();
        if state.running.is_empty() {
            return;
        }
        for alert in alerts {
            let Some(alert) = alert.relabelled(&state.config.relabel) else {
                continue;
            };
            for (place, set) in state.config.sets.iter().enumerate() {
                let Some(alert) = alert.relabelled(&set.alert_relabel).map(Arc::new) else {
                    continue;
                };
                let of_set = state.running.range((place, String::new())..);
                for (_, queue) in of_set.take_while(|((other, _), _)| *other == place) {
                    // Only the end of a task closes a queue, and then nobody is told.
                    drop(queue.try_send(Arc::clone(&alert)));
                }
            }
        }
    }

    /// Returns where alerts go.
    pub fn alertmanagers(&self) -> Alertmanagers {
        self.0.state().found.clone()
    }

    /// Looks at files of targets until `stop`; then posts what waits, for some seconds.
    pub async fn run(self, stop: Token) {
        while stop.run(self.0.timer.sleep(LOOK_EVERY)).await.is_some() {
            let shared = Arc::clone(&self.0);
            let looking = move || shared.look();
            let looked = self
                .0
                .tasks
                .spawn_blocking("look at files of Alertmanagers", looking);
            // A panic is logged where it happens.
            drop(looked.await);
        }
        self.0.state().running.clear();
        if !self.0.config.drains || timeout(DRAIN_WITHIN, self.0.tasks.join()).await.is_err() {
            self.0.tasks.abort_all();
        }
    }
}

impl Shared {
    /// Looks at files, and takes over what has changed.
    fn look(self: &Arc<Self>) {
        let mut state = self.state();
        let config = Arc::clone(&state.config);
        let mut has_changed = false;
        for (set, files) in config.sets.iter().zip(&mut state.files) {
            has_changed |= files.look(&set.files);
        }
        if has_changed {
            self.settle(&mut state);
        }
    }

    /// Starts senders for those Alertmanagers that are new. One that is gone loses its queue's end, and ends once it is empty.
    fn settle(self: &Arc<Self>, state: &mut State) {
        let mut before = std::mem::take(&mut state.running);
        state.found = Alertmanagers::default();
        let config = Arc::clone(&state.config);
        for (place, (set, files)) in config.sets.iter().zip(&state.files).enumerate() {
            let found = Alertmanagers::of(set, files);
            for url in &found.active {
                if state.running.len() >= ALERTMANAGERS_MAX {
                    tracing::error!(
                        url,
                        limit = ALERTMANAGERS_MAX,
                        "more Alertmanagers than are sent to; this one is left out"
                    );
                    continue;
                }
                let key = (place, url.clone());
                let queue = before
                    .remove(&key)
                    .unwrap_or_else(|| self.start(Arc::clone(set), url));
                state.running.insert(key, queue);
            }
            state.found.active.extend(found.active);
            state.found.dropped.extend(found.dropped);
        }
        for (_, url) in before.into_keys() {
            self.metrics.queue_length.remove([&url]);
        }
        self.metrics.discovered.set_count(state.found.active.len());
    }

    fn start(self: &Arc<Self>, set: Arc<AlertmanagerSet>, url: &str) -> QueueSender<Arc<Alert>> {
        let (sender, receiver) = queue(
            "alerts for an Alertmanager",
            self.config.queue_capacity,
            WhenFull::DropOldest,
        );
        let sending = Sending {
            shared: Arc::clone(self),
            url: url.to_owned(),
            set,
            lost: 0,
        };
        let name = "post alerts";
        self.tasks.spawn(name, sending.run(receiver)).detach();
        sender
    }

    fn show(&self) {
        let state = self.state();
        for ((_, url), queue) in &state.running {
            let length = queue.stats().length;
            self.metrics.queue_length.with([url]).set_count(length);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever a panic left is settled anew at the next look.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Posts what comes out of a queue.
struct Sending {
    shared: Arc<Shared>,
    url: String,
    set: Arc<AlertmanagerSet>,
    /// Alerts that the queue has lost, as far as that was counted.
    lost: u64,
}

impl Sending {
    /// Posts until the queue ends.
    async fn run(mut self, mut queue: QueueReceiver<Arc<Alert>>) {
        while let Some(first) = queue.receive().await {
            let mut batch = vec![first];
            while batch.len() < self.shared.config.batch_max
                && let Some(next) = queue.try_receive()
            {
                batch.push(next);
            }
            let lost = queue.stats().dropped;
            self.count_dropped(lost - self.lost);
            self.lost = lost;
            self.post(&batch).await;
        }
    }

    async fn post(&self, batch: &[Arc<Alert>]) {
        let (metrics, url) = (&self.shared.metrics, [self.url.as_str()]);
        let began = self.shared.timer.now();
        let posted = self.call(batch).await;
        let took = self.shared.timer.now().saturating_since(began);
        metrics.latency.with(url).observe(took);
        let count = batch.len() as u64;
        match posted {
            Ok(()) => metrics.sent.with(url).add(count),
            Err(error) => {
                metrics.errors.with(url).add(count);
                self.count_dropped(count);
                tracing::error!(
                    alertmanager = self.url,
                    count,
                    error,
                    "error sending alerts"
                );
            }
        }
    }

    async fn call(&self, batch: &[Arc<Alert>]) -> Result<(), String> {
        let url = HttpUrl::parse(&self.url).ok_or("the URL is not one of http or https")?;
        let alerts: Vec<&Alert> = batch.iter().map(AsRef::as_ref).collect();
        let body = serde_json::to_vec(&alerts).map_err(|error| error.to_string())?;
        let mut headers = self.set.http.headers()?;
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = Outgoing::new(OutgoingConfig {
            tls: self.set.http.tls.clone(),
            follow_redirects: self.set.http.follow_redirects,
            reach: self.shared.config.reach,
            within: self.set.timeout,
            ..OutgoingConfig::default()
        });
        let call = Call {
            method: Method::POST,
            url,
            headers,
            body: Bytes::from(body),
        };
        let reply = client.call(call).await.map_err(|error| error.to_string())?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(format!("bad response status {}", reply.status))
    }

    fn count_dropped(&self, count: u64) {
        self.shared.metrics.dropped.with([&self.url]).add(count);
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
