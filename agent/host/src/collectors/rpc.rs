//! Lines of `net/rpc/*`: a word, and numbers; procedures by number.

use crate::{Family, Sink, scan};

/// Names in the order of the procedures' numbers; those without a name are not shown.
pub(super) type Procedures<'a> = &'a [&'static str];

/// NFS 2.
pub(super) const V2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write",
    "Create", "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

/// NFS 3.
pub(super) const V3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

/// Returns the procedures without a name for the first, which does nothing.
pub(super) const fn without_null<const N: usize>(
    mut procedures: [&'static str; N],
) -> [&'static str; N] {
    procedures[0] = "";
    procedures
}

/// Reads exactly `N` numbers.
pub(super) fn numbers<const N: usize>(line: &[u8]) -> Option<[f64; N]> {
    let mut words = scan::words(line);
    let mut numbers = [0.0; N];
    for number in &mut numbers {
        *number = scan::number(words.next()?)? as f64;
    }
    words.next().is_none().then_some(numbers)
}

/// Samples a line of counts by procedure, after their number; none of the procedures may be missing.
pub(super) fn sample_all(
    family: &Family,
    proto: &str,
    procedures: Procedures<'_>,
    line: &[u8],
    sink: &mut dyn Sink,
) -> Option<()> {
    (announced(line)? >= procedures.len()).then_some(())?;
    sample_known(family, proto, procedures, line, sink)
}

/// Samples a line of counts by procedure, after their number; those that are missing are 0, those that are unknown left out.
pub(super) fn sample_known(
    family: &Family,
    proto: &str,
    procedures: Procedures<'_>,
    line: &[u8],
    sink: &mut dyn Sink,
) -> Option<()> {
    (scan::words(line).skip(1).count() == announced(line)?).then_some(())?;
    let mut counts = scan::words(line).skip(1);
    for procedure in procedures {
        let count = match counts.next() {
            Some(word) => scan::number(word)? as f64,
            None => 0.0,
        };
        if !procedure.is_empty() {
            sink.sample(family, &[proto, procedure], count);
        }
    }
    Some(())
}

fn announced(line: &[u8]) -> Option<usize> {
    usize::try_from(scan::number(scan::words(line).next()?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Snapshot;

    static FAMILY: Family = Family::counter("requests", "", &["proto", "method"]);

    fn sampled(line: &str) -> Option<Vec<(String, f64)>> {
        let mut snapshot = Snapshot::new();
        sample_known(
            &FAMILY,
            "9",
            &["A", "", "C"],
            line.as_bytes(),
            &mut snapshot,
        )?;
        let families = snapshot.into_families();
        let samples = families.iter().flat_map(|family| &family.samples);
        Some(
            samples
                .map(|sample| (sample.labels[0].1.clone(), sample.value))
                .collect(),
        )
    }

    #[test]
    fn counts_are_those_announced() {
        let of = |a: f64, c: f64| Some(vec![("A".to_owned(), a), ("C".to_owned(), c)]);
        for (line, expected) in [
            ("3 1 2 3", of(1.0, 3.0)),
            ("1 1", of(1.0, 0.0)),
            ("4 1 2 3 4", of(1.0, 3.0)),
            ("3 1 2", None),
            ("3 1 2 x", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(sampled(line), expected, "{line}");
        }
        assert_eq!(numbers::<2>(b"1 2"), Some([1.0, 2.0]));
        assert_eq!(numbers::<2>(b"1"), None);
        assert_eq!(numbers::<2>(b"1 2 3"), None);
    }
}
