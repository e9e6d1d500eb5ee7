//! Who is told of what rules find: our own alerting, and Alertmanagers that run elsewhere.

use alerting::Reach;
use config::{Mistakes, Settings};
use notifier::{Alert, Config, Notifier, NotifierConfig};
use rules::{AlertSink, Amendment, Notice};
use runtime::Timer;
use telemetry::Registry;

use crate::alerting_service::AlertingService;
use crate::config_of;

/// Both at once.
#[derive(Debug)]
pub(crate) struct AlertSinks {
    pub(crate) alerting: AlertingService,
    pub(crate) notifier: Notifier,
}

impl AlertSink for AlertSinks {
    fn notify(&self, notices: Vec<Notice>) {
        self.notifier.send(notices.iter().map(alert));
        self.alerting.notify(notices);
    }

    /// Our own ledger alone: nobody else is told of the past.
    fn amend(&self, amendments: Vec<Amendment>) {
        self.alerting.amend(amendments);
    }
}

fn alert(notice: &Notice) -> Alert {
    Alert {
        labels: notice.labels.clone(),
        annotations: notice.annotations.clone(),
        starts_at: notice.starts_at,
        ends_at: notice.ends_at,
        generator_url: notice.generator_url.clone(),
    }
}

/// Returns a notifier with these settings that sends to nobody yet.
pub(crate) fn notifier(settings: &Settings, timer: Timer, registry: &Registry) -> Notifier {
    let config = NotifierConfig {
        queue_capacity: config_of::count(settings, "alertmanager.notification-queue-capacity")
            as usize,
        batch_max: config_of::count(settings, "alertmanager.notification-batch-size") as usize,
        drains: settings.switch("alertmanager.drain-notification-queue-on-shutdown"),
        reach: if settings.switch("alertmanager.allow-link-local") {
            Reach::Anywhere
        } else {
            Reach::Ordinary
        },
    };
    Notifier::new(config, timer, registry)
}

/// Reads to which Alertmanagers alerts are sent.
pub(crate) fn alertmanagers(settings: &Settings) -> Result<Config, Mistakes> {
    match settings.file() {
        Some((path, text)) => Config::read(path, text),
        None => Ok(Config::default()),
    }
}
