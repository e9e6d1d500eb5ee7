//! `promontory aggregator`: the parts, the order in which they start, and the order in which they stop.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api::{AlertmanagerUrls, Api, LocalApi, Parts};
use clock::{SharedClock, SystemClock};
use config::Settings;
use files::{Disk, FolderLock, KeyValue, SharedFileSystem};
use http_shell::{Handler, Limits, Listen, Patient, Server};
use ingest::{Agents, Metrics, RemoteWrite, Service, Shared, Tokens};
use notifier::{Alertmanagers, Notifier};
use promql::Engine;
use rows::Epoch;
use rules::Rules;
use runtime::{BLOCKING_THREADS, Signal, Signals, Task, Tasks, Threads, Timer, Token, Workers};
use storage::ProcessMemory;
use telemetry::{LogHandle, Readiness, Registry};
use tokio::time::timeout;
use transport::{Authority, Listener, ListenerConfig};
use tsdb::{ReplayProgress, Tsdb};

use crate::admin::StoreAdmin;
use crate::alert_sinks::{self, AlertSinks};
use crate::alerting_service::AlertingService;
use crate::beside::Beside;
use crate::config_of::float;
use crate::control::Process;
use crate::own_series::OwnSeries;
use crate::pair_service::PairService;
use crate::retention_classes::retention_classes;
use crate::rule_service::{RuleService, show_rules};
use crate::store::LateStore;
use crate::{config_of, limits, memory, terminal};

/// How often the service samples itself.
const OWN_INTERVAL: Duration = Duration::from_secs(15);
/// What over HTTP must not wait for those who ask: samples, and whether the service is well.
const URGENT: &[&str] = &["POST /api/v1/write", "GET /-/", "HEAD /-/"];
/// The unix socket for the tools of the operator, in the data folder.
pub(crate) const SOCKET: &str = "promontory.sock";
pub(crate) const AUTHORITY_FOLDER: &str = "authority";
pub(crate) const DATABASE: &str = "service.redb";
/// What is kept of alerts.
pub(crate) const RULES_DATABASE: &str = "rules.redb";
/// Where snapshots of the data folder are made, in it.
const SNAPSHOT_FOLDER: &str = "snapshots";

/// What every program of this binary begins with.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) clock: SharedClock,
    pub(crate) files: SharedFileSystem,
    pub(crate) registry: Registry,
    pub(crate) log: LogHandle,
    pub(crate) tasks: Tasks,
    /// Of this process; `None`: nobody knows.
    pub(crate) memory: Option<ProcessMemory>,
}

impl Base {
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock::new());
        let registry = Registry::new();
        telemetry::register_build_info(&registry, config_of::VERSION, "");
        telemetry::register_process(&registry, Path::new("/proc"));
        let log = telemetry::init_logging(config_of::log(settings), Arc::clone(&clock))?;
        let memory = memory::of_process(settings, Arc::clone(&clock))
            .context("cannot start the thread that looks at the memory of the process")?;
        if let Some(memory) = &memory {
            heap::keep(memory.limit_bytes);
        }
        Ok(Self {
            memory,
            clock,
            files: Arc::new(Disk),
            registry,
            log,
            tasks: Tasks::new("aggregator"),
        })
    }
}

/// Where an aggregator listens.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) web: String,
    pub(crate) ingest: String,
}

impl Addresses {
    pub(crate) fn of(settings: &Settings) -> Self {
        let text = |name| settings.text(name).to_owned();
        Self {
            web: text("web.listen-address"),
            ingest: text("ingest.listen-address"),
        }
    }
}

/// A running aggregator.
pub(crate) struct Aggregator {
    pub(crate) web_address: SocketAddr,
    pub(crate) ingest_address: SocketAddr,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) process: Process,
    store: Arc<Tsdb>,
    tasks: Tasks,
    /// What feeds the store, in the order in which it is stopped.
    feeding: Vec<(Token, Task<()>)>,
    remote_write: Option<RemoteWrite>,
    serving: Token,
    _lock: FolderLock,
}

/// Runs the service until a signal stops it.
pub(crate) fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let base = Base::new(&settings)?;
    run_to_end(async {
        let mut signals = Signals::install()?;
        let addresses = Addresses::of(&settings);
        let starting = Aggregator::start(&base, settings, &addresses, OWN_INTERVAL);
        let Some(aggregator) = unless_stopped(&mut signals, starting).await else {
            return Ok(ExitCode::SUCCESS);
        };
        let aggregator = aggregator?;
        terminal::print(&format!(
            "promontory {}: HTTP on {}, agents on {}",
            config_of::VERSION,
            aggregator.web_address,
            aggregator.ingest_address
        ));
        wait_for_stop(&mut signals, &aggregator.process).await;
        let stopped = unless_stopped(&mut signals, aggregator.stop()).await;
        Ok(if stopped.is_some() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

/// Runs the whole of a service on an async runtime of its own.
pub(crate) fn run_to_end(
    service: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let runtime = runtime::multi_thread("promontory", workers(), BLOCKING_THREADS)?;
    let outcome = runtime.block_on(service);
    // A thread that the kernel holds, in a statfs of a dead mount say, must not hold the process.
    runtime.shutdown_background();
    outcome
}

/// Reloads on SIGHUP; returns on SIGINT and SIGTERM.
pub(crate) async fn wait_for_stop(signals: &mut Signals, process: &Process) {
    loop {
        match signals.next().await {
            Signal::Reload => {
                let reloaded = tokio::task::block_in_place(|| api::Control::reload(process));
                if let Err(mistakes) = reloaded {
                    terminal::complain(&format!("not reloaded:\n{mistakes}"));
                }
            }
            Signal::Shutdown => return,
        }
    }
}

/// Runs something that takes a while, unless a signal to stop comes first.
pub(crate) async fn unless_stopped<T>(
    signals: &mut Signals,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = work.as_mut() => return Some(done),
            signal = signals.next() => if signal == Signal::Shutdown {
                tracing::warn!("told to stop at once");
                return None;
            },
        }
    }
}

/// As many as queries at once, which wait for their turn before they come here, and some that read long parameters meanwhile.
fn query_threads(settings: &Settings) -> anyhow::Result<Threads> {
    const FOR_PARAMETERS: u32 = 2;
    let queries = config_of::count(settings, "query.max-concurrency");
    Ok(Threads::new("query", (queries + FOR_PARAMETERS) as usize)?)
}

/// Threads of the async shell: it moves bytes; storage and queries have threads of their own.
fn workers() -> usize {
    std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, 8)
}

impl Aggregator {
    /// Starts everything: HTTP first, so that health can be asked; then the store, then what feeds it.
    pub(crate) async fn start(
        base: &Base,
        settings: Settings,
        addresses: &Addresses,
        own_interval: Duration,
    ) -> anyhow::Result<Self> {
        let folder = settings.path("storage.path").to_owned();
        base.files
            .create_folders(&folder)
            .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
        let lock = FolderLock::take(&*base.files, &folder)?;
        let (store, readiness) = (LateStore::default(), Readiness::new());
        let progress = ReplayProgress::default();
        let recovering = readiness.condition("storage", "the log is being replayed");
        let tasks = base.tasks.clone();
        let alerting = AlertingService::open(
            &settings,
            &base.files,
            Arc::clone(&base.clock),
            &base.registry,
        )?;
        let timer = Timer::new(Arc::clone(&base.clock));
        let notifier = alert_sinks::notifier(&settings, timer.clone(), &base.registry);
        let sinks = AlertSinks {
            alerting: alerting.clone(),
            notifier: notifier.clone(),
        };
        let rules_database = KeyValue::open(Arc::clone(&base.files), &folder.join(RULES_DATABASE))?;
        let rules_database = Arc::new(rules_database);
        let rules = open_rules(Arc::clone(&rules_database), sinks);
        let pair = PairService::open(base, &settings, &alerting.alerting).await?;
        let cluster = pair.as_ref().map(|pair| pair.cluster(&alerting.alerting));
        let pair_tokens = pair.as_ref().and_then(PairService::tokens);
        let process = Process::new(
            settings.clone(),
            base.log.clone(),
            Arc::clone(&base.clock),
            (store.clone(), readiness, tasks.clone()),
            (Arc::clone(&rules), alerting.clone(), notifier.clone()),
        );
        let agents = Agents::new(config_of::count(&settings, "ingest.max-agents") as usize);
        let authority = open_authority(base, &folder)?;
        let tokens = Arc::new(open_tokens(base, &folder, &authority)?);
        agents.keep_in(tokens.database())?;
        let metrics = Metrics::register(&base.registry);
        let memory_limit = memory::limit(&settings);
        let remote_write = if settings.switch("web.disable-remote-write-receiver") {
            None
        } else {
            Some(RemoteWrite::new(
                Arc::new(store.clone()),
                config_of::remote_write(random_epoch()?, memory_limit),
                Arc::clone(&base.clock),
                &base.registry,
                metrics.clone(),
            ))
        };
        let api = Api::new(
            config_of::api(&settings, memory_limit),
            Parts {
                engine: Arc::new(Engine::new(config_of::engine(&settings))),
                store: Arc::new(store.clone()),
                admin: Arc::new(StoreAdmin {
                    store: store.clone(),
                    progress: progress.clone(),
                    snapshots: folder.join(SNAPSHOT_FOLDER),
                    beside: Arc::new(Beside {
                        files: Arc::clone(&base.files),
                        folder: folder.clone(),
                        service: tokens.database(),
                        rules: rules_database,
                        alerting: alerting.alerting.clone(),
                        pair: pair_tokens.map(|tokens| tokens.database()),
                    }),
                }),
                agents: agents.clone(),
                remote_write: remote_write.clone(),
                rules: Arc::clone(&rules),
                alertmanager: Some(alerting.api(cluster)),
                alertmanagers: urls(&notifier),
                control: Arc::new(process.clone()),
                registry: base.registry.clone(),
                clock: Arc::clone(&base.clock),
                tasks: tasks.clone(),
                query_threads: Arc::new(query_threads(&settings)?),
                process_memory: base.memory.clone(),
            },
        );
        let (sampling, ingesting, serving) = (Token::new(), Token::new(), Token::new());
        let (listen, limits) = config_of::web(&settings, &addresses.web, memory_limit);
        let server = Server::bind(&listen, limits, &tasks).await?;
        let server = server.with_patient(Patient {
            workers: Arc::new(Workers::giving_way("http", workers(), BLOCKING_THREADS)?),
            urgent: URGENT,
        });
        let web_address = serve(&tasks, server, Arc::new(api.clone()), &serving);
        process.begin_rules(&web_address.to_string())?;
        let socket = Listen::Unix {
            path: folder.join(SOCKET),
        };
        let local = LocalApi::new(Arc::clone(&tokens), Arc::clone(&base.clock), tasks.clone())
            .with_peers(pair.as_ref().and_then(PairService::tokens));
        let server = Server::bind(&socket, Limits::default(), &tasks).await?;
        serve(&tasks, server, Arc::new(local), &serving);

        let tsdb = open_store(base, &settings, progress).await?;
        store.arrived(Arc::clone(&tsdb));
        recovering.met();
        let shared = Shared {
            agents: agents.clone(),
            store: Arc::<Tsdb>::clone(&tsdb),
            metrics,
            window_batches: config_of::count(&settings, "ingest.window"),
        };
        let listener =
            Arc::new(bind_ingest(&settings, &addresses.ingest, Arc::clone(&authority)).await?);
        let ingest_address = listener.address();
        let service = Service::new(
            shared,
            Arc::clone(&tokens),
            authority,
            listener,
            Arc::clone(&base.clock),
            &base.registry,
        );
        let stop = ingesting.clone();
        let ingest = tasks.spawn("ingest", async move { service.run(&stop).await });
        show_store(&base.registry, &tsdb);
        show_tiers(&base.registry, &tsdb);
        show_lifecycle(&base.registry, &tsdb);
        limits::show(
            &base.registry,
            &config_of::tsdb(&settings, Vec::new()).limits,
            &tsdb,
        );
        let own = OwnSeries::new(
            Arc::clone(&tsdb),
            base.registry.clone(),
            agents,
            Arc::clone(&base.clock),
            (web_address.to_string(), random_epoch()?),
        )?;
        let own = tasks.spawn("own series", own.run(own_interval, sampling.clone()));
        let evaluating = Token::new();
        let at_once = config_of::count(&settings, "rules.max-concurrent-evals") as usize;
        show_rules(&base.registry, &rules);
        let rules = RuleService::new(
            rules,
            (api, at_once),
            (Arc::<Tsdb>::clone(&tsdb), random_epoch()?),
            Arc::clone(&base.clock),
            tasks.clone(),
        )?;
        let rules = tasks.spawn("rules", rules.run(evaluating.clone()));
        let notifying = Token::new();
        let sending = Token::new();
        let notifier = tasks.spawn("alertmanagers", notifier.run(sending.clone()));
        let alerts = (alerting.alerting).run(tasks.clone(), timer, notifying.clone());
        let alerts = tasks.spawn("alerting", alerts);
        let mut feeding = vec![
            (evaluating, rules),
            (sending, notifier),
            (sampling, own),
            (notifying, alerts),
            (ingesting, ingest),
        ];
        if let Some(pair) = pair {
            let linking = Token::new();
            let link = tasks.spawn("pair", pair.run(linking.clone()));
            feeding.push((linking, link));
        }
        Ok(Self {
            web_address,
            ingest_address,
            tokens,
            process,
            store: tsdb,
            tasks,
            feeding,
            remote_write,
            serving,
            _lock: lock,
        })
    }

    /// Stops in order: what feeds the store, the store, HTTP; each within a grace period.
    pub(crate) async fn stop(self) {
        let Self {
            feeding,
            remote_write,
            serving,
            store,
            tasks,
            ..
        } = self;
        for (token, task) in feeding {
            token.stop();
            let name = task.name().to_owned();
            if timeout(config_of::GRACE, task).await.is_err() {
                tracing::warn!(task = name, "did not stop within the grace period");
            }
        }
        if let Some(remote_write) = remote_write
            && timeout(config_of::GRACE, remote_write.stop())
                .await
                .is_err()
        {
            tracing::warn!("requests of remote write were not stored within the grace period");
        }
        let closing = tasks.spawn_blocking("close the store", move || store.close());
        if timeout(config_of::GRACE, closing).await.is_err() {
            tracing::error!(
                "the store did not close within the grace period; the next start replays its log"
            );
        }
        serving.stop();
        if timeout(config_of::GRACE, tasks.join()).await.is_err() {
            tracing::warn!(tasks = ?tasks.names(), "not everything stopped within the grace period");
            tasks.abort_all();
        }
        tracing::info!("stopped");
    }
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregator")
            .field("web_address", &self.web_address)
            .finish_non_exhaustive()
    }
}

/// Returns an epoch that no run before has had.
pub(crate) fn random_epoch() -> anyhow::Result<Epoch> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(Epoch(u64::from_le_bytes(bytes)))
}

fn serve(tasks: &Tasks, server: Server, handler: Arc<dyn Handler>, stop: &Token) -> SocketAddr {
    let address = server
        .local_address()
        .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    tasks
        .spawn("http", server.serve(handler, stop.clone()))
        .detach();
    address
}

fn open_authority(base: &Base, folder: &Path) -> anyhow::Result<Arc<Authority>> {
    let folder = folder.join(AUTHORITY_FOLDER);
    Ok(Arc::new(Authority::open_or_create(
        &*base.files,
        &folder,
        Arc::clone(&base.clock),
    )?))
}

fn open_tokens(base: &Base, folder: &Path, authority: &Authority) -> anyhow::Result<Tokens> {
    let path: PathBuf = folder.join(DATABASE);
    Ok(Tokens::new(
        KeyValue::open(Arc::clone(&base.files), &path)?,
        authority.fingerprint(),
    ))
}

/// Returns what says where alerts are sent.
fn urls(notifier: &Notifier) -> Arc<dyn Fn() -> AlertmanagerUrls + Send + Sync> {
    let notifier = notifier.clone();
    Arc::new(move || {
        let Alertmanagers { active, dropped } = notifier.alertmanagers();
        AlertmanagerUrls { active, dropped }
    })
}

fn open_rules(database: Arc<KeyValue>, sinks: AlertSinks) -> Arc<Rules> {
    let parser = promql::ParserOptions::default();
    Arc::new(Rules::new(Some(database), Arc::new(sinks), parser))
}

async fn open_store(
    base: &Base,
    settings: &Settings,
    progress: ReplayProgress,
) -> anyhow::Result<Arc<Tsdb>> {
    let (mut config, files, clock) = (
        config_of::tsdb(settings, retention_classes(settings)?),
        Arc::clone(&base.files),
        Arc::clone(&base.clock),
    );
    config.progress = progress;
    config.memory = base.memory.clone();
    let opening = base
        .tasks
        .spawn_blocking("open the store", move || Tsdb::open(config, files, clock));
    let (store, report) = opening.await?.context("cannot open the store")?;
    for damage in &report.damages {
        terminal::complain(&format!("damaged data: {damage}"));
    }
    Ok(Arc::new(store))
}

async fn bind_ingest(
    settings: &Settings,
    text: &str,
    authority: Arc<Authority>,
) -> anyhow::Result<Listener> {
    let address = text
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {text}"))?
        .next();
    let address = address.with_context(|| format!("{text} has no address"))?;
    let mut config = ListenerConfig::new(address);
    config.connections_max = config_of::count(settings, "ingest.max-agents").saturating_add(1_000);
    let listener = Listener::bind(config, authority).await;
    listener.context("the port for agents (--ingest.listen-address)")
}

/// Shows what the store counts.
fn show_store(registry: &Registry, store: &Arc<Tsdb>) {
    let gauge = |name, help| registry.gauge(name, help);
    let counter = |name, help| registry.counter(name, help);
    let head_series = gauge("promontory_storage_head_series", "Series in the heads.");
    let head_bytes = gauge("promontory_storage_head_bytes", "Bytes in the heads.");
    let partitions = gauge("promontory_storage_partitions", "Partition files.");
    let partition_bytes = gauge(
        "promontory_storage_partition_bytes",
        "Bytes of partition files.",
    );
    let unsynced = gauge(
        "promontory_storage_unsynced_bytes",
        "Received bytes that wait for their sync.",
    );
    let failing = gauge(
        "promontory_storage_log_failing",
        "1 while the log cannot be written.",
    );
    let samples = counter("promontory_storage_samples_total", "Samples stored.");
    let log_bytes = counter(
        "promontory_storage_log_written_bytes_total",
        "Bytes written to the log.",
    );
    let syncs = counter("promontory_storage_log_syncs_total", "Syncs of the log.");
    let failures = counter(
        "promontory_storage_log_failures_total",
        "Writes or syncs of the log that failed.",
    );
    let seals = counter(
        "promontory_storage_seals_total",
        "Heads sealed into partitions.",
    );
    let damages = counter(
        "promontory_storage_damages_total",
        "Damaged places met in stored data.",
    );
    let store = Arc::downgrade(store);
    registry.on_gather(move || {
        let Some(store) = store.upgrade() else { return };
        let stats = store.stats();
        head_series.set(float(stats.head_series));
        head_bytes.set(float(stats.head_bytes));
        partitions.set(float(stats.partitions));
        partition_bytes.set(float(stats.partition_bytes));
        unsynced.set(float(stats.unsynced_bytes));
        failing.set(if stats.log_failing.is_some() {
            1.0
        } else {
            0.0
        });
        samples.raise_to(float(stats.samples_stored));
        log_bytes.raise_to(float(stats.log_bytes_written));
        syncs.raise_to(float(stats.log_syncs));
        failures.raise_to(float(stats.log_failures));
        seals.raise_to(float(stats.seals));
        damages.raise_to(float(stats.damages));
    });
}

/// Shows what there is of downsampling tiers.
fn show_tiers(registry: &Registry, store: &Arc<Tsdb>) {
    let made = registry.counter(
        "promontory_storage_tiers_made_total",
        "Downsampling tiers of days made, or made anew.",
    );
    let tiers = registry.gauge(
        "promontory_storage_tiers",
        "Partition files that are downsampling tiers.",
    );
    let bytes = registry.gauge(
        "promontory_storage_tier_bytes",
        "Bytes of the partition files that are downsampling tiers.",
    );
    let store = Arc::downgrade(store);
    registry.on_gather(move || {
        let Some(store) = store.upgrade() else { return };
        let stats = store.stats();
        made.raise_to(float(stats.tiers_made));
        tiers.set(float(stats.tiers.0));
        bytes.set(float(stats.tiers.1));
    });
}

/// Shows what becomes of partitions.
fn show_lifecycle(registry: &Registry, store: &Arc<Tsdb>) {
    let counter = |name, help| registry.counter(name, help);
    let seal_failures = counter(
        "promontory_storage_seal_failures_total",
        "Seals and other changes of the catalogue that failed and are tried again.",
    );
    let expired = counter(
        "promontory_storage_partitions_expired_total",
        "Partition files removed by retention.",
    );
    let merges = counter("promontory_storage_merges_total", "Merges of partitions.");
    let merge_failures = counter(
        "promontory_storage_merge_failures_total",
        "Merges that failed and are tried again.",
    );
    let merge_seconds = counter(
        "promontory_storage_merge_seconds_total",
        "Time that merges took.",
    );
    let merged_files = counter(
        "promontory_storage_merged_partitions_total",
        "Partition files merged into others.",
    );
    let merged_samples = counter(
        "promontory_storage_merged_samples_total",
        "Samples written by merges.",
    );
    let read = counter(
        "promontory_storage_merge_read_bytes_total",
        "Bytes of the partition files that were merged.",
    );
    let written = counter(
        "promontory_storage_merge_written_bytes_total",
        "Bytes of the partition files that merges made.",
    );
    let deletes = counter("promontory_storage_deletes_total", "Deletes of series.");
    let hit = registry.gauge(
        "promontory_storage_partitions_with_deletes",
        "Partition files that hold samples which deletes hide.",
    );
    let store = Arc::downgrade(store);
    registry.on_gather(move || {
        let Some(store) = store.upgrade() else { return };
        let stats = store.stats();
        seal_failures.raise_to(float(stats.seal_failures));
        expired.raise_to(float(stats.partitions_expired));
        merges.raise_to(float(stats.merges));
        merge_failures.raise_to(float(stats.merge_failures));
        merge_seconds.raise_to(stats.merge_time.as_secs_f64());
        merged_files.raise_to(float(stats.merged_files));
        merged_samples.raise_to(float(stats.merged_samples));
        read.raise_to(float(stats.merged_bytes.0));
        written.raise_to(float(stats.merged_bytes.1));
        deletes.raise_to(float(stats.deletes));
        hit.set(float(stats.partitions_hit));
    });
}
