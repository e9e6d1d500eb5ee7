//! Operators between two vectors: one to one, or many to one.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use model::{Labels, Value};

use super::binary::{Operand, Outcome, changes_meaning, float_columns, is_trim};
use super::evaluator::Evaluator;
use super::signature::{Group, Groups, signature};
use super::value::{Series, same_labelset, without_metadata};
use crate::ast::{Binary, GroupSide, Matching};
use crate::{Column, QueryError, TextRange};

/// The results so far, by their labels.
#[derive(Debug, Default)]
struct Results {
    series: Vec<Series>,
    places: HashMap<(Labels, bool), usize>,
}

impl Results {
    /// Returns where the series of these labels is, and whether it is new.
    fn place(&mut self, labels: Labels, drop_name: bool, instants: usize) -> (usize, bool) {
        let next = self.series.len();
        let place = *self
            .places
            .entry((labels.clone(), drop_name))
            .or_insert(next);
        let is_new = place == next;
        if is_new {
            self.series.push(Series {
                labels,
                drop_name,
                column: Column::absent(instants),
            });
        }
        (place, is_new)
    }
}

/// One side's series at one instant: a real one, or what stands for a missing one.
#[derive(Clone, Copy, Debug)]
enum Side {
    Series(usize),
    Fill(f64),
}

/// The two sides with "one" on the right: `group_right` swaps them.
struct Sides<'a> {
    many: &'a [Series],
    one: &'a [Series],
    swapped: bool,
    fill_many: Option<f64>,
    fill_one: Option<f64>,
    /// At which instants there is anything among the many; found when first asked for.
    present: OnceCell<Vec<bool>>,
}

impl Sides<'_> {
    fn any_many(&self, instants: usize) -> &[bool] {
        self.present.get_or_init(|| {
            let mut present = vec![false; instants];
            for series in self.many {
                for (index, present) in present.iter_mut().enumerate() {
                    *present |= series.column.is_present(index);
                }
            }
            present
        })
    }
}

impl Evaluator<'_> {
    pub(crate) fn match_vectors(
        &mut self,
        binary: &Binary,
        range: TextRange,
        left: Vec<Series>,
        right: Vec<Series>,
        instants: usize,
    ) -> Result<Vec<Series>, QueryError> {
        let matching = &binary.matching;
        let groups = Groups::new(&left, &right, matching, self.budget)?;
        let swapped = matching.group == Some(GroupSide::Right);
        let fills = (
            matching.fill_left.map(|fill| fill.0),
            matching.fill_right.map(|fill| fill.0),
        );
        let (many, one) = if swapped {
            (&right, &left)
        } else {
            (&left, &right)
        };
        let sides = Sides {
            many,
            one,
            swapped,
            // As in Prometheus, `group_right` does not swap these: `fill_left` stands for what is missing among the many.
            fill_many: fills.0,
            fill_one: fills.1,
            present: OnceCell::new(),
        };
        let mut results = Results::default();
        for group in &groups.groups {
            self.budget.check()?;
            self.match_group(binary, range, &sides, group, instants, &mut results)?;
        }
        let mut series = results.series;
        series.retain(|series| series.column.has_any());
        Ok(series)
    }

    fn match_group(
        &mut self,
        binary: &Binary,
        range: TextRange,
        sides: &Sides<'_>,
        group: &Group,
        instants: usize,
        results: &mut Results,
    ) -> Result<(), QueryError> {
        let (many, one) = if sides.swapped {
            (&group.right, &group.left)
        } else {
            (&group.left, &group.right)
        };
        if (many.is_empty() && sides.fill_many.is_none())
            || (one.is_empty() && sides.fill_one.is_none())
        {
            return self.check_one_side(sides, binary, one, instants);
        }
        if let ([many], [one]) = (many.as_slice(), one.as_slice())
            && self.match_columns(binary, sides, (*many, *one), instants, results)?
        {
            return Ok(());
        }
        let mut pairs = Pairs::default();
        let mut seen: HashSet<usize> = HashSet::new();
        let mut known = results.series.len();
        for index in 0..instants {
            if index.is_multiple_of(64) {
                self.budget.check()?;
            }
            let found = only_one(sides, &binary.matching, one, index)?;
            let mut matched = 0;
            seen.clear();
            for member in many {
                if !sides.many[*member].column.is_present(index) {
                    continue;
                }
                let other = match (found, sides.fill_one) {
                    (Some(one), _) => Side::Series(one),
                    (None, Some(fill)) => Side::Fill(fill),
                    (None, None) => continue,
                };
                matched += 1;
                let pair = (Side::Series(*member), other);
                let place = pairs.place(self, binary, sides, pair, instants, results);
                self.hold_columns(results.series.len() - known, instants)?;
                known = results.series.len();
                check_unique(binary, matched, seen.insert(place))?;
                self.apply(
                    binary,
                    range,
                    sides,
                    pair,
                    index,
                    &mut results.series[place],
                )?;
            }
            if let (0, Some(one), Some(fill)) = (matched, found, sides.fill_many) {
                let pair = (Side::Fill(fill), Side::Series(one));
                let place = pairs.place(self, binary, sides, pair, instants, results);
                self.hold_columns(results.series.len() - known, instants)?;
                known = results.series.len();
                self.apply(
                    binary,
                    range,
                    sides,
                    pair,
                    index,
                    &mut results.series[place],
                )?;
            }
        }
        Ok(())
    }

    /// Combines two columns of floats at once, the common case; says no when it takes the long way.
    fn match_columns(
        &mut self,
        binary: &Binary,
        sides: &Sides<'_>,
        (many, one): (usize, usize),
        instants: usize,
        results: &mut Results,
    ) -> Result<bool, QueryError> {
        let (many, one) = (&sides.many[many], &sides.one[one]);
        let only_floats = many.column.histograms.is_empty() && one.column.histograms.is_empty();
        let fills = sides.fill_many.is_some() || sides.fill_one.is_some();
        if !only_floats || fills || is_trim(binary.op) {
            return Ok(false);
        }
        let (labels, drop_name) = self.final_labels(binary, &many.labels, &one.labels);
        let (place, is_new) = results.place(labels, drop_name, instants);
        if !is_new {
            return Ok(false);
        }
        self.hold_columns(1, instants)?;
        let (left, right) = if sides.swapped {
            (one, many)
        } else {
            (many, one)
        };
        float_columns(
            (binary.op, binary.return_bool),
            &left.column.floats,
            &right.column.floats,
            &mut results.series[place].column.floats,
        );
        Ok(true)
    }

    /// Returns the labels of a result, and whether its name is to be removed in the end.
    fn final_labels(&self, binary: &Binary, many: &Labels, one: &Labels) -> (Labels, bool) {
        let labels = result_labels(binary, many, one);
        let delayed = self.config.delayed_name_removal;
        if binary.return_bool && !delayed {
            (without_metadata(&labels), false)
        } else {
            (labels, delayed && binary.return_bool)
        }
    }

    /// Even without a match, several series on the side that has one are refused, when the other side has any at all.
    fn check_one_side(
        &self,
        sides: &Sides<'_>,
        binary: &Binary,
        one: &[usize],
        instants: usize,
    ) -> Result<(), QueryError> {
        if one.len() < 2 {
            return Ok(());
        }
        self.budget.check()?;
        for (index, any_many) in sides.any_many(instants).iter().enumerate() {
            if *any_many {
                only_one(sides, &binary.matching, one, index)?;
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        binary: &Binary,
        range: TextRange,
        sides: &Sides<'_>,
        (many, one): (Side, Side),
        index: usize,
        result: &mut Series,
    ) -> Result<(), QueryError> {
        let value = |side: Side, series: &[Series]| match side {
            Side::Fill(fill) => Some(Value::Float(fill)),
            Side::Series(at) => series[at].column.value(index),
        };
        let (Some(many), Some(one)) = (value(many, sides.many), value(one, sides.one)) else {
            return Ok(());
        };
        let (left, right) = if sides.swapped {
            (&one, &many)
        } else {
            (&many, &one)
        };
        let outcome = self.operate(binary.op, operand(left), operand(right), range);
        let is_taken = result.column.is_present(index);
        let float = match outcome {
            Outcome::Nothing => return Ok(()),
            Outcome::Float { keep, .. } | Outcome::Histogram { keep, .. } if binary.return_bool => {
                f64::from(u8::from(keep))
            }
            Outcome::Float { keep: false, .. } | Outcome::Histogram { keep: false, .. } => {
                return Ok(());
            }
            _ if is_taken => return Err(same_labelset()),
            Outcome::Histogram { value, keep: true } => {
                return self.set_histogram(&mut result.column, index, value);
            }
            Outcome::Float { value, keep: true } => value,
        };
        if is_taken {
            return Err(same_labelset());
        }
        result.column.set(index, Value::Float(float));
        Ok(())
    }
}

fn operand(value: &Value) -> Operand<'_> {
    match value {
        Value::Float(value) => Operand::Float(*value),
        Value::Histogram(value) => Operand::Histogram(value),
    }
}

/// Returns the series of the "one" side that has a value at an instant; fails when there are two.
fn only_one(
    sides: &Sides<'_>,
    matching: &Matching,
    one: &[usize],
    index: usize,
) -> Result<Option<usize>, QueryError> {
    let mut present = one
        .iter()
        .copied()
        .filter(|member| sides.one[*member].column.is_present(index));
    let (found, second) = (present.next(), present.next());
    let (Some(first), Some(second)) = (found, second) else {
        return Ok(found);
    };
    let mut pair = [
        braced(&sides.one[first].labels),
        braced(&sides.one[second].labels),
    ];
    pair.sort();
    let side = if sides.swapped { "left" } else { "right" };
    Err(QueryError::Execution(format!(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
        braced(&signature(&sides.one[first].labels, matching)),
        pair[0],
        pair[1],
    )))
}

/// Writes labels with the name among them, as Prometheus' errors do.
fn braced(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", crate::unquote::quote(value.as_bytes())))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

fn check_unique(binary: &Binary, matched: usize, is_first: bool) -> Result<(), QueryError> {
    let refused = |message: &str| Err(QueryError::Execution(message.to_owned()));
    if binary.matching.group.is_none() && matched > 1 {
        return refused(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        );
    }
    if !is_first {
        return refused("multiple matches for labels: grouping labels must ensure unique matches");
    }
    Ok(())
}

/// The places of results within one group, found once per pair of series.
#[derive(Debug, Default)]
struct Pairs {
    known: HashMap<(Option<usize>, Option<usize>), usize>,
}

impl Pairs {
    fn place(
        &mut self,
        evaluator: &Evaluator<'_>,
        binary: &Binary,
        sides: &Sides<'_>,
        (many, one): (Side, Side),
        instants: usize,
        results: &mut Results,
    ) -> usize {
        let key = |side| match side {
            Side::Series(at) => Some(at),
            Side::Fill(_) => None,
        };
        // Members of a group share their signature, so "fill" means the same for all of them.
        *self.known.entry((key(many), key(one))).or_insert_with(|| {
            let labels = |side, series: &[Series], other: &[Series], partner| match side {
                Side::Series(at) => series[at].labels.clone(),
                Side::Fill(_) => match partner {
                    Side::Series(at) => signature(&other[at].labels, &binary.matching),
                    Side::Fill(_) => Labels::empty(),
                },
            };
            let many_labels = labels(many, sides.many, sides.one, one);
            let one_labels = labels(one, sides.one, sides.many, many);
            let (labels, drop_name) = evaluator.final_labels(binary, &many_labels, &one_labels);
            results.place(labels, drop_name, instants).0
        })
    }
}

fn result_labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let matching = &binary.matching;
    let mut labels = if changes_meaning(binary.op) {
        without_metadata(many)
    } else {
        many.clone()
    };
    if matching.group.is_none() {
        let listed = |name: &str| matching.labels.iter().any(|label| label == name);
        labels = if matching.on {
            labels.filtered(listed)
        } else {
            labels.filtered(|name| !listed(name))
        };
    }
    if matching.include.is_empty() {
        return labels;
    }
    let mut builder = labels.to_builder();
    for name in &matching.include {
        builder.set(name.as_str(), one.value_or_empty(name));
    }
    builder.build()
}
