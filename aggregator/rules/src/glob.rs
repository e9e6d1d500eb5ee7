//! Files by patterns, as Go's `filepath.Glob` has them: `*`, `?`, `[a-z]` and `\` within one name.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A pattern may stand for so many files.
const FILES_MAX: usize = 10_000;

/// Returns the files that `pattern` stands for, sorted; none when there are none.
pub fn glob(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let name = name.to_string_lossy();
        let mut next = Vec::new();
        for path in found {
            if is_pattern(&name) {
                next.extend(matching(&path, &name));
            } else if fs::symlink_metadata(path.join(&*name)).is_ok() {
                next.push(path.join(&*name));
            }
            if next.len() > FILES_MAX {
                let pattern = pattern.display();
                return Err(io::Error::other(format!(
                    "{pattern} stands for more than {FILES_MAX} files"
                )));
            }
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '\\'])
}

/// A folder that does not read has no files, as in Go.
fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = fs::read_dir(here).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    let pattern: Vec<char> = pattern.chars().collect();
    names
        .filter(|name| {
            let name: Vec<char> = name.to_string_lossy().chars().collect();
            matches(&pattern, &name)
        })
        .map(|name| folder.join(name))
        .collect()
}

/// Whether `name` is one that `pattern` stands for. Takes time in the product of their lengths.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last star when what follows does not match.
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() || p < pattern.len() {
        if pattern.get(p) == Some(&'*') {
            back = Some((p + 1, n + 1));
            p += 1;
            continue;
        }
        if let Some(length) = name.get(n).and_then(|c| one(&pattern[p..], *c)) {
            p += length;
            n += 1;
            continue;
        }
        match back {
            Some((after, next)) if next <= name.len() => {
                (p, n) = (after, next);
                back = Some((after, next + 1));
            }
            _ => return false,
        }
    }
    true
}

/// Returns the length of the first part of `pattern` when it stands for `c`.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => class(pattern, c),
        '\\' => (pattern.get(1) == Some(&c)).then_some(2),
        first => (*first == c).then_some(1),
    }
}

fn class(pattern: &[char], c: char) -> Option<usize> {
    let end = 2 + pattern.get(2..)?.iter().position(|c| *c == ']')?;
    let mut inner = &pattern[1..end];
    let negated = inner.first() == Some(&'^');
    if negated {
        inner = &inner[1..];
    }
    let mut found = false;
    while let Some((first, rest)) = inner.split_first() {
        inner = rest;
        if let ['-', last, rest @ ..] = inner {
            found |= (*first..=*last).contains(&c);
            inner = rest;
        } else {
            found |= *first == c;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_go_does() {
        for (pattern, name, expected) in [
            ("*", "a.yml", true),
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.yml", "a.yml", true),
            ("?.yml", "ab.yml", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "", true),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(
                matches(&chars(pattern), &chars(name)),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn files_come_sorted_from_several_folders() {
        let home = tempfile::tempdir().unwrap();
        for name in ["b/2.yml", "a/1.yml", "a/x.txt"] {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = glob(&home.path().join("*/*.yml")).unwrap();
        assert_eq!(
            found,
            [home.path().join("a/1.yml"), home.path().join("b/2.yml")]
        );
        assert!(glob(&home.path().join("absent.yml")).unwrap().is_empty());
        assert_eq!(glob(&home.path().join("a/1.yml")).unwrap().len(), 1);
    }
}
