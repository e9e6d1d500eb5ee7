//! `count_values`: how many series of a group have each value.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use model::{Labels, Value};

use super::group_labels;
use crate::ast::{Aggregate, ExprKind};
use crate::engine::account::Growing;
use crate::engine::evaluator::{Evaluator, Scope};
use crate::engine::sorted::sorted;
use crate::engine::value::{SERIES_PER_LOOK, Series, without_metadata};
use crate::histogram::FloatHistogram;
use crate::{Column, QueryError};

/// What a text and its label set take beside the text.
const TEXT_BYTES: usize = 128;

impl Evaluator<'_> {
    pub(super) fn count_values(
        &mut self,
        aggregate: &Aggregate,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let name = label_name(aggregate)?;
        let input = self.eval(&aggregate.expr, scope)?.into_vector();
        let mut grouping = aggregate.grouping.clone();
        if !aggregate.without && !grouping.contains(&name) {
            grouping.push(name.clone());
        }
        let instants = scope.grid.len();
        let mut counted: HashMap<Labels, Column> = HashMap::new();
        for series in &input {
            self.budget.check()?;
            let mut known: BTreeMap<String, Labels> = BTreeMap::new();
            let mut texts = Growing::default();
            for index in 0..instants {
                if index.is_multiple_of(SERIES_PER_LOOK) {
                    self.budget.check()?;
                }
                let Some(value) = series.column.value(index) else {
                    continue;
                };
                let text = text_of(&value);
                if !known.contains_key(&text) {
                    texts.grow(&self.account, 2 * text.len() + TEXT_BYTES)?;
                }
                let labels = known.entry(text).or_insert_with_key(|text| {
                    let mut builder = without_metadata(&series.labels).to_builder();
                    if !aggregate.without {
                        builder = series.labels.to_builder();
                    }
                    builder.set(name.as_str(), text.as_str());
                    let labels = builder.build();
                    group_labels(
                        &labels,
                        &without_own(&grouping, &name, aggregate.without),
                        aggregate.without,
                    )
                });
                let column = match counted.entry(labels.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        self.hold_columns(1, instants)?;
                        self.hold(0, labels.text_bytes() as u64)?;
                        new.insert(Column::absent(instants))
                    }
                };
                column.floats[index] = column.float(index).unwrap_or(0.0) + 1.0;
            }
        }
        let out: Vec<Series> = counted
            .into_iter()
            .map(|(labels, column)| Series {
                labels,
                drop_name: false,
                column,
            })
            .collect();
        Ok(sorted(out, self.budget, |a, b| a.labels.cmp(&b.labels))?)
    }
}

/// The label that holds the value is never among those that `without` removes.
fn without_own(grouping: &[String], name: &str, without: bool) -> Vec<String> {
    grouping
        .iter()
        .filter(|label| !without || *label != name)
        .cloned()
        .collect()
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Float(value) => gofloat::format_f(*value),
        Value::Histogram(histogram) => FloatHistogram::from_model(histogram).to_string(),
    }
}

fn label_name(aggregate: &Aggregate) -> Result<String, QueryError> {
    let bytes = match aggregate
        .param
        .as_ref()
        .map(|param| &param.unwrap_parens().kind)
    {
        Some(ExprKind::String(bytes)) => bytes.clone(),
        _ => Vec::new(),
    };
    match String::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(_) => Err(QueryError::Execution("invalid label name \"\"".to_owned())),
        Err(error) => Err(QueryError::Execution(format!(
            "invalid label name {}",
            crate::unquote::quote(error.as_bytes())
        ))),
    }
}
