//! Chosen counters of the protocols: `net/netstat`, `net/snmp`, `net/snmp6`.

use model::MetricType;
use regex::Regex;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::FamilyCache;
use crate::host::Moment;
use crate::kept_file::{Content, KeptFile};
use crate::{Family, HostConfig, HostConfigError, Sink, filter, scan};

#[derive(Debug)]
pub(super) struct Netstat {
    tables: [KeptFile; 2],
    list: KeptFile,
    fields: Fields,
}

/// Which fields are shown, and their families.
#[derive(Debug)]
struct Fields {
    pattern: Regex,
    families: FamilyCache,
    key: String,
}

impl Netstat {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let file = |name| KeptFile::new(config.paths.procfs.join(name));
        Ok(Self {
            tables: ["net/netstat", "net/snmp"].map(file),
            list: file("net/snmp6"),
            fields: Fields {
                pattern: filter::pattern("collector.netstat.fields", &config.netstat_fields)?,
                families: FamilyCache::default(),
                key: String::new(),
            },
        })
    }
}

impl Collector for Netstat {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for table in &mut self.tables {
            self.fields.sample_table(table.read()?, sink)?;
        }
        match self.list.read() {
            Ok(content) => self.fields.sample_list(content, sink),
            // A kernel without IPv6 has none.
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Fields {
    /// Reads pairs of lines: `Protocol: names`, `Protocol: numbers`.
    fn sample_table(
        &mut self,
        content: Content<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        let wrong = || content.without("a line of numbers below each line of names");
        let mut lines = content.lines();
        while let Some(names) = lines.next() {
            let (protocol, names) = scan::split_once(names, b':').ok_or_else(wrong)?;
            let (_, numbers) = lines
                .next()
                .and_then(|line| scan::split_once(line, b':'))
                .filter(|(again, _)| *again == protocol)
                .ok_or_else(wrong)?;
            let (mut names, mut numbers) = (scan::words(names), scan::words(numbers));
            loop {
                match (names.next(), numbers.next()) {
                    (Some(name), Some(number)) => {
                        let value = scan::float(number).ok_or_else(wrong)?;
                        self.sample(protocol, name, value, sink);
                    }
                    (None, None) => break,
                    _ => return Err(wrong()),
                }
            }
        }
        Ok(())
    }

    /// Reads lines of `Protocol6Name number`; the protocol ends with the first 6.
    fn sample_list(
        &mut self,
        content: Content<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        for line in content.lines() {
            let mut words = scan::words(line);
            let (Some(field), Some(number)) = (words.next(), words.next()) else {
                continue;
            };
            let Some(six) = field.iter().position(|byte| *byte == b'6') else {
                continue;
            };
            let value =
                scan::float(number).ok_or_else(|| content.without("lines of `name number`"))?;
            let (protocol, name) = field.split_at(six + 1);
            self.sample(protocol, name, value, sink);
        }
        Ok(())
    }

    fn sample(&mut self, protocol: &[u8], name: &[u8], value: f64, sink: &mut dyn Sink) {
        let (protocol, name) = (scan::text(protocol), scan::text(name));
        self.key.clear();
        self.key.extend([&*protocol, "_", &*name]);
        let (key, pattern) = (&self.key, &self.pattern);
        let family = self.families.get(key, || {
            pattern.is_match(key).then(|| {
                Family::dynamic(
                    format!("node_netstat_{key}"),
                    format!("Statistic {protocol}{name}."),
                    MetricType::Unknown,
                )
            })
        });
        if let Some(family) = family {
            sink.sample(family, &[], value);
        }
    }
}
