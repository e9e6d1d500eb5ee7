//! Which questions are evaluated together: those that have parts in common are, so that these are evaluated once; and as many as take
//! little time, for to go to another thread and back costs more than most rules.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::world::Question;

/// Questions that took less than this last time, all together, are not worth a thread of their own.
const WORTH_A_THREAD: Duration = Duration::from_millis(10);

/// Questions to be evaluated one after the other, each with its number among all.
pub type Bundle = Vec<(usize, Question)>;

/// Cuts questions into bundles, `most` at most, that take about as long as each other, going by last time. A bundle has its questions in
/// their order.
pub fn bundles(questions: Vec<Question>, most: usize) -> Vec<Bundle> {
    let mut related: BTreeMap<usize, Bundle> = BTreeMap::new();
    for (number, question) in questions.into_iter().enumerate() {
        let kin = related.entry(question.kin).or_default();
        kin.push((number, question));
    }
    let mut related: Vec<(Duration, Bundle)> = (related.into_values())
        .map(|kin| (kin.iter().map(|(_, question)| cost(question)).sum(), kin))
        .collect();
    let total: Duration = related.iter().map(|(took, _)| *took).sum();
    let worth = total.as_micros() / WORTH_A_THREAD.as_micros();
    let count = usize::try_from(worth).unwrap_or(usize::MAX);
    let count = count.clamp(1, most.max(1)).min(related.len());
    // The dearest first, each to the bundle that is the cheapest so far.
    related.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
    let mut bundles: Vec<(Duration, Bundle)> = Vec::new();
    bundles.resize_with(count, Default::default);
    for (took, kin) in related {
        let cheapest = (bundles.iter_mut()).min_by_key(|(sum, bundle)| (*sum, bundle.len()));
        if let Some((sum, bundle)) = cheapest {
            *sum += took;
            bundle.extend(kin);
        }
    }
    let in_order = |(_, mut bundle): (Duration, Bundle)| {
        bundle.sort_by_key(|(number, _)| *number);
        bundle
    };
    bundles.into_iter().map(in_order).collect()
}

/// Returns what a question is taken to cost: of one that has not been asked yet, that it is worth a thread.
fn cost(question: &Question) -> Duration {
    question.took.unwrap_or(WORTH_A_THREAD)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::TimestampMs;
    use promql::{ParserOptions, parse};
    use proptest::prelude::*;

    use super::*;

    /// Returns the numbers in each bundle of questions of these kin that took so many milliseconds.
    fn bundled(questions: &[(usize, Option<u64>)], most: usize) -> Vec<Vec<usize>> {
        let expr = Arc::new(parse("1", ParserOptions::default()).unwrap());
        let question = |(kin, took): &(usize, Option<u64>)| Question {
            expr: Arc::clone(&expr),
            text: Arc::from("1"),
            at: TimestampMs(0),
            kin: *kin,
            took: took.map(Duration::from_millis),
        };
        let numbers = |bundle: Bundle| bundle.into_iter().map(|(number, _)| number).collect();
        let bundles = bundles(questions.iter().map(question).collect(), most);
        bundles.into_iter().map(numbers).collect()
    }

    #[test]
    fn what_takes_long_is_spread_and_what_does_not_stays_together() {
        let quick = [(0, Some(1)), (1, Some(1)), (2, Some(1))];
        assert_eq!(bundled(&quick, 4), [[0, 1, 2]]);
        let slow = [(0, Some(10)), (1, Some(90)), (2, Some(50)), (3, Some(60))];
        assert_eq!(bundled(&slow, 2), [vec![0, 1], vec![2, 3]]);
        assert_eq!(bundled(&slow, 1), [[0, 1, 2, 3]]);
        let unknown = [(0, None), (1, None), (2, None)];
        assert_eq!(bundled(&unknown, 2), [vec![0, 2], vec![1]]);
        let related = [(0, Some(20)), (1, Some(30)), (0, Some(20)), (1, Some(1))];
        assert_eq!(bundled(&related, 8), [vec![0, 2], vec![1, 3]]);
        assert_eq!(bundled(&[], 4), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn each_question_is_in_one_bundle_with_all_its_kin(
            questions in prop::collection::vec((0_usize..9, prop::option::of(0_u64..99)), 0..40),
            most in 0_usize..6,
        ) {
            let found = bundled(&questions, most);
            prop_assert!(found.len() <= most.max(1));
            prop_assert!(found.iter().all(|bundle| bundle.is_sorted() && !bundle.is_empty()));
            let mut all: Vec<usize> = found.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..questions.len()).collect::<Vec<_>>());
            for (number, (kin, _)) in questions.iter().enumerate() {
                let home = found.iter().find(|bundle| bundle.contains(&number)).unwrap();
                let others = (0..questions.len()).filter(|other| questions[*other].0 == *kin);
                prop_assert!(others.into_iter().all(|other| home.contains(&other)));
            }
        }
    }
}
