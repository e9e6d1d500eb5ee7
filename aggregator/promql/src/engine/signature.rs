//! What series are matched by.

use std::collections::HashMap;

use model::{Labels, METRIC_NAME};
use storage::{Budget, BudgetExceeded};

use super::value::{SERIES_PER_LOOK, Series};
use crate::ast::Matching;

/// Returns the labels that decide which series of the other side belong to this one.
pub(crate) fn signature(labels: &Labels, matching: &Matching) -> Labels {
    if matching.on {
        labels.filtered(|name| matching.labels.iter().any(|label| label == name))
    } else {
        labels.filtered(|name| {
            name != METRIC_NAME && !matching.labels.iter().any(|label| label == name)
        })
    }
}

/// The series of both sides that belong together, in order of first appearance.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
    places: HashMap<Labels, usize>,
}

/// Series that share a signature: indexes into the two sides.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) left: Vec<usize>,
    pub(crate) right: Vec<usize>,
}

impl Groups {
    pub(crate) fn new(
        left: &[Series],
        right: &[Series],
        matching: &Matching,
        budget: &dyn Budget,
    ) -> Result<Self, BudgetExceeded> {
        let mut groups = Self::default();
        // What a series costs grows with the list of labels.
        let per_look = (SERIES_PER_LOOK / (1 + matching.labels.len() / SERIES_PER_LOOK)).max(1);
        for (index, series) in left.iter().enumerate() {
            if index.is_multiple_of(per_look) {
                budget.check()?;
            }
            groups
                .group(signature(&series.labels, matching))
                .left
                .push(index);
        }
        for (index, series) in right.iter().enumerate() {
            if index.is_multiple_of(per_look) {
                budget.check()?;
            }
            groups
                .group(signature(&series.labels, matching))
                .right
                .push(index);
        }
        Ok(groups)
    }

    fn group(&mut self, signature: Labels) -> &mut Group {
        let next = self.groups.len();
        let place = *self.places.entry(signature).or_insert(next);
        if place == next {
            self.groups.push(Group::default());
        }
        &mut self.groups[place]
    }
}
