//! `label_replace` and `label_join`.

use model::{METRIC_NAME, anchored_regex};

use crate::QueryError;
use crate::ast::{Call, ExprKind};
use crate::engine::evaluator::{Evaluator, Scope};
use crate::engine::value::{Series, merge_same_labels};
use crate::functions::labels::expand;

impl Evaluator<'_> {
    pub(super) fn label_replace(
        &mut self,
        call: &Call,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let target = text(call, 1);
        let template = text(call, 2);
        let source = text(call, 3);
        let pattern = text(call, 4);
        let invalid = || {
            QueryError::Execution(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        };
        let regex = anchored_regex(&pattern).map_err(|_| invalid())?;
        if target.is_empty() {
            return Err(QueryError::Execution(format!(
                "invalid destination label name in label_replace(): {target}"
            )));
        }
        let mut series = self.vector_arg(call, 0, scope)?;
        for series in &mut series {
            self.budget.check()?;
            let value = series.labels.value_or_empty(&source).to_owned();
            if let Some(captures) = regex.captures(&value) {
                let value = expand(&template, &captures);
                self.set_label(series, &target, &value)?;
            }
        }
        merge_same_labels(series)
    }

    pub(super) fn label_join(
        &mut self,
        call: &Call,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let target = text(call, 1);
        let separator = text(call, 2);
        let sources: Vec<String> = (3..call.args.len())
            .map(|index| text(call, index))
            .collect();
        if let Some(bad) = sources.iter().find(|name| name.is_empty()) {
            return Err(QueryError::Execution(format!(
                "invalid source label name in label_join(): {bad}"
            )));
        }
        if target.is_empty() {
            return Err(QueryError::Execution(format!(
                "invalid destination label name in label_join(): {target}"
            )));
        }
        let mut series = self.vector_arg(call, 0, scope)?;
        for series in &mut series {
            self.budget.check()?;
            let values: Vec<&str> = sources
                .iter()
                .map(|name| series.labels.value_or_empty(name))
                .collect();
            let joined = values.join(&separator);
            self.set_label(series, &target, &joined)?;
        }
        merge_same_labels(series)
    }
}

/// The longest label value that a query may make: calls inside one another could double it each time.
const LABEL_BYTES_MAX: usize = 1024 * 1024;

impl Evaluator<'_> {
    fn set_label(
        &mut self,
        series: &mut Series,
        name: &str,
        value: &str,
    ) -> Result<(), QueryError> {
        if value.len() > LABEL_BYTES_MAX {
            return Err(QueryError::Execution(format!(
                "label value of {} bytes is longer than the {LABEL_BYTES_MAX} that a query may make; join or repeat less",
                value.len()
            )));
        }
        self.hold(0, value.len() as u64)?;
        let mut builder = series.labels.to_builder();
        builder.set(name, value);
        series.labels = builder.build();
        if name == METRIC_NAME {
            series.drop_name = false;
        }
        Ok(())
    }
}

/// Returns the text of an argument; the checker has seen that it is one.
pub(super) fn text(call: &Call, index: usize) -> String {
    match call.args.get(index).map(|arg| &arg.unwrap_parens().kind) {
        Some(ExprKind::String(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
