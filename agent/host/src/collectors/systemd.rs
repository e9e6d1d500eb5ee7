//! Units of systemd and their states, as its manager tells over the system bus.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use super::Collector;
use crate::dbus::{Bus, Call, Value};
use crate::error::CollectError;
use crate::host::Moment;
use crate::refresh::Refresh;
use crate::{Family, HostConfig, HostConfigError, Sink, filter};

const UNIT: &[&str] = &["name"];

static UNIT_STATE: Family = Family::gauge(
    "node_systemd_unit_state",
    "Systemd unit",
    &["name", "state", "type"],
);
static START_TIME: Family = Family::gauge(
    "node_systemd_unit_start_time_seconds",
    "Start time of the unit since unix epoch in seconds.",
    UNIT,
);
static TASKS: Family = Family::gauge(
    "node_systemd_unit_tasks_current",
    "Current number of tasks per Systemd unit",
    UNIT,
);
static TASKS_MAX: Family = Family::gauge(
    "node_systemd_unit_tasks_max",
    "Maximum number of tasks per Systemd unit",
    UNIT,
);
static UNITS: Family = Family::gauge(
    "node_systemd_units",
    "Summary of systemd unit states",
    &["state"],
);
static RESTARTS: Family = Family::counter(
    "node_systemd_service_restart_total",
    "Service unit count of Restart triggers",
    UNIT,
);
static LAST_TRIGGER: Family = Family::gauge(
    "node_systemd_timer_last_trigger_seconds",
    "Seconds since epoch of last trigger.",
    UNIT,
);
/// By their properties.
static SOCKET: [(&str, Family); 3] = [
    (
        "NAccepted",
        Family::counter(
            "node_systemd_socket_accepted_connections_total",
            "Total number of accepted socket connections",
            UNIT,
        ),
    ),
    (
        "NConnections",
        Family::gauge(
            "node_systemd_socket_current_connections",
            "Current number of socket connections",
            UNIT,
        ),
    ),
    (
        "NRefused",
        Family::gauge(
            "node_systemd_socket_refused_connections_total",
            "Total number of refused socket connections",
            UNIT,
        ),
    ),
];
static RUNNING: Family = Family::gauge(
    "node_systemd_system_running",
    "Whether the system is operational (see 'systemctl is-system-running')",
    &[],
);
static VERSION: Family = Family::gauge(
    "node_systemd_version",
    "Detected systemd version",
    &["version"],
);
static VIRTUALIZATION: Family = Family::gauge(
    "node_systemd_virtualization_info",
    "Detected virtualization technology",
    &["virtualization_type"],
);

const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MICROSECONDS: f64 = 1e6;

/// The most units that are looked at.
const UNITS_MAX: usize = 8_192;
/// How long the types of services are believed: they change when units are written anew.
const PERIOD: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Systemd {
    socket: PathBuf,
    include: Regex,
    exclude: Regex,
    restarts: bool,
    start_times: bool,
    tasks: bool,
    bus: Option<Bus>,
    refresh: Refresh,
    /// Types of services, by name.
    types: HashMap<String, String>,
}

#[derive(Debug, PartialEq)]
struct Unit {
    name: String,
    is_loaded: bool,
    state: String,
    path: String,
}

impl Systemd {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let options = &config.systemd;
        let whole = |option, text: &Option<String>| {
            let text = text.as_deref().unwrap_or_default();
            filter::pattern(option, &format!("^(?:{text})$"))
        };
        Ok(Self {
            socket: (config.paths).in_rootfs(Path::new("/run/dbus/system_bus_socket")),
            include: whole("collector.systemd.unit-include", &options.units.include)?,
            exclude: whole("collector.systemd.unit-exclude", &options.units.exclude)?,
            restarts: options.restarts,
            start_times: options.start_times,
            tasks: options.tasks,
            bus: None,
            refresh: Refresh::every(PERIOD),
            types: HashMap::new(),
        })
    }

    fn takes(&self, unit: &Unit) -> bool {
        unit.is_loaded && self.include.is_match(&unit.name) && !self.exclude.is_match(&unit.name)
    }

    fn sample(&mut self, bus: &mut Bus, sink: &mut dyn Sink) -> io::Result<()> {
        sample_manager(bus, sink)?;
        let units = list_units(bus)?;
        for state in STATES {
            let count = units.iter().filter(|unit| unit.state == state).count();
            sink.sample(&UNITS, &[state], count as f64);
        }
        for unit in &units {
            if self.takes(unit) {
                self.sample_unit(bus, unit, sink)?;
            }
        }
        Ok(())
    }

    fn sample_unit(&mut self, bus: &mut Bus, unit: &Unit, sink: &mut dyn Sink) -> io::Result<()> {
        let name = &*unit.name;
        let mut ask = Asking { bus, unit };
        let (_, kind) = name.rsplit_once('.').unwrap_or_default();
        let mut service_type = "";
        if kind == "service" {
            if !self.types.contains_key(name) {
                let found = ask.text("Service", "Type")?.unwrap_or_default();
                self.types.insert(name.to_owned(), found);
            }
            service_type = self.types.get(name).map_or("", String::as_str);
        }
        for state in STATES {
            let is_it = f64::from(u8::from(state == unit.state));
            sink.sample(&UNIT_STATE, &[name, state, service_type], is_it);
        }
        let mut sample = |family: &Family, value: Option<f64>| {
            if let Some(value) = value {
                sink.sample(family, &[name], value);
            }
        };
        match kind {
            "service" => {
                if self.restarts {
                    sample(&RESTARTS, ask.number("Service", "NRestarts")?);
                }
                if self.tasks {
                    for (property, family) in [("TasksCurrent", &TASKS), ("TasksMax", &TASKS_MAX)] {
                        // One that does not count, or has no limit, has the greatest number.
                        let number = ask.number("Service", property)?;
                        sample(family, number.filter(|number| *number < u64::MAX as f64));
                    }
                }
            }
            "timer" => {
                let last = ask.number("Timer", "LastTriggerUSec")?;
                sample(&LAST_TRIGGER, last.map(|last| last / MICROSECONDS));
            }
            "socket" => {
                for (property, family) in &SOCKET {
                    sample(family, ask.number("Socket", property)?);
                }
            }
            _ => {}
        }
        if self.start_times {
            let since = match unit.state.as_str() {
                "active" => ask.number("Unit", "ActiveEnterTimestamp")?,
                _ => Some(0.0),
            };
            sample(&START_TIME, since.map(|since| since / MICROSECONDS));
        }
        Ok(())
    }
}

impl Collector for Systemd {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if self.refresh.due(moment.now) {
            self.types.clear();
        }
        let failed = |source| CollectError::System {
            call: "ask systemd over the system bus",
            source,
        };
        let mut bus = match self.bus.take() {
            Some(bus) => bus,
            None => Bus::connect(&self.socket).map_err(failed)?,
        };
        // After an error the bus may hold the rest of an answer: it is dropped, and the next collection connects anew.
        self.sample(&mut bus, sink).map_err(failed)?;
        self.bus = Some(bus);
        Ok(())
    }
}

fn sample_manager(bus: &mut Bus, sink: &mut dyn Sink) -> io::Result<()> {
    let mut text = |name| match bus.property(SYSTEMD, MANAGER_PATH, MANAGER, name)? {
        Value::Text(text) => Ok(text),
        Value::Number(_) => Err(io::Error::other("a number is no text")),
    };
    let is_running = text("SystemState")? == "running";
    sink.sample(&RUNNING, &[], f64::from(u8::from(is_running)));
    let version = text("Version")?;
    sink.sample(&VERSION, &[&version], number_of(&version));
    let virtualization = match text("Virtualization")? {
        none if none.is_empty() => "none".to_owned(),
        found => found,
    };
    sink.sample(&VIRTUALIZATION, &[&virtualization], 1.0);
    Ok(())
}

/// Returns the number in `252.19-1~deb12u1`: 252.19; 0 when there is none.
fn number_of(version: &str) -> f64 {
    let start = version
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(version.len());
    let digits = version.get(start..).unwrap_or_default();
    let mut dots = 0;
    let end = digits
        .find(|c: char| {
            dots += usize::from(c == '.');
            !(c.is_ascii_digit() || (c == '.' && dots == 1))
        })
        .unwrap_or(digits.len());
    let number = digits.get(..end).unwrap_or_default().trim_end_matches('.');
    number.parse().unwrap_or_default()
}

fn list_units(bus: &mut Bus) -> io::Result<Vec<Unit>> {
    let reply = bus.call(Call {
        destination: SYSTEMD,
        path: MANAGER_PATH,
        interface: MANAGER,
        member: "ListUnits",
        arguments: &[],
    })?;
    let mut values = reply.values();
    let mut read = || {
        let end = values.array_of_structs()?;
        let mut units = Vec::new();
        while !values.is_at(end) && units.len() < UNITS_MAX {
            values.align(8);
            // Name, description, load state, state, substate, the unit it follows, its object.
            let [name, _, load, state, _, _, path] = [(); 7].map(|()| values.text());
            // The number, type and object of a job.
            values.u32()?;
            values.text()?;
            values.text()?;
            units.push(Unit {
                name: name?.to_owned(),
                is_loaded: load? == "loaded",
                state: state?.to_owned(),
                path: path?.to_owned(),
            });
        }
        Some(units)
    };
    read().ok_or_else(|| io::Error::other("the list of units is cut off"))
}

/// Asks for properties of a unit.
struct Asking<'a> {
    bus: &'a mut Bus,
    unit: &'a Unit,
}

impl Asking<'_> {
    fn number(&mut self, kind: &str, property: &str) -> io::Result<Option<f64>> {
        Ok(self
            .property(kind, property)?
            .and_then(|value| match value {
                Value::Number(number) => Some(number),
                Value::Text(_) => None,
            }))
    }

    fn text(&mut self, kind: &str, property: &str) -> io::Result<Option<String>> {
        Ok(self
            .property(kind, property)?
            .and_then(|value| match value {
                Value::Text(text) => Some(text),
                Value::Number(_) => None,
            }))
    }

    /// A unit may be gone meanwhile, and an old systemd does not know every property.
    fn property(&mut self, kind: &str, property: &str) -> io::Result<Option<Value>> {
        let interface = format!("{SYSTEMD}.{kind}");
        match self
            .bus
            .property(SYSTEMD, &self.unit.path, &interface, property)
        {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::Other => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use clock::Monotonic;

    use super::*;
    use crate::dbus::fake;
    use crate::{Paths, Snapshot};

    #[test]
    fn units_are_shown_with_what_their_kinds_have() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run/dbus");
        std::fs::create_dir_all(&run).unwrap();
        let listener = UnixListener::bind(run.join("system_bus_socket")).unwrap();
        let units = fake::units(&[
            ["a.service", "loaded", "active", "/a"],
            ["b.timer", "loaded", "failed", "/b"],
            ["c.device", "loaded", "active", "/c"],
            ["d.service", "not-found", "inactive", "/d"],
        ]);
        let bodies = [
            fake::text(":1.1"),
            fake::variant("degraded"),
            fake::variant("252.19-1~deb12u1"),
            fake::variant(""),
            units,
            fake::variant("notify"),
            fake::number(3),
            fake::number(2_500_000),
        ];
        let server = thread::spawn(move || fake::serve(&listener, &fake::replies(&bodies)));
        let mut config = HostConfig {
            paths: Paths {
                rootfs: folder.path().to_owned(),
                ..Paths::default()
            },
            ..HostConfig::default()
        };
        config.systemd.restarts = true;
        let mut snapshot = Snapshot::new();
        let moment = Moment {
            now: Monotonic::ORIGIN,
            wall: std::time::SystemTime::UNIX_EPOCH,
            patience: Duration::ZERO,
        };
        Systemd::new(&config)
            .unwrap()
            .collect(moment, &mut snapshot)
            .unwrap();
        server.join().unwrap();
        let mut shown = Vec::new();
        for family in snapshot.into_families() {
            for sample in family.samples.iter().filter(|sample| sample.value != 0.0) {
                let labels = sample.labels.iter().map(|(_, value)| value.as_str());
                let labels = labels.collect::<Vec<_>>().join(" ");
                let name = family.name.strip_prefix("node_systemd_").unwrap();
                shown.push(format!("{name} [{labels}] {}", sample.value));
            }
        }
        let expected = [
            "service_restart_total [a.service] 3",
            "timer_last_trigger_seconds [b.timer] 2.5",
            "unit_state [a.service active notify] 1",
            "unit_state [b.timer failed ] 1",
            "units [active] 2",
            "units [failed] 1",
            "units [inactive] 1",
            "version [252.19-1~deb12u1] 252.19",
            "virtualization_info [none] 1",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn versions_are_numbers() {
        for (text, number) in [
            ("252.19-1~deb12u1", 252.19),
            ("v257.2.1", 257.2),
            ("255", 255.0),
            ("255.", 255.0),
            ("devel", 0.0),
        ] {
            assert_eq!(number_of(text), number, "{text}");
        }
    }
}
