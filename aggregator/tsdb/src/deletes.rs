//! Deletes: what an operator took away, until a merge has taken it out of the files too.
//!
//! A delete has a place in the log, its **position**, and hits only rows before it: what comes later is new. When it is committed, every
//! row before it is in a partition and none after it shares one with them, so a partition is hit whole or not at all.

use model::{MatchOp, Matcher, TimeRange, TimestampMs};

use crate::bytes::{Malformed, Reader, put_text};

/// What a delete takes: the samples within `range` of all series that satisfy every matcher of any set; no set: of all series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) range: TimeRange,
    pub(crate) matcher_sets: Vec<Vec<Matcher>>,
}

impl Delete {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.range.start.0.to_le_bytes());
        out.extend_from_slice(&self.range.end.0.to_le_bytes());
        put_count(&mut out, self.matcher_sets.len());
        for set in &self.matcher_sets {
            put_count(&mut out, set.len());
            for matcher in set {
                out.push(match matcher.op() {
                    MatchOp::Equal => 0,
                    MatchOp::NotEqual => 1,
                    MatchOp::Regex => 2,
                    MatchOp::NotRegex => 3,
                });
                put_text(&mut out, matcher.name());
                put_text(&mut out, matcher.value());
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let range = TimeRange::new(
            TimestampMs(from.i64("start of a delete")?),
            TimestampMs(from.i64("end of a delete")?),
        );
        let mut matcher_sets = Vec::new();
        for _ in 0..from.u16("matcher sets")? {
            let mut set = Vec::new();
            for _ in 0..from.u16("matchers")? {
                let op = match from.u8("operator of a matcher")? {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    _ => return Err(Malformed("operator of a matcher")),
                };
                let (name, value) = (from.text("name of a matcher")?, from.text("matcher")?);
                set.push(Matcher::new(name, op, value).map_err(|_| Malformed("matcher"))?);
            }
            matcher_sets.push(set);
        }
        Ok(Self {
            range,
            matcher_sets,
        })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).expect("a delete is bounded when it is asked for");
    out.extend_from_slice(&count.to_le_bytes());
}
