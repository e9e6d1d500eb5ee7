//! The series of a selection, and where each of them lies.
//!
//! A query may go through hundreds of thousands of series, each in several sources, so what is looked up in no order is kept small: halves
//! of identities, and numbers of places.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use model::Labels;

use crate::hashing::AsIs;
use crate::index::{Identity, Named, SeriesId};

/// What a place of a series takes while series are gathered, its share of all tables included.
pub(super) const PLACE_BYTES: u64 = 80;

/// A series in one source.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its number there.
    series: SeriesId,
    /// Its number here.
    number: u32,
}

/// Series on their way: sources are added from the youngest to the oldest.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Numbers of series, by half of their identity; a second series of one half stands at the next free one.
    known: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    identities: Vec<Identity>,
    labels: Vec<Labels>,
    /// Source by source.
    places: Vec<Place>,
    /// By source: its first place.
    firsts: Vec<u32>,
}

impl Gathering {
    /// Begins a source, of which this many series are expected.
    pub(super) fn begin_source(&mut self, series: usize) {
        self.firsts.push(self.next_place());
        // Those of the second are mostly known.
        let new = series.saturating_sub(self.labels.len());
        self.places.reserve(series);
        self.identities.reserve(new);
        self.labels.reserve(new);
        self.known.reserve(new);
    }

    /// Returns the series of the source at hand, in the order in which they were added.
    pub(super) fn of_source(&self) -> Vec<SeriesId> {
        let first = self.firsts.last().map_or(0, |first| *first as usize);
        let places = self.places[first..].iter();
        places.map(|place| place.series).collect()
    }

    fn next_place(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// Notes that the source at hand has a series.
    pub(super) fn add(&mut self, series: SeriesId, named: Named) {
        let number = self.number(named.identity);
        if number as usize == self.labels.len() {
            self.identities.push(named.identity);
            self.labels.push(named.labels);
        }
        self.places.push(Place { series, number });
    }

    /// Returns the number of the series with this identity: the next one, if it is new.
    fn number(&mut self, identity: Identity) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the half is meant")]
        let mut half = identity as u64;
        let new = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        loop {
            let number = *self.known.entry(half).or_insert(new);
            match self.identities.get(number as usize) {
                Some(other) if *other != identity => half = half.wrapping_add(1),
                _ => return number,
            }
        }
    }

    /// Returns the series with their places.
    pub(super) fn finish(self) -> Gathered {
        let places_end = self.next_place();
        let Self {
            labels,
            places,
            firsts,
            ..
        } = self;
        let mut ends: Vec<u32> = vec![0; labels.len()];
        for place in &places {
            ends[place.number as usize] += 1;
        }
        let mut next = 0;
        for end in &mut ends {
            next += std::mem::replace(end, next);
        }
        let mut order = vec![0; places.len()];
        for (at, place) in (0..places_end).zip(&places).rev() {
            let end = &mut ends[place.number as usize];
            order[*end as usize] = at;
            *end += 1;
        }
        Gathered {
            labels,
            places,
            firsts,
            order,
            ends,
            sequence: None,
        }
    }
}

/// Where a series is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    pub(super) source: usize,
    /// Its number there.
    pub(super) series: SeriesId,
    /// Which of the source's series that were added it is.
    pub(super) nth: usize,
}

/// Series with their places.
#[derive(Debug)]
pub(super) struct Gathered {
    labels: Vec<Labels>,
    places: Vec<Place>,
    firsts: Vec<u32>,
    /// Places, by series, from the oldest source to the youngest.
    order: Vec<u32>,
    /// By series: where its places end in `order`.
    ends: Vec<u32>,
    /// The series in the order in which they are asked for, if that is not the one in which they were found.
    sequence: Option<Vec<u32>>,
}

impl Gathered {
    /// Puts the series in order of their labels.
    pub(super) fn sort(&mut self) {
        let count = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        let mut sequence: Vec<u32> = (0..count).collect();
        sequence.sort_by(|a, b| self.labels[*a as usize].cmp(&self.labels[*b as usize]));
        self.sequence = Some(sequence);
    }

    /// Returns the number of series.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns the number of the series that stands at `index`.
    pub(super) fn at(&self, index: usize) -> usize {
        match &self.sequence {
            Some(sequence) => sequence[index] as usize,
            None => index,
        }
    }

    /// Returns the labels of a series, once.
    pub(super) fn take_labels(&mut self, number: usize) -> Labels {
        std::mem::take(&mut self.labels[number])
    }

    /// Returns the number of places.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// Returns what a place is.
    pub(super) fn place(&self, at: u32) -> Located {
        let source = self.source_of(at);
        let first = self.firsts.get(source).copied().unwrap_or_default();
        Located {
            source,
            series: self.places[at as usize].series,
            nth: (at - first) as usize,
        }
    }

    /// Returns the source of a place; nothing of the place itself is looked up.
    pub(super) fn source_of(&self, at: u32) -> usize {
        let firsts = self.firsts.iter();
        firsts.take_while(|first| **first <= at).count().max(1) - 1
    }

    /// Returns which of the places are a series': from the oldest source to the youngest.
    pub(super) fn places_of(&self, number: usize) -> &[u32] {
        let end = |number: usize| self.ends[number] as usize;
        let start = number.checked_sub(1).map_or(0, end);
        &self.order[start..end(number)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(identity: Identity) -> Named {
        let text = identity.to_string();
        Named {
            labels: Labels::from_pairs([("id", text.as_str())]).unwrap(),
            identity,
            bytes: 0,
        }
    }

    #[test]
    fn places_of_one_series_come_together_whatever_halves_collide() {
        // The first two have one half in common.
        let identities = [7, 7 | 1 << 90, 8, 9];
        let mut gathering = Gathering::default();
        for (source, list) in [&[1, 0, 2][..], &[0, 1, 3], &[1]].iter().enumerate() {
            gathering.begin_source(list.len());
            for which in *list {
                let series = u32::try_from(which * 10 + source).unwrap();
                gathering.add(series, named(identities[*which]));
            }
            assert_eq!(gathering.of_source().len(), list.len());
        }
        let mut gathered = gathering.finish();
        gathered.sort();
        let found: Vec<(String, Vec<u32>)> = (0..gathered.len())
            .map(|index| {
                let number = gathered.at(index);
                let places = gathered.places_of(number).iter();
                let located = places.map(|at| gathered.place(*at));
                let series = located
                    .inspect(|place| assert_eq!(place.source, place.series as usize % 10))
                    .map(|place| place.series)
                    .collect();
                let labels = gathered.take_labels(number);
                (labels.value_or_empty("id").to_owned(), series)
            })
            .collect();
        let expected = [
            (identities[1], vec![12, 11, 10]),
            (identities[0], vec![1, 0]),
            (identities[2], vec![20]),
            (identities[3], vec![31]),
        ];
        let mut expected: Vec<(String, Vec<u32>)> = expected
            .map(|(identity, series)| (identity.to_string(), series))
            .to_vec();
        expected.sort();
        assert_eq!(found, expected);
    }
}
