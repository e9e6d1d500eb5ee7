//! Function calls whose arguments are not ranges.

mod histogram;
mod info;
mod labels;
mod sort;

pub(crate) use self::histogram::parse_bound;

use model::{Labels, METRIC_NAME, MatchOp, is_stale};

use super::evaluator::{Evaluator, Scope};
use super::select::Take;
use super::value::{Series, Value};
use crate::ast::{Call, Expr, ExprKind};
use crate::calendar::Civil;
use crate::functions::float;
use crate::result::ABSENT;
use crate::{Column, QueryError, TextRange};

impl Evaluator<'_> {
    pub(crate) fn call(
        &mut self,
        call: &Call,
        range: TextRange,
        scope: Scope,
    ) -> Result<Value, QueryError> {
        let name = call.function.name;
        if let Some(range_arg) = call.range_arg() {
            return self.range_call(call, range_arg, scope).map(Value::Vector);
        }
        if let Some(function) = float::simple(name) {
            let input = self.vector_arg(call, 0, scope)?;
            return self.map_floats(input, |value, _| function(value));
        }
        match name {
            "pi" | "time" | "start" | "end" | "step" | "range" | "min_of" | "max_of" | "scalar" => {
                self.scalar_call(call, scope).map(Value::Scalar)
            }
            "vector" => {
                let values = self.scalar_arg(call, 0, scope)?;
                Ok(Value::Vector(vec![unlabelled(values)]))
            }
            "round" => {
                let input = self.vector_arg(call, 0, scope)?;
                let nearest = if call.args.len() > 1 {
                    self.scalar_arg(call, 1, scope)?
                } else {
                    vec![1.0; scope.grid.len()]
                };
                self.map_floats(input, |value, index| float::round_to(value, nearest[index]))
            }
            "clamp" | "clamp_min" | "clamp_max" => self.clamp(call, scope),
            "absent" => self.absent(call, scope).map(Value::Vector),
            "timestamp" => self.timestamp(call, scope),
            "start_timestamp" => self.start_timestamp(call, scope),
            "minute" | "hour" | "day_of_month" | "day_of_week" | "day_of_year"
            | "days_in_month" | "month" | "year" => self.calendar(call, scope),
            "label_replace" => self.label_replace(call, scope).map(Value::Vector),
            "label_join" => self.label_join(call, scope).map(Value::Vector),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                self.sort(call, range, scope).map(Value::Vector)
            }
            "info" => self.info(call, scope).map(Value::Vector),
            _ => self.histogram_call(call, scope),
        }
    }

    pub(super) fn vector_arg(
        &mut self,
        call: &Call,
        index: usize,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        match call.args.get(index) {
            Some(arg) => Ok(self.eval(arg, scope)?.into_vector()),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn scalar_arg(
        &mut self,
        call: &Call,
        index: usize,
        scope: Scope,
    ) -> Result<Vec<f64>, QueryError> {
        match call.args.get(index) {
            Some(arg) => Ok(self.eval(arg, scope)?.into_scalar()),
            None => Ok(vec![f64::NAN; scope.grid.len()]),
        }
    }

    /// Applies a function to all floats; histograms go, names too.
    fn map_floats(
        &self,
        mut input: Vec<Series>,
        function: impl Fn(f64, usize) -> f64,
    ) -> Result<Value, QueryError> {
        for series in &mut input {
            self.budget.check()?;
            series.column.histograms = Vec::new();
            for (index, value) in series.column.floats.iter_mut().enumerate() {
                if !is_stale(*value) {
                    *value = function(*value, index);
                }
            }
        }
        input.retain(|series| series.column.has_any());
        self.drop_names(input).map(Value::Vector)
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds as PromQL has them")]
    fn scalar_call(&mut self, call: &Call, scope: Scope) -> Result<Vec<f64>, QueryError> {
        let len = scope.grid.len();
        let constant = |value| Ok(vec![value; len]);
        match call.function.name {
            "pi" => constant(std::f64::consts::PI),
            "time" => Ok((0..len)
                .map(|index| scope.grid.at(index).0 as f64 / 1_000.0)
                .collect()),
            "start" => constant(self.query.start.as_seconds()),
            "end" => constant(self.query.end.as_seconds()),
            "step" => constant(self.step_seconds()),
            "range" => constant(self.range_seconds()),
            "scalar" => {
                let input = self.vector_arg(call, 0, scope)?;
                Ok((0..len).map(|index| only_float(&input, index)).collect())
            }
            name => {
                let (a, b) = (
                    self.scalar_arg(call, 0, scope)?,
                    self.scalar_arg(call, 1, scope)?,
                );
                let choose = if name == "max_of" {
                    float::max
                } else {
                    float::min
                };
                Ok(a.iter().zip(&b).map(|(a, b)| choose(*a, *b)).collect())
            }
        }
    }

    fn clamp(&mut self, call: &Call, scope: Scope) -> Result<Value, QueryError> {
        let input = self.vector_arg(call, 0, scope)?;
        let len = scope.grid.len();
        let (low, high) = match call.function.name {
            "clamp_min" => (self.scalar_arg(call, 1, scope)?, vec![f64::INFINITY; len]),
            "clamp_max" => (
                vec![f64::NEG_INFINITY; len],
                self.scalar_arg(call, 1, scope)?,
            ),
            _ => (
                self.scalar_arg(call, 1, scope)?,
                self.scalar_arg(call, 2, scope)?,
            ),
        };
        self.map_floats(input, |value, index| {
            if high[index] < low[index] {
                // An empty interval: no value fits.
                ABSENT
            } else {
                float::max(low[index], float::min(high[index], value))
            }
        })
        .map(|value| {
            let mut series = value.into_vector();
            series.retain(|series| series.column.has_any());
            Value::Vector(series)
        })
    }

    fn absent(&mut self, call: &Call, scope: Scope) -> Result<Vec<Series>, QueryError> {
        let input = self.vector_arg(call, 0, scope)?;
        let floats = (0..scope.grid.len())
            .map(|index| {
                if input.iter().any(|series| series.column.is_present(index)) {
                    ABSENT
                } else {
                    1.0
                }
            })
            .collect();
        let column = Column {
            floats,
            histograms: Vec::new(),
        };
        if !column.has_any() {
            return Ok(Vec::new());
        }
        Ok(vec![Series {
            labels: call
                .args
                .first()
                .map_or_else(Labels::empty, labels_of_absence),
            drop_name: false,
            column,
        }])
    }

    fn timestamp(&mut self, call: &Call, scope: Scope) -> Result<Value, QueryError> {
        if let Some(ExprKind::Vector(selector)) =
            call.args.first().map(|arg| &arg.unwrap_parens().kind)
        {
            let samples = self.instant_samples(selector, scope, Take::Timestamp)?;
            return self.drop_names(samples).map(Value::Vector);
        }
        let mut input = self.vector_arg(call, 0, scope)?;
        for series in &mut input {
            for index in 0..series.column.len() {
                if series.column.is_present(index) {
                    let seconds = scope.grid.at(index).as_seconds();
                    series.column.set(index, model::Value::Float(seconds));
                }
            }
        }
        self.drop_names(input).map(Value::Vector)
    }

    fn start_timestamp(&mut self, call: &Call, scope: Scope) -> Result<Value, QueryError> {
        let Some(ExprKind::Vector(selector)) =
            call.args.first().map(|arg| &arg.unwrap_parens().kind)
        else {
            // Start times belong to samples: what is computed has none.
            self.vector_arg(call, 0, scope)?;
            return Ok(Value::Vector(Vec::new()));
        };
        if !self.config.start_timestamps {
            return Ok(Value::Vector(Vec::new()));
        }
        let samples = self.instant_samples(selector, scope, Take::StartTimestamp)?;
        self.drop_names(samples).map(Value::Vector)
    }

    fn calendar(&mut self, call: &Call, scope: Scope) -> Result<Value, QueryError> {
        let name = call.function.name;
        if call.args.is_empty() {
            let floats = (0..scope.grid.len())
                .map(|index| {
                    let seconds = scope.grid.at(index).0.div_euclid(1_000);
                    calendar_part(name, Civil::from_seconds(seconds))
                })
                .collect();
            return Ok(Value::Vector(vec![unlabelled(floats)]));
        }
        let input = self.vector_arg(call, 0, scope)?;
        self.map_floats(input, |value, _| {
            calendar_part(name, Civil::from_float(value))
        })
    }
}

fn unlabelled(floats: Vec<f64>) -> Series {
    Series {
        labels: Labels::empty(),
        drop_name: false,
        column: Column {
            floats,
            histograms: Vec::new(),
        },
    }
}

fn only_float(input: &[Series], index: usize) -> f64 {
    let mut floats = input.iter().filter_map(|series| series.column.float(index));
    match (floats.next(), floats.next()) {
        (Some(only), None) => only,
        _ => f64::NAN,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a year")]
fn calendar_part(name: &str, civil: Civil) -> f64 {
    match name {
        "minute" => f64::from(civil.minute),
        "hour" => f64::from(civil.hour),
        "day_of_month" => f64::from(civil.day),
        "day_of_week" => f64::from(civil.weekday),
        "day_of_year" => f64::from(civil.year_day),
        "days_in_month" => f64::from(civil.days_in_month()),
        "month" => f64::from(civil.month),
        _ => civil.year as f64,
    }
}

/// Returns the labels that an absent selector's series would certainly have.
pub(crate) fn labels_of_absence(expr: &Expr) -> Labels {
    let selector = match &expr.unwrap_parens().kind {
        ExprKind::Vector(selector) => selector,
        ExprKind::Matrix(matrix) => &matrix.selector,
        _ => return Labels::empty(),
    };
    let mut builder = model::LabelsBuilder::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in &selector.matchers {
        if matcher.name == METRIC_NAME {
            continue;
        }
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(matcher.name.as_str(), matcher.value.as_str());
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}
