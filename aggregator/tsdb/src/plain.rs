//! Series of floats and nothing else, put together from pieces without an allocation of their own.
//!
//! Nearly every series is a float at each time of columns that it shares with its cohort. A reader of many such series keeps one
//! [`PlainSeries`]: each in turn appends its pieces to one buffer, and the time columns of those pieces, one behind the other, are made
//! into one column once, for all series that have the same.

use std::collections::HashMap;
use std::sync::Arc;

use model::{TimeRange, TimestampMs};
use storage::Times;

/// Joined columns that are remembered, some 4 KB each for two hours at 15 s: series with times of their own would only fill memory.
const JOINED_MAX: usize = 512;

/// What a place has of a series, to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// A float in every row: appended.
    Plain,
    /// Nothing: nothing was appended.
    Nothing,
    /// Something else, which has to be read otherwise; what was appended of the series, if anything, is of no use.
    Other,
}

/// The samples of one plain series, and what the next one may have in common with it.
#[derive(Debug)]
pub(crate) struct PlainSeries {
    /// Samples of interest lie within.
    range: TimeRange,
    values: Vec<f64>,
    /// That of the series before.
    last: Arc<Joined>,
    /// As many of its parts as the series at hand has too, as long as it has no others.
    shared: usize,
    /// All parts of the series at hand, once they are not those of `last`.
    parts: Vec<Times>,
    /// By the identities of the parts, which live as long as they are remembered.
    known: HashMap<Vec<usize>, Arc<Joined>>,
}

/// Time columns, one behind the other.
#[derive(Debug)]
struct Joined {
    parts: Vec<Times>,
    /// `None`: they do not follow each other in time.
    whole: Option<Times>,
    /// Whether any of the times lies in the range.
    within: bool,
}

impl Joined {
    fn new(parts: Vec<Times>, range: TimeRange) -> Self {
        let whole = match parts.as_slice() {
            [only] => Some(only.clone()),
            parts => {
                let times: Vec<TimestampMs> = parts
                    .iter()
                    .flat_map(|part| part.as_slice().iter().copied())
                    .collect();
                let rises = times.windows(2).all(|pair| pair[0] < pair[1]);
                rises.then(|| Times::new(times))
            }
        };
        let within = whole.as_ref().is_some_and(|times| {
            let times = times.as_slice();
            let from = times.partition_point(|at| *at < range.start);
            times.get(from).is_some_and(|at| *at <= range.end)
        });
        Self {
            parts,
            whole,
            within,
        }
    }
}

impl PlainSeries {
    /// Returns one for series of which samples in `range` are of interest.
    pub(crate) fn new(range: TimeRange) -> Self {
        Self {
            range,
            values: Vec::new(),
            last: Arc::new(Joined::new(Vec::new(), range)),
            shared: 0,
            parts: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Begins a series.
    pub(crate) fn begin(&mut self) {
        self.values.clear();
        self.parts.clear();
        self.shared = 0;
    }

    /// Returns where a piece's values are appended; [`took`](Self::took) says when they were.
    pub(crate) const fn values(&mut self) -> &mut Vec<f64> {
        &mut self.values
    }

    /// Notes the times of the piece that was appended.
    pub(crate) fn took(&mut self, times: &Times) {
        if self.parts.is_empty() {
            let next = self.last.parts.get(self.shared);
            if next.is_some_and(|next| next.same_column(times)) {
                self.shared += 1;
                return;
            }
            self.parts
                .extend_from_slice(&self.last.parts[..self.shared]);
        }
        self.parts.push(times.clone());
    }

    /// Returns the series; `Err`: its pieces do not follow each other in time, and it has to be read otherwise. `Ok(None)`: it has nothing
    /// in the range.
    pub(crate) fn finish(&mut self) -> Result<Option<(&Times, &[f64])>, NotPlain> {
        if !self.parts.is_empty() || self.shared < self.last.parts.len() {
            self.last = self.joined();
        }
        let Some(whole) = &self.last.whole else {
            return Err(NotPlain);
        };
        Ok(self.last.within.then_some((whole, &self.values)))
    }

    fn joined(&mut self) -> Arc<Joined> {
        if self.parts.is_empty() {
            self.parts
                .extend_from_slice(&self.last.parts[..self.shared]);
        }
        let identities: Vec<usize> = self.parts.iter().map(Times::identity).collect();
        if let Some(known) = self.known.get(&identities) {
            return Arc::clone(known);
        }
        let joined = Arc::new(Joined::new(std::mem::take(&mut self.parts), self.range));
        if self.known.len() >= JOINED_MAX {
            self.known.clear();
        }
        self.known.insert(identities, Arc::clone(&joined));
        joined
    }
}

/// A series is not of floats alone, or its pieces do not follow each other in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotPlain;

#[cfg(test)]
mod tests {
    use super::*;

    fn times(list: &[i64]) -> Times {
        Times::new(list.iter().map(|at| TimestampMs(*at)).collect::<Vec<_>>())
    }

    /// Returns the samples of a series of these pieces, and the identity of their column.
    type Found = Option<(Vec<(i64, f64)>, usize)>;

    fn put(series: &mut PlainSeries, pieces: &[&Times]) -> Result<Found, NotPlain> {
        series.begin();
        let mut value = 0.0;
        for piece in pieces {
            for _ in piece.as_slice() {
                series.values().push(value);
                value += 1.0;
            }
            series.took(piece);
        }
        let found = series.finish()?;
        Ok(found.map(|(times, values)| {
            assert_eq!(times.as_slice().len(), values.len());
            let at = times.as_slice().iter().map(|at| at.0);
            (at.zip(values.iter().copied()).collect(), times.identity())
        }))
    }

    #[test]
    fn series_of_the_same_pieces_share_a_column() {
        let (a, b, c) = (times(&[1, 2]), times(&[3]), times(&[4, 5]));
        let mut series = PlainSeries::new(TimeRange::new(TimestampMs(3), TimestampMs(9)));
        let of_ab = put(&mut series, &[&a, &b]).unwrap().unwrap();
        assert_eq!(of_ab.0, [(1, 0.0), (2, 1.0), (3, 2.0)]);
        // Fewer, more, others, and the first again.
        assert_eq!(put(&mut series, &[&a]), Ok(None));
        let of_b = put(&mut series, &[&b]).unwrap().unwrap();
        assert_eq!(of_b, (vec![(3, 0.0)], b.identity()));
        let of_abc = put(&mut series, &[&a, &b, &c]).unwrap().unwrap();
        assert_eq!(of_abc.0.last(), Some(&(5, 4.0)));
        assert_eq!(put(&mut series, &[&b, &a]), Err(NotPlain));
        assert_eq!(put(&mut series, &[&a, &b]), Ok(Some(of_ab.clone())));
        for at in 0..2 * JOINED_MAX {
            let own = times(&[i64::try_from(at).unwrap()]);
            assert!(put(&mut series, &[&own]).is_ok());
            assert!(series.known.len() <= JOINED_MAX);
        }
        let again = put(&mut series, &[&a, &b]).unwrap().unwrap();
        assert_eq!(again.0, of_ab.0);
    }
}
