//! What is remembered of the last body: what stands between its values, and whom each value belongs to.
//!
//! ```text
//! body:   # TYPE a gauge\na{x="1"} 7\na{x="2"} 8.5\n
//! text:   # TYPE a gauge\na{x="1"} | \na{x="2"} | \n
//! lines:                           0            1     (the end of each piece, where its key lies, its owner)
//! ```
//! The next body is read by laying the pieces against it and taking what lies between them as values. Where it does not fit, keys
//! are looked up: first the one that followed last time, then by hash. Equal hashes of different keys cost a look-up, no more.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::number::value;

/// Where a series has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) part: u16,
    pub(crate) slot: rows::Slot,
}

/// Whom the values of a key belong to; `None`: nobody, relabelling dropped it.
pub(crate) type Owner = Option<Address>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    text: Vec<u8>,
    lines: Vec<Line>,
    by_hash: HashMap<u64, u32>,
    /// Whether pieces can be laid against a body: not if they are keys alone.
    is_template: bool,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// The end of the piece before the value.
    end: u32,
    key_start: u32,
    key_end: u32,
    owner: Owner,
}

/// A memory that is being made while a body is read.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    memory: Memory,
}

impl Memory {
    /// Takes the values of `body` when nothing but values has changed; returns whether so. If not, `take` may have been called for
    /// some of them.
    pub(crate) fn replay(&self, body: &[u8], mut take: impl FnMut(Owner, f64)) -> bool {
        if !self.is_template {
            return false;
        }
        let (mut rest, mut start) = (body, 0);
        for line in &self.lines {
            let end = line.end as usize;
            let Some(after) = self
                .text
                .get(start..end)
                .and_then(|piece| rest.strip_prefix(piece))
            else {
                return false;
            };
            let length = after
                .iter()
                .position(|byte| matches!(byte, b'\n' | b' ' | b'\t'));
            let (number, after) = after.split_at(length.unwrap_or(after.len()));
            let Some(value) = value(number) else {
                return false;
            };
            take(line.owner, value);
            (rest, start) = (after, end);
        }
        self.text.get(start..) == Some(rest)
    }

    /// Returns whom `key` belongs to; `next` is where it is looked for first, and moves behind it. The outer `None`: nobody knows.
    pub(crate) fn owner(&self, key: &[u8], next: &mut usize) -> Option<Owner> {
        let is_key = |line: &&Line| {
            self.text
                .get(line.key_start as usize..line.key_end as usize)
                == Some(key)
        };
        if let Some(line) = self.lines.get(*next).filter(is_key) {
            *next += 1;
            return Some(line.owner);
        }
        let at = *self.by_hash.get(&xxh3_64(key))?;
        let line = self.lines.get(at as usize).filter(is_key)?;
        *next = at as usize + 1;
        Some(line.owner)
    }

    /// Forgets everything, and gives back its memory.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Returns about how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.text.capacity()
            + self.lines.capacity() * size_of::<Line>()
            + self.by_hash.capacity() * (size_of::<(u64, u32)>() + 1)
    }
}

impl Recorder {
    /// Returns a recorder of a body that may be laid against the next one, if `is_template`, or only has its keys remembered.
    pub(crate) fn new(is_template: bool, like: &Memory) -> Self {
        let memory = Memory {
            text: Vec::with_capacity(like.text.len()),
            lines: Vec::with_capacity(like.lines.len()),
            by_hash: HashMap::with_capacity(like.lines.len()),
            is_template,
        };
        Self { memory }
    }

    /// Remembers a key that stands `key_at` bytes into `piece`, which ends where its value begins.
    pub(crate) fn line(&mut self, piece: &[u8], key_at: usize, key: &[u8], owner: Owner) {
        let memory = &mut self.memory;
        let start = memory.text.len();
        memory.text.extend_from_slice(piece);
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let number = offset(memory.lines.len());
        memory.lines.push(Line {
            end: offset(memory.text.len()),
            key_start: offset(start + key_at),
            key_end: offset(start + key_at + key.len()),
            owner,
        });
        memory.by_hash.insert(xxh3_64(key), number);
    }

    /// Says that pieces cannot be laid against a body: one of its lines has more than a value.
    pub(crate) fn is_no_template(&mut self) {
        self.memory.is_template = false;
    }

    /// Remembers what stands behind the last value.
    pub(crate) fn finish(mut self, rest: &[u8]) -> Memory {
        self.memory.text.extend_from_slice(rest);
        self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "# TYPE a gauge\na{x=\"1\"} 7\na{x=\"2\"}  8.5\nb NaN \n# end\n";

    fn address(slot: u16) -> Owner {
        Some(Address { part: 0, slot })
    }

    fn memory() -> Memory {
        let mut recorder = Recorder::new(true, &Memory::default());
        recorder.line(
            b"# TYPE a gauge\na{x=\"1\"} ",
            15,
            b"a{x=\"1\"}",
            address(3),
        );
        recorder.line(b"\na{x=\"2\"}  ", 1, b"a{x=\"2\"}", None);
        recorder.line(b"\nb ", 1, b"b", address(4));
        recorder.finish(b" \n# end\n")
    }

    fn replay(body: &str) -> Option<Vec<(Owner, String)>> {
        let mut taken = Vec::new();
        let fits = memory().replay(body.as_bytes(), |owner, value| {
            taken.push((owner, value.to_string()));
        });
        fits.then_some(taken)
    }

    #[test]
    fn only_values_may_change() {
        let values = |first: &str| {
            Some(vec![
                (address(3), first.to_owned()),
                (None, "8.5".to_owned()),
                (address(4), "NaN".to_owned()),
            ])
        };
        assert_eq!(replay(BODY), values("7"));
        assert_eq!(replay(&BODY.replace(" 7\n", " -1.25e3\n")), values("-1250"));
        for (from, to) in [
            (" 7\n", " 7 \n"),
            (" 7\n", " 7 1000\n"),
            (" 7\n", " x\n"),
            (" 7\n", " \n"),
            ("gauge", "counter"),
            ("x=\"2\"", "x=\"3\""),
            ("# end\n", ""),
            ("# end\n", "# end\nc 1\n"),
            ("b NaN", "c NaN"),
        ] {
            assert_eq!(replay(&BODY.replace(from, to)), None, "{to}");
        }
        assert_eq!(replay(""), None);
    }

    #[test]
    fn keys_are_found_in_any_order() {
        let memory = memory();
        let mut next = 0;
        let mut owner = |key: &[u8]| memory.owner(key, &mut next);
        assert_eq!(owner(b"a{x=\"1\"}"), Some(address(3)));
        assert_eq!(owner(b"a{x=\"2\"}"), Some(None));
        assert_eq!(owner(b"a{x=\"1\"}"), Some(address(3)));
        assert_eq!(owner(b"b"), Some(address(4)));
        assert_eq!(owner(b"c"), None);
    }

    #[test]
    fn an_empty_memory_fits_nothing() {
        assert!(!Memory::default().replay(b"", |_, _| {}));
        let keys = Recorder::new(false, &Memory::default()).finish(b"");
        assert!(!keys.replay(b"", |_, _| {}));
    }
}
