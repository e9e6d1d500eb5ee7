//! Binary operators on values, vectors and scalars; matching of vectors is in `matching`.

use std::sync::Arc;

use model::{CounterReset, Histogram, is_stale};

use super::evaluator::{Evaluator, Scope};
use super::value::{Series, Value};
use crate::ast::{Binary, Expr, ExprKind};
use crate::functions::float;
use crate::histogram::{FloatHistogram, trim};
use crate::result::ABSENT;
use crate::token::Operator;
use crate::{HistogramOperation, Note, QueryError, TextRange};

/// One operand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// What an operator makes of two values; a comparison that fails keeps nothing.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Float {
        value: f64,
        keep: bool,
    },
    Histogram {
        value: Arc<Histogram>,
        keep: bool,
    },
    /// The types do not go together; it has been noted.
    Nothing,
}

impl Evaluator<'_> {
    /// Evaluates a chain of operators that leans left, without recursion along it.
    pub(crate) fn binary_chain(&mut self, expr: &Expr, scope: Scope) -> Result<Value, QueryError> {
        let mut chain: Vec<(&Binary, TextRange)> = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary(binary) = &first.kind {
            chain.push((binary, first.range));
            first = &binary.left;
        }
        let first_scope = if chain.iter().any(|(binary, _)| is_trim(binary.op)) {
            scope.of_buckets()
        } else {
            scope
        };
        let mut left = self.eval(first, first_scope)?;
        while let Some((binary, range)) = chain.pop() {
            let right_scope = if is_trim(binary.op) {
                scope.of_buckets()
            } else {
                scope
            };
            let right = self.eval(&binary.right, right_scope)?;
            left = self.binary(binary, range, left, right, scope)?;
        }
        Ok(left)
    }

    fn binary(
        &mut self,
        binary: &Binary,
        range: TextRange,
        left: Value,
        right: Value,
        scope: Scope,
    ) -> Result<Value, QueryError> {
        match (left, right) {
            (Value::Scalar(_), Value::Scalar(_)) if is_trim(binary.op) => {
                Err(QueryError::Execution(format!(
                    "operator {:?} not allowed for Scalar operations",
                    binary.op.as_str()
                )))
            }
            (Value::Scalar(mut left), Value::Scalar(right)) => {
                for (left, right) in left.iter_mut().zip(&right) {
                    *left = scalars(binary.op, *left, *right);
                }
                Ok(Value::Scalar(left))
            }
            (Value::Vector(left), Value::Scalar(right)) => self
                .with_scalar(binary, range, left, &right, false)
                .map(Value::Vector),
            (Value::Scalar(left), Value::Vector(right)) => self
                .with_scalar(binary, range, right, &left, true)
                .map(Value::Vector),
            (Value::Vector(left), Value::Vector(right)) => {
                if binary.op.is_set() {
                    super::sets::combine(
                        binary.op,
                        &binary.matching,
                        left,
                        right,
                        scope.grid.len(),
                        self.budget,
                    )
                    .map(Value::Vector)
                } else {
                    self.match_vectors(binary, range, left, right, scope.grid.len())
                        .map(Value::Vector)
                }
            }
            (Value::Text(_), _) | (_, Value::Text(_)) => Err(QueryError::Execution(
                "binary expression must contain only scalar and instant vector types".to_owned(),
            )),
        }
    }

    fn with_scalar(
        &mut self,
        binary: &Binary,
        range: TextRange,
        vector: Vec<Series>,
        scalar: &[f64],
        scalar_left: bool,
    ) -> Result<Vec<Series>, QueryError> {
        let op = binary.op;
        let mut out = Vec::with_capacity(vector.len());
        for mut series in vector {
            self.budget.check()?;
            if series.column.histograms.is_empty() && !is_trim(op) {
                float_column(
                    op,
                    &mut series.column.floats,
                    scalar,
                    scalar_left,
                    binary.return_bool,
                );
            } else {
                self.mixed_column(binary, range, &mut series, scalar, scalar_left)?;
            }
            if series.column.has_any() {
                out.push(series);
            }
        }
        if changes_meaning(op) || binary.return_bool {
            self.drop_names(out)
        } else {
            Ok(out)
        }
    }

    fn mixed_column(
        &mut self,
        binary: &Binary,
        range: TextRange,
        series: &mut Series,
        scalar: &[f64],
        scalar_left: bool,
    ) -> Result<(), QueryError> {
        for (index, scalar) in scalar.iter().enumerate() {
            let Some(value) = series.column.value(index) else {
                continue;
            };
            let own = match &value {
                model::Value::Float(value) => Operand::Float(*value),
                model::Value::Histogram(value) => Operand::Histogram(value),
            };
            let other = Operand::Float(*scalar);
            let (left, right) = if scalar_left {
                (other, own)
            } else {
                (own, other)
            };
            let outcome = self.operate(binary.op, left, right, range);
            let comparison = binary.op.is_comparison();
            match outcome {
                Outcome::Nothing => series.column.clear(index),
                Outcome::Float { keep, .. } | Outcome::Histogram { keep, .. }
                    if binary.return_bool =>
                {
                    let value = f64::from(u8::from(keep));
                    series.column.set(index, model::Value::Float(value));
                }
                Outcome::Float { keep: false, .. } | Outcome::Histogram { keep: false, .. } => {
                    series.column.clear(index);
                }
                // A filter keeps the vector's value, whichever side it stands on.
                _ if comparison => {}
                Outcome::Float { value, .. } => {
                    series.column.set(index, model::Value::Float(value));
                }
                Outcome::Histogram { value, .. } => {
                    self.set_histogram(&mut series.column, index, value)?;
                }
            }
        }
        Ok(())
    }

    /// Applies an operator to two values; notes when their types do not go together.
    pub(crate) fn operate(
        &mut self,
        op: Operator,
        left: Operand<'_>,
        right: Operand<'_>,
        range: TextRange,
    ) -> Outcome {
        match (left, right) {
            (Operand::Float(left), Operand::Float(right)) => {
                if is_trim(op) {
                    return self.incompatible("float", op, "float", range);
                }
                floats(op, left, right)
            }
            (Operand::Float(left), Operand::Histogram(right)) => {
                if op == Operator::Mul {
                    return scaled(right, |histogram| histogram.scale(left));
                }
                self.incompatible("float", op, "histogram", range)
            }
            (Operand::Histogram(left), Operand::Float(right)) => match op {
                Operator::Mul => scaled(left, |histogram| histogram.scale(right)),
                Operator::Div => scaled(left, |histogram| histogram.divide(right)),
                Operator::TrimUpper => scaled(left, |histogram| trim::upper(histogram, right)),
                Operator::TrimLower => scaled(left, |histogram| trim::lower(histogram, right)),
                _ => self.incompatible("histogram", op, "float", range),
            },
            (Operand::Histogram(left), Operand::Histogram(right)) => {
                self.operate_histograms(op, left, right, range)
            }
        }
    }

    fn operate_histograms(
        &mut self,
        op: Operator,
        left: &Arc<Histogram>,
        right: &Arc<Histogram>,
        range: TextRange,
    ) -> Outcome {
        let mut result = FloatHistogram::from_model(left);
        let other = FloatHistogram::from_model(right);
        let (operation, combined) = match op {
            Operator::Add => (HistogramOperation::Addition, result.add(&other)),
            Operator::Sub => (HistogramOperation::Subtraction, result.subtract(&other)),
            Operator::Equal | Operator::NotEqual => {
                return Outcome::Histogram {
                    value: Arc::clone(left),
                    keep: result.equals(&other) == (op == Operator::Equal),
                };
            }
            _ => return self.incompatible("histogram", op, "histogram", range),
        };
        let Ok(combined) = combined else {
            self.note(Note::IncompatibleBucketLayout(op.to_string()), range);
            return Outcome::Nothing;
        };
        if combined.reset_collision {
            self.note(Note::HistogramCounterResetCollision(operation), range);
        }
        if combined.bounds_reconciled {
            self.note(Note::MismatchedCustomBuckets(operation), range);
        }
        if op == Operator::Sub {
            result.reset = CounterReset::Gauge;
        }
        result.compact();
        Outcome::Histogram {
            value: Arc::new(result.into_model()),
            keep: true,
        }
    }

    fn incompatible(
        &mut self,
        left: &'static str,
        op: Operator,
        right: &'static str,
        range: TextRange,
    ) -> Outcome {
        self.note(
            Note::IncompatibleTypesInBinop(left, op.to_string(), right),
            range,
        );
        Outcome::Nothing
    }
}

fn scaled(histogram: &Arc<Histogram>, change: impl FnOnce(&mut FloatHistogram)) -> Outcome {
    let mut result = FloatHistogram::from_model(histogram);
    change(&mut result);
    result.compact();
    Outcome::Histogram {
        value: Arc::new(result.into_model()),
        keep: true,
    }
}

/// Whether it cuts histograms.
pub(crate) const fn is_trim(op: Operator) -> bool {
    matches!(op, Operator::TrimLower | Operator::TrimUpper)
}

/// Whether the result is no longer what the metric's name says.
pub(crate) const fn changes_meaning(op: Operator) -> bool {
    matches!(
        op,
        Operator::Add
            | Operator::Sub
            | Operator::Mul
            | Operator::Div
            | Operator::Mod
            | Operator::Pow
            | Operator::Atan2
    )
}

fn floats(op: Operator, left: f64, right: f64) -> Outcome {
    let (value, keep) = match compare(op, left, right) {
        Some(keep) => (left, keep),
        None => (arithmetic(op, left, right), true),
    };
    Outcome::Float { value, keep }
}

fn compare(op: Operator, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Less => left < right,
        Operator::LessEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterEqual => left >= right,
        _ => return None,
    })
}

fn arithmetic(op: Operator, left: f64, right: f64) -> f64 {
    match op {
        Operator::Add => left + right,
        Operator::Sub => left - right,
        Operator::Mul => left * right,
        Operator::Div => left / right,
        Operator::Mod => left % right,
        Operator::Pow => float::pow(left, right),
        Operator::Atan2 => left.atan2(right),
        _ => f64::NAN,
    }
}

fn scalars(op: Operator, left: f64, right: f64) -> f64 {
    compare(op, left, right).map_or_else(
        || arithmetic(op, left, right),
        |holds| f64::from(u8::from(holds)),
    )
}

/// Applies an operator to a whole column; one loop per common operator, so that each is simple enough for the vector unit.
fn float_column(
    op: Operator,
    column: &mut [f64],
    scalar: &[f64],
    scalar_left: bool,
    return_bool: bool,
) {
    match op {
        op if op.is_comparison() && return_bool => {
            each(column, scalar, scalar_left, |left, right| {
                scalars(op, left, right)
            });
        }
        op if op.is_comparison() => each(column, scalar, scalar_left, |left, right| {
            match (compare(op, left, right), scalar_left) {
                (Some(true), true) => right,
                (Some(true), false) => left,
                _ => ABSENT,
            }
        }),
        Operator::Add => each(column, scalar, scalar_left, |left, right| left + right),
        Operator::Sub => each(column, scalar, scalar_left, |left, right| left - right),
        Operator::Mul => each(column, scalar, scalar_left, |left, right| left * right),
        Operator::Div => each(column, scalar, scalar_left, |left, right| left / right),
        op => each(column, scalar, scalar_left, |left, right| {
            arithmetic(op, left, right)
        }),
    }
}

fn each(column: &mut [f64], scalar: &[f64], scalar_left: bool, operate: impl Fn(f64, f64) -> f64) {
    for (value, scalar) in column.iter_mut().zip(scalar) {
        let result = if scalar_left {
            operate(*scalar, *value)
        } else {
            operate(*value, *scalar)
        };
        *value = if is_stale(*value) { ABSENT } else { result };
    }
}

/// Combines two columns into a third, which holds nothing yet.
pub(crate) fn float_columns(
    (op, return_bool): (Operator, bool),
    left: &[f64],
    right: &[f64],
    out: &mut [f64],
) {
    match op {
        op if op.is_comparison() && return_bool => {
            each_pair(left, right, out, |left, right| scalars(op, left, right));
        }
        op if op.is_comparison() => each_pair(left, right, out, |left, right| {
            if compare(op, left, right) == Some(true) {
                left
            } else {
                ABSENT
            }
        }),
        Operator::Add => each_pair(left, right, out, |left, right| left + right),
        Operator::Sub => each_pair(left, right, out, |left, right| left - right),
        Operator::Mul => each_pair(left, right, out, |left, right| left * right),
        Operator::Div => each_pair(left, right, out, |left, right| left / right),
        op => each_pair(left, right, out, |left, right| arithmetic(op, left, right)),
    }
}

fn each_pair(left: &[f64], right: &[f64], out: &mut [f64], operate: impl Fn(f64, f64) -> f64) {
    for ((left, right), out) in left.iter().zip(right).zip(out) {
        *out = if is_stale(*left) || is_stale(*right) {
            ABSENT
        } else {
            operate(*left, *right)
        };
    }
}
