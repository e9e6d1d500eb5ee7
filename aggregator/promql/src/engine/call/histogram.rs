//! Functions of histograms, native and classic.

use std::collections::HashMap;

use model::Labels;

use super::labels::text;
use crate::ast::Call;
use crate::engine::evaluator::{Evaluator, Scope, metric_name};
use crate::engine::value::{Series, Value};
use crate::functions::classic::{Bucket, bucket_fraction, bucket_quantile};
use crate::histogram::FloatHistogram;
use crate::histogram::quantile::{self, NanEffect};
use crate::{Column, Note, QueryError, TextRange};

/// The label of classic buckets.
const BUCKET_LABEL: &str = "le";

/// What is asked of a histogram at one instant.
#[derive(Clone, Copy, Debug)]
enum Question {
    Quantile(f64),
    Fraction(f64, f64),
}

/// Where notes point: at the argument that holds the histograms, and at the first.
#[derive(Clone, Copy, Debug)]
struct Positions {
    histograms: TextRange,
    first: TextRange,
}

/// The series of one histogram: the native one, or classic buckets by bound.
#[derive(Debug, Default)]
struct Gathered {
    labels: Labels,
    drop_name: bool,
    native: Vec<usize>,
    /// In order of their bounds.
    classic: Vec<(f64, usize)>,
}

impl Evaluator<'_> {
    pub(super) fn histogram_call(
        &mut self,
        call: &Call,
        scope: Scope,
    ) -> Result<Value, QueryError> {
        match call.function.name {
            "histogram_count" => self.of_native(call, scope.of_totals(), |h| h.count),
            "histogram_sum" => self.of_native(call, scope.of_totals(), |h| h.sum),
            "histogram_avg" => self.of_native(call, scope.of_totals(), |h| h.sum / h.count),
            "histogram_stdvar" => self.of_native(call, scope.of_buckets(), quantile::variance),
            "histogram_stddev" => {
                self.of_native(call, scope.of_buckets(), |h| quantile::variance(h).sqrt())
            }
            "histogram_quantile" => self.histogram_quantile(call, scope.of_buckets()),
            "histogram_quantiles" => self.histogram_quantiles(call, scope.of_buckets()),
            "histogram_fraction" => self.histogram_fraction(call, scope.of_buckets()),
            name => Err(QueryError::Execution(format!(
                "function {name:?} is not supported yet"
            ))),
        }
        .and_then(|series| self.drop_names(series))
        .map(Value::Vector)
    }

    /// Applies a function to all native histograms; floats go.
    fn of_native(
        &mut self,
        call: &Call,
        scope: Scope,
        function: impl Fn(&FloatHistogram) -> f64,
    ) -> Result<Vec<Series>, QueryError> {
        let mut input = self.vector_arg(call, 0, scope)?;
        for series in &mut input {
            self.budget.check()?;
            let mut column = Column::absent(series.column.len());
            for index in 0..column.len() {
                if let Some(histogram) = series.column.histogram(index) {
                    column.floats[index] = function(&FloatHistogram::from_model(histogram));
                }
            }
            series.column = column;
        }
        input.retain(|series| series.column.has_any());
        Ok(input)
    }

    fn histogram_quantile(&mut self, call: &Call, scope: Scope) -> Result<Vec<Series>, QueryError> {
        let quantiles = self.scalar_arg(call, 0, scope)?;
        self.check_quantiles(call, 0, &quantiles);
        let input = self.vector_arg(call, 1, scope)?;
        let positions = positions(call, 1);
        let gathered = self.gather(&input, positions);
        self.ask(&gathered, &input, positions, scope, |index| {
            Question::Quantile(quantiles[index])
        })
    }

    fn histogram_fraction(&mut self, call: &Call, scope: Scope) -> Result<Vec<Series>, QueryError> {
        let lower = self.scalar_arg(call, 0, scope)?;
        let upper = self.scalar_arg(call, 1, scope)?;
        let input = self.vector_arg(call, 2, scope)?;
        let positions = positions(call, 2);
        let gathered = self.gather(&input, positions);
        self.ask(&gathered, &input, positions, scope, |index| {
            Question::Fraction(lower[index], upper[index])
        })
    }

    fn histogram_quantiles(
        &mut self,
        call: &Call,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let input = self.vector_arg(call, 0, scope)?;
        let label = text(call, 1);
        let positions = positions(call, 0);
        let gathered = self.gather(&input, positions);
        let mut out: HashMap<Labels, usize> = HashMap::new();
        let mut all: Vec<Series> = Vec::new();
        for arg in 2..call.args.len() {
            let quantiles = self.scalar_arg(call, arg, scope)?;
            self.check_quantiles(call, arg, &quantiles);
            let answers = self.ask(&gathered, &input, positions, scope, |index| {
                Question::Quantile(quantiles[index])
            })?;
            for series in answers {
                for (index, quantile) in quantiles.iter().enumerate() {
                    let Some(value) = series.column.float(index) else {
                        continue;
                    };
                    let mut builder = series.labels.to_builder();
                    builder.set(label.as_str(), open_metrics_number(*quantile));
                    let labels = builder.build();
                    let next = all.len();
                    let place = *out.entry(labels.clone()).or_insert(next);
                    if place == next {
                        self.hold_columns(1, scope.grid.len())?;
                        all.push(Series {
                            labels,
                            drop_name: series.drop_name,
                            column: Column::absent(scope.grid.len()),
                        });
                    }
                    if all[place].column.is_present(index) {
                        return Err(crate::engine::value::same_labelset());
                    }
                    all[place].column.floats[index] = value;
                }
            }
        }
        Ok(all)
    }

    fn check_quantiles(&mut self, call: &Call, arg: usize, quantiles: &[f64]) {
        let position = call
            .args
            .get(arg)
            .map_or_else(TextRange::default, |arg| arg.range);
        for quantile in quantiles {
            if !(0.0..=1.0).contains(quantile) {
                self.note(Note::InvalidQuantile(*quantile), position);
            }
        }
    }

    /// Brings the buckets of each classic histogram together, native ones beside them.
    fn gather(&mut self, input: &[Series], positions: Positions) -> Vec<Gathered> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut gathered: Vec<Gathered> = Vec::new();
        for (at, series) in input.iter().enumerate() {
            let has_floats = series.column.floats.iter().any(|v| !model::is_stale(*v));
            let bound = bucket_bound(&series.labels);
            if has_floats && bound.is_none() {
                let value = series.labels.value_or_empty(BUCKET_LABEL).to_owned();
                let name = metric_name(&series.labels);
                self.note(Note::BadBucketLabel(name, value), positions.histograms);
            }
            let key = series.labels.filtered(|name| name != BUCKET_LABEL);
            if !series.column.histograms.is_empty() {
                let place = place_of(&mut places, &mut gathered, series.labels.clone(), series);
                gathered[place].native.push(at);
            }
            if let (true, Some(bound)) = (has_floats, bound) {
                let place = place_of(&mut places, &mut gathered, key, series);
                gathered[place].classic.push((bound, at));
            }
        }
        for histogram in &mut gathered {
            histogram.classic.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
        gathered
    }

    /// Asks each histogram at each instant.
    fn ask(
        &mut self,
        gathered: &[Gathered],
        input: &[Series],
        positions: Positions,
        scope: Scope,
        question: impl Fn(usize) -> Question,
    ) -> Result<Vec<Series>, QueryError> {
        let mut out = Vec::with_capacity(gathered.len());
        let mut buckets: Vec<Bucket> = Vec::new();
        for histogram in gathered {
            self.budget.check()?;
            self.hold_columns(1, scope.grid.len())?;
            let mut column = Column::absent(scope.grid.len());
            for index in 0..column.len() {
                let native = histogram
                    .native
                    .iter()
                    .find_map(|at| input[*at].column.histogram(index));
                buckets.clear();
                buckets.extend(histogram.classic.iter().filter_map(|(upper, at)| {
                    let count = input[*at].column.float(index)?;
                    Some(Bucket {
                        upper: *upper,
                        count,
                    })
                }));
                let question = question(index);
                column.floats[index] = match (native, buckets.is_empty()) {
                    (Some(_), false) => {
                        let name = metric_name(&histogram.labels);
                        self.note(Note::MixedClassicNative(name), positions.histograms);
                        continue;
                    }
                    (Some(native), true) => {
                        let native = FloatHistogram::from_model(native);
                        self.ask_native(&native, question, &histogram.labels, positions)
                    }
                    (None, false) => {
                        let at = scope.grid.at(index).0;
                        self.ask_classic(&mut buckets, question, &histogram.labels, positions, at)
                    }
                    (None, true) => continue,
                };
            }
            if column.has_any() {
                out.push(Series {
                    labels: histogram.labels.clone(),
                    drop_name: histogram.drop_name,
                    column,
                });
            }
        }
        Ok(out)
    }

    fn ask_native(
        &mut self,
        histogram: &FloatHistogram,
        question: Question,
        labels: &Labels,
        positions: Positions,
    ) -> f64 {
        let (value, effect) = match question {
            Question::Quantile(q) => quantile::quantile(q, histogram),
            Question::Fraction(lower, upper) => quantile::fraction(lower, upper, histogram),
        };
        if let Some(effect) = effect {
            let name = metric_name(labels);
            let note = match effect {
                NanEffect::Result => Note::NativeQuantileNanResult(name),
                NanEffect::Skew => Note::NativeQuantileNanSkew(name),
                NanEffect::Excluded => Note::NativeFractionNans(name),
            };
            self.note(note, positions.first);
        }
        value
    }

    fn ask_classic(
        &mut self,
        buckets: &mut Vec<Bucket>,
        question: Question,
        labels: &Labels,
        positions: Positions,
        at: i64,
    ) -> f64 {
        let (value, forced) = match question {
            Question::Quantile(q) => bucket_quantile(q, buckets),
            Question::Fraction(lower, upper) => (bucket_fraction(lower, upper, buckets), None),
        };
        if let Some(forced) = forced {
            let metric = if self.config.delayed_name_removal {
                metric_name(labels)
            } else {
                String::new()
            };
            self.note(
                Note::QuantileForcedMonotonicity {
                    metric,
                    first: at,
                    last: at,
                    times: 1,
                    bucket_min: forced.bucket_min,
                    bucket_max: forced.bucket_max,
                    difference_max: forced.difference_max,
                },
                positions.histograms,
            );
        }
        value
    }
}

fn positions(call: &Call, histograms: usize) -> Positions {
    let range = |index: usize| {
        call.args
            .get(index)
            .map_or_else(TextRange::default, |arg| arg.range)
    };
    Positions {
        histograms: range(histograms),
        first: range(0),
    }
}

fn place_of(
    places: &mut HashMap<Labels, usize>,
    gathered: &mut Vec<Gathered>,
    labels: Labels,
    series: &Series,
) -> usize {
    let next = gathered.len();
    let place = *places.entry(labels.clone()).or_insert(next);
    if place == next {
        gathered.push(Gathered {
            labels,
            drop_name: series.drop_name,
            ..Gathered::default()
        });
    }
    gathered[place].drop_name |= series.drop_name;
    place
}

fn bucket_bound(labels: &Labels) -> Option<f64> {
    parse_bound(labels.get(BUCKET_LABEL)?)
}

/// Reads a bound as Go's `ParseFloat` does.
pub(crate) fn parse_bound(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.eq_ignore_ascii_case("inf") || digits.eq_ignore_ascii_case("infinity") {
        return Some(sign * f64::INFINITY);
    }
    text.parse().ok()
}

/// Writes a quantile as OpenMetrics does: whole numbers with a fraction.
fn open_metrics_number(value: f64) -> String {
    let text = gofloat::format_g(value);
    if value.is_finite() && !text.contains(['.', 'e']) {
        format!("{text}.0")
    } else {
        text
    }
}
