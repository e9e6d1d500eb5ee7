//! Rule files and unit tests of others, judged as promtool judges them.

mod late;
mod suites;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rules::{Duplicates, FileOptions, RuleFile, UnitTestOptions, UnitTests};

/// Returns the folder of data kept outside; nothing when it is absent, which CI does not allow.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests find their data by the environment, and say when there is none"
)]
fn data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PROMONTORY_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "conformance data must be present in CI: set PROMONTORY_CONFORMANCE"
    );
    println!("skipped: no {folder}");
    None
}

fn check(path: &Path) -> Result<RuleFile, String> {
    let text = std::fs::read_to_string(path).expect("a file");
    RuleFile::parse(path, &text, FileOptions::default()).map_err(|mistakes| mistakes.to_string())
}

/// Returns the files in a folder, at any depth.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_in(&path));
        } else if path
            .extension()
            .is_some_and(|end| end == "yml" || end == "yaml")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn rule_files_of_many_origins_are_accepted() {
    let Some(folder) = data("rules") else { return };
    let (mut files, mut groups, mut rules) = (0, 0, 0);
    for path in files_in(&folder) {
        let file = check(&path).unwrap_or_else(|error| panic!("{error}"));
        files += 1;
        groups += file.groups.len();
        rules += file.rule_count();
    }
    println!("{files} files, {groups} groups, {rules} rules");
    assert_eq!((files, groups, rules), (103, 163, 1_171));
}

#[test]
fn rule_files_are_judged_as_promtool_judges_them() {
    let Some(folder) = data("promtool-testdata") else {
        return;
    };
    for file in [
        "rulefmt/test.yaml",
        "rulefmt/test_aliases.yaml",
        "rulefmt/utf-8_lname.good.yaml",
        "rules-fixtures/rules.yaml",
        "rules-fixtures/rules1.yaml",
        "rules-fixtures/alert_rule.yaml",
        "rules-fixtures/alert_rule1.yaml",
        "kubernetes-mixin/prometheus_alerts.yaml",
        "kubernetes-mixin/prometheus_rules.yaml",
        "promtool/rules.yml",
        "promtool/at-modifier.yml",
        "promtool/negative-offset.yml",
    ] {
        if let Err(error) = check(&folder.join(file)) {
            panic!("{error}");
        }
    }
    let aliases = check(&folder.join("rulefmt/test_aliases.yaml")).unwrap();
    assert!(aliases.groups.iter().all(|group| group.rules.len() == 4));
    for (file, message) in [
        (
            "rulefmt/duplicate_grp.bad.yaml",
            "groupname: \"yolo\" is repeated in the same file",
        ),
        ("rulefmt/bad_expr.bad.yaml", "parse error"),
        (
            "rulefmt/no_rec_alert.bad.yaml",
            "one of 'record' or 'alert' must be set",
        ),
        (
            "rulefmt/noexpr.bad.yaml",
            "field 'expr' must be set in rule",
        ),
        ("rulefmt/bad_field.bad.yaml", "field annotation not found"),
        ("rulefmt/invalid_label_name.bad.yaml", "invalid label name"),
        (
            "rulefmt/record_and_for.bad.yaml",
            "invalid field 'for' in recording rule",
        ),
        ("promtool/rules-bad.yml", "undefined variable"),
        (
            "promtool/rules_extrafields.yml",
            "field namespace not found",
        ),
    ] {
        match check(&folder.join(file)) {
            Err(error) if error.contains(message) => {}
            Err(error) => panic!("{error}\nshould say {message}"),
            Ok(_) => panic!("{file} is accepted"),
        }
    }
    let duplicates = check(&folder.join("promtool/rules_duplicates.yml")).unwrap();
    let found = Duplicates::of(&duplicates).unwrap().to_string();
    assert!(
        found.starts_with("1 duplicate rule(s) found.\nMetric: job:test:count_over_time1m"),
        "{found}"
    );
}

#[test]
fn unit_tests_end_as_with_promtool() {
    let Some(folder) = data("promtool-testdata") else {
        return;
    };
    let run = |file: &str, names: &[&str]| {
        let options = UnitTestOptions {
            run: names
                .iter()
                .map(|name| model::unanchored_regex(name).unwrap())
                .collect(),
            ..UnitTestOptions::default()
        };
        UnitTests::run_file(&folder.join(file), &options, &|| Duration::ZERO)
    };
    for (file, names, passes) in [
        ("promtool/unittest.yml", &[][..], true),
        ("promtool/long-period.yml", &[], true),
        ("promtool/bad-promql.yml", &[], false),
        ("promtool/bad-rules-syntax-test.yml", &[], false),
        ("promtool/failing.yml", &[], false),
        ("promtool/negative-offset-test.yml", &[], true),
        ("promtool/start-time-test.yml", &[], true),
        ("promtool/rules_run.yml", &[], false),
        ("promtool/rules_run.yml", &["correct"], true),
        ("promtool/rules_run.yml", &["wrong"], false),
        ("promtool/rules_run.yml", &["correct", "wrong"], false),
        ("promtool/rules_run_fuzzy.yml", &["correct"], true),
        ("promtool/rules_run_fuzzy.yml", &["wrong"], false),
        ("kubernetes-mixin/tests/tests.yaml", &[], true),
        ("kubernetes-mixin/tests/apps_alerts-test.yaml", &[], true),
        ("kubernetes-mixin/tests/kubelet-test.yaml", &[], true),
        (
            "kubernetes-mixin/tests/resource_alerts-test.yaml",
            &[],
            true,
        ),
    ] {
        let tested = run(file, names);
        let failures: Vec<&str> = tested.failures().collect();
        assert_eq!(
            tested.passed(),
            passes,
            "{file} {names:?}\n{}",
            failures.join("\n")
        );
    }
}
