//! Rates, increases and deltas of floats.

use std::ops::Range;

use model::TimestampMs;

/// Samples in the window of one instant.
#[derive(Debug)]
pub(crate) struct Points<'a, T> {
    pub(crate) times: &'a [TimestampMs],
    pub(crate) values: &'a [T],
    /// One per value, or empty.
    pub(crate) starts: &'a [TimestampMs],
}

// Derived, these would ask the same of `T`.
impl<T> Clone for Points<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Points<'_, T> {}

impl<T> Points<'_, T> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether the counter was reset between sample `index - 1` and `index`, as far as start times tell.
    pub(crate) fn start_time_reset(&self, index: usize) -> bool {
        let (Some(before), Some(now)) = (
            index.checked_sub(1).and_then(|at| self.starts.get(at)),
            self.starts.get(index),
        ) else {
            return false;
        };
        is_start_time_reset(
            before.0,
            self.times[index - 1].0,
            now.0,
            self.times[index].0,
        )
    }

    /// Whether a start time lies before the sample before it, without being that sample's own.
    pub(crate) fn start_times_overlap(&self) -> bool {
        (1..self.starts.len()).any(|index| {
            let (before, now) = (self.starts[index - 1].0, self.starts[index].0);
            now != 0 && now < self.times[index - 1].0 && now != before
        })
    }
}

/// Whether a counter with these start times and timestamps was reset between two samples.
pub(crate) fn is_start_time_reset(
    before_start: i64,
    before_at: i64,
    now_start: i64,
    now_at: i64,
) -> bool {
    if now_start == 0 || now_start >= now_at || now_start < before_at {
        return false;
    }
    if now_start > before_at {
        return true;
    }
    // It starts where the sample before stands: a delta, unless that sample's own start is unknown (0, its own time, or nonsense).
    before_start != 0 && before_start < before_at
}

/// The window that a rate extrapolates to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateWindow {
    /// After this, in milliseconds.
    pub(crate) start: i64,
    /// Until this, in milliseconds.
    pub(crate) end: i64,
    pub(crate) range_seconds: f64,
}

impl RateWindow {
    /// Returns the window of this length that ends at `end`.
    #[expect(clippy::cast_precision_loss, reason = "seconds as PromQL has them")]
    pub(crate) const fn ending(end: i64, range_ms: i64) -> Self {
        Self {
            start: end.saturating_sub(range_ms),
            end,
            range_seconds: range_ms as f64 / 1_000.0,
        }
    }
}

/// What a rate is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateKind {
    /// Whether falls are resets (`rate`, `increase`) or falls (`delta`).
    pub(crate) counter: bool,
    /// Whether the result is per second.
    pub(crate) per_second: bool,
}

/// Where the samples of a window lie, as far as extrapolation looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spacing {
    /// The time of the first, in milliseconds.
    pub(crate) first: i64,
    /// The time of the last.
    pub(crate) last: i64,
    /// The number of samples, less one.
    pub(crate) gaps: u64,
}

impl Spacing {
    /// Returns the spacing of these times; `None` when there are none.
    pub(crate) fn of(times: &[TimestampMs]) -> Option<Self> {
        Some(Self {
            first: times.first()?.0,
            last: times.last()?.0,
            gaps: times.len() as u64 - 1,
        })
    }
}

/// The first value, and the change over the samples: what extrapolation looks at besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) first: f64,
    pub(crate) change: f64,
}

/// How the change over the samples becomes the change over the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extrapolation {
    /// What the change is multiplied with.
    pub(crate) factor: f64,
    /// Whether the first value belongs to the change, since its counter started inside the window.
    pub(crate) from_zero: bool,
}

/// Returns the factor that extends the change over the samples to the window; `None` when there are too few of them.
pub(crate) fn extrapolate(
    Spacing { first, last, gaps }: Spacing,
    first_start: Option<TimestampMs>,
    change: Change,
    window: RateWindow,
    kind: RateKind,
) -> Option<Extrapolation> {
    let mut to_start = seconds(first.saturating_sub(window.start));
    let mut to_end = seconds(window.end.saturating_sub(last));
    let mut sampled = seconds(last.saturating_sub(first));
    #[expect(
        clippy::cast_precision_loss,
        reason = "windows hold far fewer than 2^53 samples"
    )]
    let average = if gaps > 0 { sampled / gaps as f64 } else { 0.0 };
    // Up to a tenth more than the average gap is still taken for regular spacing.
    let threshold = average * 1.1;
    let started = first_start
        .map(|start| start.0)
        .filter(|start| kind.counter && *start != 0 && *start > window.start && *start < first);
    if let Some(start) = started {
        // The counter was zero when it started, inside the window: nothing to guess on the left.
        to_start = 0.0;
        sampled = seconds(last.saturating_sub(start));
    } else if gaps == 0 {
        return None;
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if kind.counter && change.change > 0.0 && change.first >= 0.0 {
            // A counter is never negative: do not extend beyond its zero.
            let to_zero = sampled * (change.first / change.change);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = if sampled == 0.0 {
        1.0
    } else {
        (sampled + to_start + to_end) / sampled
    };
    if kind.per_second {
        factor /= window.range_seconds;
    }
    Some(Extrapolation {
        factor,
        from_zero: started.is_some(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "seconds as PromQL has them")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

/// Returns the places of resets among samples `from..to` of a series, with what was lost at each.
pub(crate) fn resets(points: Points<'_, f64>, (from, to): (usize, usize)) -> Vec<(usize, f64)> {
    let values = points.values;
    // Nearly always there are none, and that is found out several values at a time.
    let earlier = &values[from..to.saturating_sub(1).max(from)];
    let later = &values[(from + 1).min(to)..to];
    if points.starts.is_empty() && !falls(earlier, later) {
        return Vec::new();
    }
    (from + 1..to)
        .filter(|index| values[*index] < values[*index - 1] || points.start_time_reset(*index))
        .map(|index| (index, values[index - 1]))
        .collect()
}

/// Returns whether any value is below the one before it, which stands at the same place of the other slice.
pub(crate) fn falls(before: &[f64], now: &[f64]) -> bool {
    let pairs = before.iter().zip(now);
    pairs.fold(false, |falls, (before, now)| falls | (now < before))
}

/// Returns rate, increase or delta over one window of floats: `low..high` of the series' samples; `resets` are those of the series.
pub(crate) fn float_rate(
    points: Points<'_, f64>,
    (low, high): (usize, usize),
    resets: &[(usize, f64)],
    window: RateWindow,
    kind: RateKind,
) -> Option<f64> {
    let values = points.values.get(low..high)?;
    let (first, last) = (*values.first()?, *values.last()?);
    let mut change = last - first;
    if kind.counter {
        let from = resets.partition_point(|(at, _)| *at <= low);
        for (_, lost) in resets[from..].iter().take_while(|(at, _)| *at < high) {
            change += lost;
        }
    }
    let extrapolation = extrapolate(
        Spacing::of(&points.times[low..high])?,
        points.starts.get(low).copied(),
        Change { first, change },
        window,
        kind,
    )?;
    if extrapolation.from_zero {
        change += first;
    }
    Some(change * extrapolation.factor)
}

/// What the rates of all series with the same times have in common, window by window.
#[derive(Debug)]
pub(crate) struct RateWindows {
    kind: RateKind,
    windows: Vec<SharedWindow>,
    /// By window: what is looked at where the zero of a counter is near.
    edges: Vec<(Spacing, RateWindow)>,
    /// The windows that are steps, in order.
    steps: Vec<Steps>,
}

/// Windows of one part of several samples each, which follow one another as their parts do: what a step of a summary's length sees.
#[derive(Debug)]
struct Steps {
    windows: Range<usize>,
    /// The part of the first window.
    first: usize,
    /// By window.
    factors: Vec<f64>,
}

/// Steps that are gone over together.
const STEPS_AT_ONCE: usize = 64;

/// A window, as far as times alone tell.
#[derive(Clone, Copy, Debug)]
struct SharedWindow {
    /// The factor, unless the zero of the counter is nearer than the start of the window; NaN: the window has no rate.
    factor: f64,
    low: u32,
    high: u32,
    /// Whether there are more than two samples.
    several: bool,
}

/// The values of a series, as far as rates look at them. Its samples may be parts of it that are summed up: then the first value of such a
/// part is not its last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes<'a> {
    /// In order, without gaps.
    pub(crate) stretches: &'a [Stretch<'a>],
    /// Where resets were, rising, and what was lost at each.
    pub(crate) falls: &'a [(usize, f64)],
    /// How far places of falls are apart from one part to the next; a multiple of this is where one part goes over into the next.
    pub(crate) places: usize,
}

/// Parts of a series that follow one another in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch<'a> {
    /// Which part of the series the first one is.
    pub(crate) start: usize,
    pub(crate) firsts: &'a [f64],
    /// As many.
    pub(crate) lasts: &'a [f64],
}

impl Stretch<'_> {
    const fn end(&self) -> usize {
        self.start + self.firsts.len()
    }
}

/// Finds the stretches of parts that are asked for in rising order.
struct Cursor<'a>(&'a [Stretch<'a>]);

impl<'a> Cursor<'a> {
    /// Returns the stretch of a part, and where in it the part is.
    fn find(&mut self, part: usize) -> (&'a Stretch<'a>, usize) {
        while self.0[0].end() <= part {
            self.0 = &self.0[1..];
        }
        (&self.0[0], part - self.0[0].start)
    }
}

impl RateWindows {
    /// What one window takes, at most.
    pub(crate) const BYTES_PER_WINDOW: usize =
        size_of::<SharedWindow>() + size_of::<(Spacing, RateWindow)>() + size_of::<f64>();

    /// Returns what there is to know of these windows: for each, where it is, the indexes of its samples, and how these lie, if there are any.
    pub(crate) fn new(
        windows: impl Iterator<Item = (RateWindow, (u32, u32), Option<Spacing>)>,
        kind: RateKind,
    ) -> Self {
        let shared = |(window, (low, high), spacing): (_, _, Option<Spacing>)| {
            let spacing = spacing.unwrap_or(Spacing {
                first: 0,
                last: 0,
                gaps: 0,
            });
            // No change: nothing that ends at zero.
            let change = Change {
                first: 0.0,
                change: 0.0,
            };
            let extrapolation = extrapolate(spacing, None, change, window, kind);
            let shared = SharedWindow {
                factor: extrapolation.map_or(f64::NAN, |extrapolation| extrapolation.factor),
                low,
                high,
                several: spacing.gaps > 1,
            };
            (shared, (spacing, window))
        };
        let (windows, edges): (Vec<SharedWindow>, _) = windows.map(shared).unzip();
        Self {
            kind,
            steps: steps_of(&windows),
            windows,
            edges,
        }
    }

    /// Puts the rates of a series without start times into the cells of their windows. The same as [`float_rate`], window by window.
    pub(crate) fn rates(&self, of: Changes<'_>, out: &mut [f64]) {
        if self.kind.counter && !of.falls.is_empty() {
            self.one_by_one(0..self.windows.len(), of, out);
            return;
        }
        let mut done = 0;
        for steps in &self.steps {
            self.one_by_one(done..steps.windows.start, of, out);
            done = steps.windows.end;
            let parts = steps.first..steps.first + steps.factors.len();
            for stretch in of.stretches {
                let (start, end) = (stretch.start.max(parts.start), stretch.end().min(parts.end));
                for at in (start..end).step_by(STEPS_AT_ONCE) {
                    let until = (at + STEPS_AT_ONCE).min(end);
                    let values = at - stretch.start..until - stretch.start;
                    let (firsts, lasts) = (&stretch.firsts[values.clone()], &stretch.lasts[values]);
                    let (at, until) = (at - steps.first, until - steps.first);
                    let windows = steps.windows.start + at..steps.windows.start + until;
                    let cells = &mut out[windows.clone()];
                    let near_zero = put_steps(firsts, lasts, &steps.factors[at..until], cells);
                    if near_zero && self.kind.counter {
                        self.one_by_one(windows, of, out);
                    }
                }
            }
        }
        self.one_by_one(done..self.windows.len(), of, out);
    }

    fn one_by_one(&self, range: Range<usize>, of: Changes<'_>, out: &mut [f64]) {
        let windows = self.windows[range.clone()]
            .iter()
            .zip(&self.edges[range.clone()]);
        let (mut lows, mut highs) = (Cursor(of.stretches), Cursor(of.stretches));
        for (cell, (shared, edges)) in out[range].iter_mut().zip(windows) {
            let (low, high) = (shared.low as usize, shared.high as usize);
            if shared.factor.is_nan() {
                continue;
            }
            let (at_low, first) = lows.find(low);
            let (at_high, last) = highs.find(high - 1);
            let (first, last) = (at_low.firsts[first], at_high.lasts[last]);
            let mut change = last - first;
            if self.kind.counter && !of.falls.is_empty() {
                let from = of.falls.partition_point(|(at, _)| *at <= low * of.places);
                let until = high * of.places;
                for (_, lost) in of.falls[from..].iter().take_while(|(at, _)| *at < until) {
                    change += lost;
                }
            }
            // Where the counter stood at least as high as it rose, it was zero before the samples began, longer ago than they last: further
            // than extrapolation goes when there are more than two of them.
            let near_zero = self.kind.counter
                && change > 0.0
                && first >= 0.0
                && !(first >= change && shared.several);
            let factor = if near_zero {
                let change = Change { first, change };
                extrapolate(edges.0, None, change, edges.1, self.kind)
                    .map_or(f64::NAN, |extrapolation| extrapolation.factor)
            } else {
                shared.factor
            };
            *cell = change * factor;
        }
    }
}

/// Returns the steps among windows.
fn steps_of(windows: &[SharedWindow]) -> Vec<Steps> {
    let is_step = |window: &SharedWindow| {
        window.several && window.high == window.low + 1 && !window.factor.is_nan()
    };
    let follow = |pair: (&SharedWindow, &SharedWindow)| {
        is_step(pair.0) && is_step(pair.1) && pair.1.low == pair.0.low + 1
    };
    let mut steps = Vec::new();
    let mut start = 0;
    for stretch in windows.chunk_by(|before, next| follow((before, next))) {
        let range = start..start + stretch.len();
        start = range.end;
        if stretch.len() >= STEPS_AT_ONCE {
            steps.push(Steps {
                windows: range,
                first: stretch[0].low as usize,
                factors: stretch.iter().map(|window| window.factor).collect(),
            });
        }
    }
    steps
}

/// Puts the rates of steps in which no counter was reset; returns whether the zero of one may be nearer than the start of its window. One after
/// the other, without looking whether: several at a time.
fn put_steps(firsts: &[f64], lasts: &[f64], factors: &[f64], out: &mut [f64]) -> bool {
    let mut near_zero = false;
    let ends = firsts.iter().zip(lasts);
    for ((cell, factor), (first, last)) in out.iter_mut().zip(factors).zip(ends) {
        let change = last - first;
        near_zero |= (change > 0.0) & (*first >= 0.0) & (*first < change);
        *cell = change * factor;
    }
    near_zero
}

/// Returns the value at `at` on the line between two samples; a counter that was reset in between counts from zero.
#[expect(clippy::cast_precision_loss, reason = "differences of milliseconds")]
pub(crate) fn interpolate(
    (before_at, before): (i64, f64),
    (after_at, after): (i64, f64),
    at: i64,
    counter: bool,
) -> f64 {
    let from = if counter && after < before {
        0.0
    } else {
        before
    };
    from + (after - from) * at.saturating_sub(before_at) as f64
        / after_at.saturating_sub(before_at) as f64
}

/// The samples that an anchored or smoothed window uses: indexes of the first and last.
pub(crate) fn extended_samples(
    times: &[TimestampMs],
    window: RateWindow,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let end = times.len().checked_sub(1)?;
    let first = times[..end]
        .partition_point(|time| time.0 <= window.start)
        .saturating_sub(1);
    let last = if smoothed {
        times[..end].partition_point(|time| time.0 < window.end)
    } else {
        end
    };
    let none_inside = times[last].0 <= window.start || (smoothed && times[first].0 > window.end);
    (!none_inside).then_some((first, last))
}

/// Returns rate, increase or delta over an anchored or smoothed window; `points` reach beyond it.
pub(crate) fn extended_rate(
    points: Points<'_, f64>,
    window: RateWindow,
    kind: RateKind,
    smoothed: bool,
) -> Option<f64> {
    let (times, values) = (points.times, points.values);
    let (mut first, last) = extended_samples(times, window, smoothed)?;
    let at = |index: usize| (times[index].0, values[index]);
    let left = if smoothed && times[first].0 < window.start {
        interpolate(at(first), at(first + 1), window.start, kind.counter)
    } else {
        values[first]
    };
    let right = if smoothed && last > 0 && times[last].0 > window.end {
        interpolate(at(last - 1), at(last), window.end, kind.counter)
    } else {
        values[last]
    };
    let mut change = right - left;
    if kind.counter {
        // Resets at the ends are in the interpolated values already.
        let mut until = last + 1;
        if times[first].0 <= window.start {
            first += 1;
        }
        if times[last].0 >= window.end {
            until = last;
        }
        let inside = values.get(first..until.max(first)).unwrap_or_default();
        let mut before = left;
        let mut lost = 0.0;
        for value in inside.iter().copied().chain([right]) {
            if value < before {
                lost += before;
            }
            before = value;
        }
        change += lost;
    }
    Some(if kind.per_second {
        change / window.range_seconds
    } else {
        change
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: RateKind = RateKind {
        counter: true,
        per_second: true,
    };

    fn window(start: i64, end: i64) -> RateWindow {
        #[expect(clippy::cast_precision_loss, reason = "test data")]
        let range_seconds = (end - start) as f64 / 1_000.0;
        RateWindow {
            start,
            end,
            range_seconds,
        }
    }

    /// The definition, sample by sample.
    fn naive(times: &[TimestampMs], values: &[f64], window: RateWindow) -> Option<f64> {
        if values.len() < 2 {
            return None;
        }
        let mut change = values[values.len() - 1] - values[0];
        for pair in values.windows(2) {
            if pair[1] < pair[0] {
                change += pair[0];
            }
        }
        let found = extrapolate(
            Spacing::of(times)?,
            None,
            Change {
                first: values[0],
                change,
            },
            window,
            RATE,
        )?;
        Some(change * found.factor)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn resets_found_once_serve_all_windows(
            values in prop::collection::vec(0_i32..20, 2..40), low in 0_usize..40, len in 0_usize..40,
        ) {
            let times: Vec<TimestampMs> = (0_i64..).take(values.len()).map(|at| TimestampMs(at * 1_000)).collect();
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let low = low.min(values.len());
            let high = (low + len).min(values.len());
            let points = Points { times: &times, values: &values, starts: &[] };
            let window = window(-1_000, 41_000);
            let found = float_rate(points, (low, high), &resets(points, (0, points.len())), window, RATE);
            prop_assert_eq!(found, naive(&times[low..high], &values[low..high], window));

            let bounds = (u32::try_from(low).unwrap(), u32::try_from(high).unwrap());
            let shared = RateWindows::new(std::iter::once((window, bounds, Spacing::of(&times[low..high]))), RATE);
            let mut rates = [f64::INFINITY];
            let falls = resets(points, (low, high));
            let stretches = [Stretch { start: 0, firsts: &values, lasts: &values }];
            shared.rates(Changes { stretches: &stretches, falls: &falls, places: 1 }, &mut rates);
            prop_assert_eq!(rates[0], found.unwrap_or(f64::INFINITY));
        }
    }

    /// A part of a series: of a hundred, one has few samples, or its window holds none or two parts. Where its samples lie; how much it rises.
    fn any_part() -> impl Strategy<Value = (u32, u64, i64, i64, f64)> {
        let shape = prop_oneof![99 => Just((1, 19)), 1 => (0..3_u32, 0..3_u64)];
        let ends = (1..20_000_i64, 0..20_000_i64);
        let rise = (-1..30_i32).prop_map(f64::from);
        (shape, ends, rise)
            .prop_map(|((width, gaps), (after, before), rise)| (width, gaps, after, before, rise))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn steps_gone_over_together_are_what_each_is(
            parts in prop::collection::vec(any_part(), 2..400), cut in any::<prop::sample::Index>(), counter in any::<bool>(), begun in prop_oneof![Just(0.0), Just(1e6)],
        ) {
            let kind = RateKind { counter, ..RATE };
            let count = u32::try_from(parts.len()).unwrap();
            let windows = (0..count).zip(&parts).map(|(part, (width, gaps, after, before, _))| {
                let start = i64::from(part) * 300_000;
                let spacing = Spacing { first: start + after, last: start + 300_000 - before, gaps: *gaps };
                (window(start, start + 300_000), (part, (part + width).min(count)), (*width > 0).then_some(spacing))
            });
            let shared = RateWindows::new(windows, kind);
            let mut value = begun;
            let ends = parts.iter().map(|(.., rise)| {
                let first = value;
                value += rise;
                (first, value)
            });
            let (firsts, lasts): (Vec<f64>, Vec<f64>) = ends.unzip();
            // In one stretch or two.
            let cut = cut.index(parts.len());
            let stretch = |range: Range<usize>| Stretch { start: range.start, firsts: &firsts[range.clone()], lasts: &lasts[range] };
            let stretches = [stretch(0..cut), stretch(cut..parts.len())];
            let of = Changes { stretches: &stretches, falls: &[], places: 2 };
            let whole = [stretch(0..parts.len())];
            let in_one = Changes { stretches: &whole, ..of };
            let (mut together, mut alone) = (vec![f64::INFINITY; parts.len()], vec![f64::INFINITY; parts.len()]);
            shared.rates(of, &mut together);
            shared.one_by_one(0..parts.len(), in_one, &mut alone);
            let bits = |rates: &[f64]| rates.iter().map(|rate| rate.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&together), bits(&alone));
        }
    }

    #[test]
    fn start_times_tell_resets() {
        for (before_start, before_at, now_start, now_at, reset) in [
            (0, 100, 0, 200, false),
            (0, 100, 250, 200, false),
            (50, 100, 50, 200, false),
            (50, 100, 150, 200, true),
            (50, 100, 100, 200, true),
            (0, 100, 100, 200, false),
            (100, 100, 100, 200, false),
            (120, 100, 100, 200, false),
        ] {
            assert_eq!(
                is_start_time_reset(before_start, before_at, now_start, now_at),
                reset
            );
        }
    }
}
