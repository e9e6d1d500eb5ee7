//! Metrics that others wrote into files: `*.prom` in chosen folders.
//!
//! Each file is an exposition in text 0.0.4 and is taken as a whole or, after a mistake, not at all. Several files may add to one
//! family, as long as they explain it alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use exposition::{Entry, TextParser};
use model::MetricType;
use regex::Regex;

use super::Collector;
use crate::error::CollectError;
use crate::folder::ENTRIES_MAX;
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::{FILE_BYTES_MAX, Family, HostConfig, HostConfigError, Sink, filter};

static MODIFIED: Family = Family::gauge(
    "node_textfile_mtime_seconds",
    "Unixtime mtime of textfiles successfully read.",
    &["file"],
);
static ERROR: Family = Family::gauge(
    "node_textfile_scrape_error",
    "1 if there was an error opening or reading a file, 0 otherwise",
    &[],
);

/// The most files, and folders of files, that are read; all files together may have as many bytes as any one.
const FILES_MAX: usize = 1_024;

#[derive(Debug)]
pub(super) struct Textfile {
    directories: Vec<Directory>,
}

impl Textfile {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let directories = config.textfile_directories.iter();
        Ok(Self {
            directories: directories
                .map(|path| Directory::new(path))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Collector for Textfile {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let mut failed = false;
        let mut paths = Vec::new();
        for directory in &self.directories {
            match directory.files() {
                Ok(files) => paths.extend(files),
                Err(error) => {
                    failed = true;
                    report(&directory.path, &error);
                }
            }
        }
        let mut files = Vec::new();
        let mut room = FILE_BYTES_MAX;
        for path in paths.into_iter().take(FILES_MAX) {
            match TextFile::read(&path, &mut room) {
                Ok(file) => files.push(file),
                Err(reason) => {
                    failed = true;
                    report(&path, &reason);
                }
            }
        }
        failed |= !sample_all(&files, sink);
        for file in &files {
            sink.sample(&MODIFIED, &[&file.path], file.modified);
        }
        sink.sample(&ERROR, &[], f64::from(u8::from(failed)));
        Ok(())
    }
}

/// The metric says that something is wrong; what it is, stands in the log for those who ask.
fn report(path: &Path, reason: &dyn std::fmt::Display) {
    tracing::debug!(path = %path.display(), %reason, "text file not read");
}

/// Samples all families; returns whether all files explain each alike. Where they do not, the first one stands.
fn sample_all(files: &[TextFile], sink: &mut dyn Sink) -> bool {
    let mut unexplained: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files {
        for metrics in file
            .families
            .iter()
            .filter(|metrics| metrics.help.is_empty())
        {
            let paths = unexplained.entry(&metrics.name).or_default();
            paths.push(&file.path);
        }
    }
    let mut explained: BTreeMap<&str, String> = BTreeMap::new();
    let mut alike = true;
    for file in files {
        for metrics in &file.families {
            let help = match unexplained.get(&*metrics.name) {
                Some(paths) if metrics.help.is_empty() => {
                    format!("Metric read from {}", paths.join(", "))
                }
                _ => metrics.help.clone(),
            };
            if *explained
                .entry(&metrics.name)
                .or_insert_with(|| help.clone())
                == help
            {
                metrics.sample(&help, sink);
            } else {
                alike = false;
            }
        }
    }
    alike
}

/// A folder, or a pattern of folders.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// For each part of the path that stands for several names, what they look like.
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Name(PathBuf),
    Pattern(Regex),
}

impl Directory {
    fn new(path: &Path) -> Result<Self, HostConfigError> {
        let part = |component: std::path::Component<'_>| {
            let text = component.as_os_str().to_string_lossy();
            if !text.contains(['*', '?']) {
                return Ok(Part::Name(PathBuf::from(component.as_os_str())));
            }
            let escaped = regex::escape(&text)
                .replace(r"\*", ".*")
                .replace(r"\?", ".");
            filter::pattern("collector.textfile.directory", &format!("^{escaped}$"))
                .map(Part::Pattern)
        };
        Ok(Self {
            path: path.to_owned(),
            parts: path.components().map(part).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the paths of the `*.prom` files, in order; a pattern that fits no folder is taken for the name of one.
    fn files(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut folders = vec![PathBuf::new()];
        for part in &self.parts {
            folders = match part {
                Part::Name(name) => folders.iter().map(|folder| folder.join(name)).collect(),
                Part::Pattern(pattern) => folders
                    .iter()
                    .flat_map(|folder| names(folder).unwrap_or_default())
                    .filter(|path| {
                        let name = path.file_name().unwrap_or_default();
                        pattern.is_match(&name.to_string_lossy())
                    })
                    .take(FILES_MAX)
                    .collect(),
            };
        }
        folders.retain(|folder| folder.is_dir());
        if folders.is_empty() {
            folders.push(self.path.clone());
        }
        let mut files = Vec::new();
        for folder in folders {
            files.extend(names(&folder)?);
        }
        files.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "prom")
        });
        Ok(files)
    }
}

/// Returns the paths of what is in a folder, in order.
fn names(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut paths = fs::read_dir(here)?
        .take(ENTRIES_MAX)
        .map(|entry| Ok(folder.join(entry?.file_name())))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// A file that was read.
#[derive(Debug)]
struct TextFile {
    path: String,
    modified: f64,
    families: Vec<Metrics>,
}

/// What a file says of a family.
#[derive(Debug)]
struct Metrics {
    name: String,
    kind: MetricType,
    help: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    suffix: &'static str,
    labels: Vec<(String, String)>,
    value: f64,
}

impl TextFile {
    /// Reads a file that fits into `room`, and takes its bytes off it.
    fn read(path: &Path, room: &mut usize) -> Result<Self, String> {
        let bytes = read_once(path).map_err(|error| error.to_string())?;
        *room = room.checked_sub(bytes.len()).ok_or_else(|| {
            format!("the text files have more than {FILE_BYTES_MAX} bytes together")
        })?;
        let families = parse(&bytes)?;
        // Asked for after it was understood, so that one that is not never looks fresh.
        let modified = fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .map_err(|error| error.to_string())?
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            path: path.to_string_lossy().into_owned(),
            modified: modified.as_nanos() as f64 / 1e9,
            families,
        })
    }
}

/// Reads an exposition into families, in order of their names; the error says why it is none that is taken.
fn parse(bytes: &[u8]) -> Result<Vec<Metrics>, String> {
    let mut families: BTreeMap<String, Metrics> = BTreeMap::new();
    for entry in TextParser::new(bytes) {
        match entry.map_err(|error| error.to_string())? {
            Entry::Type { family, kind } => {
                of(&mut families, &family.decode()).kind = kind;
            }
            Entry::Help { family, text } => {
                of(&mut families, &family.decode()).help = text.decode().into_owned();
            }
            Entry::Sample(sample) => {
                if sample.at.is_some() {
                    return Err("a sample has a timestamp, which is not supported".to_owned());
                }
                let name = sample.series.name().decode();
                let (base, suffix) = split(&families, &name);
                let base = base.to_owned();
                let labels = sample.series.labels().iter();
                of(&mut families, &base).samples.push(Sample {
                    suffix,
                    labels: labels
                        .map(|(name, value)| {
                            (name.decode().into_owned(), value.decode().into_owned())
                        })
                        .collect(),
                    value: sample.value,
                });
            }
            Entry::Unit { .. } | Entry::Comment(_) | Entry::Eof => {}
        }
    }
    let mut families: Vec<Metrics> = families
        .into_values()
        .filter(|metrics| !metrics.samples.is_empty())
        .collect();
    families.iter_mut().for_each(Metrics::complete);
    Ok(families)
}

fn of<'a>(families: &'a mut BTreeMap<String, Metrics>, name: &str) -> &'a mut Metrics {
    families.entry(name.to_owned()).or_insert_with(|| Metrics {
        name: name.to_owned(),
        kind: MetricType::Unknown,
        help: String::new(),
        samples: Vec::new(),
    })
}

/// Splits a sample's name into its family's and the suffix of a part, should there be such a histogram or summary.
fn split<'a>(families: &BTreeMap<String, Metrics>, name: &'a str) -> (&'a str, &'static str) {
    let part = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| {
            let base = name.strip_suffix(suffix)?;
            let has_it = match families.get(base)?.kind {
                MetricType::Histogram => true,
                MetricType::Summary => suffix != "_bucket",
                _ => false,
            };
            has_it.then_some((base, suffix))
        });
    part.unwrap_or((name, ""))
}

impl Metrics {
    /// Every sample gets all labels that samples of its family have, be they empty.
    fn sample(&self, help: &str, sink: &mut dyn Sink) {
        let own_labels = self
            .samples
            .iter()
            .flat_map(|sample| sample.own_labels(self.kind));
        let names: BTreeSet<&str> = own_labels.map(|(name, _)| name).collect();
        let mut parts: BTreeMap<&str, Family> = BTreeMap::new();
        for sample in &self.samples {
            let family = parts.entry(sample.suffix).or_insert_with(|| {
                let bound = bound_label(self.kind, sample.suffix);
                let labels = names.iter().copied().chain(bound);
                Family::dynamic(self.name.clone(), help.to_owned(), self.kind)
                    .with_further_labels(labels.map(str::to_owned).collect())
                    .part(sample.suffix)
            });
            let values: Vec<&str> = family.labels().map(|name| sample.label(name)).collect();
            sink.sample(family, &values, sample.value);
        }
    }

    /// Adds sums and counts, of 0, to those that have none: a histogram or summary is whole.
    fn complete(&mut self) {
        if !matches!(self.kind, MetricType::Histogram | MetricType::Summary) {
            return;
        }
        let mut wholes: BTreeMap<Vec<(String, String)>, BTreeSet<&str>> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels: Vec<(String, String)> = (sample.own_labels(self.kind))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            labels.sort_unstable();
            wholes.entry(labels).or_default().insert(sample.suffix);
        }
        for (labels, suffixes) in wholes {
            for suffix in ["_sum", "_count"] {
                if !suffixes.contains(suffix) {
                    self.samples.push(Sample {
                        suffix,
                        labels: labels.clone(),
                        value: 0.0,
                    });
                }
            }
        }
    }
}

impl Sample {
    /// Returns the labels without the one that tells a part from its neighbours.
    fn own_labels(&self, kind: MetricType) -> impl Iterator<Item = (&str, &str)> {
        let bound = bound_label(kind, self.suffix);
        let labels = self.labels.iter();
        labels
            .map(|(name, value)| (&**name, &**value))
            .filter(move |(name, _)| Some(*name) != bound)
    }

    fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Returns the label that tells a part from its neighbours: buckets and quantiles have one.
fn bound_label(kind: MetricType, suffix: &str) -> Option<&'static str> {
    match (kind, suffix) {
        (MetricType::Histogram, "_bucket") => Some("le"),
        (MetricType::Summary, "") => Some("quantile"),
        _ => None,
    }
}
