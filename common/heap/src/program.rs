//! The pages of the program's own files.

use std::fs;
use std::io;

/// Takes the program's text and constants, and those of its libraries, out of this process's memory: what is used again is mapped again, 16
/// pages at a time, from the system's cache, which may by then have given the rest to others. A program runs through most of its text when
/// it starts, and through less of it afterwards. Takes about a millisecond, and a fault for each place that is used again.
///
/// Fails where there is no `/proc/self/smaps`.
pub fn give_back_program() -> io::Result<()> {
    let mappings = fs::read_to_string("/proc/self/smaps")?;
    unchanged(&mappings).into_iter().for_each(unmap);
    Ok(())
}

/// Where a mapping lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: usize,
    end: usize,
}

/// Returns the mappings of files that nobody may write to and that hold nothing but what the files hold: of a part that the loader has
/// relocated, some pages are anonymous.
fn unchanged(mappings: &str) -> Vec<Range> {
    let (mut found, mut present) = (Vec::new(), None);
    for line in mappings.lines() {
        match line.split_once(':') {
            Some(("Anonymous", kilobytes)) if kilobytes.trim() == "0 kB" => {
                found.extend(present.take());
            }
            // A field; in the line that begins a mapping, blanks come first.
            Some((field, _)) if !field.contains(' ') => {}
            _ => present = of_a_file(line),
        }
    }
    found
}

/// Reads `START-END PERMISSIONS OFFSET DEVICE INODE PATH`; `None` for what is writable, shared, or not a file's.
fn of_a_file(line: &str) -> Option<Range> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (permissions, path) = (words.next()?, words.nth(3)?);
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = Range {
        start: address(start)?,
        end: address(end)?,
    };
    let is_fixed = matches!(permissions, "r-xp" | "r--p") && path.starts_with('/');
    (is_fixed && range.start < range.end).then_some(range)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library has no safe face")]
fn unmap(range: Range) {
    let length = range.end - range.start;
    // SAFETY: the range is a private mapping of a file that this process cannot write to, and none of its pages was ever changed, so they
    // hold what the file holds, and so they do when they are mapped again; the mapping itself stays. Should it have gone since it was
    // listed, another could stand there: this program unmaps no part of its files while it runs.
    unsafe {
        libc::madvise(
            std::ptr::without_provenance_mut(range.start),
            length,
            libc::MADV_DONTNEED,
        );
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn unmap(_: Range) {}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPINGS: &str = "\
1000-2000 r--p 00000000 fe:00 123                 /usr/bin/agent
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
2000-5000 r-xp 00001000 fe:00 123                 /usr/bin/agent
Anonymous:             0 kB
5000-6000 r--p 00004000 fe:00 123                 /usr/bin/agent
Anonymous:             4 kB
6000-7000 rw-p 00005000 fe:00 123                 /usr/bin/agent
Anonymous:             0 kB
7000-8000 r--s 00000000 fe:00 124                 /tmp/shared
Anonymous:             0 kB
8000-9000 r-xp 00000000 00:00 0                   [vdso]
Anonymous:             0 kB
9000-a000 r--p 00000000 00:00 0
Anonymous:             0 kB
a000-b000 rw-p 00000000 00:00 0                   [heap]
Anonymous:             0 kB
odd: a line
b000-c000 r-xp 00000000 fe:00 125                 /usr/lib/a:b.so
Anonymous:             0 kB
";

    #[test]
    fn only_what_files_hold_is_given_back() {
        let expected = [(0x1000, 0x2000), (0x2000, 0x5000), (0xb000, 0xc000)];
        let expected = expected.map(|(start, end)| Range { start, end });
        assert_eq!(unchanged(MAPPINGS), expected);
        assert_eq!(unchanged(""), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn less_is_resident_afterwards_and_the_program_runs_on() {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let of_files = status
                .lines()
                .find_map(|line| line.strip_prefix("RssFile:"));
            let of_files = of_files.unwrap().trim().trim_end_matches(" kB");
            of_files.parse::<u64>().unwrap()
        };
        let before = resident();
        give_back_program().unwrap();
        let after = resident();
        assert!(after < before, "{before} KiB before, {after} KiB after");
    }
}
