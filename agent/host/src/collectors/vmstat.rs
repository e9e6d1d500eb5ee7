//! Chosen fields of `vmstat`.

use model::MetricType;
use regex::Regex;

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, HostConfig, HostConfigError, Sink, filter, scan};

#[derive(Debug)]
pub(super) struct Vmstat {
    file: KeptFile,
    fields: Regex,
    /// By line: what stood there last time, so that the pattern is asked and names are made once.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    field: Vec<u8>,
    /// `None` when the pattern does not take the field.
    family: Option<Family>,
}

impl Vmstat {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        Ok(Self {
            file: KeptFile::new(config.paths.procfs.join("vmstat")),
            fields: filter::pattern("collector.vmstat.fields", &config.vmstat_fields)?,
            known: Vec::new(),
        })
    }
}

impl Collector for Vmstat {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for (at, line) in content.lines().enumerate() {
            let (field, number) = scan::split_once(line, b' ').unwrap_or((line, &[]));
            if self.known.get(at).is_none_or(|known| known.field != field) {
                self.known.truncate(at);
                self.known.push(Known::new(field, &self.fields));
            }
            let Some(family) = self.known.get(at).and_then(|known| known.family.as_ref()) else {
                continue;
            };
            let Some(value) = scan::float(number.trim_ascii()) else {
                return Err(content.without("lines of `name number`"));
            };
            sink.sample(family, &[], value);
        }
        Ok(())
    }
}

impl Known {
    fn new(field: &[u8], fields: &Regex) -> Self {
        let name = scan::text(field);
        let family = fields.is_match(&name).then(|| {
            let metric: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            Family::dynamic(
                format!("node_vmstat_{metric}"),
                format!("/proc/vmstat information field {name}."),
                MetricType::Unknown,
            )
        });
        Self {
            field: field.to_vec(),
            family,
        }
    }
}
