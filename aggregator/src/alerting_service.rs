//! Alerting as part of the service: its configuration file, its store, its metrics.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alerting::{
    Alerting, Config, IntegrationKind, Late, MatcherMode, Pipeline, PipelineLimits, Reach, Sender,
    SenderConfig, load_templates, shown,
};
use anyhow::Context;
use api::{AlertmanagerApi, Cluster};
use clock::SharedClock;
use config::Settings;
use files::{Journaled, SharedFileSystem};
use model::TimestampMs;
use rules::{AlertSink, AlertState, Amendment, Notice};
use telemetry::{Gauge, Registry};
use template::{Time, Zone};

use crate::config_of::float;
use crate::pair_service::pair_config;

/// What is kept of alerts, silences and notifications, in the data folder.
pub(crate) const DATABASE: &str = "alerting.redb";
/// What holds without a configuration file: alerts are seen, and nobody is told.
const NOBODY: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";
/// How long a service may take to answer, when its integration says nothing else.
const SEND_WITHIN: Duration = Duration::from_secs(30);

/// Alerting and the configuration that it runs with. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct AlertingService {
    pub(crate) alerting: Alerting,
    clock: SharedClock,
    shown: Arc<Mutex<String>>,
    succeeded: Gauge,
}

impl AlertingService {
    /// Goes on where an earlier run has ended.
    pub(crate) fn open(
        settings: &Settings,
        files: &SharedFileSystem,
        clock: SharedClock,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let loaded = Loaded::read(settings, &clock).map_err(|mistakes| {
            anyhow::anyhow!("the alerting configuration is wrong:\n{mistakes}")
        })?;
        let path = settings.path("storage.path").join(DATABASE);
        let store = Journaled::open(files, &path)?;
        let url = settings.optional_text("web.external-url");
        let mut pipeline = Pipeline::new(
            Arc::new(loaded.config),
            url.unwrap_or_default().trim_end_matches('/').to_owned(),
            limits(settings),
        );
        let telling = Arc::clone(&clock);
        let now = Arc::new(move || TimestampMs::from(telling.wall()));
        if let Some(config) = pair_config(settings)? {
            pipeline = pipeline.in_pair(config, TimestampMs::from(clock.wall()));
        }
        let alerting = Alerting::open(pipeline, Arc::new(loaded.sender), store, now)
            .context("cannot read what an earlier run left of alerts")?;
        show(registry, &alerting);
        let succeeded = registry.gauge(
            "promontory_alerting_config_last_reload_successful",
            "Whether the alerting configuration was good when it was last read.",
        );
        succeeded.set(1.0);
        Ok(Self {
            alerting,
            clock,
            shown: Arc::new(Mutex::new(loaded.shown)),
            succeeded,
        })
    }

    /// Reads the configuration file again; when it is wrong, says so, and the running configuration stays.
    pub(crate) fn reload(&self, settings: &Settings) -> Result<(), String> {
        let reloaded = Loaded::read(settings, &self.clock).and_then(|loaded| {
            let config = Arc::new(loaded.config);
            self.alerting
                .reconfigure(config, Arc::new(loaded.sender))
                .map_err(|error| error.to_string())?;
            let pair = self.alerting.see(|pipeline, _| pipeline.pair());
            if pair.and_then(|pair| pair.has_same_config) == Some(false) {
                tracing::warn!("the other aggregator of the pair has another configuration of alerting as yet; give it the same, and reload it");
            }
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = loaded.shown;
            Ok(())
        });
        self.succeeded.set(f64::from(u8::from(reloaded.is_ok())));
        reloaded
    }

    /// Returns what the API shows.
    pub(crate) fn api(
        &self,
        cluster: Option<Arc<dyn Fn() -> Cluster + Send + Sync>>,
    ) -> AlertmanagerApi {
        let shown = Arc::clone(&self.shown);
        let configuration = move || {
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.clone()
        };
        AlertmanagerApi {
            alerting: self.alerting.clone(),
            configuration: Arc::new(configuration),
            cluster,
        }
    }
}

/// Rules tell alerting of their alerts.
impl AlertSink for AlertingService {
    fn notify(&self, notices: Vec<Notice>) {
        let posted = notices.iter().map(backtest::posted);
        // What is not durable is told again: see `AlertSink`.
        if let Err(error) = self
            .alerting
            .change(|pipeline, now| pipeline.take(posted, now))
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot keep alerts of rules durably"
            );
        }
    }

    /// Writes into the ledger which alerts fired, and which did not; of pending ones it knows nothing.
    fn amend(&self, amendments: Vec<Amendment>) {
        let mut firing = amendments;
        firing.retain(|one| one.state == AlertState::Firing);
        if firing.is_empty() {
            return;
        }
        let amended = self.alerting.change(|pipeline, now| {
            for one in &firing {
                let late = Late {
                    start: one.at,
                    end: one.until,
                    fired: one.holds,
                };
                pipeline.amend(&one.labels, late, now);
            }
        });
        if let Err(error) = amended {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot keep durably what alerts were"
            );
        }
    }
}

/// A configuration that was read, and what sends by it.
struct Loaded {
    config: Config,
    sender: Sender,
    shown: String,
}

impl Loaded {
    fn read(settings: &Settings, clock: &SharedClock) -> Result<Self, String> {
        let path = settings.optional_path("alertmanager.config-file");
        let (path, text) = match path {
            Some(path) => (path.to_owned(), read(path)?),
            None => (PathBuf::new(), NOBODY.to_owned()),
        };
        let config = Config::parse(&path, &text, MatcherMode::Fallback, &local_zone())
            .map_err(|mistakes| mistakes.to_string())?;
        for warning in &config.warnings {
            tracing::warn!(warning, "alerting configuration");
        }
        let templates = load_templates(&config.templates).map_err(|error| error.to_string())?;
        let clock = Arc::clone(clock);
        let sender = SenderConfig {
            reach: if settings.switch("alertmanager.allow-link-local") {
                Reach::Anywhere
            } else {
                Reach::Ordinary
            },
            within: SEND_WITHIN,
            now: Arc::new(move || Time::from_unix_ms(TimestampMs::from(clock.wall()).0)),
        };
        Ok(Self {
            config,
            sender: Sender::new(templates, sender),
            shown: shown(&text),
        })
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Returns the machine's time zone, UTC where it has none that is known.
pub(crate) fn local_zone() -> Zone {
    let link = std::fs::read_link("/etc/localtime").unwrap_or_default();
    let link = link.to_string_lossy();
    let name = link.split_once("zoneinfo/").map(|(_, name)| name);
    name.and_then(Zone::named).unwrap_or_else(Zone::utc)
}

fn limits(settings: &Settings) -> PipelineLimits {
    let number = |name| usize::try_from(settings.number(name)).unwrap_or(usize::MAX);
    PipelineLimits {
        alerts: number("alertmanager.max-alerts"),
        alerts_per_name: number("alertmanager.alerts-per-name"),
        silences: number("alertmanager.max-silences"),
        retention: settings.duration("alertmanager.retention"),
        ..PipelineLimits::default()
    }
}

/// Shows what alerting counts, by Alertmanager's names with our prefix.
fn show(registry: &Registry, alerting: &Alerting) {
    let received = registry.counter_family(
        "promontory_alerting_alerts_received_total",
        "Alerts taken, by their status.",
        ["status"],
        8,
    );
    let invalid = registry.counter(
        "promontory_alerting_alerts_invalid_total",
        "Alerts that made no sense.",
    );
    let refused = registry.counter_family(
        "promontory_alerting_refused_total",
        "Alerts refused, and alerts that found no group, because there are too many.",
        ["what"],
        8,
    );
    let notifications = registry.counter_family(
        "promontory_alerting_notifications_total",
        "Notifications decided on.",
        ["integration"],
        18,
    );
    let failed = registry.counter_family(
        "promontory_alerting_notifications_failed_total",
        "Notifications given up, or replaced before they were delivered.",
        ["integration", "reason"],
        144,
    );
    let requests = registry.counter_family(
        "promontory_alerting_notification_requests_total",
        "Attempts to deliver a notification.",
        ["integration"],
        18,
    );
    let requests_failed = registry.counter_family(
        "promontory_alerting_notification_requests_failed_total",
        "Attempts that failed.",
        ["integration"],
        18,
    );
    let suppressed = registry.counter_family(
        "promontory_alerting_suppressed_total",
        "Alerts (time intervals: groups) kept quiet when their group was looked at.",
        ["reason"],
        8,
    );
    let unreadable = registry.counter(
        "promontory_alerting_unreadable_records_total",
        "Records of the store that could not be read at the start.",
    );
    let sizes = registry.gauge_family(
        "promontory_alerting_entries",
        "What is kept: alerts, groups, notifications on their way, entries of the notification log, events of the ledger.",
        ["what"],
        8,
    );
    let silences = registry.gauge_family(
        "promontory_alerting_silences",
        "Silences, by state.",
        ["state"],
        8,
    );
    let alerting = alerting.clone();
    registry.on_gather(move || {
        let (counts, shown_sizes, states) = alerting.see(|pipeline, now| {
            (
                pipeline.counts().clone(),
                pipeline.sizes(),
                pipeline.silence_counts(now),
            )
        });
        let total = float;
        received
            .with(["firing"])
            .raise_to(total(counts.received_firing));
        received
            .with(["resolved"])
            .raise_to(total(counts.received_resolved));
        invalid.raise_to(total(counts.received_invalid));
        refused
            .with(["alert"])
            .raise_to(total(counts.refused_alerts));
        refused
            .with(["group"])
            .raise_to(total(counts.refused_groups));
        unreadable.raise_to(total(counts.unreadable_records));
        for (reason, count) in &counts.suppressed {
            suppressed.with([reason]).raise_to(total(*count));
        }
        for kind in IntegrationKind::ALL {
            let of = |counts: &std::collections::BTreeMap<IntegrationKind, u64>| {
                total(counts.get(kind).copied().unwrap_or_default())
            };
            notifications
                .with([kind.name()])
                .raise_to(of(&counts.notifications));
            requests.with([kind.name()]).raise_to(of(&counts.attempts));
            requests_failed
                .with([kind.name()])
                .raise_to(of(&counts.attempts_failed));
        }
        for ((kind, reason), count) in &counts.notifications_failed {
            failed
                .with([kind.name(), reason.name()])
                .raise_to(total(*count));
        }
        for (what, count) in [
            ("alert", shown_sizes.alerts),
            ("group", shown_sizes.groups),
            ("notification", shown_sizes.on_their_way),
            ("log", shown_sizes.log),
            ("event", shown_sizes.events),
        ] {
            sizes.with([what]).set_count(count);
        }
        for (state, count) in states {
            silences.with([state.name()]).set_count(count);
        }
    });
}

#[cfg(test)]
mod tests {
    use alerting::HistoryFilter;
    use clock::SystemClock;
    use config::Environment;
    use files::Simulated;
    use model::Labels;

    use super::*;
    use crate::program;

    #[test]
    fn what_rules_find_late_of_alerts_that_fire_is_in_the_ledger() {
        let line = ["promontory", "aggregator", "--storage.path", "/data"];
        let line = line.map(std::ffi::OsString::from);
        let read = program::program().read(line, Environment::default(), program::SECTIONS);
        let Ok(invocation) = read else {
            panic!("the settings are good")
        };
        let files: SharedFileSystem = Arc::new(Simulated::new());
        files.create_folders(Path::new("/data")).unwrap();
        let clock: SharedClock = Arc::new(SystemClock::new());
        let registry = Registry::new();
        let service =
            AlertingService::open(&invocation.settings, &files, clock, &registry).unwrap();
        let amendment = |minute: i64, state: AlertState, holds: bool| Amendment {
            labels: Labels::from_pairs([("alertname", "A")]).unwrap(),
            at: TimestampMs(minute * 60_000),
            until: TimestampMs((minute + 1) * 60_000),
            state,
            holds,
        };
        service.amend(vec![amendment(1, AlertState::Pending, true)]);
        for minute in 2..5 {
            service.amend(vec![
                amendment(minute, AlertState::Pending, false),
                amendment(minute, AlertState::Firing, true),
            ]);
        }
        let filter = HistoryFilter {
            limit: 9,
            ..HistoryFilter::default()
        };
        let late: Vec<Late> = service.alerting.see(|pipeline, _| {
            let events = pipeline.history(&filter).into_iter();
            events.filter_map(|event| event.late).collect()
        });
        let expected = Late {
            start: TimestampMs(2 * 60_000),
            end: TimestampMs(5 * 60_000),
            fired: true,
        };
        assert_eq!(late, [expected]);
    }
}
