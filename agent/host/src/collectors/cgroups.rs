//! How many control groups there are: `cgroups`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

static GROUPS: Family = Family::gauge(
    "node_cgroups_cgroups",
    "Current cgroup number of the subsystem.",
    &["subsys_name"],
);
static ENABLED: Family = Family::gauge(
    "node_cgroups_enabled",
    "Current cgroup number of the subsystem.",
    &["subsys_name"],
);

#[derive(Debug)]
pub(super) struct Cgroups {
    file: KeptFile,
}

impl Cgroups {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("cgroups")),
        }
    }
}

impl Collector for Cgroups {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        for line in content.lines().filter(|line| !line.starts_with(b"#")) {
            let Some((name, groups, enabled)) = parse_line(line) else {
                return Err(content.without("lines of a name and three numbers"));
            };
            let name = scan::text(name);
            sink.sample(&GROUPS, &[&name], groups);
            sink.sample(&ENABLED, &[&name], enabled);
        }
        Ok(())
    }
}

/// Reads `NAME HIERARCHY GROUPS ENABLED`.
fn parse_line(line: &[u8]) -> Option<(&[u8], f64, f64)> {
    let mut words = scan::words(line);
    let name = words.next()?;
    let groups = scan::number(words.nth(1)?)?;
    Some((name, groups as f64, scan::number(words.next()?)? as f64))
}
