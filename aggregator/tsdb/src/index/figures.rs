//! What questions to an index of many series cost: `cargo test --release -p tsdb index::figures -- --ignored --nocapture`.
//!
//! The series are those of reference figures: 1,000,000 of them (`SERIES`), 25 sorts of labels, some 21,000 pods and container ids.

use std::sync::Arc;

use clock::{Clock as _, SystemClock};
use model::{Labels, MatchOp, Matcher};

use super::tests::{encoded, open};
use super::*;

const METRICS: usize = 308;
const NODES: usize = 970;
const PODS: usize = 21_160;

fn series(count: usize) -> impl Iterator<Item = Labels> {
    const KINDS: [&str; 4] = ["container", "node", "go", "http"];
    (0..count).map(|number| {
        let pod = number % PODS;
        let metric = number / PODS * 7 + pod % 7;
        let kind = KINDS[metric % 4];
        let app = ["checkout", "cart", "search", "billing"][pod % 4];
        let scattered = (pod as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Labels::from_pairs([
            (
                "__name__",
                format!("{kind}_metric_{}_total", metric % METRICS),
            ),
            (
                "id",
                format!("/kubepods.slice/kubepods-burstable.slice/pod{scattered:016x}{pod:08x}/{scattered:032x}"),
            ),
            (
                "instance",
                format!("ip-10-{}-{}.internal", pod % 7, pod % NODES),
            ),
            ("job", "kubelet".to_owned()),
            ("namespace", format!("team-{}", pod % 40)),
            ("pod", format!("{app}-{:x}-{pod:05x}", scattered >> 40)),
            ("part", (number / PODS).to_string()),
        ])
        .expect("sorted or not, no name is repeated")
    })
}

fn ask<I: IndexRead<Error: std::fmt::Debug>>(form: &str, index: &I) {
    let clock = SystemClock::new();
    for (name, expression) in [
        ("instance", ".*-1.*internal.*"),
        ("pod", "checkout-.*"),
        ("pod", ".*a1b.*"),
        ("__name__", "node_.*|container_.*"),
        ("id", ".*burstable.*"),
        ("id", ".*deadbeef.*"),
        ("id", ".*(dead|beef)[0-9]+.*"),
        ("namespace", "team-1|team-2|team-39"),
        ("pod", "[^c].+"),
    ] {
        let began = clock.monotonic();
        let matcher = Matcher::new(name, MatchOp::Regex, expression).unwrap();
        let compiled = clock.monotonic();
        let first = select(index, std::slice::from_ref(&matcher)).unwrap();
        let asked = clock.monotonic();
        let again = select(index, std::slice::from_ref(&matcher)).unwrap();
        let repeated = clock.monotonic();
        assert_eq!(first, again);
        println!(
            "{form} {:40} {:>8} series: compiled in {:>8.3?}, first {:>8.3?}, again {:>8.3?}",
            format!("{name}=~{expression:?}"),
            first.len(),
            compiled.saturating_since(began),
            asked.saturating_since(compiled),
            repeated.saturating_since(asked),
        );
    }
    let within = select(index, &[Matcher::equal("namespace", "team-7")]).unwrap();
    for (what, name, within, limit) in [
        ("all pods", "pod", None, 0),
        ("ten pods", "pod", None, 10),
        ("pods of a namespace", "pod", Some(&within), 0),
        ("ids of a namespace", "id", Some(&within), 0),
        ("metrics of a namespace", "__name__", Some(&within), 0),
    ] {
        let began = clock.monotonic();
        let values = label_values(index, name, within, limit, &storage::Unlimited).unwrap();
        let took = clock.monotonic().saturating_since(began);
        println!("{form} {what}: {} in {took:.3?}", values.len());
    }
    let began = clock.monotonic();
    let names = label_names(index, Some(&within)).unwrap();
    let took = clock.monotonic().saturating_since(began);
    println!("{form} names of a namespace: {} in {took:.3?}", names.len());
}

#[test]
#[ignore = "prints figures; slow unless optimised"]
fn questions_to_a_large_index() {
    #[expect(clippy::disallowed_methods, reason = "a size for this run alone")]
    let count = std::env::var("SERIES").map_or(1_000_000, |count| count.parse().unwrap());
    let clock = SystemClock::new();
    let all: Vec<Labels> = series(count).collect();
    let index = Arc::new(HeadIndex::new());
    let began = clock.monotonic();
    for labels in &all {
        index.insert(labels);
    }
    let took = clock.monotonic().saturating_since(began);
    println!(
        "head: {} series in {took:.3?}, {} ns each; {} B each by its own count",
        index.len(),
        took.as_nanos() / count as u128,
        index.memory_bytes() / count
    );
    ask("head", &index.view());
    drop(index);
    let (blocks, areas) = encoded(&all.into_iter().collect());
    ask("partition", &open(blocks, areas).unwrap());
}
