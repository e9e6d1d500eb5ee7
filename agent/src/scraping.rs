//! Scraping, and the task that brings its rows to the uplink.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clock::SharedClock;
use model::{TimestampMs, Value};
use rows::{CohortId, SeriesSample};
use runtime::{QueueReceiver, QueueSender, Tasks, Timer, Token, WhenFull, queue};
use scrape::{CohortIds, Job, Outlet, PoolStatus, Scraped, Scraper, ScraperSettings};
use telemetry::{Registry, rfc3339};
use uplink::Update;

/// Cohorts of targets count from here; pushed groups' begin above, collectors' below.
const FIRST_COHORT: CohortId = CohortId(1 << 30);
/// Scrapes that wait for the uplink; when full, targets wait, and what they miss meanwhile is counted.
const SCRAPED_MAX: usize = 64;
/// The pause before the queue to the uplink is looked at again.
const PACE: Duration = Duration::from_millis(20);
/// Scrapes that go to the uplink together.
const TOGETHER_MAX: usize = 16;
/// Families that are described together: with the longest texts, an eighth of what a batch holds.
const METADATA_TOGETHER: usize = 64;
/// Samples with times of their own that go together: floats, and where there are histograms among them.
const SAMPLES_TOGETHER: (usize, usize) = (16_384, 16);

/// The scraper of an agent. Clones are one; it outlives the agent.
#[derive(Clone, Debug)]
pub struct Scraping(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scraper: Scraper<Handover>,
    clock: SharedClock,
    tasks: Tasks,
    /// Taken by the one run.
    scraped: Mutex<Option<QueueReceiver<Scraped>>>,
}

#[derive(Debug)]
struct Handover(QueueSender<Scraped>);

impl Outlet for Handover {
    async fn put(&self, scraped: Scraped) {
        if self.0.send(scraped).await.is_err() {
            tracing::debug!("rows of a target go nowhere: the agent stops");
        }
    }
}

impl Scraping {
    /// Returns a scraper of `jobs`; `seed` moves the times of its scrapes.
    pub(crate) fn new(
        jobs: Vec<Job>,
        seed: &str,
        clock: SharedClock,
        tasks: Tasks,
        registry: &Registry,
    ) -> Self {
        let (sender, receiver) = queue("scraped rows", SCRAPED_MAX, WhenFull::Wait);
        let settings = ScraperSettings {
            seed: seed.to_owned(),
            cohorts: CohortIds::from(FIRST_COHORT),
            metrics: scrape::Metrics::new(registry),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
        };
        Self(Arc::new(Inner {
            scraper: Scraper::new(settings, jobs, Handover(sender)),
            clock,
            tasks,
            scraped: Mutex::new(Some(receiver)),
        }))
    }

    /// Goes on with other jobs; targets that stay are not interrupted.
    pub fn reload(&self, jobs: Vec<Job>) {
        self.0.scraper.reload(jobs);
    }

    /// Returns how all targets do.
    pub fn pools(&self) -> Vec<PoolStatus> {
        self.0.scraper.pools()
    }

    /// Scrapes and brings rows to the uplink until `stop`; then hands over what is left.
    pub(crate) async fn run(self, updates: QueueSender<Update>, stop: Token) {
        let receiver = self.0.scraped.lock();
        let receiver = receiver.unwrap_or_else(PoisonError::into_inner).take();
        let Some(scraped) = receiver else { return };
        let mut courier = Courier {
            scraped,
            updates,
            timer: Timer::new(Arc::clone(&self.0.clock)),
            ended: Vec::new(),
        };
        let scraping = self.0.scraper.clone().run(stop);
        let mut scraping = self.0.tasks.spawn("scraper", scraping);
        loop {
            tokio::select! {
                first = courier.scraped.receive() => match first {
                    Some(first) => courier.bring(first).await,
                    None => return,
                },
                ended = &mut scraping => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the scraper failed");
                    }
                    break;
                }
            }
        }
        while let Some(first) = courier.scraped.try_receive() {
            courier.bring(first).await;
        }
    }
}

struct Courier {
    scraped: QueueReceiver<Scraped>,
    updates: QueueSender<Update>,
    timer: Timer,
    /// Cohorts whose last row is on its way: said with what comes after it.
    ended: Vec<CohortId>,
}

impl Courier {
    /// Brings a scrape, and others that wait, once there is room.
    async fn bring(&mut self, first: Scraped) {
        let mut update = Update {
            ended: std::mem::take(&mut self.ended),
            ..Update::default()
        };
        self.add(&mut update, first);
        for _ in 1..TOGETHER_MAX {
            let Some(next) = self.scraped.try_receive() else {
                break;
            };
            self.add(&mut update, next);
        }
        let mut metadata = std::mem::take(&mut update.metadata);
        let mut samples = std::mem::take(&mut update.samples);
        self.send(update).await;
        while !metadata.is_empty() {
            let later = metadata.split_off(metadata.len().min(METADATA_TOGETHER));
            self.send(Update {
                metadata: std::mem::replace(&mut metadata, later),
                ..Update::default()
            })
            .await;
        }
        while !samples.is_empty() {
            let later = samples.split_off(samples.len().min(together(&samples)));
            self.send(Update {
                samples: std::mem::replace(&mut samples, later),
                ..Update::default()
            })
            .await;
        }
    }

    fn add(&mut self, update: &mut Update, scraped: Scraped) {
        update.definitions.extend(scraped.definitions);
        update.rows.extend(scraped.rows.into_iter().map(Arc::new));
        update.samples.extend(scraped.samples);
        update.metadata.extend(scraped.metadata);
        self.ended.extend(scraped.ended);
    }

    /// Leaves half of the queue to collectors: targets can wait, a tick cannot.
    async fn send(&self, update: Update) {
        loop {
            let stats = self.updates.stats();
            if stats.length < stats.capacity / 2 {
                break;
            }
            self.timer.sleep(PACE).await;
        }
        if self.updates.try_send(update).is_err() {
            tracing::debug!("rows of targets go nowhere: the uplink has ended");
        }
    }
}

/// Returns how many samples fit into a batch, whatever they are.
fn together(samples: &[SeriesSample]) -> usize {
    let is_histogram = |sample: &SeriesSample| matches!(sample.value, Value::Histogram(_));
    if samples.iter().any(is_histogram) {
        SAMPLES_TOGETHER.1
    } else {
        SAMPLES_TOGETHER.0
    }
}

/// Returns the answer to `/api/v1/targets` in Prometheus' shape.
pub fn targets_json(pools: &[PoolStatus]) -> String {
    let labels = |labels: &model::Labels| -> serde_json::Value {
        let pairs = labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.into()));
        serde_json::Value::Object(pairs.collect())
    };
    let mut active = Vec::new();
    let mut dropped = Vec::new();
    let mut counts = BTreeMap::new();
    for pool in pools {
        counts.insert(&*pool.job, pool.dropped_count);
        for status in &pool.active {
            let target = &status.target;
            active.push(serde_json::json!({
                "discoveredLabels": labels(&target.discovered),
                "labels": labels(&target.labels),
                "scrapePool": &*pool.job,
                "scrapeUrl": target.url(),
                "globalUrl": target.url(),
                "lastError": status.error,
                "lastScrape": time(status.last_scrape.unwrap_or_default()),
                "lastScrapeDuration": status.took.as_secs_f64(),
                "health": status.health.as_str(),
                "scrapeInterval": model::format_duration(target.interval),
                "scrapeTimeout": model::format_duration(target.timeout),
            }));
        }
        for target in &pool.dropped {
            dropped.push(serde_json::json!({
                "discoveredLabels": labels(&target.discovered),
                "scrapePool": &*pool.job,
            }));
        }
    }
    serde_json::json!({
        "status": "success",
        "data": {
            "activeTargets": active,
            "droppedTargets": dropped,
            "droppedTargetCounts": counts,
        }
    })
    .to_string()
}

fn time(at: TimestampMs) -> String {
    let since_epoch = Duration::from_millis(u64::try_from(at.0).unwrap_or_default());
    rfc3339(SystemTime::UNIX_EPOCH + since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_targets_there_is_an_empty_list() {
        let json: serde_json::Value = serde_json::from_str(&targets_json(&[])).unwrap();
        assert_eq!(json["data"]["activeTargets"], serde_json::json!([]));
    }
}
