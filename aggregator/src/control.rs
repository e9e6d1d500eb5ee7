//! What the HTTP API may ask of the process: state, settings, reload.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{Control, RuntimeInfo};
use clock::SharedClock;
use config::Settings;
use files::KeyValueError;
use model::{TimestampMs, format_duration};
use notifier::Notifier;
use rules::Rules;
use runtime::Tasks;
use telemetry::{LogHandle, Readiness};

use crate::alert_sinks::alertmanagers;
use crate::alerting_service::AlertingService;
use crate::config_of;
use crate::program::RELOADABLE;
use crate::retention_classes::retention_classes;
use crate::rule_config::RuleConfig;
use crate::store::LateStore;

/// The process, as the API sees it. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Process(Arc<Inner>);

struct Inner {
    started: TimestampMs,
    clock: SharedClock,
    store: LateStore,
    readiness: Readiness,
    tasks: Tasks,
    log: LogHandle,
    rules: Arc<Rules>,
    alerting: AlertingService,
    notifier: Notifier,
    reloadable: Mutex<Reloadable>,
}

struct Reloadable {
    settings: Settings,
    succeeded: bool,
    at: TimestampMs,
    /// Where HTTP listens, for links when no other address is given.
    address: String,
}

impl Process {
    pub(crate) fn new(
        settings: Settings,
        log: LogHandle,
        clock: SharedClock,
        (store, readiness, tasks): (LateStore, Readiness, Tasks),
        (rules, alerting, notifier): (Arc<Rules>, AlertingService, Notifier),
    ) -> Self {
        let now = TimestampMs::from(clock.wall());
        let reloadable = Mutex::new(Reloadable {
            settings,
            succeeded: true,
            at: now,
            address: String::new(),
        });
        Self(Arc::new(Inner {
            started: now,
            clock,
            store,
            readiness,
            tasks,
            log,
            rules,
            alerting,
            notifier,
            reloadable,
        }))
    }

    /// Loads the rules of the configuration, and to whom their alerts are sent, for the first time; `address` is where HTTP listens.
    pub(crate) fn begin_rules(&self, address: &str) -> anyhow::Result<()> {
        let mut reloadable = self.reloadable();
        address.clone_into(&mut reloadable.address);
        let config = RuleConfig::read(&reloadable.settings)?;
        self.0.notifier.load(alertmanagers(&reloadable.settings)?);
        self.load_rules(config, &reloadable.settings, address)?;
        Ok(())
    }

    fn load_rules(
        &self,
        config: RuleConfig,
        settings: &Settings,
        address: &str,
    ) -> Result<(), KeyValueError> {
        let evaluation = config.evaluation(settings, address);
        let now = TimestampMs::from(self.0.clock.wall());
        self.0.rules.load(config.files, evaluation, now)
    }

    fn reloadable(&self) -> MutexGuard<'_, Reloadable> {
        self.0
            .reloadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for Process {
    fn runtime(&self) -> RuntimeInfo {
        let reloadable = self.reloadable();
        RuntimeInfo {
            started: self.0.started,
            working_folder: std::env::current_dir()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            hostname: host_name(),
            reload_succeeded: reloadable.succeeded,
            last_reload: reloadable.at,
            damages: self.0.store.get().map_or(0, |store| store.stats().damages),
            tasks: self.0.tasks.count(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            retention: format_duration(reloadable.settings.duration("storage.retention.time")),
        }
    }

    fn configuration(&self) -> String {
        self.reloadable()
            .settings
            .file()
            .map(|(_, text)| alerting::shown(text))
            .unwrap_or_default()
    }

    fn flags(&self) -> Vec<(String, String)> {
        let reloadable = self.reloadable();
        reloadable
            .settings
            .shown()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn not_ready(&self) -> Option<String> {
        let unmet: Vec<String> = self
            .0
            .readiness
            .unmet()
            .iter()
            .map(ToString::to_string)
            .collect();
        (!unmet.is_empty()).then(|| unmet.join("; "))
    }

    fn reload(&self) -> Result<(), String> {
        let mut reloadable = self.reloadable();
        reloadable.at = TimestampMs::from(self.0.clock.wall());
        let read = reloadable.settings.reloaded().and_then(|settings| {
            retention_classes(&settings)?;
            let rules = RuleConfig::read(&settings)?;
            let alertmanagers = alertmanagers(&settings)?;
            Ok((settings, rules, alertmanagers))
        });
        let loaded = read.map_err(|mistakes| mistakes.to_string()).and_then(
            |(settings, rules, alertmanagers)| {
                self.0.alerting.reload(&settings)?;
                self.load_rules(rules, &settings, &reloadable.address)
                    .map_err(|error| format!("{error}: {}", error.source))?;
                self.0.notifier.load(alertmanagers);
                Ok(settings)
            },
        );
        reloadable.succeeded = loaded.is_ok();
        let settings = loaded.inspect_err(|mistakes| {
            tracing::error!(mistakes, "configuration not reloaded; the old one stays");
        })?;
        self.0.log.set_level(config_of::log_level(&settings));
        let changed: Vec<&str> = settings
            .shown()
            .zip(reloadable.settings.shown())
            .filter(|(new, old)| new != old && !RELOADABLE.contains(&new.0))
            .map(|(new, _)| new.0)
            .collect();
        if !changed.is_empty() {
            tracing::warn!(
                settings = changed.join(", "),
                "changed settings take effect at the next start"
            );
        }
        tracing::info!("configuration reloaded");
        reloadable.settings = settings;
        Ok(())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

/// Returns the machine's name, as the kernel has it.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}
