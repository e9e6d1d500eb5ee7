//! Power supplies and batteries: `class/power_supply`.

use model::MetricType;
use regex::Regex;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::FamilyCache;
use crate::folder::{Attribute, Folder, Scale};
use crate::host::Moment;
use crate::{Family, HostConfig, HostConfigError, Sink, filter};

/// A number of a power supply, by its file.
macro_rules! number {
    ($file:literal, $scale:ident, $name:literal) => {
        Attribute {
            file: $file,
            scale: $scale,
            family: Family::gauge(
                concat!("node_power_supply_", $name),
                concat!($name, " value of /sys/class/power_supply/<power_supply>."),
                &["power_supply"],
            ),
        }
    };
}

const PLAIN: Scale = Scale::One;
const MICRO: Scale = Scale::Per(1e6);
const TENTHS: Scale = Scale::Per(10.0);

static NUMBERS: [Attribute; 49] = [
    number!("authentic", PLAIN, "authentic"),
    number!("calibrate", PLAIN, "calibrate"),
    number!("capacity", PLAIN, "capacity"),
    number!("capacity_alert_max", PLAIN, "capacity_alert_max"),
    number!("capacity_alert_min", PLAIN, "capacity_alert_min"),
    number!("cycle_count", PLAIN, "cyclecount"),
    number!("online", PLAIN, "online"),
    number!("present", PLAIN, "present"),
    number!("time_to_empty_now", PLAIN, "time_to_empty_seconds"),
    number!("time_to_full_now", PLAIN, "time_to_full_seconds"),
    number!("current_boot", MICRO, "current_boot"),
    number!("current_max", MICRO, "current_max"),
    number!("current_now", MICRO, "current_ampere"),
    number!("energy_empty", MICRO, "energy_empty"),
    number!("energy_empty_design", MICRO, "energy_empty_design"),
    number!("energy_full", MICRO, "energy_full"),
    number!("energy_full_design", MICRO, "energy_full_design"),
    number!("energy_now", MICRO, "energy_watthour"),
    number!("voltage_boot", MICRO, "voltage_boot"),
    number!("voltage_max", MICRO, "voltage_max"),
    number!("voltage_max_design", MICRO, "voltage_max_design"),
    number!("voltage_min", MICRO, "voltage_min"),
    number!("voltage_min_design", MICRO, "voltage_min_design"),
    number!("voltage_now", MICRO, "voltage_volt"),
    number!("voltage_ocv", MICRO, "voltage_ocv"),
    number!("charge_control_limit", MICRO, "charge_control_limit"),
    number!(
        "charge_control_limit_max",
        MICRO,
        "charge_control_limit_max"
    ),
    number!("charge_counter", MICRO, "charge_counter"),
    number!("charge_empty", MICRO, "charge_empty"),
    number!("charge_empty_design", MICRO, "charge_empty_design"),
    number!("charge_full", MICRO, "charge_full"),
    number!("charge_full_design", MICRO, "charge_full_design"),
    number!("charge_now", MICRO, "charge_ampere"),
    number!("charge_term_current", MICRO, "charge_term_current"),
    number!("constant_charge_current", MICRO, "constant_charge_current"),
    number!(
        "constant_charge_current_max",
        MICRO,
        "constant_charge_current_max"
    ),
    number!("constant_charge_voltage", MICRO, "constant_charge_voltage"),
    number!(
        "constant_charge_voltage_max",
        MICRO,
        "constant_charge_voltage_max"
    ),
    number!("precharge_current", MICRO, "precharge_current"),
    number!("input_current_limit", MICRO, "input_current_limit"),
    number!("power_now", MICRO, "power_watt"),
    number!("temp", TENTHS, "temp_celsius"),
    number!("temp_alert_max", TENTHS, "temp_alert_max_celsius"),
    number!("temp_alert_min", TENTHS, "temp_alert_min_celsius"),
    number!("temp_ambient", TENTHS, "temp_ambient_celsius"),
    number!("temp_ambient_max", TENTHS, "temp_ambient_max_celsius"),
    number!("temp_ambient_min", TENTHS, "temp_ambient_min_celsius"),
    number!("temp_max", TENTHS, "temp_max_celsius"),
    number!("temp_min", TENTHS, "temp_min_celsius"),
];

/// Labels of the info, and their files; those that are empty are left out.
const TEXTS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
    "scope",
];

#[derive(Debug)]
pub(super) struct Powersupplyclass {
    supplies: Folder,
    ignored: Regex,
    infos: FamilyCache,
}

impl Powersupplyclass {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        Ok(Self {
            supplies: Folder::new(config.paths.sysfs.join("class/power_supply")),
            ignored: filter::pattern(
                "collector.powersupply.ignored-supplies",
                &config.powersupply_ignored,
            )?,
            infos: FamilyCache::default(),
        })
    }

    fn sample_info(&mut self, supply: &Folder, sink: &mut dyn Sink) {
        let texts = TEXTS.map(|file| (file, supply.text_or_empty(file)));
        let present = texts.iter().filter(|(_, text)| !text.is_empty());
        let (mut names, mut values) = (vec!["power_supply"], vec![supply.name()]);
        for (name, text) in present {
            names.push(*name);
            values.push(text.as_str().into());
        }
        let family = self.infos.get(&names.join(","), || {
            let family = Family::dynamic(
                "node_power_supply_info".to_owned(),
                "info of /sys/class/power_supply/<power_supply>.".to_owned(),
                MetricType::Gauge,
            );
            let names = names.iter().map(|name| (*name).to_owned());
            Some(family.with_further_labels(names.collect()))
        });
        if let Some(family) = family {
            let values: Vec<&str> = values.iter().map(|value| &**value).collect();
            sink.sample(family, &values, 1.0);
        }
    }
}

impl Collector for Powersupplyclass {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let supplies = self
            .supplies
            .folders()
            .map_err(|error| error.missing_as("there are no power supplies"))?;
        for supply in supplies {
            let name = supply.name();
            if !self.ignored.is_match(&name) {
                supply.sample(&NUMBERS, &[&name], sink)?;
                self.sample_info(&supply, sink);
            }
        }
        Ok(())
    }
}
