//! Memory: every field of `meminfo`.

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

#[derive(Debug)]
pub(super) struct Meminfo {
    file: KeptFile,
    /// By line: what stood there last time, so that names are made once.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    field: Vec<u8>,
    in_kilobytes: bool,
    family: Family,
}

impl Meminfo {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::in_one_piece(paths.procfs.join("meminfo")),
            known: Vec::new(),
        }
    }
}

impl Collector for Meminfo {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for (at, line) in content.lines().enumerate() {
            let Some(entry) = parse_line(line) else {
                return Err(content.without("lines of `name: number [kB]`"));
            };
            let known = match self.known.get(at) {
                Some(known) if known.is_of(&entry) => known,
                _ => {
                    self.known.truncate(at);
                    self.known.push(Known::new(&entry));
                    let Some(known) = self.known.last() else {
                        continue;
                    };
                    known
                }
            };
            sink.sample(&known.family, &[], entry.value());
        }
        Ok(())
    }
}

impl Known {
    fn new(entry: &Entry<'_>) -> Self {
        let mut name = String::from_utf8_lossy(entry.field).into_owned();
        // "Active(anon)" becomes "Active_anon".
        name.retain(|c| c != ')');
        let mut name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        if entry.in_kilobytes {
            name.push_str("_bytes");
        }
        Self {
            field: entry.field.to_vec(),
            in_kilobytes: entry.in_kilobytes,
            family: Family::dynamic(
                format!("node_memory_{name}"),
                format!("Memory information field {name}."),
                MetricType::Gauge,
            ),
        }
    }

    fn is_of(&self, entry: &Entry<'_>) -> bool {
        self.field == entry.field && self.in_kilobytes == entry.in_kilobytes
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Entry<'a> {
    field: &'a [u8],
    number: f64,
    in_kilobytes: bool,
}

impl Entry<'_> {
    fn value(&self) -> f64 {
        if self.in_kilobytes {
            self.number * 1024.0
        } else {
            self.number
        }
    }
}

pub(super) fn parse_line(line: &[u8]) -> Option<Entry<'_>> {
    let (field, rest) = scan::split_once(line, b':')?;
    let mut words = scan::words(rest);
    let number = scan::float(words.next()?)?;
    let in_kilobytes = match words.next() {
        None => false,
        Some(b"kB") => true,
        Some(_) => return None,
    };
    Some(Entry {
        field,
        number,
        in_kilobytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_fields() {
        for (line, name, value) in [
            (
                "Active(anon):  2 kB",
                "node_memory_Active_anon_bytes",
                2048.0,
            ),
            ("HugePages_Total:  7", "node_memory_HugePages_Total", 7.0),
            ("Odd name-1: 0 kB", "node_memory_Odd_name_1_bytes", 0.0),
        ] {
            let entry = parse_line(line.as_bytes()).unwrap();
            assert_eq!(Known::new(&entry).family.name(), name);
            assert_eq!(entry.value(), value);
        }
        for bad in [
            "MemTotal 7 kB",
            "MemTotal:",
            "MemTotal: x kB",
            "MemTotal: 7 MB",
        ] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
