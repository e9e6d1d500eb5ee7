use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::*;
use crate::bytes::Malformed;
use crate::cache::Cache;

/// Blocks in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks(Vec<Arc<Vec<u8>>>);

impl BlockSource for Blocks {
    type Error = String;

    fn block(&self, number: u32) -> Result<Arc<Vec<u8>>, String> {
        self.0
            .get(number as usize)
            .cloned()
            .ok_or_else(|| "no such block".to_owned())
    }

    fn malformed(&self, block: u32, what: Malformed) -> String {
        format!("block {block}: {what}")
    }
}

impl Blocks {
    fn add(&mut self, bytes: &[u8]) -> Area {
        let first_block = u32::try_from(self.0.len()).unwrap();
        let blocks = bytes.chunks(AREA_BLOCK_BYTES);
        self.0.extend(blocks.map(|block| Arc::new(block.to_vec())));
        Area {
            first_block,
            bytes: bytes.len() as u64,
        }
    }
}

pub(super) fn encoded(series: &BTreeSet<Labels>) -> (Blocks, IndexAreas) {
    let mut index = IndexBuilder::default();
    for labels in series {
        index.push(labels);
    }
    let parts = index.finish();
    let mut blocks = Blocks::default();
    let areas = IndexAreas {
        values: blocks.add(&parts.values),
        postings: blocks.add(&parts.postings),
        series: blocks.add(&parts.series),
        root: blocks.add(&parts.root),
    };
    (blocks, areas)
}

pub(super) fn open(blocks: Blocks, areas: IndexAreas) -> Result<EncodedIndex<Blocks>, String> {
    EncodedIndex::open(blocks, areas, Arc::new(Cache::new(1 << 20)), 0)
}

fn label_set() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(
        "a|b|job|__name__",
        "|x|y|xa|web-[0-9]|api-[0-3]|\\PC{0,3}",
        0..4,
    )
    .prop_map(|pairs| Labels::from_pairs(pairs.iter()).unwrap())
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ]);
    let value = prop::sample::select(vec![
        "",
        "x",
        "xa",
        "web-1",
        "nothing",
        ".*",
        ".+",
        "x|y",
        "web-.*",
        "web-[1-4]|x?",
        "(api|web)-1",
        ".*-1",
        "x.*|",
        "a*",
        "[^x]+",
        "(x|)",
        "ü.*",
        ".*a.*",
        "[x&&y]",
        "\\d|\\w+",
        "(?i)WEB-1",
    ]);
    ("a|b|job|__name__|none", op, value)
        .prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

/// Checks an index whose series `id` has the labels `series[id]` against the obvious.
fn check<I: IndexRead<Error: Debug>>(index: &I, series: &[Labels], matchers: &[Matcher]) {
    let satisfies = |labels: &Labels| {
        matchers
            .iter()
            .all(|matcher| matcher.matches(labels.value_or_empty(matcher.name())))
    };
    let expected: RoaringBitmap = (0..)
        .zip(series)
        .filter(|(_, labels)| satisfies(labels))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(select(index, matchers).unwrap(), expected, "{matchers:?}");
    let chosen = || series.iter().filter(|labels| satisfies(labels));
    let names: BTreeSet<&str> = chosen()
        .flat_map(|labels| labels.iter().map(|(name, _)| name))
        .collect();
    assert_eq!(
        label_names(index, Some(&expected)).unwrap(),
        names.into_iter().collect::<Vec<_>>()
    );
    for name in ["a", "job", "none"] {
        let values: BTreeSet<&str> = chosen().filter_map(|labels| labels.get(name)).collect();
        let values: Vec<&str> = values.into_iter().collect();
        assert_eq!(
            label_values(index, name, Some(&expected), 0, &storage::Unlimited).unwrap(),
            values
        );
        assert_eq!(
            label_values(index, name, Some(&expected), 2, &storage::Unlimited).unwrap(),
            values[..values.len().min(2)]
        );
        let all: BTreeSet<&str> = series
            .iter()
            .filter_map(|labels| labels.get(name))
            .collect();
        assert_eq!(
            label_values(index, name, None, 0, &storage::Unlimited).unwrap(),
            all.into_iter().collect::<Vec<_>>()
        );
    }
    for (id, labels) in (0..).zip(series) {
        assert_eq!(index.labels(id).unwrap().as_ref(), Some(labels));
    }
    assert!(
        index
            .labels(u32::try_from(series.len()).unwrap())
            .unwrap()
            .is_none()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_head_index_answers_as_a_scan_would(
        series in prop::collection::vec(label_set(), 0..40),
        later in prop::collection::vec(label_set(), 0..10),
        matchers in prop::collection::vec(matcher(), 0..4),
    ) {
        let index = Arc::new(HeadIndex::new());
        let mut known: Vec<Labels> = Vec::new();
        for labels in &series {
            let (id, new) = index.insert(labels);
            prop_assert_eq!(new, !known.contains(labels));
            if new {
                known.push(labels.clone());
            }
            prop_assert_eq!(&known[id as usize], labels);
        }
        let view = index.view();
        check(&view, &known, &matchers);
        for labels in &later {
            index.insert(labels);
        }
        check(&view, &known, &matchers);
        let mut sorted: Vec<Labels> = series.iter().chain(&later).cloned().collect();
        sorted.sort();
        sorted.dedup();
        let all = index.view();
        let in_order = index.in_order().into_iter();
        prop_assert_eq!(in_order.filter_map(|id| all.labels(id).unwrap()).collect::<Vec<_>>(), sorted);
    }

    #[test]
    fn an_encoded_index_answers_as_a_scan_would(
        series in prop::collection::btree_set(label_set(), 0..40),
        matcher_sets in prop::collection::vec(prop::collection::vec(matcher(), 0..4), 1..4),
    ) {
        let (blocks, areas) = encoded(&series);
        let index = open(blocks, areas).unwrap();
        let series: Vec<Labels> = series.into_iter().collect();
        for matchers in &matcher_sets {
            check(&index, &series, matchers);
        }
        let mut union = RoaringBitmap::new();
        for matchers in &matcher_sets {
            union |= select(&index, matchers).unwrap();
        }
        prop_assert_eq!(select_any(&index, &matcher_sets).unwrap(), union);
        prop_assert_eq!(select_any(&index, &[]).unwrap(), index.all());
    }

    #[test]
    fn damaged_blocks_never_panic(
        series in prop::collection::btree_set(label_set(), 1..30),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut blocks, areas) = encoded(&series);
        for (block, at, to) in hits {
            let block = &mut blocks.0[block.index(areas.root.first_block as usize + 1)];
            let mut bytes = block.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            *block = bytes.into();
        }
        if let Ok(index) = open(blocks, areas) {
            let matcher = Matcher::new("a", MatchOp::Regex, ".*x.*|").unwrap();
            select(&index, &[matcher]).ok();
            label_names(&index, Some(&index.all())).ok();
            label_values(&index, "a", Some(&index.all()), 0, &storage::Unlimited).ok();
            for id in index.all().iter().take(100) {
                index.labels(id).ok();
            }
        }
    }
}

/// 20,000 series in the manner of a cluster; also says what the index takes.
#[test]
fn a_large_index_is_small_and_right() {
    let series: BTreeSet<Labels> = (0..20_000)
        .map(|number| {
            let (metric, pod) = (number % 40, number / 40);
            Labels::from_pairs([
                ("__name__", format!("container_metric_{metric}_total")),
                ("container", ["app", "sidecar", "init"][pod % 3].to_owned()),
                (
                    "id",
                    format!("/kubepods/burstable/pod{:032x}", pod * 2_654_435_761),
                ),
                ("instance", format!("node-{}", pod % 97)),
                ("job", "kubelet".to_owned()),
                ("namespace", format!("team-{}", pod % 12)),
                ("pod", format!("checkout-{:x}-{pod}", pod * 7_919 % 65_536)),
            ])
            .unwrap()
        })
        .collect();
    let (blocks, areas) = encoded(&series);
    let bytes: usize = blocks.0.iter().map(|block| block.len()).sum();
    println!(
        "index: {:.1} B/series (values {}, postings {}, series {}, root {})",
        bytes as f64 / series.len() as f64,
        areas.values.bytes,
        areas.postings.bytes,
        areas.series.bytes,
        areas.root.bytes
    );
    assert!(bytes <= series.len() * 60);
    let index = open(blocks, areas).unwrap();
    let series: Vec<Labels> = series.into_iter().collect();
    let matchers = [
        Matcher::new("pod", MatchOp::Regex, "checkout-1.*").unwrap(),
        Matcher::new("namespace", MatchOp::NotEqual, "team-3").unwrap(),
    ];
    let satisfies = |labels: &Labels| {
        matchers
            .iter()
            .all(|matcher| matcher.matches(labels.value_or_empty(matcher.name())))
    };
    let expected: RoaringBitmap = (0..)
        .zip(&series)
        .filter(|(_, labels)| satisfies(labels))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(select(&index, &matchers).unwrap(), expected);
    for id in [0, 255, 256, 19_999] {
        assert_eq!(index.labels(id).unwrap().as_ref(), series.get(id as usize));
    }
}
