//! Targets that stand in files, which may change at any time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::{Mistakes, Node, Reader, parse_yaml};

use crate::group::{TargetGroup, read_groups};

/// The most files that one pattern may stand for.
const FILES_MAX: usize = 1_000;
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// An entry of `file_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Paths; the last part may have one `*`.
    patterns: Vec<PathBuf>,
}

impl FileDiscovery {
    /// Reads an entry; what is wrong with it goes to the reader's mistakes, and then there is none.
    pub fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut patterns = Vec::new();
        for (key, at, value) in reader.entries(node) {
            match key {
                "files" => {
                    for node in reader.items(value) {
                        let Some(path) = reader.file(node) else {
                            continue;
                        };
                        if is_pattern(&path) {
                            patterns.push(path);
                        } else {
                            let what = format!(
                                "path name {:?} is not valid for file discovery: it ends with .json, .yml or .yaml, and may have one * in its last part",
                                path.display()
                            );
                            reader.refuse::<()>(node.at, what);
                        }
                    }
                }
                // Files are looked at every few seconds, whatever this says.
                "refresh_interval" => drop(reader.duration(value)),
                _ => reader.unknown(at, key, &["files", "refresh_interval"]),
            }
        }
        if patterns.is_empty() {
            return reader.refuse(
                node.at,
                "file service discovery config must contain at least one path name",
            );
        }
        Some(Self { patterns })
    }

    /// Returns the files that there are now, sorted, each once.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.patterns.iter().flat_map(|path| expand(path)).collect();
        files.sort();
        files.dedup();
        files.truncate(FILES_MAX);
        files
    }
}

fn is_pattern(path: &Path) -> bool {
    let has_ending = path.extension().is_some_and(|ending| {
        ["json", "yml", "yaml", "JSON", "YML", "YAML"]
            .iter()
            .any(|known| ending == *known)
    });
    let stars = |text: &str| text.matches('*').count();
    let name = path.file_name().map(|name| stars(&name.to_string_lossy()));
    let whole = stars(&path.to_string_lossy());
    has_ending && name.is_some_and(|stars| stars <= 1 && stars == whole)
}

fn expand(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((before, after)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let folder = pattern.parent().unwrap_or_else(|| Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let fits = |name: &str| {
        name.strip_prefix(before)
            .is_some_and(|rest| rest.ends_with(after))
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(fits))
        .take(FILES_MAX)
        .map(|entry| entry.path())
        .collect()
}

/// What is known of the files of one job.
#[derive(Debug, Default)]
pub struct WatchedFiles {
    files: Vec<WatchedFile>,
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    /// Length and time of the last change, when it was read.
    version: Option<(u64, SystemTime)>,
    groups: Vec<TargetGroup>,
}

impl WatchedFiles {
    /// Looks at all files, on this thread, and reads those that have changed; returns whether any has.
    ///
    /// A file that cannot be read or is wrong keeps the targets that it had; one that is gone loses them.
    pub fn look(&mut self, discoveries: &[FileDiscovery]) -> bool {
        let mut paths: Vec<PathBuf> = discoveries.iter().flat_map(FileDiscovery::files).collect();
        paths.sort();
        paths.dedup();
        let mut known = std::mem::take(&mut self.files);
        let mut has_changed = false;
        for path in paths {
            let at = known.iter().position(|file| file.path == path);
            let mut file = at.map_or_else(
                || WatchedFile {
                    path: path.clone(),
                    version: None,
                    groups: Vec::new(),
                },
                |at| known.swap_remove(at),
            );
            let Ok(about) = fs::metadata(&path) else {
                has_changed |= !file.groups.is_empty();
                continue;
            };
            let version = (
                about.len(),
                about.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            );
            if file.version != Some(version) {
                file.version = Some(version);
                match read(&path, about.len()) {
                    Ok(groups) => {
                        has_changed |= file.groups != groups;
                        file.groups = groups;
                    }
                    Err(why) => {
                        tracing::error!(file = %path.display(), %why, "targets of a file are not taken over; the old ones stay");
                    }
                }
            }
            self.files.push(file);
        }
        has_changed | known.iter().any(|gone| !gone.groups.is_empty())
    }

    /// Returns all groups of all files.
    pub fn groups(&self) -> impl Iterator<Item = &TargetGroup> {
        self.files.iter().flat_map(|file| &file.groups)
    }
}

fn read(path: &Path, bytes: u64) -> Result<Vec<TargetGroup>, String> {
    if bytes > FILE_BYTES_MAX {
        return Err(format!(
            "{bytes} bytes are more than the {FILE_BYTES_MAX} allowed"
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let root = parse_yaml(path, &text).map_err(|mistake| mistake.to_string())?;
    let mut reader = Reader::new(path);
    let mut groups = read_groups(&root, &mut reader);
    for group in &mut groups {
        let label = ("__meta_filepath".to_owned(), path.display().to_string());
        group.labels.push(label);
    }
    Mistakes::none_in(reader.mistakes, groups).map_err(|mistakes| mistakes.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(files: &WatchedFiles) -> Vec<String> {
        files
            .groups()
            .flat_map(|group| group.targets.clone())
            .collect()
    }

    #[test]
    fn files_are_read_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let discovery = [FileDiscovery {
            patterns: vec![path("*.json"), path("b.yml")],
        }];
        let mut files = WatchedFiles::default();
        assert!(!files.look(&discovery));
        fs::write(
            path("a.json"),
            r#"[{"targets": ["a:1", "a:2"], "labels": {"x": "y"}}]"#,
        )
        .unwrap();
        fs::write(path("b.yml"), "- targets: ['b:1']\n").unwrap();
        fs::write(path("c.yml"), "- targets: ['c:1']\n").unwrap();
        assert!(files.look(&discovery));
        assert_eq!(addresses(&files), ["a:1", "a:2", "b:1"]);
        assert!(!files.look(&discovery), "nothing has changed");
        fs::write(path("a.json"), "[{targets: nonsense").unwrap();
        assert!(!files.look(&discovery));
        assert_eq!(
            addresses(&files),
            ["a:1", "a:2", "b:1"],
            "the old targets stay"
        );
        fs::write(path("a.json"), r#"[{"targets": ["a:3"]}]"#).unwrap();
        fs::remove_file(path("b.yml")).unwrap();
        assert!(files.look(&discovery));
        assert_eq!(addresses(&files), ["a:3"]);
        let group = files.groups().next().unwrap();
        assert_eq!(group.labels[0].0, "__meta_filepath");
    }

    #[test]
    fn patterns_have_one_star_in_their_last_part() {
        for (path, is_valid) in [
            ("/etc/x.json", true),
            ("/etc/*.yml", true),
            ("/etc/a-*.yaml", true),
            ("/etc/*/x.yml", false),
            ("/etc/*-*.yml", false),
            ("/etc/x.txt", false),
            ("/etc/*", false),
        ] {
            assert_eq!(is_pattern(Path::new(path)), is_valid, "{path}");
        }
    }
}
