//! `info`: labels of info series, joined by `instance` and `job`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Labels, METRIC_NAME, MatchOp, Matcher};

use crate::ast::{Call, Expr, ExprKind, LabelMatcher, TimeModifiers, VectorSelector};
use crate::engine::evaluator::{Evaluator, Scope};
use crate::engine::select::Take;
use crate::engine::value::Series;
use crate::{Column, QueryError};

/// The labels that tell which info series belong to a series.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
/// The info metric where none is chosen.
const TARGET_INFO: &str = "target_info";

/// What the second argument asks for.
#[derive(Debug, Default)]
struct Wanted {
    /// Conditions on the names of info metrics.
    names: Vec<LabelMatcher>,
    /// Conditions on the labels to add; when there are any, only these labels are added.
    data: Vec<LabelMatcher>,
}

/// The results so far, by their labels.
#[derive(Debug, Default)]
struct Enriched {
    places: HashMap<(Labels, bool), usize>,
    series: Vec<Series>,
}

impl Evaluator<'_> {
    pub(super) fn info(&mut self, call: &Call, scope: Scope) -> Result<Vec<Series>, QueryError> {
        let base = self.vector_arg(call, 0, scope)?;
        let wanted = Wanted::new(call.args.get(1));
        let names = self.compiled(&wanted.names)?;
        let data = self.compiled(&wanted.data)?;
        let is_info = |labels: &Labels| {
            let name = labels.metric_name().unwrap_or_default();
            names.iter().all(|matcher| matcher.matches(name))
        };
        let selector = VectorSelector {
            matchers: wanted
                .names
                .iter()
                .chain(&wanted.data)
                .cloned()
                .chain(identity_matchers(
                    base.iter().filter(|series| !is_info(&series.labels)),
                ))
                .collect(),
            time: call.args.first().map(first_time).unwrap_or_default(),
            ..VectorSelector::default()
        };
        let infos = self.instant_samples(&selector, scope, Take::Timestamp)?;
        let mut by_identity: HashMap<Labels, BTreeMap<String, Vec<usize>>> = HashMap::new();
        for (at, series) in infos.iter().enumerate() {
            let name = series.labels.metric_name().unwrap_or_default().to_owned();
            by_identity
                .entry(identity(&series.labels))
                .or_default()
                .entry(name)
                .or_default()
                .push(at);
        }
        let may_miss = data.iter().all(Matcher::matches_empty);
        let only: BTreeSet<&str> = wanted.data.iter().map(|m| m.name.as_str()).collect();
        let mut out = Enriched::default();
        for series in &base {
            self.budget.check()?;
            let metrics = by_identity
                .get(&identity(&series.labels))
                .filter(|_| !is_info(&series.labels));
            if is_info(&series.labels) {
                out.keep(series);
                continue;
            }
            for index in 0..scope.grid.len() {
                if !series.column.is_present(index) {
                    continue;
                }
                let found = newest_infos(metrics, &infos, index)?;
                if found.is_empty() && !may_miss {
                    continue;
                }
                let labels = with_labels(&series.labels, &found, &only)?;
                let known = out.series.len();
                out.put(labels, series, index)?;
                self.hold_columns(out.series.len() - known, scope.grid.len())?;
            }
        }
        Ok(out.series)
    }

    fn compiled(&self, matchers: &[LabelMatcher]) -> Result<Vec<Matcher>, QueryError> {
        let selector = VectorSelector {
            matchers: matchers.to_vec(),
            ..VectorSelector::default()
        };
        selector.to_matchers(self.budget)
    }
}

impl Wanted {
    fn new(arg: Option<&Expr>) -> Self {
        let mut wanted = Self::default();
        if let Some(ExprKind::Vector(selector)) = arg.map(|arg| &arg.kind) {
            for matcher in &selector.matchers {
                if matcher.name == METRIC_NAME {
                    wanted.names.push(matcher.clone());
                } else {
                    wanted.data.push(matcher.clone());
                }
            }
        }
        let chooses = wanted
            .names
            .iter()
            .any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex));
        if !chooses {
            // Exclusions alone exclude from all that is called an info metric.
            let (op, value) = if wanted.names.is_empty() {
                (MatchOp::Equal, TARGET_INFO)
            } else {
                (MatchOp::Regex, ".+_info")
            };
            wanted.names.push(LabelMatcher {
                name: METRIC_NAME.to_owned(),
                op,
                value: value.to_owned(),
            });
        }
        wanted
    }
}

impl Enriched {
    fn keep(&mut self, series: &Series) {
        self.places
            .insert((series.labels.clone(), series.drop_name), self.series.len());
        self.series.push(series.clone());
    }

    fn put(&mut self, labels: Labels, from: &Series, index: usize) -> Result<(), QueryError> {
        let next = self.series.len();
        let place = *self
            .places
            .entry((labels.clone(), from.drop_name))
            .or_insert(next);
        if place == next {
            self.series.push(Series {
                labels,
                drop_name: from.drop_name,
                column: Column::absent(from.column.len()),
            });
        }
        let column = &mut self.series[place].column;
        if column.is_present(index) {
            return Err(crate::engine::value::same_labelset());
        }
        if let Some(value) = from.column.value(index) {
            column.set(index, value);
        }
        Ok(())
    }
}

fn identity(labels: &Labels) -> Labels {
    labels.filtered(|name| IDENTIFYING.contains(&name))
}

/// Returns matchers that fetch little more than the info series of these series.
fn identity_matchers<'a>(series: impl Iterator<Item = &'a Series> + Clone) -> Vec<LabelMatcher> {
    IDENTIFYING
        .iter()
        .filter_map(|name| {
            let values: BTreeSet<&str> = series
                .clone()
                .map(|series| series.labels.value_or_empty(name))
                .collect();
            let pattern = values
                .iter()
                .map(|value| regex::escape(value))
                .collect::<Vec<_>>()
                .join("|");
            // Too long a list is left out: it only saves reading.
            (!values.is_empty() && pattern.len() < model::REGEX_BYTES_MAX).then(|| LabelMatcher {
                name: (*name).to_owned(),
                op: MatchOp::Regex,
                value: pattern,
            })
        })
        .collect()
}

/// Returns offset and `@` of the first selector in an expression: info series are looked up there too.
fn first_time(expr: &Expr) -> TimeModifiers {
    let mut expr = expr;
    loop {
        expr = match &expr.kind {
            ExprKind::Vector(selector) => return selector.time.clone(),
            ExprKind::Matrix(matrix) => return matrix.selector.time.clone(),
            ExprKind::Paren(inner) => inner,
            ExprKind::Unary(unary) => &unary.expr,
            ExprKind::Binary(binary) => &binary.left,
            ExprKind::Aggregate(aggregate) => &aggregate.expr,
            ExprKind::Call(call) => {
                let vector = call
                    .args
                    .iter()
                    .find(|arg| !matches!(arg.kind, ExprKind::Number(_) | ExprKind::String(_)));
                match vector {
                    Some(arg) => arg,
                    None => return TimeModifiers::default(),
                }
            }
            ExprKind::Subquery(_) | ExprKind::Number(_) | ExprKind::String(_) => {
                return TimeModifiers::default();
            }
        };
    }
}

/// Returns, per info metric, the series whose sample at an instant is the newest.
fn newest_infos<'a>(
    metrics: Option<&BTreeMap<String, Vec<usize>>>,
    infos: &'a [Series],
    index: usize,
) -> Result<Vec<&'a Labels>, QueryError> {
    let mut found = Vec::new();
    for (name, members) in metrics.into_iter().flatten() {
        let mut newest: Option<(f64, &Labels)> = None;
        for member in members {
            let Some(at) = infos[*member].column.float(index) else {
                continue;
            };
            match newest {
                Some((other, _)) if other > at => {}
                Some((other, _)) if other == at => {
                    return Err(QueryError::Execution(format!(
                        "found duplicate series for info metric {name}"
                    )));
                }
                _ => newest = Some((at, &infos[*member].labels)),
            }
        }
        found.extend(newest.map(|(_, labels)| labels));
    }
    Ok(found)
}

fn with_labels(
    base: &Labels,
    infos: &[&Labels],
    only: &BTreeSet<&str>,
) -> Result<Labels, QueryError> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for info in infos {
        for (name, value) in info.iter() {
            if name == METRIC_NAME || (!only.is_empty() && !only.contains(name)) {
                continue;
            }
            if added.get(name).is_some_and(|other| *other != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.insert(name, value);
            }
        }
    }
    let mut builder = base.to_builder();
    for (name, value) in added {
        builder.set(name, value);
    }
    Ok(builder.build())
}
