//! Chosen counters of the protocols: `net/netstat`, `net/snmp`, `net/snmp6`.

use model::MetricType;
use regex::Regex;

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::{Content, KeptFile};
use crate::{Family, HostConfig, HostConfigError, Sink, filter, scan};

#[derive(Debug)]
pub(super) struct Netstat {
    tables: [(KeptFile, Fields); 2],
    list: (KeptFile, Fields),
    pattern: Regex,
}

/// By place: the fields that stood in a file last time, so that the pattern is asked and names are made once.
#[derive(Debug, Default)]
struct Fields(Vec<Field>);

#[derive(Debug)]
struct Field {
    protocol: Vec<u8>,
    name: Vec<u8>,
    /// `None` when the pattern does not take the field.
    family: Option<Family>,
}

impl Netstat {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let file = |name| {
            let file = KeptFile::in_one_piece(config.paths.procfs.join(name));
            (file, Fields::default())
        };
        Ok(Self {
            tables: ["net/netstat", "net/snmp"].map(file),
            list: file("net/snmp6"),
            pattern: filter::pattern("collector.netstat.fields", &config.netstat_fields)?,
        })
    }
}

impl Collector for Netstat {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for (file, fields) in &mut self.tables {
            sample_table(file.read()?, fields, &self.pattern, sink)?;
        }
        let (file, fields) = &mut self.list;
        match file.read_if_there(moment.now)? {
            Some(content) => sample_list(content, fields, &self.pattern, sink),
            // A kernel without IPv6 has none.
            None => Ok(()),
        }
    }
}

/// Reads pairs of lines: `Protocol: names`, `Protocol: numbers`.
fn sample_table(
    content: Content<'_>,
    fields: &mut Fields,
    pattern: &Regex,
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    let wrong = || content.without("a line of numbers below each line of names");
    let mut lines = content.lines();
    let mut at = 0;
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
                    if let Some(family) = fields.at(at, protocol, name, pattern) {
                        let value = scan::float(number).ok_or_else(wrong)?;
                        sink.sample(family, &[], value);
                    }
                    at += 1;
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
    content: Content<'_>,
    fields: &mut Fields,
    pattern: &Regex,
    sink: &mut dyn Sink,
) -> Result<(), CollectError> {
    for (at, line) in content.lines().enumerate() {
        let mut words = scan::words(line);
        let field = words.next().unwrap_or_default();
        let end = field.iter().position(|byte| *byte == b'6');
        let (protocol, name) = end.map_or((field, &[][..]), |six| field.split_at(six + 1));
        // Every line has a place, also one that is no field.
        let family = fields.at(at, protocol, name, pattern);
        if let (Some(family), Some(_), Some(number)) = (family, end, words.next()) {
            let value =
                scan::float(number).ok_or_else(|| content.without("lines of `name number`"))?;
            sink.sample(family, &[], value);
        }
    }
    Ok(())
}

impl Fields {
    /// Returns the family of the field that stands at this place; `None` when it is not shown.
    fn at(&mut self, at: usize, protocol: &[u8], name: &[u8], pattern: &Regex) -> Option<&Family> {
        let is_known = |field: &Field| field.protocol == protocol && field.name == name;
        if !self.0.get(at).is_some_and(is_known) {
            self.0.truncate(at);
            self.0.push(Field::new(protocol, name, pattern));
        }
        self.0.get(at)?.family.as_ref()
    }
}

impl Field {
    fn new(protocol: &[u8], name: &[u8], pattern: &Regex) -> Self {
        let (of, what) = (scan::text(protocol), scan::text(name));
        let key = format!("{of}_{what}");
        let family = pattern.is_match(&key).then(|| {
            Family::dynamic(
                format!("node_netstat_{key}"),
                format!("Statistic {of}{what}."),
                MetricType::Unknown,
            )
        });
        Self {
            protocol: protocol.to_vec(),
            name: name.to_vec(),
            family,
        }
    }
}
