//! `label_replace` and `label_join`.

use model::{AnchoredRegex, METRIC_NAME};

use crate::QueryError;
use crate::ast::{Call, ExprKind};
use crate::engine::evaluator::{Evaluator, Scope};
use crate::engine::value::{Series, merge_same_labels};
use crate::functions::labels::{expand, expanded_bytes_max};

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
        let regex = AnchoredRegex::new(&pattern).map_err(|_| invalid())?;
        self.hold(0, regex.memory_bytes())?;
        if target.is_empty() {
            return Err(QueryError::Execution(format!(
                "invalid destination label name in label_replace(): {target}"
            )));
        }
        let mut series = self.vector_arg(call, 0, scope)?;
        for series in &mut series {
            self.budget.check()?;
            let value = series.labels.value_or_empty(&source).to_owned();
            if let Some(captures) = regex.regex().captures(&value) {
                check_label_bytes(expanded_bytes_max(&template, value.len()))?;
                let value = expand(&template, &captures);
                self.set_label(series, &target, &value)?;
            }
        }
        merge_same_labels(series, self.budget)
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
            let between = separator
                .len()
                .saturating_mul(values.len().saturating_sub(1));
            check_label_bytes(values.iter().map(|value| value.len()).sum::<usize>() + between)?;
            let joined = values.join(&separator);
            self.set_label(series, &target, &joined)?;
        }
        merge_same_labels(series, self.budget)
    }
}

/// The longest label value that a query may make: calls inside one another could double it each time, and regular expressions go over it
/// without a pause.
const LABEL_BYTES_MAX: usize = 64 * 1024;

/// Fails when a label value would be too long, before it is made.
fn check_label_bytes(bytes: usize) -> Result<(), QueryError> {
    if bytes > LABEL_BYTES_MAX {
        return Err(QueryError::Execution(format!(
            "label value of up to {bytes} bytes is longer than the {LABEL_BYTES_MAX} that a query may make; join or repeat less"
        )));
    }
    Ok(())
}

impl Evaluator<'_> {
    fn set_label(
        &mut self,
        series: &mut Series,
        name: &str,
        value: &str,
    ) -> Result<(), QueryError> {
        let mut builder = series.labels.to_builder();
        builder.set(name, value);
        series.labels = builder.build();
        self.hold(0, series.labels.text_bytes() as u64)?;
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
