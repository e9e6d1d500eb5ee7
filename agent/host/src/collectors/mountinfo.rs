//! Mounts: `mountinfo`.
//!
//! Own parser: `procfs-core` reads lines as UTF-8 and gives up the whole file for one mount point that is not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::scan;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) major: String,
    pub(super) minor: String,
    /// Where it is mounted, as the node's first process sees it.
    pub(super) point: PathBuf,
    pub(super) fs_type: String,
    /// What is mounted.
    pub(super) device: String,
    /// Whether the mount or the file system as a whole is read-only.
    pub(super) read_only: bool,
}

/// Reads `id parent major:minor root point options optional* - type source super-options`.
pub(super) fn parse_line(line: &[u8]) -> Option<Mount> {
    // Other blanks than the space are escaped or part of a word, and a source may be empty.
    let mut words = line.split(|b| *b == b' ');
    let numbers = words.nth(2)?;
    let (major, minor) = scan::split_once(numbers, b':')?;
    let (major, minor) = (scan::number(major)?, scan::number(minor)?);
    let point = words.nth(1)?;
    let options = words.next()?;
    words.by_ref().find(|word| *word == b"-")?;
    let fs_type = words.next()?;
    let source = words.next()?;
    let super_options = words.next()?;
    let is_read_only = |options: &[u8]| options.split(|b| *b == b',').any(|option| option == b"ro");
    Some(Mount {
        major: major.to_string(),
        minor: minor.to_string(),
        point: PathBuf::from(OsStr::from_bytes(&unescape(point))),
        fs_type: scan::text(&unescape(fs_type)).into_owned(),
        device: scan::text(&unescape(source)).into_owned(),
        read_only: is_read_only(options) || is_read_only(super_options),
    })
}

/// The kernel writes blanks, line feeds and backslashes as `\` and three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match after.first_chunk::<3>().and_then(octal) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_all_kinds_are_read() {
        let mount = parse_line(
            br"36 35 98:0 /mnt1 /mnt\040two\134 rw,noatime master:1 shared:7 - ext3 /dev/ro\011ot ro,errors=continue",
        )
        .unwrap();
        assert_eq!(mount.point, PathBuf::from(r"/mnt two\"));
        assert_eq!((&*mount.major, &*mount.minor), ("98", "0"));
        assert_eq!((&*mount.fs_type, &*mount.device), ("ext3", "/dev/ro\tot"));
        assert!(mount.read_only);

        let bare = parse_line(b"1 0 0:5 / /x rw - tmpfs  rw").unwrap();
        assert_eq!((&*bare.device, bare.read_only), ("", false));
        for bad in [
            "",
            "1 2 3 / /x rw - t s o",
            "1 2 3:4 / /x rw ext4 a b",
            "1 2 3:4 / /x rw -",
            "1 2 3:4 / /x rw - ext4 a",
        ] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (word, text) in [
            (r"\0", r"\0"),
            (r"a\400b", r"a\400b"),
            (r"\\040", r"\ "),
            (r"\101", "A"),
        ] {
            assert_eq!(unescape(word.as_bytes()), text.as_bytes(), "{word}");
        }
    }
}
