//! Thermal zones and cooling devices: `class/thermal`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::Folder;
use crate::host::Moment;
use crate::{Family, Paths, Sink};

static TEMPERATURE: Family = Family::gauge(
    "node_thermal_zone_temp",
    "Zone temperature in Celsius",
    &["zone", "type"],
);
static CURRENT: Family = Family::gauge(
    "node_cooling_device_cur_state",
    "Current throttle state of the cooling device",
    &["name", "type"],
);
static MAXIMUM: Family = Family::gauge(
    "node_cooling_device_max_state",
    "Maximum throttle state of the cooling device",
    &["name", "type"],
);

const MILLIDEGREES_PER_DEGREE: f64 = 1_000.0;

#[derive(Debug)]
pub(super) struct ThermalZone {
    folder: Folder,
}

impl ThermalZone {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            folder: Folder::new(paths.sysfs.join("class/thermal")),
        }
    }
}

impl Collector for ThermalZone {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for (zone, folder) in self.folder.numbered("thermal_zone")? {
            // A sensor that sleeps refuses to be read.
            if let Some(millidegrees) = folder.optional_number("temp")? {
                let degrees = millidegrees / MILLIDEGREES_PER_DEGREE;
                sink.sample(&TEMPERATURE, &[&zone, &folder.text("type")?], degrees);
            }
        }
        for (name, folder) in self.folder.numbered("cooling_device")? {
            let labels = [&*name, &*folder.text("type")?];
            sink.sample(&CURRENT, &labels, folder.number("cur_state")?);
            sink.sample(&MAXIMUM, &labels, folder.number("max_state")?);
        }
        Ok(())
    }
}
