//! What is allowed in rule files and hardly meant.

use std::collections::BTreeMap;

use crate::file::{RuleFile, RuleSpec};

/// Rules that a file has more than once: of the same name and labels, so that their results meet in the same series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates(Vec<(String, BTreeMap<String, String>)>);

impl Duplicates {
    /// Returns the rules of `file` that come again; nothing when none does.
    pub fn of(file: &RuleFile) -> Option<Self> {
        let mut rules: Vec<&RuleSpec> = file.groups.iter().flat_map(|group| &group.rules).collect();
        let key = |rule: &RuleSpec| (rule.name.clone(), rule.labels.clone());
        rules.sort_by_cached_key(|rule| key(rule));
        let mut found: Vec<_> = rules
            .windows(2)
            .filter(|pair| pair[0].name == pair[1].name && pair[0].labels == pair[1].labels)
            .map(|pair| key(pair[0]))
            .collect();
        found.dedup();
        (!found.is_empty()).then_some(Self(found))
    }
}

impl std::fmt::Display for Duplicates {
    /// Writes them as promtool does.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} duplicate rule(s) found.", self.0.len())?;
        for (name, labels) in &self.0 {
            f.write_str("Metric: ")?;
            f.write_str(name)?;
            f.write_str("\nLabel(s):\n")?;
            for (label, value) in labels {
                writeln!(f, "\t{label}: {value}")?;
            }
        }
        f.write_str("Might cause inconsistency while recording expressions")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::file::FileOptions;

    #[test]
    fn the_same_name_and_labels_are_found_over_groups() {
        let parse =
            |text: &str| RuleFile::parse(Path::new("r.yml"), text, FileOptions::default()).unwrap();
        let text = "groups:
  - name: a
    rules:
      - {record: x, expr: 1}
      - {record: x, expr: 1, labels: {l: v}}
  - name: b
    rules:
      - {record: x, expr: 2, labels: {l: v}}
      - {record: x, expr: 3, labels: {l: v}}
";
        let found = Duplicates::of(&parse(text)).unwrap().to_string();
        let expected = "1 duplicate rule(s) found.\nMetric: x\nLabel(s):\n\tl: v\nMight cause inconsistency while recording expressions";
        assert_eq!(found, expected);
        let different = "groups: [{name: a, rules: [{record: x, expr: 1}, {record: y, expr: 1}]}]";
        assert_eq!(Duplicates::of(&parse(different)), None);
    }
}
