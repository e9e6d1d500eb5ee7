//! The series of a selection, and where each of them lies.
//!
//! A query may go through millions of series, each in several sources. Which of these are one series is found by a join over their
//! identities: a hash table over all of them was half of such a query's time, for each look at it is a miss of the cache. So halves of the
//! identities are sorted into buckets first, and a table is made for one bucket at a time (counting a million series by name: 948 ms of CPU
//! with one table and labels made for each place, see the commit for what it became).

use model::Labels;

use crate::index::{Identity, SeriesId};

/// What a place of a series takes while series are gathered, its share of all tables included.
pub(super) const PLACE_BYTES: u64 = 80;

/// Places of a bucket, about: halves and table stay in a core's cache.
const BUCKET_PLACES: usize = 2_048;
/// No place; there are never so many.
const NONE: u32 = u32::MAX;

/// Series on their way: sources are added from the youngest to the oldest.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// By place, source by source: the series' number there.
    series: Vec<SeriesId>,
    /// By place.
    identities: Vec<Identity>,
    /// By source: its first place.
    firsts: Vec<u32>,
}

impl Gathering {
    /// Begins a source, of which this many series are expected.
    pub(super) fn begin_source(&mut self, series: usize) {
        self.firsts.push(count(&self.series));
        self.series.reserve(series);
        self.identities.reserve(series);
    }

    /// Returns the series of the source at hand, in the order in which they were added.
    pub(super) fn of_source(&self) -> &[SeriesId] {
        let first = self.firsts.last().map_or(0, |first| *first as usize);
        &self.series[first..]
    }

    /// Notes that the source at hand has a series.
    pub(super) fn add(&mut self, series: SeriesId, identity: Identity) {
        self.series.push(series);
        self.identities.push(identity);
    }

    /// Returns the series with their places, and without labels.
    pub(super) fn finish(self) -> Gathered {
        let Self {
            series,
            identities,
            firsts,
        } = self;
        let places = count(&series);
        // Within a source no series comes twice.
        let sources = firsts.iter().chain([&places]).collect::<Vec<_>>();
        let filled = sources.windows(2).filter(|pair| pair[0] < pair[1]).count();
        let (order, ends) = if filled > 1 {
            order_of(&first_places(&identities))
        } else {
            ((0..places).collect(), (1..=places).collect())
        };
        Gathered {
            labels: Vec::with_capacity(ends.len()),
            series,
            firsts,
            order,
            ends,
            sequence: None,
        }
    }
}

fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(NONE)
}

/// What a bucket has of a place.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// The upper half of the identity.
    half: u64,
    place: u32,
}

/// Returns, by place, the first place of the same identity, [`NONE`] for that place itself.
fn first_places(identities: &[Identity]) -> Vec<u32> {
    let buckets = (identities.len() / BUCKET_PLACES)
        .max(1)
        .next_power_of_two();
    let bits = buckets.trailing_zeros();
    // Identities are sums of hashes: their bits are as good as random.
    let bucket_of = |half: u64| ((half >> 32) << bits >> 32) as usize;
    let half_of = |identity: Identity| (identity >> 64) as u64;
    let mut ends = vec![0; buckets];
    for identity in identities {
        ends[bucket_of(half_of(*identity))] += 1_usize;
    }
    let mut next = 0;
    for end in &mut ends {
        next += std::mem::replace(end, next);
    }
    let mut halves = vec![Half::default(); identities.len()];
    for (place, identity) in (0..).zip(identities) {
        let half = half_of(*identity);
        let end = &mut ends[bucket_of(half)];
        halves[*end] = Half { half, place };
        *end += 1;
    }
    let mut first = vec![NONE; identities.len()];
    let mut table = Vec::new();
    let mut start = 0;
    for end in ends {
        join_bucket(&halves[start..end], identities, &mut table, &mut first);
        start = end;
    }
    first
}

/// Notes the first place of each that comes again within a bucket; places rise there.
fn join_bucket(halves: &[Half], identities: &[Identity], table: &mut Vec<u32>, first: &mut [u32]) {
    let slots = (halves.len() * 2).next_power_of_two();
    table.clear();
    table.resize(slots, NONE);
    for (at, Half { half, place }) in (0..).zip(halves) {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
        let mut slot = *half as usize & (slots - 1);
        loop {
            let Some(known) = halves.get(table[slot] as usize) else {
                table[slot] = at;
                break;
            };
            let same = known.half == *half
                && identities[known.place as usize] == identities[*place as usize];
            if same {
                first[*place as usize] = known.place;
                break;
            }
            slot = (slot + 1) & (slots - 1);
        }
    }
}

/// Returns the places by series, the last one first, and where each series' places end among them.
fn order_of(first: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut numbers: Vec<u32> = Vec::with_capacity(first.len());
    let mut ends: Vec<u32> = Vec::with_capacity(first.len());
    for first in first {
        // A first place is followed by its others.
        let number = match numbers.get(*first as usize) {
            Some(number) => *number,
            None => {
                ends.push(0);
                count(&ends) - 1
            }
        };
        ends[number as usize] += 1;
        numbers.push(number);
    }
    let mut next = 0;
    for end in &mut ends {
        next += std::mem::replace(end, next);
    }
    let mut order = vec![0; numbers.len()];
    for (place, number) in (0..count(&numbers)).zip(&numbers).rev() {
        let end = &mut ends[*number as usize];
        order[*end as usize] = place;
        *end += 1;
    }
    (order, ends)
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

/// Series with their places: numbered in order of their first places.
#[derive(Debug)]
pub(super) struct Gathered {
    /// By series; `None`: they could not be read.
    labels: Vec<Option<Labels>>,
    /// By place: the series' number in the source.
    series: Vec<SeriesId>,
    /// By source: its first place.
    firsts: Vec<u32>,
    /// Places, by series, from the oldest source to the youngest.
    order: Vec<u32>,
    /// By series: where its places end in `order`.
    ends: Vec<u32>,
    /// The series in the order in which they are asked for, if that is not the one in which they were found.
    sequence: Option<Vec<u32>>,
}

impl Gathered {
    /// Returns the series that have no labels yet and lie in `source` first, by their numbers there; their labels are to be
    /// [added](Self::add_labels) in this order.
    pub(super) fn unnamed(&self, source: usize) -> Vec<SeriesId> {
        let end = self.end_of(source);
        let unnamed = (self.labels.len()..self.len()).map_while(|number| {
            let first = *self.places_of(number).last()?;
            (first < end).then(|| self.series[first as usize])
        });
        unnamed.collect()
    }

    /// Returns the series of a source, by their numbers there, in the order in which they were added.
    pub(super) fn of_source(&self, source: usize) -> &[SeriesId] {
        let first = self.firsts.get(source).copied().unwrap_or_default();
        &self.series[first as usize..self.end_of(source) as usize]
    }

    /// Returns the first place behind a source.
    fn end_of(&self, source: usize) -> u32 {
        let next = self.firsts.get(source + 1).copied();
        next.unwrap_or_else(|| count(&self.series))
    }

    /// Adds the labels of the next series; `None`: they cannot be read, nor can the series.
    pub(super) fn add_labels(&mut self, labels: Option<Labels>) {
        self.labels.push(labels);
    }

    /// Puts the series in order of their labels.
    pub(super) fn sort(&mut self) {
        let mut sequence: Vec<u32> = (0..count(&self.labels)).collect();
        sequence.sort_by(|a, b| self.labels[*a as usize].cmp(&self.labels[*b as usize]));
        self.sequence = Some(sequence);
    }

    /// Returns the number of series.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the number of the series that stands at `index`.
    pub(super) fn at(&self, index: usize) -> usize {
        match &self.sequence {
            Some(sequence) => sequence[index] as usize,
            None => index,
        }
    }

    /// Returns the labels of a series; `None`: they could not be read.
    pub(super) fn labels(&self, number: usize) -> Option<&Labels> {
        self.labels.get(number)?.as_ref()
    }

    /// Returns the number of places.
    pub(super) fn places(&self) -> u32 {
        count(&self.series)
    }

    /// Returns what a place is.
    pub(super) fn place(&self, at: u32) -> Located {
        let source = self.source_of(at);
        let first = self.firsts.get(source).copied().unwrap_or_default();
        Located {
            source,
            series: self.series[at as usize],
            nth: (at - first) as usize,
        }
    }

    /// Returns the source of a place; nothing of the place itself is looked up.
    pub(super) fn source_of(&self, at: u32) -> usize {
        self.firsts.partition_point(|first| *first <= at).max(1) - 1
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

    /// Gathers series given by identity, source by source; they are numbered as they come, 10 apart, plus their source.
    fn gather(sources: &[Vec<Identity>], all: &[Identity]) -> Gathered {
        let mut gathering = Gathering::default();
        for (source, list) in sources.iter().enumerate() {
            gathering.begin_source(list.len());
            for identity in list {
                let which = all.iter().position(|known| known == identity).unwrap();
                gathering.add(u32::try_from(which * 10 + source).unwrap(), *identity);
            }
            assert_eq!(gathering.of_source().len(), list.len());
        }
        let mut gathered = gathering.finish();
        for source in 0..sources.len() {
            for series in gathered.unnamed(source) {
                assert_eq!(series as usize % 10, source);
                let id = (series / 10).to_string();
                gathered.add_labels(Some(Labels::from_pairs([("id", id)]).unwrap()));
            }
        }
        assert_eq!(gathered.labels.len(), gathered.len());
        gathered
    }

    /// Returns, in order of the series, which of `all` it is, and its numbers in the sources.
    fn listed(gathered: &Gathered) -> Vec<(usize, Vec<u32>)> {
        (0..gathered.len())
            .map(|index| {
                let number = gathered.at(index);
                let places = gathered.places_of(number).iter();
                let located = places.map(|at| gathered.place(*at));
                let series = located
                    .inspect(|place| assert_eq!(place.source, place.series as usize % 10))
                    .map(|place| place.series)
                    .collect();
                let labels = gathered.labels(number).unwrap();
                (labels.value_or_empty("id").parse().unwrap(), series)
            })
            .collect()
    }

    #[test]
    fn places_of_one_series_come_together_whatever_halves_collide() {
        // The first two have the half in common that is looked up.
        let all = [7 << 64, 7 << 64 | 1, 8 << 64, 9 << 64];
        let sources = [&[1, 0, 2][..], &[0, 1, 3], &[1]]
            .map(|list| list.iter().map(|which| all[*which]).collect::<Vec<_>>());
        let gathered = gather(&sources, &all);
        assert_eq!(
            listed(&gathered),
            [
                (1, vec![12, 11, 10]),
                (0, vec![1, 0]),
                (2, vec![20]),
                (3, vec![31])
            ]
        );
    }

    #[test]
    fn many_series_are_joined_as_a_plain_map_would() {
        let mut random = fastrand::Rng::with_seed(11);
        // Few upper halves, so that many collide.
        let all: Vec<Identity> = (0..9_000)
            .map(|at| u128::from(random.u64(0..6_000)).wrapping_mul(0x9e37_79b9 << 96) | at)
            .collect();
        let sources: Vec<Vec<Identity>> = [8_000, 0, 5_000, 300]
            .map(|most| {
                let mut list = all.clone();
                random.shuffle(&mut list);
                list.truncate(most);
                list
            })
            .into();
        let mut expected: Vec<(usize, Vec<u32>)> = Vec::new();
        for (source, list) in sources.iter().enumerate() {
            for identity in list {
                let which = all.iter().position(|known| known == identity).unwrap();
                let series = u32::try_from(which * 10 + source).unwrap();
                match expected.iter_mut().find(|(known, _)| *known == which) {
                    Some((_, places)) => places.insert(0, series),
                    None => expected.push((which, vec![series])),
                }
            }
        }
        let gathered = gather(&sources, &all);
        assert_eq!(listed(&gathered), expected);
        let mut gathered = gather(&sources, &all);
        gathered.sort();
        expected.sort_by_key(|(which, _)| which.to_string());
        assert_eq!(listed(&gathered), expected);
    }

    #[test]
    fn a_single_source_is_as_it_came() {
        let all = [3, 1, 2].map(|half: Identity| half << 64);
        let gathered = gather(&[Vec::new(), all.to_vec()], &all);
        assert_eq!(
            listed(&gathered),
            [(0, vec![1]), (1, vec![11]), (2, vec![21])]
        );
    }
}
