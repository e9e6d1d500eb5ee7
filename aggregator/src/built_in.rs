//! The rules that come with the program: those of `deploy/rules/promontory.yml`, as far as they can ever be true here.

use std::path::Path;

use config::Settings;
use model::{METRIC_NAME, MatchOp};
use promql::ParserOptions;
use rules::{FileOptions, RuleFile, RuleSpec};
use storage::Unlimited;

/// What the rules' file is called where there is none.
const PATH: &str = "built-in";
const TEXT: &str = include_str!("../../deploy/rules/promontory.yml");
/// Whether rules are wanted.
const WANTED: &str = "rules.built-in";
/// Who collects metrics whose names begin so, as a setting of whoever has an agent of his own.
const COLLECTED: &[(&str, &str)] = &[
    ("container_", "collector.containers"),
    ("node_cpu_", "collector.cpu"),
    ("node_disk_", "collector.diskstats"),
    ("node_filefd_", "collector.filefd"),
    ("node_filesystem_", "collector.filesystem"),
    ("node_load", "collector.loadavg"),
    ("node_md_", "collector.mdadm"),
    ("node_memory_", "collector.meminfo"),
    ("node_network_", "collector.netdev"),
    ("node_nf_conntrack_", "collector.conntrack"),
    ("node_timex_", "collector.timex"),
    ("node_vmstat_", "collector.vmstat"),
];

/// Returns the rules that come with the program, `None` when they are not wanted. With an agent in the process, rules over what it does
/// not collect are left out; agents elsewhere may collect anything.
pub(crate) fn built_in(settings: &Settings) -> Option<RuleFile> {
    // Commands that evaluate no rules do not have the setting.
    if !settings.is_set(WANTED) || !settings.switch(WANTED) {
        return None;
    }
    // A test reads the text as the program does.
    let mut file = RuleFile::parse(Path::new(PATH), TEXT, FileOptions::default()).ok()?;
    let has_agent = settings.is_set("collector.cpu");
    for group in &mut file.groups {
        group
            .rules
            .retain(|rule| !has_agent || can_be_true(rule, settings));
    }
    file.groups.retain(|group| !group.rules.is_empty());
    Some(file)
}

/// Whether all that a rule looks at is collected here.
fn can_be_true(rule: &RuleSpec, settings: &Settings) -> bool {
    let selectors = promql::selectors(&rule.text, ParserOptions::default(), &Unlimited);
    let matchers = selectors.unwrap_or_default().into_iter().flatten();
    let mut names = matchers.filter(|one| one.name() == METRIC_NAME && one.op() == MatchOp::Equal);
    names.all(|metric| {
        let mut collected = COLLECTED.iter();
        let by = collected.find(|(prefix, _)| metric.value().starts_with(prefix));
        by.is_none_or(|(_, collector)| cfg!(target_os = "linux") && settings.switch(collector))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::Environment;
    use rules::{UnitTestOptions, UnitTests};

    use super::*;
    use crate::program;

    fn names(line: &[&str]) -> Vec<String> {
        let line = std::iter::once(&"promontory").chain(line);
        let line = line.map(std::ffi::OsString::from);
        let read = program::program().read(line, Environment::default(), program::SECTIONS);
        let Ok(invocation) = read else {
            panic!("the settings are good")
        };
        let groups = built_in(&invocation.settings).map(|file| file.groups);
        let rules = groups.into_iter().flatten().flat_map(|group| group.rules);
        rules.map(|rule| rule.name).collect()
    }

    #[test]
    fn rules_are_those_that_can_be_true() {
        let all = names(&["aggregator", "--rules.built-in"]);
        assert!(all.len() > 20, "{all:?}");
        assert!(names(&["aggregator"]).is_empty());
        assert!(names(&["agents"]).is_empty());
        assert!(names(&["up", "--no-rules.built-in"]).is_empty());
        let up = names(&["up", "--no-collector.filesystem"]);
        let left_out = |name: &&String| !up.contains(*name);
        let left_out: Vec<&str> = all.iter().filter(left_out).map(String::as_str).collect();
        assert_eq!(
            left_out,
            [
                "NodeFilesystemFull",
                "NodeFilesystemFilling",
                "NodeFilesystemFilesShort",
            ]
        );
    }

    #[test]
    fn every_rule_says_what_to_do_and_when_it_fires_is_tested() {
        let file = RuleFile::parse(Path::new(PATH), TEXT, FileOptions::default()).unwrap();
        let tests = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/rules/promontory_test.yml"
        );
        let text = std::fs::read_to_string(tests).unwrap();
        for rule in file.groups.iter().flat_map(|group| &group.rules) {
            let alert = rule.alert().unwrap();
            for name in ["summary", "description"] {
                assert!(
                    alert.annotations.contains_key(name),
                    "{}: {name}",
                    rule.name
                );
            }
            assert!(rule.labels.contains_key("severity"), "{}", rule.name);
            let tested = format!("alertname: {}\n", rule.name);
            assert!(text.contains(&tested), "{} has no test", rule.name);
        }
        let options = UnitTestOptions::default();
        let tested = UnitTests::run_file(Path::new(tests), &options, &|| Duration::ZERO);
        let failures: Vec<&str> = tested.failures().collect();
        assert!(tested.passed(), "{}", failures.join("\n"));
    }
}
