//! Answering matchers.

use std::ops::ControlFlow;

use model::{MatchOp, Matcher};
use roaring::RoaringBitmap;
use storage::Budget;

use super::pattern::Pattern;
use super::{IndexRead, ValueId};

/// Returns the series that satisfy all matchers; all series for none.
pub(crate) fn select<I: IndexRead>(
    index: &I,
    matchers: &[Matcher],
) -> Result<RoaringBitmap, I::Error> {
    // The likely smallest first, removals last: an empty set ends the work.
    let mut ordered: Vec<&Matcher> = matchers.iter().collect();
    ordered.sort_by_key(|matcher| match (matcher.op(), matcher.matches_empty()) {
        (MatchOp::Equal, false) => 0,
        (_, false) => 1,
        (_, true) => 2,
    });
    let mut selected: Option<RoaringBitmap> = None;
    for matcher in ordered {
        match effect(index, matcher)? {
            Effect::Keep(set) => {
                selected = Some(match selected {
                    None => set,
                    Some(before) => before & set,
                });
            }
            Effect::Remove(set) => *selected.get_or_insert_with(|| index.all()) -= set,
        }
        if selected.as_ref().is_some_and(RoaringBitmap::is_empty) {
            break;
        }
    }
    Ok(selected.unwrap_or_else(|| index.all()))
}

/// Returns the series that satisfy any of the sets of matchers; all series for no set.
pub(crate) fn select_any<I: IndexRead>(
    index: &I,
    matcher_sets: &[Vec<Matcher>],
) -> Result<RoaringBitmap, I::Error> {
    if matcher_sets.is_empty() {
        return Ok(index.all());
    }
    let mut any = RoaringBitmap::new();
    for matchers in matcher_sets {
        any |= select(index, matchers)?;
    }
    Ok(any)
}

/// Returns the names of labels that the series `within` (`None`: all) have, sorted.
pub(crate) fn label_names<I: IndexRead>(
    index: &I,
    within: Option<&RoaringBitmap>,
) -> Result<Vec<String>, I::Error> {
    let mut names = index.names()?;
    if let Some(within) = within {
        let mut kept = Vec::with_capacity(names.len());
        for name in names {
            if !index.with_name(&name)?.is_disjoint(within) {
                kept.push(name);
            }
        }
        names = kept;
    }
    Ok(names)
}

/// Returns the first `limit` (0: all) values, sorted, that the label `name` has in the series `within` (`None`: all). They are charged to
/// the budget; when it refuses, the list ends early, and it is for the caller to look at the budget.
pub(crate) fn label_values<I: IndexRead>(
    index: &I,
    name: &str,
    within: Option<&RoaringBitmap>,
    limit: usize,
    budget: &dyn Budget,
) -> Result<Vec<String>, I::Error> {
    let mut found = Vec::new();
    let mut failed = None;
    index.visit_values(name, "", &mut |text, value| {
        let here = match within {
            None => Ok(true),
            Some(within) => {
                let mut series = RoaringBitmap::new();
                index
                    .union(name, &[value], &mut series)
                    .map(|()| !series.is_disjoint(within))
            }
        };
        match here {
            Ok(true) if budget.charge(0, name_bytes(text)).is_err() => {
                return ControlFlow::Break(());
            }
            Ok(true) => found.push(text.to_owned()),
            Ok(false) => {}
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        if limit > 0 && found.len() == limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    failed.map_or(Ok(found), Err)
}

/// Returns what a name or value takes in a list, in bytes.
pub(crate) const fn name_bytes(text: &str) -> u64 {
    text.len() as u64 + 64
}

/// What a matcher does to a selection.
enum Effect {
    /// Only these stay.
    Keep(RoaringBitmap),
    /// These go.
    Remove(RoaringBitmap),
}

fn effect<I: IndexRead>(index: &I, matcher: &Matcher) -> Result<Effect, I::Error> {
    let name = matcher.name();
    // Series without the label stay when "" matches: then those are looked for whose value does not.
    let keeps = !matcher.matches_empty();
    let set = match (matcher.op(), matcher.value()) {
        (MatchOp::Equal | MatchOp::NotEqual, "") => index.with_name(name)?,
        (MatchOp::Equal | MatchOp::NotEqual, value) => series_with(index, name, &[value])?,
        (op, _) => {
            let inside = |value: &str| matcher.matches(value) == keeps;
            // Whether the values looked for are those that the expression itself matches.
            if (op == MatchOp::Regex) == keeps {
                match Pattern::of(matcher) {
                    Pattern::Anything | Pattern::NotEmpty => index.with_name(name)?,
                    Pattern::Literals(literals) => {
                        let mut literals: Vec<&str> = literals.iter().map(String::as_str).collect();
                        literals.retain(|literal| inside(literal));
                        literals.sort_unstable();
                        literals.dedup();
                        series_with(index, name, &literals)?
                    }
                    Pattern::Prefix(prefix) => scan(index, name, &prefix, &inside)?,
                }
            } else if matches!(Pattern::of(matcher), Pattern::Anything) {
                RoaringBitmap::new()
            } else {
                scan(index, name, "", &inside)?
            }
        }
    };
    Ok(if keeps {
        Effect::Keep(set)
    } else {
        Effect::Remove(set)
    })
}

fn series_with<I: IndexRead>(
    index: &I,
    name: &str,
    values: &[&str],
) -> Result<RoaringBitmap, I::Error> {
    let mut found = Vec::with_capacity(values.len());
    for value in values {
        found.extend(index.find_value(name, value)?);
    }
    let mut series = RoaringBitmap::new();
    index.union(name, &found, &mut series)?;
    Ok(series)
}

/// Returns the series whose value begins with `prefix` and is `inside`.
fn scan<I: IndexRead>(
    index: &I,
    name: &str,
    prefix: &str,
    inside: &dyn Fn(&str) -> bool,
) -> Result<RoaringBitmap, I::Error> {
    let (mut hits, mut misses): (Vec<ValueId>, Vec<ValueId>) = (Vec::new(), Vec::new());
    index.visit_values(name, prefix, &mut |text, value| {
        if inside(text) {
            hits.push(value)
        } else {
            misses.push(value)
        }
        ControlFlow::Continue(())
    })?;
    let mut series = RoaringBitmap::new();
    if prefix.is_empty() && misses.len() < hits.len() / 2 {
        index.union(name, &misses, &mut series)?;
        return Ok(index.with_name(name)? - series);
    }
    index.union(name, &hits, &mut series)?;
    Ok(series)
}
