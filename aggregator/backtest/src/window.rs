//! A part of history in memory that moves along with time, and what rules add to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Labels, METRIC_NAME, MatchOp, Matcher, TimeRange, TimestampMs, Value};
use rules::{RecordedSample, Recorder};
use storage::{
    Budget, ExemplarSeries, FamilyMetadata, Querier, QueryError, Queryable, Segment, SegmentValues,
    Select, SeriesData, Times, Unlimited,
};

/// Where history comes from.
pub trait History: fmt::Debug {
    /// Calls `visit` with every sample in the range of every series that any of the sets selects, in any order; of several at one time
    /// the first counts.
    fn read(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(&Labels, TimestampMs, &Value),
    ) -> Result<(), String>;
}

/// History from a store that can be asked.
#[derive(Clone, Copy, Debug)]
pub struct StoreHistory<'a>(pub &'a dyn Queryable);

impl History for StoreHistory<'_> {
    fn read(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(&Labels, TimestampMs, &Value),
    ) -> Result<(), String> {
        let querier = self.0.querier().map_err(|error| error.to_string())?;
        for matchers in matcher_sets {
            let select = Select {
                matchers,
                range,
                hints: Default::default(),
            };
            let found = querier.select(&select, &Unlimited);
            for series in found.map_err(|error| error.to_string())? {
                for sample in series.samples(range) {
                    visit(&series.labels, sample.at, &sample.value);
                }
            }
        }
        Ok(())
    }
}

/// Samples in memory, by metric and series; no query sees one later than the time that it stands at. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Shared with queries, which are over before anything is added.
    contents: Arc<Mutex<Arc<Contents>>>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    metrics: BTreeMap<String, BTreeMap<Labels, Column>>,
    samples: usize,
    now: TimestampMs,
}

/// The samples of a series, in order of time.
#[derive(Clone, Debug, Default)]
struct Column {
    times: Vec<TimestampMs>,
    values: Vec<Value>,
}

impl Window {
    /// Returns how many samples there are.
    pub fn samples(&self) -> usize {
        self.contents().samples
    }

    /// Moves the time up to which queries see samples.
    pub(crate) fn stand_at(&self, now: TimestampMs) {
        Arc::make_mut(&mut self.contents()).now = now;
    }

    /// Adds a sample; the first at a time stands. Returns whether it was added.
    pub(crate) fn add(&self, labels: &Labels, at: TimestampMs, value: &Value) -> bool {
        Arc::make_mut(&mut self.contents()).add(labels, at, value)
    }

    /// Forgets what is older than `start`.
    pub(crate) fn forget_before(&self, start: TimestampMs) {
        let mut contents = self.contents();
        let contents = Arc::make_mut(&mut contents);
        let mut forgotten = 0;
        for series in contents.metrics.values_mut() {
            for column in series.values_mut() {
                let old = column.times.partition_point(|at| *at < start);
                column.times.drain(..old);
                column.values.drain(..old);
                forgotten += old;
            }
            series.retain(|_, column| !column.times.is_empty());
        }
        contents.metrics.retain(|_, series| !series.is_empty());
        contents.samples -= forgotten;
    }

    fn contents(&self) -> MutexGuard<'_, Arc<Contents>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for Window {
    fn record(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        let added = samples
            .iter()
            .filter(|sample| self.add(&sample.labels, sample.at, &sample.value));
        Ok((samples.len() - added.count()) as u64)
    }

    fn recorded(
        &self,
        matchers: &[Matcher],
        at: TimestampMs,
    ) -> Result<Vec<RecordedSample>, String> {
        let contents = self.contents();
        let recorded = contents.matching(matchers).filter_map(|(labels, column)| {
            let place = column.times.binary_search(&at).ok()?;
            Some(RecordedSample {
                labels: labels.clone(),
                at,
                value: column.values[place].clone(),
            })
        });
        Ok(recorded.collect())
    }

    fn correct(&self, samples: &[RecordedSample]) -> Result<u64, String> {
        let mut contents = self.contents();
        let contents = Arc::make_mut(&mut contents);
        for RecordedSample { labels, at, value } in samples {
            contents.remove(labels, *at);
            if !matches!(value, Value::Float(value) if model::is_void(*value)) {
                contents.add(labels, *at, value);
            }
        }
        Ok(0)
    }
}

impl Queryable for Window {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        Ok(Arc::<Contents>::clone(&self.contents()))
    }
}

impl Contents {
    fn add(&mut self, labels: &Labels, at: TimestampMs, value: &Value) -> bool {
        let metric = labels.metric_name().unwrap_or_default();
        let series = match self.metrics.get_mut(metric) {
            Some(series) => series,
            None => self.metrics.entry(metric.to_owned()).or_default(),
        };
        let column = series.entry(labels.clone()).or_default();
        // Nearly all come in order of time.
        let place = match column.times.last() {
            Some(last) if *last >= at => match column.times.binary_search(&at) {
                Ok(_) => return false,
                Err(place) => place,
            },
            _ => column.times.len(),
        };
        column.times.insert(place, at);
        column.values.insert(place, value.clone());
        self.samples += 1;
        true
    }

    fn remove(&mut self, labels: &Labels, at: TimestampMs) {
        let metric = labels.metric_name().unwrap_or_default();
        let series = self.metrics.get_mut(metric);
        let Some(column) = series.and_then(|series| series.get_mut(labels)) else {
            return;
        };
        if let Ok(place) = column.times.binary_search(&at) {
            column.times.remove(place);
            column.values.remove(place);
            self.samples -= 1;
        }
    }

    /// Returns the series that match, by metric.
    fn matching<'a>(
        &'a self,
        matchers: &'a [Matcher],
    ) -> impl Iterator<Item = (&'a Labels, &'a Column)> {
        let is_name = |one: &&Matcher| one.name() == METRIC_NAME && one.op() == MatchOp::Equal;
        let named = matchers.iter().find(is_name);
        let one = named.and_then(|name| self.metrics.get(name.value()));
        let all = named.is_none().then(|| self.metrics.values());
        let series = one.into_iter().chain(all.into_iter().flatten()).flatten();
        series.filter(|(labels, _)| matches_all(matchers, labels))
    }

    fn matching_any<'a>(
        &'a self,
        matcher_sets: &'a [Vec<Matcher>],
        range: TimeRange,
    ) -> BTreeSet<&'a Labels> {
        const EVERYTHING: &[Vec<Matcher>] = &[Vec::new()];
        let sets = if matcher_sets.is_empty() {
            EVERYTHING
        } else {
            matcher_sets
        };
        let series = sets.iter().flat_map(|matchers| self.matching(matchers));
        let series = series.filter(|(_, column)| !column.places(range, self.now).is_empty());
        series.map(|(labels, _)| labels).collect()
    }
}

impl Column {
    /// Returns the places of samples in a range that nobody in the present is ahead of.
    fn places(&self, range: TimeRange, now: TimestampMs) -> std::ops::Range<usize> {
        let end = range.end.min(now);
        let first = self.times.partition_point(|at| *at < range.start);
        let last = self.times.partition_point(|at| *at <= end);
        first..last.max(first)
    }

    fn segment(&self, places: std::ops::Range<usize>) -> Segment {
        let (times, values) = (&self.times[places.clone()], &self.values[places]);
        let floats = values.iter().map(|value| match value {
            Value::Float(value) => Some(*value),
            Value::Histogram(_) => None,
        });
        let values = match floats.collect::<Option<Arc<[f64]>>>() {
            Some(floats) => SegmentValues::Floats(floats),
            None => SegmentValues::Mixed(values.into()),
        };
        Segment {
            times: Times::new(times),
            presence: None,
            values,
            start_times: None,
        }
    }
}

impl Querier for Contents {
    fn select(
        &self,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError> {
        let mut found = Vec::new();
        for (labels, column) in self.matching(select.matchers) {
            let places = column.places(select.range, self.now);
            if places.is_empty() {
                continue;
            }
            let samples = places.len() as u64;
            budget.charge(samples, samples * SAMPLE_BYTES)?;
            found.push(SeriesData {
                labels: labels.clone(),
                segments: vec![column.segment(places)],
            });
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }

    fn series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<(Vec<Labels>, bool), QueryError> {
        budget.check()?;
        let found = self.matching_any(matcher_sets, range).into_iter();
        Ok(cut(found.cloned().collect(), limit))
    }

    fn exemplars(
        &self,
        _matcher_sets: &[Vec<Matcher>],
        _range: TimeRange,
        budget: &dyn Budget,
    ) -> Result<Vec<ExemplarSeries>, QueryError> {
        budget.check()?;
        Ok(Vec::new())
    }

    fn metadata(
        &self,
        _metric: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<FamilyMetadata>, QueryError> {
        Ok(Vec::new())
    }
}

/// A time and a value.
const SAMPLE_BYTES: u64 = 24;

fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    let matches = |one: &Matcher| one.matches(labels.value_or_empty(one.name()));
    matchers.iter().all(matches)
}

fn cut<T>(mut list: Vec<T>, limit: usize) -> (Vec<T>, bool) {
    let truncated = limit > 0 && list.len() > limit;
    if truncated {
        list.truncate(limit);
    }
    (list, truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name), ("a", "b")]).unwrap()
    }

    fn times(window: &Window, matcher: Matcher) -> Vec<(String, Vec<i64>)> {
        let select = Select {
            matchers: &[matcher],
            range: TimeRange::new(TimestampMs(2), TimestampMs(9)),
            hints: Default::default(),
        };
        let found = window.querier().unwrap().select(&select, &Unlimited);
        let of = |series: SeriesData| {
            let name = series.labels.metric_name().unwrap_or_default().to_owned();
            let samples = series.samples(select.range);
            (name, samples.map(|sample| sample.at.0).collect())
        };
        found.unwrap().into_iter().map(of).collect()
    }

    #[test]
    fn a_window_shows_what_is_in_it_up_to_its_time() {
        let window = Window::default();
        for at in [1, 5, 3, 7, 3] {
            window.add(&labels("x"), TimestampMs(at), &Value::Float(0.0));
        }
        window.add(&labels("y"), TimestampMs(4), &Value::Float(0.0));
        assert_eq!(window.samples(), 5);
        window.stand_at(TimestampMs(5));
        let of_x = || times(&window, Matcher::equal("__name__", "x"));
        assert_eq!(of_x(), [("x".to_owned(), vec![3, 5])]);
        let of_both = times(&window, Matcher::equal("a", "b"));
        assert_eq!(of_both.len(), 2);
        window.stand_at(TimestampMs(8));
        window.forget_before(TimestampMs(5));
        assert_eq!(of_x(), [("x".to_owned(), vec![5, 7])]);
        assert_eq!(times(&window, Matcher::equal("a", "b")).len(), 1);
        assert_eq!(window.samples(), 2);
    }
}
