//! Watchdog timers: `class/watchdog`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Attribute, Folder, Scale};
use crate::host::Moment;
use crate::{Family, Paths, Sink};

/// A number of a watchdog, by its file.
macro_rules! number {
    ($file:literal, $name:literal) => {
        Attribute {
            file: $file,
            scale: Scale::One,
            family: Family::gauge(
                concat!("node_watchdog_", $name),
                concat!("Value of /sys/class/watchdog/<watchdog>/", $file),
                &["name"],
            ),
        }
    };
}

static NUMBERS: [Attribute; 7] = [
    number!("bootstatus", "bootstatus"),
    number!("fw_version", "fw_version"),
    number!("nowayout", "nowayout"),
    number!("timeleft", "timeleft_seconds"),
    number!("timeout", "timeout_seconds"),
    number!("pretimeout", "pretimeout_seconds"),
    number!("access_cs0", "access_cs0"),
];
static INFO: Family = Family::gauge(
    "node_watchdog_info",
    "Info of /sys/class/watchdog/<watchdog>",
    &[
        "name",
        "options",
        "identity",
        "state",
        "status",
        "pretimeout_governor",
    ],
);

#[derive(Debug)]
pub(super) struct Watchdog {
    timers: Folder,
}

impl Watchdog {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            timers: Folder::new(paths.sysfs.join("class/watchdog")),
        }
    }
}

impl Collector for Watchdog {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let timers = self
            .timers
            .folders()
            .map_err(|error| error.missing_as("there are no watchdogs"))?;
        for timer in timers {
            let name = timer.name();
            timer.sample(&NUMBERS, &[&name], sink)?;
            let text = |file| timer.text_or_empty(file);
            let (options, identity) = (text("options"), text("identity"));
            let (state, status) = (text("state"), text("status"));
            let governor = text("pretimeout_governor");
            let info = [&*name, &options, &identity, &state, &status, &governor];
            sink.sample(&INFO, &info, 1.0);
        }
        Ok(())
    }
}
