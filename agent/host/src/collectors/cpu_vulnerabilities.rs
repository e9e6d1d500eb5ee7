//! What the kernel says of known flaws of the CPUs: `devices/system/cpu/vulnerabilities`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::Folder;
use crate::host::Moment;
use crate::{Family, Paths, Sink};

static INFO: Family = Family::gauge(
    "node_cpu_vulnerabilities_info",
    "Details of each CPU vulnerability reported by sysfs. The value of the series is an int encoded state of the vulnerability. The same state is stored as a string in the label",
    &["codename", "state", "mitigation"],
);

/// What a file starts with, and the state it means; the last stands for all else.
const STATES: [(&str, &str); 3] = [
    ("Not affected", "not affected"),
    ("Vulnerable", "vulnerable"),
    ("Mitigation: ", "mitigation"),
];

#[derive(Debug)]
pub(super) struct CpuVulnerabilities {
    folder: Folder,
}

impl CpuVulnerabilities {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            folder: Folder::new(paths.sysfs.join("devices/system/cpu/vulnerabilities")),
        }
    }
}

impl Collector for CpuVulnerabilities {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for name in self.folder.entries()? {
            let text = self.folder.text(&name)?;
            let known = STATES.iter().find(|(start, _)| text.starts_with(start));
            let (start, state) = known.copied().unwrap_or(("", "unknown"));
            let mitigation = match state {
                "mitigation" => text.strip_prefix(start).unwrap_or_default(),
                _ => "",
            };
            sink.sample(&INFO, &[&name, state, mitigation], 1.0);
        }
        Ok(())
    }
}
