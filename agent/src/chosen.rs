//! Some collectors only, for a scraper that asks for them: `/metrics?collect[]=NAME`, `/metrics?exclude[]=NAME`.
//!
//! The last rows do not say which collector a series is of, so these are collected when they are asked for, as node_exporter does.

use std::collections::BTreeSet;

use clock::SharedClock;
use exposition::{Format, Writer};
use host::{CollectorName, Host, HostConfig};
use runtime::Tasks;
use tokio::sync::Mutex;

/// Collects what is asked for, one request at a time.
#[derive(Debug)]
pub(crate) struct ChosenCollectors {
    config: HostConfig,
    clock: SharedClock,
    tasks: Tasks,
    turn: Mutex<()>,
}

/// Why a choice is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// Both kinds of parameters were given.
    #[error("collect[] and exclude[] are both given; remove one of them")]
    Both,
    /// There is no such collector.
    #[error("{0}")]
    Unknown(#[from] host::UnknownCollector),
    /// The collector does not run.
    #[error("the collector {0} is off; start the agent with --{option}", option = .0.option())]
    Off(CollectorName),
    /// The collection broke.
    #[error("the collection failed: {0}")]
    Broken(String),
}

impl ChosenCollectors {
    pub(crate) fn new(config: HostConfig, clock: SharedClock, tasks: Tasks) -> Self {
        Self {
            config,
            clock,
            tasks,
            turn: Mutex::new(()),
        }
    }

    /// Collects the chosen ones into an exposition; of `collect` and `exclude` one must be empty.
    pub(crate) async fn expose(
        &self,
        collect: &[&str],
        exclude: &[&str],
        format: Format,
    ) -> Result<String, ChoiceError> {
        let config = self.choose(collect, exclude)?;
        let _turn = self.turn.lock().await;
        let clock = SharedClock::clone(&self.clock);
        let collecting = self.tasks.spawn_blocking("chosen collectors", move || {
            Host::new(&config, clock).map(|mut host| exposed(&mut host, format))
        });
        match collecting.await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(ChoiceError::Broken(error.to_string())),
            Err(error) => Err(ChoiceError::Broken(error.to_string())),
        }
    }

    fn choose(&self, collect: &[&str], exclude: &[&str]) -> Result<HostConfig, ChoiceError> {
        if !collect.is_empty() && !exclude.is_empty() {
            return Err(ChoiceError::Both);
        }
        let named = |names: &[&str]| -> Result<BTreeSet<CollectorName>, ChoiceError> {
            let names = names.iter().map(|name| {
                let name = name.parse()?;
                let is_on = self.config.collectors.contains_key(&name);
                is_on.then_some(name).ok_or(ChoiceError::Off(name))
            });
            names.collect()
        };
        let (collect, exclude) = (named(collect)?, named(exclude)?);
        let mut config = self.config.clone();
        config.collectors.retain(|name, _| {
            (collect.is_empty() || collect.contains(name)) && !exclude.contains(name)
        });
        Ok(config)
    }
}

/// Runs the collectors once and writes what they say.
pub fn exposed(host: &mut Host, format: Format) -> String {
    let mut text = String::new();
    let mut writer = Writer::new(format, &mut text);
    for family in host.expose() {
        family.write(&mut writer);
    }
    writer.finish();
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::SystemClock;

    use super::*;

    fn chosen(collect: &[&str], exclude: &[&str]) -> Result<Vec<&'static str>, String> {
        let mut config = HostConfig::default();
        config.collectors.retain(|name, _| {
            [
                CollectorName::Loadavg,
                CollectorName::Os,
                CollectorName::Time,
            ]
            .contains(name)
        });
        let tasks = Tasks::new("test");
        let all = ChosenCollectors::new(config, Arc::new(SystemClock::new()), tasks);
        match all.choose(collect, exclude) {
            Ok(config) => Ok(config.collectors.keys().map(|name| name.as_str()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn some_are_chosen_or_left_out() {
        assert_eq!(chosen(&["time", "os"], &[]).unwrap(), ["os", "time"]);
        assert_eq!(chosen(&[], &["time"]).unwrap(), ["loadavg", "os"]);
        for (collect, exclude, part) in [
            (&["os"][..], &["time"][..], "both given"),
            (&["cpus"], &[], "there is no collector"),
            (&["cpu"], &[], "--collector.cpu"),
        ] {
            let error = chosen(collect, exclude).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
