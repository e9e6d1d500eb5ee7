//! Frequencies of the CPUs: `devices/system/cpu/cpuN/cpufreq`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Attribute, Folder, Scale};
use crate::host::Moment;
use crate::{Family, Paths, Sink};

const CPU: &[&str] = &["cpu"];
/// The kernel counts in kHz.
const KILOHERTZ: Scale = Scale::Times(1_000.0);

static FREQUENCIES: [Attribute; 6] = [
    Attribute {
        file: "cpuinfo_cur_freq",
        scale: KILOHERTZ,
        family: Family::gauge(
            "node_cpu_frequency_hertz",
            "Current CPU thread frequency in hertz.",
            CPU,
        ),
    },
    Attribute {
        file: "cpuinfo_min_freq",
        scale: KILOHERTZ,
        family: Family::gauge(
            "node_cpu_frequency_min_hertz",
            "Minimum CPU thread frequency in hertz.",
            CPU,
        ),
    },
    Attribute {
        file: "cpuinfo_max_freq",
        scale: KILOHERTZ,
        family: Family::gauge(
            "node_cpu_frequency_max_hertz",
            "Maximum CPU thread frequency in hertz.",
            CPU,
        ),
    },
    Attribute {
        file: "scaling_cur_freq",
        scale: KILOHERTZ,
        family: Family::gauge(
            "node_cpu_scaling_frequency_hertz",
            "Current scaled CPU thread frequency in hertz.",
            CPU,
        ),
    },
    Attribute {
        file: "scaling_min_freq",
        scale: KILOHERTZ,
        family: Family::gauge(
            "node_cpu_scaling_frequency_min_hertz",
            "Minimum scaled CPU thread frequency in hertz.",
            CPU,
        ),
    },
    Attribute {
        file: "scaling_max_freq",
        scale: KILOHERTZ,
        family: Family::gauge(
            "node_cpu_scaling_frequency_max_hertz",
            "Maximum scaled CPU thread frequency in hertz.",
            CPU,
        ),
    },
];
static GOVERNOR: Family = Family::gauge(
    "node_cpu_scaling_governor",
    "Current enabled CPU frequency governor.",
    &["cpu", "governor"],
);

#[derive(Debug)]
pub(super) struct Cpufreq {
    cpus: Folder,
}

impl Cpufreq {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            cpus: Folder::new(paths.sysfs.join("devices/system/cpu")),
        }
    }
}

impl Collector for Cpufreq {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for (cpu, folder) in self.cpus.numbered("cpu")? {
            let frequencies = folder.folder("cpufreq");
            if !frequencies.exists() {
                continue;
            }
            let frequencies = frequencies.opened();
            frequencies.sample(&FREQUENCIES, &[&cpu], sink)?;
            let current = frequencies.text_or_empty("scaling_governor");
            if current.is_empty() {
                continue;
            }
            let available = frequencies.text_or_empty("scaling_available_governors");
            for governor in available.split_ascii_whitespace() {
                let is_current = f64::from(u8::from(governor == current));
                sink.sample(&GOVERNOR, &[&cpu, governor], is_current);
            }
        }
        Ok(())
    }
}
