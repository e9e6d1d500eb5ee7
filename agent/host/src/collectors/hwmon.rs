//! Sensors: `class/hwmon`.
//!
//! A chip is a folder of files such as `temp1_input`: a kind of sensor, its number, an element. Names of metrics follow from kind and
//! element; two chips may have the same name, and sensors may lie in the chip's folder as well as in that of its device.

use std::collections::BTreeMap;
use std::fs;

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::FamilyCache;
use crate::filter::{Filter, OptionNames};
use crate::folder::{Folder, Scale};
use crate::host::Moment;
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

static CHIP_NAMES: Family = Family::gauge(
    "node_hwmon_chip_names",
    "Annotation metric for human-readable chip names",
    &["chip", "chip_name"],
);
static LABEL: Family = Family::gauge(
    "node_hwmon_sensor_label",
    "Label for given chip and sensor",
    &["chip", "sensor", "label"],
);

const SENSOR: &[&str] = &["chip", "sensor"];

/// The kinds of sensors that are reported.
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

const MILLI: Scale = Scale::Times(0.001);
const MICRO: Scale = Scale::Per(1e6);

#[derive(Debug)]
pub(super) struct Hwmon {
    chips: Folder,
    chip_filter: Filter,
    sensor_filter: Filter,
    /// By kind and element.
    families: FamilyCache,
}

/// What is read of a sensor, by element.
type Elements = BTreeMap<String, String>;

impl Hwmon {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let chips = OptionNames {
            include: "collector.hwmon.chip-include",
            exclude: "collector.hwmon.chip-exclude",
        };
        let sensors = OptionNames {
            include: "collector.hwmon.sensor-include",
            exclude: "collector.hwmon.sensor-exclude",
        };
        Ok(Self {
            chips: Folder::new(config.paths.sysfs.join("class/hwmon")),
            chip_filter: Filter::of_devices(chips, &config.hwmon_chips, None)?,
            sensor_filter: Filter::of_devices(sensors, &config.hwmon_sensors, None)?,
            families: FamilyCache::default(),
        })
    }

    fn sample_chip(
        &mut self,
        chip: &str,
        folder: &Folder,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        let mut sensors = BTreeMap::new();
        read_sensors(folder, &mut sensors)?;
        let device = folder.folder("device");
        if device.exists() {
            read_sensors(&device, &mut sensors)?;
        }
        let name = clean(&folder.text_or_empty("name"));
        if !name.is_empty() {
            sink.sample(&CHIP_NAMES, &[chip, &name], 1.0);
        }
        for ((kind, number), elements) in &sensors {
            let sensor = format!("{kind}{number}");
            if self.sensor_filter.takes(&format!("{chip};{sensor}")) {
                self.sample_sensor(chip, &sensor, kind, elements, sink);
            }
        }
        Ok(())
    }

    fn sample_sensor(
        &mut self,
        chip: &str,
        sensor: &str,
        kind: &str,
        elements: &Elements,
        sink: &mut dyn Sink,
    ) {
        let label = elements.get("label");
        if let Some(label) = label {
            sink.sample(&LABEL, &[chip, sensor, label], 1.0);
        }
        for (element, text) in elements.iter().filter(|(element, _)| *element != "label") {
            let Some(number) = scan::float(text.as_bytes()) else {
                continue;
            };
            // A frequency is called by its label, and without one it is not shown.
            let is_frequency = kind == "freq" && element == "input";
            let clean_label = label.filter(|_| is_frequency).map(|label| clean(label));
            if is_frequency && clean_label.is_none() {
                continue;
            }
            let reading = Reading {
                kind,
                element,
                has_value: elements.contains_key(""),
            };
            let key = format!("{kind} {element} {}", reading.has_value);
            if let Some(family) = self.families.get(&key, || Some(reading.family())) {
                let sensor = clean_label.as_deref().unwrap_or(sensor);
                sink.sample(family, &[chip, sensor], reading.scale().of(number));
            }
        }
    }
}

impl Collector for Hwmon {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let folders = self
            .chips
            .folders()
            .map_err(|error| error.missing_as("there are no sensors"))?;
        let mut outcome = Ok(());
        for (chip, folder) in named(folders) {
            if self.chip_filter.takes(&chip) {
                // A chip that cannot be read does not hide the others.
                if let Err(error) = self.sample_chip(&chip, &folder, sink) {
                    outcome = Err(error);
                }
            }
        }
        outcome
    }
}

/// Returns the chips with their names: those of their devices, with the chip's own after it where a device has several, or `hwmonN`
/// where that tells them no better apart.
fn named(folders: Vec<Folder>) -> Vec<(String, Folder)> {
    let mut named: Vec<(String, Folder)> = folders
        .into_iter()
        .map(|folder| (chip_name(&folder), folder))
        .collect();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in &named {
        *count.entry(name.clone()).or_default() += 1;
    }
    for (name, folder) in &mut named {
        if count.get(name).is_some_and(|count| *count > 1) {
            let own = match clean(&folder.text_or_empty("name")) {
                own if own.is_empty() || own == *name => clean(&folder.name()),
                own => own,
            };
            *name = format!("{name}_{own}");
        }
    }
    named
}

/// A stable name: that of the device and of the folder it lies in, else of the chip, else `hwmonN`.
fn chip_name(folder: &Folder) -> String {
    if let Ok(device) = fs::canonicalize(folder.path().join("device")) {
        let part = |path: Option<&std::path::Path>| {
            clean(
                &path
                    .and_then(|path| path.file_name())
                    .unwrap_or_default()
                    .to_string_lossy(),
            )
        };
        let (name, kind) = (part(Some(&device)), part(device.parent()));
        if !name.is_empty() {
            return if kind.is_empty() {
                name
            } else {
                format!("{kind}_{name}")
            };
        }
    }
    match clean(&folder.text_or_empty("name")) {
        name if name.is_empty() => {
            let path = fs::canonicalize(folder.path()).unwrap_or_else(|_| folder.path().to_owned());
            clean(&path.file_name().unwrap_or_default().to_string_lossy())
        }
        name => name,
    }
}

/// Reads the files of sensors; those that cannot be read are left out.
fn read_sensors(
    folder: &Folder,
    sensors: &mut BTreeMap<(String, u32), Elements>,
) -> Result<(), CollectError> {
    for file in folder.entries()? {
        if let Some((kind, number, element)) = parse_file(&file)
            && let Ok(text) = folder.text(&file)
        {
            let elements = sensors.entry((kind.to_owned(), number)).or_default();
            elements.insert(element.to_owned(), text);
        }
    }
    Ok(())
}

/// Splits `temp1_max_alarm` into kind, number and element; the number may be missing, and so may the element.
fn parse_file(file: &str) -> Option<(&str, u32, &str)> {
    let digit = |c: char| c.is_ascii_digit();
    let end = file.find(digit).unwrap_or(file.len());
    let (kind, rest) = file.split_at_checked(end)?;
    let digits = rest.find(|c| !digit(c)).unwrap_or(rest.len());
    let (number, element) = rest.split_at_checked(digits)?;
    let number = match number {
        "" => 0,
        number => number.parse().ok()?,
    };
    let element = match element {
        "" => "",
        element => element
            .strip_prefix('_')
            .filter(|element| !element.is_empty())?,
    };
    KINDS.contains(&kind).then_some((kind, number, element))
}

/// A kind of sensor and an element of it.
#[derive(Clone, Copy, Debug)]
struct Reading<'a> {
    kind: &'a str,
    element: &'a str,
    /// Whether the sensor also has a file without an element.
    has_value: bool,
}

impl Reading<'_> {
    fn scale(self) -> Scale {
        match (self.kind, self.element) {
            (_, "fault" | "alarm" | "beep") => Scale::One,
            ("update_interval" | "in" | "cpu" | "curr", _) => MILLI,
            ("temp", element) if element != "type" => MILLI,
            ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
                MILLI
            }
            ("energy" | "power" | "humidity", _) | ("freq", "input") => MICRO,
            _ => Scale::One,
        }
    }

    fn family(self) -> Family {
        let Self { kind, element, .. } = self;
        let mut name = format!("node_hwmon_{kind}");
        match element {
            "input" if self.has_value => name.push_str("_input"),
            "input" | "" => {}
            element => name.extend(["_", &*clean(element)]),
        }
        let mut metric_type = MetricType::Gauge;
        let (suffix, help) = match (kind, element) {
            ("beep_enable", "") => {
                name = "node_hwmon_beep_enabled".to_owned();
                ("", "Hardware beep enabled".to_owned())
            }
            ("vrm", "") => {
                name = "node_hwmon_voltage_regulator_version".to_owned();
                ("", "Hardware voltage regulator".to_owned())
            }
            ("update_interval", "") => ("_seconds", "Hardware monitor update interval".to_owned()),
            (_, "fault" | "alarm") => ("", format!("Hardware sensor {element} status ({kind})")),
            (_, "beep") => (
                "_enabled",
                "Hardware monitor sensor has beeping enabled".to_owned(),
            ),
            ("in" | "cpu", _) => (
                "_volts",
                format!("Hardware monitor for voltage ({element})"),
            ),
            ("temp", "") => (
                "_celsius",
                "Hardware monitor for temperature (input)".to_owned(),
            ),
            ("temp", element) if element != "type" => (
                "_celsius",
                format!("Hardware monitor for temperature ({element})"),
            ),
            ("curr", _) => ("_amps", format!("Hardware monitor for current ({element})")),
            ("energy", _) => {
                metric_type = MetricType::Counter;
                (
                    "_joule_total",
                    format!("Hardware monitor for joules used so far ({element})"),
                )
            }
            ("power", "accuracy") => (
                "",
                "Hardware monitor power meter accuracy, as a ratio".to_owned(),
            ),
            ("power", "average_interval" | "average_interval_min" | "average_interval_max") => (
                "_seconds",
                format!("Hardware monitor power usage update interval ({element})"),
            ),
            ("power", _) => (
                "_watt",
                format!("Hardware monitor for power usage in watts ({element})"),
            ),
            ("humidity", _) => (
                "",
                format!(
                    "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage) ({element})"
                ),
            ),
            ("fan", "input" | "min" | "max" | "target") => (
                "_rpm",
                format!("Hardware monitor for fan revolutions per minute ({element})"),
            ),
            ("freq", "input") => (
                "_freq_mhz",
                "Hardware monitor for GPU frequency in MHz".to_owned(),
            ),
            _ => ("", format!("Hardware monitor {kind} element {element}")),
        };
        Family::dynamic(name + suffix, help, metric_type).with_labels(SENSOR)
    }
}

/// Lower case, with `_` for what a metric's name may not have, and none at the ends.
fn clean(name: &str) -> String {
    let lower = name.to_lowercase();
    let replaced: String = lower
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' | ':' | '_' => c,
            _ => '_',
        })
        .collect();
    replaced.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_split_into_kind_number_and_element() {
        for (file, expected) in [
            ("temp1_input", Some(("temp", 1, "input"))),
            ("in0_max_alarm", Some(("in", 0, "max_alarm"))),
            ("pwm2", Some(("pwm", 2, ""))),
            ("beep_enable", Some(("beep_enable", 0, ""))),
            ("temp99999999999_input", None),
            ("temp1_", None),
            ("temp1x", None),
            ("bogus1_input", None),
            ("temp_input", None),
            ("name", None),
        ] {
            assert_eq!(parse_file(file), expected, "{file}");
        }
    }

    #[test]
    fn names_and_units_follow_kind_and_element() {
        for (kind, element, has_value, name, value) in [
            ("temp", "input", false, "node_hwmon_temp_celsius", 0.001),
            ("temp", "", true, "node_hwmon_temp_celsius", 0.001),
            ("temp", "type", false, "node_hwmon_temp_type", 1.0),
            (
                "temp",
                "max_alarm",
                false,
                "node_hwmon_temp_max_alarm_celsius",
                0.001,
            ),
            (
                "power",
                "average",
                false,
                "node_hwmon_power_average_watt",
                1e-6,
            ),
            (
                "power",
                "average_interval",
                false,
                "node_hwmon_power_average_interval_seconds",
                0.001,
            ),
            (
                "power",
                "accuracy",
                false,
                "node_hwmon_power_accuracy",
                1e-6,
            ),
            (
                "energy",
                "input",
                false,
                "node_hwmon_energy_joule_total",
                1e-6,
            ),
            ("curr", "input", true, "node_hwmon_curr_input_amps", 0.001),
            ("fan", "div", false, "node_hwmon_fan_div", 1.0),
            ("fan", "fault", false, "node_hwmon_fan_fault", 1.0),
            (
                "update_interval",
                "",
                true,
                "node_hwmon_update_interval_seconds",
                0.001,
            ),
            ("beep_enable", "", true, "node_hwmon_beep_enabled", 1.0),
        ] {
            let reading = Reading {
                kind,
                element,
                has_value,
            };
            assert_eq!(reading.family().name(), name);
            assert_eq!(reading.scale().of(1.0), value, "{name}");
        }
        assert_eq!(clean("Core 0 (1.2)"), "core_0__1_2");
    }
}
