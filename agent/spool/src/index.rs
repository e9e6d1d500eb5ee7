//! What memory knows of a segment: all that is kept per 4 MiB of backlog.

use model::TimestampMs;
use rows::BatchNumber;

use crate::format::Identity;
use crate::numbers::{Interval, add_interval};

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) identity: Identity,
    /// How much of the file counts.
    pub(crate) bytes: u64,
    /// The lowest and the highest number in it.
    pub(crate) numbers: Option<Interval>,
    /// Numbers in between that are not in it, rising: left out by the uplink, or damaged. At most one interval per record.
    pub(crate) holes: Vec<Interval>,
    pub(crate) batches: u64,
    pub(crate) samples: u64,
    /// When the first and the last batch were made.
    pub(crate) created: Option<(TimestampMs, TimestampMs)>,
    /// `false` when a later version of the program wrote it.
    pub(crate) readable: bool,
}

impl Segment {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            bytes: 0,
            numbers: None,
            holes: Vec::new(),
            batches: 0,
            samples: 0,
            created: None,
            readable: true,
        }
    }

    /// Takes a batch that lies after all others; `false`, and nothing taken, when its number says otherwise.
    pub(crate) fn add_batch(
        &mut self,
        number: BatchNumber,
        created: TimestampMs,
        samples: u32,
    ) -> bool {
        self.numbers = match self.numbers {
            None => Some((number.0, number.0)),
            Some((_, last)) if number.0 <= last => return false,
            _ if number.0 == u64::MAX => return false,
            Some((first, last)) => {
                if number.0 > last + 1 {
                    add_interval(&mut self.holes, (last + 1, number.0 - 1));
                }
                Some((first, number.0))
            }
        };
        self.batches += 1;
        self.samples += u64::from(samples);
        self.created = Some((self.created.map_or(created, |(first, _)| first), created));
        true
    }

    /// Whether `number` lies between the lowest and the highest.
    pub(crate) fn spans(&self, number: BatchNumber) -> bool {
        self.numbers
            .is_some_and(|(first, last)| (first..=last).contains(&number.0))
    }
}
