//! `format_query` and `parse_query`: expressions as text over lines, and as trees.
//!
//! Trees have Prometheus' shapes: objects with a `type` and, in the order of the alphabet, the fields of that type.

use std::fmt::{self, Write};

use http_shell::{Form, Response};
use promql::Variadic;
use promql::ast::{
    Aggregate, AtModifier, Binary, Call, DurationExpr, DurationKind, Expr, ExprKind, Extended,
    FillValue, GroupSide, MatrixSelector, Subquery, TimeModifiers, Unary, ValueType,
    VectorSelector,
};

use crate::api::Api;
use crate::envelope::{ApiError, ErrorType, Notes, success_within};
use crate::json::Json;
use crate::query::{expression, refusal};
use crate::running::{Asker, Subject};

/// The longest text that is answered: lines of deep trees begin with many blanks, so that it may be far longer than what was asked.
const FORMATTED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The label that holds the metric's name.
const NAME: &str = "__name__";

impl Api {
    /// `/api/v1/format_query`
    pub(crate) async fn format_query(
        &self,
        form: &Form,
        asker: &Asker,
    ) -> Result<Response, ApiError> {
        self.on_expression("format", form, asker, |expr, json| {
            let mut text = Bounded(String::new());
            promql::prettify(expr, &mut text).map_err(|fmt::Error| {
                let why = format!(
                    "the formatted expression is longer than the {FORMATTED_BYTES_MAX} bytes allowed; split it"
                );
                ApiError::new(ErrorType::BadData, why)
            })?;
            json.string(&text.0);
            Ok(())
        })
        .await
    }

    /// `/api/v1/parse_query`
    pub(crate) async fn parse_query(
        &self,
        form: &Form,
        asker: &Asker,
    ) -> Result<Response, ApiError> {
        self.on_expression("parse", form, asker, |expr, json| {
            write_expr(json, expr);
            Ok(())
        })
        .await
    }

    /// Parses on a thread, under the budget of a query, and answers what `write` writes.
    async fn on_expression(
        &self,
        kind: &'static str,
        form: &Form,
        asker: &Asker,
        write: impl FnOnce(&Expr, &mut Json) -> Result<(), ApiError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let text = expression(form)?.to_owned();
        let options = self.parts.engine.config().parser;
        let subject = Subject::new(kind, &text, None, asker);
        self.on_thread(self.config.query_limits, subject, move |place| {
            let expr = promql::parse_within(&text, options, &*place.budget)
                .map_err(|error| refusal(&error))?;
            let mut wrote = Ok(());
            let response = success_within(&place.budget, &Notes::default(), |json| {
                wrote = write(&expr, json);
            });
            wrote.and(response)
        })
        .await
    }
}

/// Text up to [`FORMATTED_BYTES_MAX`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > FORMATTED_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The parser bounds the height of trees, and so the recursion here.
fn write_expr(json: &mut Json, expr: &Expr) {
    // What the budget refuses is written no further.
    if !json.settle() {
        json.raw("null");
        return;
    }
    json.object(|json| match &expr.kind {
        ExprKind::Number(literal) => {
            json.key("type").string("numberLiteral");
            json.key("val").string(&gofloat::format_f(literal.value));
        }
        ExprKind::String(bytes) => {
            json.key("type").string("stringLiteral");
            json.key("val").string(&String::from_utf8_lossy(bytes));
        }
        ExprKind::Vector(selector) => write_selector(json, selector, None),
        ExprKind::Matrix(matrix) => write_matrix(json, matrix),
        ExprKind::Subquery(subquery) => write_subquery(json, subquery),
        ExprKind::Call(call) => write_call(json, call),
        ExprKind::Aggregate(aggregate) => write_aggregate(json, aggregate),
        ExprKind::Binary(binary) => write_binary(json, binary),
        ExprKind::Unary(unary) => write_unary(json, unary),
        ExprKind::Paren(inner) => {
            write_expr(json.key("expr"), inner);
            json.key("type").string("parenExpr");
        }
    });
}

fn write_matrix(json: &mut Json, matrix: &MatrixSelector) {
    write_selector(json, &matrix.selector, Some(&matrix.range));
}

/// Writes an instant selector, or with a range a range selector.
fn write_selector(json: &mut Json, selector: &VectorSelector, range: Option<&DurationExpr>) {
    let is = |extended| selector.extended == Some(extended);
    json.key("anchored").raw(is(Extended::Anchored));
    json.key("matchers").array(|json| {
        let of_name = selector.name.as_deref().map(|name| (NAME, "=", name));
        for matcher in &selector.matchers {
            write_matcher(json, &matcher.name, &matcher.op.to_string(), &matcher.value);
        }
        if let Some((name, op, value)) = of_name {
            write_matcher(json, name, op, value);
        }
    });
    json.key("name")
        .string(selector.name.as_deref().unwrap_or_default());
    write_offset(json, &selector.time);
    if let Some(range) = range {
        json.key("range").raw(milliseconds(range));
    }
    json.key("smoothed").raw(is(Extended::Smoothed));
    write_at(json, &selector.time);
    let kind = if range.is_some() {
        "matrixSelector"
    } else {
        "vectorSelector"
    };
    json.key("type").string(kind);
}

fn write_matcher(json: &mut Json, name: &str, op: &str, value: &str) {
    json.object(|json| {
        json.key("name").string(name);
        json.key("type").string(op);
        json.key("value").string(value);
    });
}

fn write_subquery(json: &mut Json, subquery: &Subquery) {
    write_expr(json.key("expr"), &subquery.expr);
    write_offset(json, &subquery.time);
    json.key("range").raw(milliseconds(&subquery.range));
    write_at_start(json, &subquery.time);
    json.key("step")
        .raw(subquery.step.as_ref().map_or(0, milliseconds));
    write_at_time(json, &subquery.time);
    json.key("type").string("subquery");
}

fn write_offset(json: &mut Json, time: &TimeModifiers) {
    json.key("offset")
        .raw(time.offset.as_ref().map_or(0, milliseconds));
}

fn write_at(json: &mut Json, time: &TimeModifiers) {
    write_at_start(json, time);
    write_at_time(json, time);
}

fn write_at_start(json: &mut Json, time: &TimeModifiers) {
    json.key("startOrEnd");
    match time.at {
        Some(AtModifier::Start) => json.string("start"),
        Some(AtModifier::End) => json.string("end"),
        Some(AtModifier::Time(_)) | None => json.raw("null"),
    };
}

fn write_at_time(json: &mut Json, time: &TimeModifiers) {
    json.key("timestamp");
    match time.at {
        Some(AtModifier::Time(ms)) => json.raw(ms),
        Some(AtModifier::Start | AtModifier::End) | None => json.raw("null"),
    };
}

/// As in Prometheus: a duration that is to be computed is 0 here.
fn milliseconds(duration: &DurationExpr) -> i64 {
    match &duration.kind {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the parser bounds it to what 64 bits of milliseconds hold"
        )]
        DurationKind::Literal(literal) => (literal.value * 1_000.0).round() as i64,
        DurationKind::Step
        | DurationKind::Range
        | DurationKind::Extreme(..)
        | DurationKind::Negative(_)
        | DurationKind::Paren(_)
        | DurationKind::Binary(..) => 0,
    }
}

fn write_call(json: &mut Json, call: &Call) {
    json.key("args").array(|json| {
        for arg in &call.args {
            write_expr(json, arg);
        }
    });
    let function = call.function;
    json.key("func").object(|json| {
        json.key("argTypes")
            .strings(function.args.iter().map(|kind| type_name(*kind)));
        json.key("name").string(function.name);
        json.key("returnType").string(type_name(function.returns));
        json.key("variadic");
        match function.variadic {
            Variadic::No => json.raw(0),
            Variadic::AtMost(more) => json.raw(more),
            Variadic::Any => json.raw(-1),
        };
    });
    json.key("type").string("call");
}

const fn type_name(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn write_aggregate(json: &mut Json, aggregate: &Aggregate) {
    write_expr(json.key("expr"), &aggregate.expr);
    json.key("grouping")
        .strings(aggregate.grouping.iter().map(String::as_str));
    json.key("op").string(aggregate.op.as_str());
    json.key("param");
    match &aggregate.param {
        Some(param) => write_expr(json, param),
        None => {
            json.raw("null");
        }
    }
    json.key("type").string("aggregation");
    json.key("without").raw(aggregate.without);
}

fn write_binary(json: &mut Json, binary: &Binary) {
    json.key("bool").raw(binary.return_bool);
    write_expr(json.key("lhs"), &binary.left);
    json.key("matching");
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    if is_vector(&binary.left) && is_vector(&binary.right) {
        write_matching(json, binary);
    } else {
        json.raw("null");
    }
    json.key("op").string(binary.op.as_str());
    write_expr(json.key("rhs"), &binary.right);
    json.key("type").string("binaryExpr");
}

fn write_matching(json: &mut Json, binary: &Binary) {
    let matching = &binary.matching;
    let cardinality = match matching.group {
        Some(GroupSide::Left) => "many-to-one",
        Some(GroupSide::Right) => "one-to-many",
        None if binary.op.is_set() => "many-to-many",
        None => "one-to-one",
    };
    let names = |json: &mut Json, key, names: &[String]| {
        json.key(key).strings(names.iter().map(String::as_str));
    };
    json.object(|json| {
        json.key("card").string(cardinality);
        json.key("fillValues").object(|json| {
            write_fill(json.key("lhs"), matching.fill_left);
            write_fill(json.key("rhs"), matching.fill_right);
        });
        names(json, "include", &matching.include);
        names(json, "labels", &matching.labels);
        json.key("on").raw(matching.on);
    });
}

/// JSON has no numbers for what is not finite: those are texts.
fn write_fill(json: &mut Json, fill: Option<FillValue>) {
    match fill {
        None => json.raw("null"),
        Some(FillValue(value)) if value.is_finite() => json.raw(value),
        Some(FillValue(value)) => json.string(&gofloat::format_f(value)),
    };
}

fn write_unary(json: &mut Json, unary: &Unary) {
    write_expr(json.key("expr"), &unary.expr);
    json.key("op")
        .string(if unary.negative { "-" } else { "+" });
    json.key("type").string("unaryExpr");
}
