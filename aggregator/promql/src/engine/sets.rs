//! `and`, `or`, `unless`.

use storage::Budget;

use super::signature::Groups;
use super::value::Series;
use crate::QueryError;
use crate::ast::Matching;
use crate::token::Operator;

/// Combines two vectors as sets, instant by instant.
pub(crate) fn combine(
    op: Operator,
    matching: &Matching,
    mut left: Vec<Series>,
    mut right: Vec<Series>,
    instants: usize,
    budget: &dyn Budget,
) -> Result<Vec<Series>, QueryError> {
    let groups = Groups::new(&left, &right, matching, budget)?;
    for group in &groups.groups {
        match op {
            Operator::And => {
                let present = presence(&right, &group.right, instants, budget)?;
                retain(&mut left, &group.left, |index| present[index], budget)?;
            }
            Operator::Unless => {
                let present = presence(&right, &group.right, instants, budget)?;
                retain(&mut left, &group.left, |index| !present[index], budget)?;
            }
            _ => {
                let present = presence(&left, &group.left, instants, budget)?;
                retain(&mut right, &group.right, |index| !present[index], budget)?;
            }
        }
    }
    if op == Operator::Or {
        left.append(&mut right);
        left = same_series_together(left);
    }
    left.retain(|series| series.column.has_any());
    Ok(left)
}

fn presence(
    series: &[Series],
    members: &[usize],
    instants: usize,
    budget: &dyn Budget,
) -> Result<Vec<bool>, QueryError> {
    let mut present = vec![false; instants];
    for member in members {
        budget.check()?;
        let column = &series[*member].column;
        for (index, present) in present.iter_mut().enumerate() {
            *present |= column.is_present(index);
        }
    }
    Ok(present)
}

fn retain(
    series: &mut [Series],
    members: &[usize],
    keep: impl Fn(usize) -> bool,
    budget: &dyn Budget,
) -> Result<(), QueryError> {
    for member in members {
        budget.check()?;
        let column = &mut series[*member].column;
        for index in 0..column.len() {
            if !keep(index) {
                column.clear(index);
            }
        }
    }
    Ok(())
}

/// The same series may stand on both sides, at different instants: it is one series of the result.
fn same_series_together(series: Vec<Series>) -> Vec<Series> {
    let mut places = std::collections::HashMap::with_capacity(series.len());
    let mut merged: Vec<Series> = Vec::with_capacity(series.len());
    for next in series {
        let place = *places
            .entry((next.labels.clone(), next.drop_name))
            .or_insert(merged.len());
        match merged.get_mut(place) {
            None => merged.push(next),
            Some(target) => {
                for index in 0..next.column.len() {
                    if let Some(value) = next.column.value(index)
                        && !target.column.is_present(index)
                    {
                        target.column.set(index, value);
                    }
                }
            }
        }
    }
    merged
}
