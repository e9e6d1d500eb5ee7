//! The tasks: one that knows which targets there are, and one for each target.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Deadline, SharedClock};
use model::{Labels, TimestampMs};
use runtime::{Permits, Task, Tasks, Timer, Token};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::fetch::{Fetched, Fetcher, room};
use crate::files::WatchedFiles;
use crate::schedule::Schedule;
use crate::target::Fate;
use crate::{
    CohortIds, DroppedTarget, Health, Job, Metrics, PoolStatus, Sampler, Scraped, Target,
    TargetStatus,
};

/// How often files of targets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The most targets of all jobs together.
const TARGETS_MAX: usize = 20_000;
/// The most dropped targets of a job that are shown.
const DROPPED_SHOWN_MAX: usize = 1_000;
/// Bodies that are being read take at most so much together.
const BODIES_BYTES_MAX: usize = 192 << 20;
/// Bodies that are turned into rows at once, on threads of their own.
const READING_MAX: u32 = 2;

/// Where rows go.
pub trait Outlet: Send + Sync + 'static {
    /// Takes what a scrape came to, as soon as there is room; scrapes of one target come one after the other.
    fn put(&self, scraped: Scraped) -> impl Future<Output = ()> + Send;
}

/// What a scraper is made with.
#[derive(Clone, Debug)]
pub struct ScraperSettings {
    /// Moves the times of all targets, so that many scrapers do not call one target at once.
    pub seed: String,
    /// Numbers for cohorts.
    pub cohorts: CohortIds,
    /// Counters.
    pub metrics: Metrics,
    /// The clocks.
    pub clock: SharedClock,
    /// The tasks that the scraper's will be among.
    pub tasks: Tasks,
}

/// Scrapes the targets of its jobs. Clones are one.
#[derive(Debug)]
pub struct Scraper<O> {
    shared: Arc<Shared<O>>,
}

impl<O> Clone for Scraper<O> {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

#[derive(Debug)]
struct Shared<O> {
    settings: ScraperSettings,
    outlet: O,
    jobs: watch::Sender<Arc<Vec<Arc<Job>>>>,
    pools: Mutex<Vec<PoolView>>,
    room: Permits,
    reading: Permits,
}

/// What is shown of a job.
#[derive(Debug)]
struct PoolView {
    job: Arc<str>,
    active: Vec<Arc<Shown>>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
}

/// What is shown of a target.
#[derive(Debug)]
struct Shown(Mutex<TargetStatus>);

impl Shown {
    fn lock(&self) -> MutexGuard<'_, TargetStatus> {
        // A panicking holder leaves at worst an old status.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names a target over reloads: its job, its labels and what is called.
type Key = (Arc<str>, Labels, String);

/// What a target's task is told.
#[derive(Clone, Debug)]
struct Order {
    job: Arc<Job>,
    target: Arc<Target>,
    /// Why it is not called although it is a target.
    forced_error: Option<String>,
}

/// A target that is scraped.
#[derive(Debug)]
struct Running {
    orders: watch::Sender<Order>,
    shown: Arc<Shown>,
    stop: Token,
    task: Task<()>,
}

impl<O: Outlet> Scraper<O> {
    /// Returns a scraper; nothing happens before [`run`](Self::run).
    pub fn new(settings: ScraperSettings, jobs: Vec<Job>, outlet: O) -> Self {
        let jobs = Arc::new(jobs.into_iter().map(Arc::new).collect());
        Self {
            shared: Arc::new(Shared {
                settings,
                outlet,
                jobs: watch::Sender::new(jobs),
                pools: Mutex::default(),
                room: room(BODIES_BYTES_MAX),
                reading: Permits::new("bodies that are read", READING_MAX),
            }),
        }
    }

    /// Goes on with other jobs; targets that stay are not interrupted.
    pub fn reload(&self, jobs: Vec<Job>) {
        let jobs = jobs.into_iter().map(Arc::new).collect();
        self.shared.jobs.send_replace(Arc::new(jobs));
    }

    /// Returns how all targets do.
    pub fn pools(&self) -> Vec<PoolStatus> {
        let pools = self.shared.pools();
        let pools = pools.iter().map(|pool| PoolStatus {
            job: Arc::clone(&pool.job),
            active: pool
                .active
                .iter()
                .map(|shown| shown.lock().clone())
                .collect(),
            dropped: pool.dropped.clone(),
            dropped_count: pool.dropped_count,
        });
        pools.collect()
    }

    /// Scrapes until `stop`. Targets that end with the scraper have no staleness marks: they will be scraped again.
    pub async fn run(self, stop: Token) {
        let mut manager = Manager {
            shared: Arc::clone(&self.shared),
            running: HashMap::new(),
            files: BTreeMap::new(),
            stop: stop.child(),
        };
        let mut jobs = self.shared.jobs.subscribe();
        let timer = Timer::new(Arc::clone(&self.shared.settings.clock));
        let mut is_new = true;
        loop {
            let now = Arc::clone(&jobs.borrow_and_update());
            manager.look(&now, is_new).await;
            let has_files = now.iter().any(|job| !job.files.is_empty());
            let woken = async {
                tokio::select! {
                    changed = jobs.changed() => changed.is_ok(),
                    () = timer.sleep(LOOK_EVERY), if has_files => false,
                }
            };
            match stop.run(woken).await {
                Some(changed) => is_new = changed,
                None => break,
            }
        }
        manager.end().await;
    }
}

impl<O> Shared<O> {
    fn pools(&self) -> MutexGuard<'_, Vec<PoolView>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Manager<O> {
    shared: Arc<Shared<O>>,
    running: HashMap<Key, Running>,
    files: BTreeMap<Arc<str>, WatchedFiles>,
    /// The parent of all targets' stops: what stops it stops them without staleness marks.
    stop: Token,
}

impl<O: Outlet> Manager<O> {
    /// Looks at files, and makes those targets run that should, when anything has changed.
    async fn look(&mut self, jobs: &Arc<Vec<Arc<Job>>>, is_new: bool) {
        let has_changed = self.look_at_files(jobs).await;
        if !has_changed && !is_new {
            return;
        }
        let mut wanted: Vec<(Key, Order)> = Vec::new();
        let mut pools = Vec::new();
        let mut unfit = 0;
        for job in jobs.iter() {
            let found = self.discover(job);
            unfit += found.unfit;
            let count = found.targets.len();
            let forced_error = job
                .limits
                .targets
                .filter(|limit| count as u64 > *limit)
                .map(|limit| {
                    format!("target_limit exceeded (number of targets: {count}, limit: {limit})")
                });
            for target in found.targets {
                let key = (Arc::clone(&job.name), target.labels.clone(), target.url());
                let order = Order {
                    job: Arc::clone(job),
                    target: Arc::new(target),
                    forced_error: forced_error.clone(),
                };
                wanted.push((key, order));
            }
            pools.push(PoolView {
                job: Arc::clone(&job.name),
                active: Vec::new(),
                dropped: found.dropped,
                dropped_count: found.dropped_count,
            });
        }
        if wanted.len() > TARGETS_MAX {
            let (found, limit) = (wanted.len(), TARGETS_MAX);
            tracing::error!(
                found,
                limit,
                "more targets than are scraped; the last ones are left out"
            );
            wanted.truncate(TARGETS_MAX);
        }
        self.settle(wanted, &mut pools);
        let metrics = &self.shared.settings.metrics;
        metrics.targets.set_count(self.running.len());
        metrics.unfit.set_count(unfit);
        *self.shared.pools() = pools;
    }

    async fn look_at_files(&mut self, jobs: &Arc<Vec<Arc<Job>>>) -> bool {
        if jobs.iter().all(|job| job.files.is_empty()) {
            self.files.clear();
            return false;
        }
        let mut files = std::mem::take(&mut self.files);
        let jobs = Arc::clone(jobs);
        let looking = move || {
            let mut has_changed = false;
            files.retain(|name, _| jobs.iter().any(|job| job.name == *name));
            for job in jobs.iter().filter(|job| !job.files.is_empty()) {
                let watched = files.entry(Arc::clone(&job.name)).or_default();
                has_changed |= watched.look(&job.files);
            }
            (files, has_changed)
        };
        let looking = self
            .shared
            .settings
            .tasks
            .spawn_blocking("look at files of targets", looking);
        match looking.await {
            Ok((files, has_changed)) => {
                self.files = files;
                has_changed
            }
            Err(error) => {
                tracing::error!(%error, "files of targets were not looked at");
                false
            }
        }
    }

    fn discover(&self, job: &Job) -> Found {
        let mut found = Found::default();
        let of_files = self
            .files
            .get(&job.name)
            .into_iter()
            .flat_map(WatchedFiles::groups);
        for labels in job
            .groups
            .iter()
            .chain(of_files)
            .flat_map(|group| group.discovered())
        {
            match Target::of(job, labels) {
                // Two that are alike after relabelling are one.
                Ok(Fate::Scraped(target)) => {
                    let key = (target.labels.clone(), target.url());
                    if found.seen.insert(key, ()).is_none() {
                        found.targets.push(target);
                    }
                }
                Ok(Fate::Dropped(discovered)) => {
                    found.dropped_count += 1;
                    let kept = match job.keep_dropped_targets {
                        0 => DROPPED_SHOWN_MAX,
                        kept => kept.min(DROPPED_SHOWN_MAX),
                    };
                    if found.dropped.len() < kept {
                        found.dropped.push(DroppedTarget { discovered });
                    }
                }
                Err(why) => {
                    found.unfit += 1;
                    tracing::warn!(job = %job.name, why, "a target cannot be scraped");
                }
            }
        }
        found
    }

    /// Starts, keeps and stops targets.
    fn settle(&mut self, wanted: Vec<(Key, Order)>, pools: &mut [PoolView]) {
        let mut before = std::mem::take(&mut self.running);
        for (key, order) in wanted {
            let running = match before
                .remove(&key)
                .filter(|running| !running.task.is_finished())
            {
                Some(running) => {
                    running.shown.lock().target = Arc::clone(&order.target);
                    running.orders.send_replace(order);
                    running
                }
                None => self.start(order),
            };
            if let Some(pool) = pools.iter_mut().find(|pool| pool.job == key.0) {
                pool.active.push(Arc::clone(&running.shown));
            }
            self.running.insert(key, running);
        }
        for gone in before.into_values() {
            gone.stop.stop();
            gone.task.detach();
        }
    }

    fn start(&self, order: Order) -> Running {
        let shown = Arc::new(Shown(Mutex::new(TargetStatus {
            target: Arc::clone(&order.target),
            health: Health::Unknown,
            error: String::new(),
            last_scrape: None,
            took: Duration::ZERO,
        })));
        let (orders, receiver) = watch::channel(order);
        let stop = Token::new();
        let scraping = Scraping {
            shared: Arc::clone(&self.shared),
            shown: Arc::clone(&shown),
            orders: receiver,
            is_gone: stop.clone(),
            is_over: self.stop.clone(),
        };
        let task = self
            .shared
            .settings
            .tasks
            .spawn("scrape target", scraping.run());
        Running {
            orders,
            shown,
            stop,
            task,
        }
    }

    /// Stops all targets, and waits for scrapes that are being handed over.
    async fn end(self) {
        self.stop.stop();
        for running in self.running.into_values() {
            if let Err(error) = running.task.await {
                tracing::error!(%error, "a target's task failed");
            }
        }
    }
}

/// The targets of one job.
#[derive(Default)]
struct Found {
    seen: HashMap<(Labels, String), ()>,
    targets: Vec<Target>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
    unfit: usize,
}

/// The task of one target.
struct Scraping<O> {
    shared: Arc<Shared<O>>,
    shown: Arc<Shown>,
    orders: watch::Receiver<Order>,
    /// The target is gone: its series end.
    is_gone: Token,
    /// The scraper stops: its series will go on.
    is_over: Token,
}

impl<O: Outlet> Scraping<O> {
    async fn run(mut self) {
        let order = self.orders.borrow_and_update().clone();
        let name = cohort_name(&order.target);
        let ids = self.shared.settings.cohorts.clone();
        let mut sampler = Sampler::new(ids, name, order.target.labels.clone());
        let mut order = Some(order);
        while let Some(current) = order {
            (order, sampler) = self.run_as(&current, sampler).await;
            sampler.reconfigure();
        }
        if self.is_gone.is_stopped() && !self.is_over.is_stopped() {
            let now = self.now();
            self.shared.outlet.put(sampler.end(now)).await;
        }
    }

    /// Scrapes until there is another order, which is returned, or an end.
    async fn run_as(&mut self, order: &Order, mut sampler: Sampler) -> (Option<Order>, Sampler) {
        let settings = self.shared.settings.clone();
        let timer = Timer::new(Arc::clone(&settings.clock));
        let hash = order.target.hash(&settings.seed);
        let schedule = Schedule::new(order.target.interval, hash);
        let mut fetcher = Fetcher::new(
            Arc::clone(&order.job),
            Arc::clone(&order.target),
            self.shared.room.clone(),
            &settings.tasks,
        );
        let mut due = schedule.next(self.now());
        loop {
            let wait = millis(due.0.saturating_sub(self.now().0));
            let deadline = Deadline::after(timer.now(), wait);
            let mut orders = self.orders.clone();
            tokio::select! {
                () = self.is_over.stopped() => return (None, sampler),
                () = self.is_gone.stopped() => return (None, sampler),
                changed = orders.changed() => {
                    let next = changed.is_ok().then(|| self.orders.borrow_and_update().clone());
                    return (next, sampler);
                }
                () = timer.until(deadline) => {}
            }
            let now = self.now();
            let begun = timer.now();
            let fetched = match (&order.forced_error, &mut fetcher) {
                (Some(why), _) => Err(why.clone()),
                (None, Err(why)) => Err(why.clone()),
                (None, Ok(fetcher)) => {
                    let fetching = timeout(order.target.timeout, fetcher.fetch());
                    let Some(fetched) = self.is_over.run(fetching).await else {
                        return (None, sampler);
                    };
                    fetched.unwrap_or_else(|_| {
                        let within = order.target.timeout;
                        Err(format!(
                            "the scrape took longer than {within:?}; see scrape_timeout"
                        ))
                    })
                }
            };
            let took = timer.now().saturating_since(begun);
            let at = schedule.stands_for(due, now);
            let scraped;
            (sampler, scraped) = self.read(order, sampler, fetched, at, took).await;
            self.hand_over(scraped, at, took).await;
            let end = self.now();
            settings.metrics.missed.add(schedule.missed(due, end));
            due = schedule.next(end.max(at));
        }
    }

    async fn hand_over(&self, scraped: Scraped, at: TimestampMs, took: Duration) {
        let metrics = &self.shared.settings.metrics;
        let is_up = scraped.error.is_none();
        metrics
            .scrapes
            .with([if is_up { "success" } else { "failure" }])
            .inc();
        metrics.duplicates.add(scraped.tally.duplicates);
        metrics.replays.add(u64::from(scraped.tally.replayed));
        if is_up {
            metrics.samples.add(scraped.tally.kept);
        }
        {
            let mut shown = self.shown.lock();
            shown.health = if is_up { Health::Up } else { Health::Down };
            shown.error = scraped.error.clone().unwrap_or_default();
            shown.last_scrape = Some(at);
            shown.took = took;
        }
        self.shared.outlet.put(scraped).await;
    }

    /// Reads the body on a thread, of which only a few do this at once.
    async fn read(
        &self,
        order: &Order,
        mut sampler: Sampler,
        fetched: Result<Fetched, String>,
        at: TimestampMs,
        took: Duration,
    ) -> (Sampler, Scraped) {
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(why) => {
                let scraped = sampler.scrape(&order.job, Err(why), at, took);
                return (sampler, scraped);
            }
        };
        let settings = &self.shared.settings;
        settings.metrics.bytes.add(fetched.wire_bytes() as u64);
        let place = self.shared.reading.acquire(1).await;
        let job = Arc::clone(&order.job);
        let reading = settings
            .tasks
            .spawn_blocking("read a scraped body", move || {
                let mut scratch = Vec::new();
                let body = fetched
                    .body(&mut scratch)
                    .map(|body| (fetched.format, body));
                let scraped = sampler.scrape(&job, body, at, took);
                drop(place);
                (sampler, scraped)
            });
        reading.await.unwrap_or_else(|error| {
            // A panic has taken the sampler with it: the target begins anew.
            let labels = order.target.labels.clone();
            let name = cohort_name(&order.target);
            let mut sampler = Sampler::new(settings.cohorts.clone(), name, labels);
            let scraped = sampler.scrape(&order.job, Err(error.to_string()), at, took);
            (sampler, scraped)
        })
    }

    fn now(&self) -> TimestampMs {
        TimestampMs::from(self.shared.settings.clock.wall())
    }
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// A store keeps the series of cohorts of one name together.
fn cohort_name(target: &Target) -> String {
    let label = |name| target.labels.value_or_empty(name);
    format!("scrape/{}/{}", label("job"), label("instance"))
}

#[cfg(test)]
mod tests;
