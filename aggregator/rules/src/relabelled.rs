//! Label sets made of others: those of results, at each evaluation of each series, so that texts are not copied one by one.

use model::Labels;

/// Returns a label set with these labels in the place of its own of the same names; an empty value removes a label. Each name comes once in
/// `others`, and is not empty.
///
/// # Panics
/// When names and values together exceed 4 GiB: they are bounded where they enter.
pub(crate) fn with_labels(labels: &Labels, others: &[(&str, &str)]) -> Labels {
    let is_other = |name: &str| others.iter().any(|(other, _)| *other == name);
    let own = labels.iter().filter(|(name, _)| !is_other(name));
    let pairs = own.chain(others.iter().copied());
    Labels::from_pairs(pairs).expect("names are unique, and texts far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_builder_sets_the_same(
            own in prop::collection::btree_map("[a-d]{1,2}", "[x-z]{1,2}", 0..6),
            others in prop::collection::btree_map("[a-d]{1,2}", "[x-z]{0,2}", 0..4),
        ) {
            let set = Labels::from_pairs(own.iter()).unwrap();
            let mut builder = set.to_builder();
            for (name, value) in &others {
                builder.set(name.clone(), value.clone());
            }
            let others: Vec<(&str, &str)> = (others.iter())
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            prop_assert_eq!(with_labels(&set, &others), builder.build());
        }
    }
}
