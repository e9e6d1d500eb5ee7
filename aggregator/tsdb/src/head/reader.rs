//! Series of a head, read one after the other by one reader.

use std::sync::Arc;

use model::{TimeRange, TimestampMs};

use super::{Head, Place, Placed, ReadCache, View, lock, read};
use crate::index::SeriesId;
use crate::merge_runs::Arrived;
use crate::plain::{Appended, PlainSeries};

/// Where a series has samples.
#[derive(Clone, Copy, Debug)]
enum Spot {
    /// At one place in rows.
    Row(Place),
    /// Among those that came one by one.
    Loose,
    /// At several places.
    Several,
}

/// Series of a head, to be read in a range, of rows up to a log position. Where they lie is looked up once, under one hold of the locks.
#[derive(Debug)]
pub(crate) struct HeadSeries<'a> {
    head: &'a Head,
    until: u64,
    range: TimeRange,
    series: Vec<SeriesId>,
    /// By series.
    spots: Vec<Spot>,
}

impl<'a> HeadSeries<'a> {
    /// Returns these series.
    pub(crate) fn new(head: &'a Head, until: u64, range: TimeRange, series: Vec<SeriesId>) -> Self {
        // In the order of the writer, which finds places while it holds the loose series: the other way round both would wait for ever.
        let loose = read(&head.loose);
        let places = lock(&head.places);
        let spot = |series: &SeriesId| {
            let placed = places.get(*series as usize);
            match (placed, loose.get(*series).is_some()) {
                (Some(Placed::Once(place)), false) => Spot::Row(*place),
                (None | Some(Placed::Nowhere), true) => Spot::Loose,
                _ => Spot::Several,
            }
        };
        let spots = series.iter().map(spot).collect();
        drop((places, loose));
        Self {
            head,
            until,
            range,
            series,
            spots,
        }
    }
}

/// Reads such series one after the other; what those of a cohort have in common, once per cohort.
#[derive(Debug)]
pub(crate) struct SeriesReader<'a> {
    of: &'a HeadSeries<'a>,
    cache: ReadCache,
    /// The cohort that was read last.
    last: Option<(u32, Arc<Vec<View>>)>,
}

impl<'a> SeriesReader<'a> {
    /// Returns a reader of these series.
    pub(crate) fn new(of: &'a HeadSeries<'a>) -> Self {
        Self {
            of,
            cache: ReadCache::default(),
            last: None,
        }
    }

    /// Returns what the series of this number, in the order that they were given, has: whole stretches of closed rows.
    pub(crate) fn read(&mut self, number: usize) -> Vec<Arrived> {
        self.of.series.get(number).map_or_else(Vec::new, |series| {
            self.of
                .head
                .read(*series, self.of.until, self.of.range, &mut self.cache)
        })
    }

    /// The same, but only the run that the newest sample is in, and of that only the sample, where it is found without reading the others.
    pub(crate) fn read_newest(&mut self, number: usize) -> Vec<Arrived> {
        let Some((place, views)) = self.place(number) else {
            return self.read(number);
        };
        match newest_of(&views, place, self.of.range, &mut self.cache) {
            Some((view, row, value)) => vec![view.only(row, value)],
            None => self.read(number),
        }
    }

    /// Appends what [`read`](Self::read) returns, if it is plain.
    pub(crate) fn append_plain(&mut self, number: usize, out: &mut PlainSeries) -> Appended {
        if let Some(Spot::Loose) = self.of.spots.get(number) {
            let loose = read(&self.of.head.loose);
            let ReadCache { axes, scratch, .. } = &mut self.cache;
            return loose
                .get(self.of.series[number])
                .map_or(Appended::Nothing, |series| {
                    series.append_plain(self.of.until, self.of.range, (axes, scratch), out)
                });
        }
        let Some((place, views)) = self.place(number) else {
            return Appended::Other;
        };
        let slot = usize::from(place.slot);
        let mut appended = Appended::Nothing;
        for view in views.iter().filter(|view| view.is_of(place, self.of.range)) {
            let ReadCache { scratch, tile, .. } = &mut self.cache;
            match view.append(slot, scratch, Some(tile), out.values()) {
                Appended::Plain => {
                    out.took(&view.times);
                    appended = Appended::Plain;
                }
                Appended::Nothing => {}
                Appended::Other => return Appended::Other,
            }
        }
        appended
    }

    /// Appends the newest sample, if it is plain and found without reading others; returns its time.
    pub(crate) fn append_newest(
        &mut self,
        number: usize,
        out: &mut PlainSeries,
    ) -> Option<TimestampMs> {
        if let Some(Spot::Loose) = self.of.spots.get(number) {
            let loose = read(&self.of.head.loose);
            let series = loose.get(self.of.series[number])?;
            let HeadSeries { until, range, .. } = *self.of;
            return series.append_newest(until, range, &mut self.cache.axes, out);
        }
        let (place, views) = self.place(number)?;
        let (view, row, value) = newest_of(&views, place, self.of.range, &mut self.cache)?;
        out.values().push(value);
        out.took(&view.time_of(row));
        view.times.as_slice().get(row).copied()
    }

    /// Returns the one place of a series, and the rows of its cohort.
    fn place(&mut self, number: usize) -> Option<(Place, Arc<Vec<View>>)> {
        let Spot::Row(place) = *self.of.spots.get(number)? else {
            return None;
        };
        if let Some((cohort, views)) = &self.last
            && *cohort == place.cohort
        {
            return Some((place, Arc::clone(views)));
        }
        let views = self
            .of
            .head
            .views(place.cohort, self.of.until, self.of.range, &mut self.cache);
        self.last = Some((place.cohort, Arc::clone(&views)));
        Some((place, views))
    }
}

/// Returns the newest value of a slot in the range, if it lies among plain values, none of which may have a newer one: the rows, which of them,
/// and the value.
fn newest_of<'v>(
    views: &'v [View],
    place: Place,
    range: TimeRange,
    cache: &mut ReadCache,
) -> Option<(&'v View, usize, f64)> {
    let mut of_place = views.iter().filter(|view| view.is_of(place, range));
    let view = of_place.next_back()?;
    let ReadCache {
        scratch, floats, ..
    } = cache;
    let (row, value) = view.newest(usize::from(place.slot), range.end, scratch, floats)?;
    let at = *view.times.as_slice().get(row)?;
    let newest = range.contains(at) && of_place.all(|view| view.range().end < at);
    newest.then_some((view, row, value))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::write;
    use super::*;

    #[test]
    fn who_waits_for_loose_series_holds_nothing_that_their_writer_needs() {
        let head = Head::new(0);
        let held = write(&head.loose);
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                HeadSeries::new(&head, 1, TimeRange::ALL, vec![0])
                    .spots
                    .len()
            });
            // It waits for what is held here, in whatever moment this looks.
            for _ in 0..1_000 {
                drop(
                    head.places
                        .try_lock()
                        .expect("nobody holds places and waits"),
                );
                thread::yield_now();
            }
            drop(held);
            assert_eq!(reading.join().expect("it ends"), 1);
        });
    }
}
