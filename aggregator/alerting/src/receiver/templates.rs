//! The templates that settings may use: the default ones, and those of files.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use template::{NOTIFICATION_FUNCTIONS, TEXT_BYTES_MAX, Templates};

const DEFAULTS: &str = include_str!("default.tmpl");
/// The most files of all patterns together.
const FILES_MAX: usize = 1_000;

/// Why templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateFileError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no template; the message names it.
    #[error(transparent)]
    Template(#[from] template::Error),
    /// The patterns match too much.
    #[error("the patterns of templates match more than {FILES_MAX} files")]
    TooMany,
}

/// Reads the files that `patterns` match (`*`, `?` and `[...]` in each part of a path), over the default templates. A pattern that
/// matches nothing is no mistake; a later template takes the place of an earlier one of its name.
pub fn load_templates(patterns: &[PathBuf]) -> Result<Templates, TemplateFileError> {
    let mut templates = Templates::new(NOTIFICATION_FUNCTIONS);
    templates.add("default.tmpl", DEFAULTS)?;
    let mut count = 0;
    for pattern in patterns {
        for path in matching(pattern)? {
            count += 1;
            if count > FILES_MAX {
                return Err(TemplateFileError::TooMany);
            }
            templates.add(&path.display().to_string(), &read(&path)?)?;
        }
    }
    Ok(templates)
}

fn read(path: &Path) -> Result<String, TemplateFileError> {
    let failed = |source| TemplateFileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    // One byte more than templates may have, so that a longer file is refused for its length.
    let most = TEXT_BYTES_MAX as u64 + 1;
    let file = fs::File::open(path).map_err(failed)?;
    file.take(most).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Returns the paths that a pattern matches, sorted.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, TemplateFileError> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = match component {
            Component::Normal(part) => part.to_string_lossy().into_owned(),
            other => {
                found.iter_mut().for_each(|path| path.push(other));
                continue;
            }
        };
        if !part.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(&part));
            found.retain(|path| path.exists());
            continue;
        }
        let mut next = Vec::new();
        for folder in found
            .iter()
            .filter(|folder| folder.is_dir() || folder.as_os_str().is_empty())
        {
            names(folder, &part, &mut next)?;
        }
        next.sort();
        found = next;
    }
    found.retain(|path| !path.is_dir() && !path.as_os_str().is_empty());
    Ok(found)
}

fn names(folder: &Path, pattern: &str, found: &mut Vec<PathBuf>) -> Result<(), TemplateFileError> {
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let failed = |source| TemplateFileError::Read {
        path: here.to_owned(),
        source,
    };
    let pattern: Vec<char> = pattern.chars().collect();
    for entry in fs::read_dir(here).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let characters: Vec<char> = name.to_string_lossy().chars().collect();
        if matches(&pattern, &characters) {
            found.push(folder.join(&name));
        }
        if found.len() > FILES_MAX {
            return Err(TemplateFileError::TooMany);
        }
    }
    Ok(())
}

/// Whether a name matches a pattern. Of several `*` only the last is taken back: as good as all, and never slow.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star = None;
    while place < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, place));
            at += 1;
        } else if let Some(length) = one(pattern.get(at..).unwrap_or_default(), name[place]) {
            at += length;
            place += 1;
        } else if let Some((star_at, star_place)) = star {
            star = Some((star_at, star_place + 1));
            (at, place) = (star_at + 1, star_place + 1);
        } else {
            return false;
        }
    }
    pattern
        .get(at..)
        .unwrap_or_default()
        .iter()
        .all(|rest| *rest == '*')
}

/// Returns how much of a pattern stands for this one character.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let end = pattern.iter().skip(2).position(|one| *one == ']')? + 2;
            let class = pattern.get(1..end)?;
            let (is_negated, class) = match class.split_first() {
                Some(('^', rest)) => (true, rest),
                _ => (false, class),
            };
            let is_in = class.contains(&character)
                || class
                    .windows(3)
                    .any(|range| range[1] == '-' && (range[0]..=range[2]).contains(&character));
            (is_in != is_negated).then_some(end + 1)
        }
        literal => (*literal == character).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let is = |pattern: &str, name: &str| {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            matches(&characters(pattern), &characters(name))
        };
        for (pattern, name) in [
            ("*.tmpl", "a.tmpl"),
            ("a*b*c", "aXbYbZc"),
            ("?[a-c][^x]", "zby"),
        ] {
            assert!(is(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.tmpl", "a.txt"), ("a?", "a"), ("[a-c]", "d"), ("", "a")] {
            assert!(!is(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_and_take_the_place_of_defaults() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("b.tmpl"),
            r#"{{ define "__alertmanager" }}Us{{ end }}"#,
        )
        .unwrap();
        fs::write(folder.path().join("a.txt"), "{{").unwrap();
        let found = matching(&folder.path().join("*.tmpl")).unwrap();
        assert_eq!(found, [folder.path().join("b.tmpl")]);
        assert!(load_templates(&[folder.path().join("*.tmpl"), "/none/*".into()]).is_ok());
        let error = load_templates(&[folder.path().join("a.*")]).unwrap_err();
        assert!(error.to_string().contains("a.txt:1"), "{error}");
    }
}
