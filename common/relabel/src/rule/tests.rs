use std::path::Path;

use config::parse_yaml;
use model::Labels;
use proptest::prelude::*;

use super::*;

fn read(text: &str, names: Names) -> Result<Vec<Rule>, String> {
    let path = Path::new("r.yml");
    let root = parse_yaml(path, text).expect("yaml");
    let mut reader = Reader::new(path);
    let rules = read_rules(&root, &mut reader, names);
    match reader.mistakes.first() {
        None => Ok(rules),
        Some(mistake) => Err(mistake.to_string()),
    }
}

fn run(rules: &str, labels: &[(&str, &str)]) -> Option<String> {
    let rules = read(rules, Names::Utf8).expect("valid rules");
    let mut builder = Labels::from_pairs(labels.iter().copied())
        .expect("valid")
        .to_builder();
    apply(&rules, &mut builder).then(|| builder.build().to_string())
}

const HOST: &[(&str, &str)] = &[
    ("__address__", "db-7.example:9104"),
    ("__meta_zone", "eu"),
    ("job", "mysql"),
];

#[test]
fn every_action_does_what_its_name_says() {
    let all = r#"{__address__="db-7.example:9104", __meta_zone="eu", job="mysql""#;
    for (rules, rest) in [
        ("[]", "}"),
        // replace
        (
            "[{source_labels: [__address__], regex: '([^:]+):\\d+', target_label: node}]",
            r#", node="db-7.example"}"#,
        ),
        (
            "[{source_labels: [__address__], regex: 'db', target_label: node}]",
            "}",
        ),
        (
            "[{source_labels: [job, __meta_zone], separator: '@', target_label: place}]",
            r#", place="mysql@eu"}"#,
        ),
        (
            "[{target_label: team, replacement: storage}]",
            r#", team="storage"}"#,
        ),
        (
            "[{source_labels: [__address__], regex: '(db)-(\\d).*', target_label: '${1}_id', replacement: 'n$2'}]",
            r#", "db_id"="n7"}"#,
        ),
        // hashmod: the last eight bytes of the digest, as a number
        (
            "[{source_labels: [job], modulus: 7, target_label: tmp, action: hashmod}]",
            r#", tmp="4"}"#,
        ),
        (
            "[{source_labels: [job], target_label: up, action: uppercase}]",
            r#", up="MYSQL"}"#,
        ),
        (
            "[{source_labels: [absent], regex: '.*', action: keep}]",
            "}",
        ),
        ("[{source_labels: [job], regex: 'my', action: drop}]", "}"),
        (
            "[{source_labels: [job], target_label: job, action: keepequal}]",
            "}",
        ),
        (
            "[{source_labels: [job], target_label: __meta_zone, action: dropequal}]",
            "}",
        ),
    ] {
        let expected = format!("{all}{rest}").replace(r#""db_id""#, "db_id");
        let found = run(rules, HOST).map(|text| sorted(&text));
        assert_eq!(found, Some(sorted(&expected)), "{rules}");
    }
    for rules in [
        "[{source_labels: [job], regex: 'my', action: keep}]",
        "[{source_labels: [job], regex: 'my.*', action: drop}]",
        "[{source_labels: [job], target_label: __meta_zone, action: keepequal}]",
        "[{source_labels: [job], target_label: job, action: dropequal}]",
        "[{source_labels: [absent], target_label: absent, action: dropequal}]",
    ] {
        assert_eq!(run(rules, HOST), None, "{rules}");
    }
}

/// The labels of a set in one order, whatever order they were written in.
fn sorted(text: &str) -> String {
    let mut parts: Vec<&str> = text.trim_matches(['{', '}']).split(", ").collect();
    parts.sort_unstable();
    parts.join(", ")
}

#[test]
fn names_are_mapped_dropped_and_kept() {
    for (rules, expected) in [
        (
            "[{regex: '__meta_(.+)', action: labelmap}]",
            r#"{__address__="db-7.example:9104", __meta_zone="eu", job="mysql", zone="eu"}"#,
        ),
        (
            "[{regex: '__meta_(.+)', replacement: 'k8s_$1', action: labelmap}]",
            r#"{__address__="db-7.example:9104", __meta_zone="eu", job="mysql", k8s_zone="eu"}"#,
        ),
        ("[{regex: '__.+', action: labeldrop}]", r#"{job="mysql"}"#),
        (
            "[{regex: 'meta', action: labeldrop}, {regex: job, action: labelkeep}]",
            r#"{job="mysql"}"#,
        ),
        (
            "[{source_labels: [job], regex: '(.)ysql', target_label: job, replacement: ''}, {regex: job, action: labelkeep}]",
            "{}",
        ),
        (
            "[{source_labels: [job], target_label: job, action: LowerCase}, {regex: job, action: labelkeep}]",
            r#"{job="mysql"}"#,
        ),
        // Later rules see what earlier ones made; a drop ends it.
        (
            "[{source_labels: [job], target_label: a}, {source_labels: [a, a], target_label: b}, {regex: a|b, action: labelkeep}]",
            r#"{a="mysql", b="mysql;mysql"}"#,
        ),
        // An expanded name that is empty changes nothing.
        (
            "[{source_labels: [job], regex: 'mysql(x)?', target_label: '$1', replacement: v}, {regex: job, action: labelkeep}]",
            r#"{job="mysql"}"#,
        ),
    ] {
        assert_eq!(run(rules, HOST).as_deref(), Some(expected), "{rules}");
    }
}

#[test]
fn hashes_spread_over_all_remainders() {
    let mut seen = [0; 4];
    for host in 0..100 {
        let rules = "[{source_labels: [a], modulus: 4, target_label: m, action: hashmod}, {regex: m, action: labelkeep}]";
        let made = run(rules, &[("a", &format!("host-{host}"))]).expect("kept");
        let remainder: usize = made
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .expect("a number");
        seen[remainder] += 1;
    }
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
}

#[test]
fn what_prometheus_refuses_is_refused_with_its_place() {
    for (rules, said) in [
        ("[{action: replace}]", "requires 'target_label' value"),
        (
            "[{action: hashmod, target_label: a}]",
            "requires non-zero modulus",
        ),
        (
            "[{action: hashmod, modulus: 2}]",
            "requires 'target_label' value",
        ),
        (
            "[{action: lowercase, target_label: a, replacement: b}]",
            "'replacement' can not be set for lowercase action",
        ),
        (
            "[{action: keepequal, target_label: a, regex: b}]",
            "requires only 'source_labels' and 'target_label'",
        ),
        (
            "[{action: labeldrop, source_labels: [a]}]",
            "labeldrop action requires only 'regex'",
        ),
        (
            "[{action: labelkeep, regex: a, replacement: b}]",
            "labelkeep action requires only 'regex'",
        ),
        (
            "[{action: labelmap, replacement: ''}]",
            "invalid 'replacement' for labelmap action",
        ),
        ("[{action: swap}]", "unknown relabel action \"swap\""),
        ("[{regex: '(', target_label: a}]", "r.yml:1:10: "),
        (
            "[{source_label: [a], target_label: b}]",
            "did you mean source_labels?",
        ),
        ("[7]", "expected a map, found a scalar"),
    ] {
        let refused = read(rules, Names::Utf8).expect_err(rules);
        assert!(refused.contains(said), "{rules}: {refused}");
        assert!(refused.starts_with("r.yml:1:"), "{refused}");
    }
    for (rules, is_legacy) in [
        ("[{target_label: 'a.b'}]", false),
        ("[{target_label: 'a_${1}'}]", true),
        ("[{target_label: 'a-${1}'}]", false),
        ("[{target_label: '$1'}]", true),
        ("[{target_label: '${1'}]", false),
        ("[{action: labelmap, replacement: '$1-x'}]", false),
    ] {
        assert_eq!(read(rules, Names::Legacy).is_ok(), is_legacy, "{rules}");
        assert!(read(rules, Names::Utf8).is_ok(), "{rules}");
    }
}

proptest! {
    #[test]
    fn rules_never_panic_and_bound_what_they_make(
        action in proptest::sample::select(&ACTIONS[..]),
        regex in "[a-z(.*)|$?]{0,6}",
        target in "[a-z$1{}]{0,5}",
        replacement in "[a-z$1{}]{0,5}",
        value in ".{0,8}",
    ) {
        let quote = |text: &str| text.replace('\'', "''");
        let text = format!(
            "[{{action: {action}, regex: '{}', target_label: '{}', replacement: '{}', modulus: 3, source_labels: [a]}}]",
            quote(&regex), quote(&target), quote(&replacement),
        );
        if let Ok(rules) = read(&text, Names::Utf8) {
            let mut labels = LabelsBuilder::new();
            labels.set("a", value);
            apply(&rules, &mut labels);
            prop_assert!(labels.iter().all(|(_, value)| value.len() <= VALUE_BYTES_MAX));
        }
    }
}
