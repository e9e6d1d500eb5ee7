//! Which rules of a group may be evaluated at once.
//!
//! Rules of a group are evaluated in order: a rule sees what those before it have just recorded, and of those after it what they
//! recorded last time. Where a rule reads nothing that its neighbours write, order means nothing. [`waves`] cuts a group into waves:
//! what a wave writes is stored before the next begins, and the rules within one are free of each other. Every rule sees exactly what
//! it would see if all came one by one.

use model::{METRIC_NAME, Matcher};
use promql::{ParserOptions, selectors};
use storage::Unlimited;

use crate::alert::{ALERTS, ALERTS_FOR_STATE};
use crate::file::RuleSpec;

/// What a rule looks at; `None`: maybe everything.
pub(crate) type Reads = Option<Vec<Vec<Matcher>>>;

/// Returns the wave of each rule, from 0. Takes time in the square of the number of rules.
pub(crate) fn waves(rules: &[RuleSpec], parser: ParserOptions) -> Vec<usize> {
    let reads: Vec<Reads> = rules.iter().map(|rule| reads_of(rule, parser)).collect();
    let mut waves: Vec<usize> = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let mut wave = 0;
        for (before, its_wave) in waves.iter().enumerate() {
            if may_read(&reads[index], &rules[before]) {
                wave = wave.max(its_wave + 1);
            } else if may_read(&reads[before], rule) || writes_alike(&rules[before], rule) {
                // It must not see this rule's results, nor may they be stored before its own.
                wave = wave.max(*its_wave);
            }
        }
        waves.push(wave);
    }
    waves
}

pub(crate) fn reads_of(rule: &RuleSpec, parser: ParserOptions) -> Reads {
    let asks = |texts: &std::collections::BTreeMap<String, String>| {
        texts.values().any(|text| text.contains("query"))
    };
    let templates_ask = rule
        .alert()
        .is_some_and(|alert| asks(&rule.labels) || asks(&alert.annotations));
    if templates_ask {
        return None;
    }
    selectors(&rule.text, parser, &Unlimited).ok()
}

pub(crate) fn may_read(reads: &Reads, writer: &RuleSpec) -> bool {
    let Some(reads) = reads else {
        return true;
    };
    let names: &[&str] = match writer.alert() {
        Some(_) => &[ALERTS, ALERTS_FOR_STATE],
        None => &[&writer.name],
    };
    let selects = |matchers: &Vec<Matcher>, name: &str| {
        matchers
            .iter()
            .filter(|matcher| matcher.name() == METRIC_NAME)
            .all(|matcher| matcher.matches(name))
    };
    reads
        .iter()
        .any(|matchers| names.iter().any(|name| selects(matchers, name)))
}

/// Whether both may write the same series, of which the first written stands.
fn writes_alike(a: &RuleSpec, b: &RuleSpec) -> bool {
    a.alert().is_some() == b.alert().is_some() && a.name == b.name
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::file::{FileOptions, RuleFile};

    fn check(rules: &str, expected: &[usize]) {
        let text = format!("groups: [{{name: g, rules: [{rules}]}}]");
        let file = RuleFile::parse(Path::new("r.yml"), &text, FileOptions::default()).unwrap();
        let found = waves(&file.groups[0].rules, ParserOptions::default());
        assert_eq!(found, expected, "{rules}");
    }

    #[test]
    fn rules_wait_for_what_they_read() {
        check("{record: a, expr: x}, {record: b, expr: y}", &[0, 0]);
        check(
            "{record: a, expr: x}, {record: b, expr: sum(a)}, {record: c, expr: b + a}",
            &[0, 1, 2],
        );
        check(
            "{record: a, expr: x}, {record: b, expr: '{__name__=~\"a|z\"}'}",
            &[0, 1],
        );
        check(
            "{record: a, expr: x}, {record: b, expr: '{job=\"j\"}'}",
            &[0, 1],
        );
        check("{alert: A, expr: x}, {record: b, expr: 'ALERTS'}", &[0, 1]);
        check(
            "{alert: A, expr: x}, {alert: B, expr: y, annotations: {s: '{{ query \"z\" }}'}}, {record: b, expr: z}",
            &[0, 1, 1],
        );
    }

    #[test]
    fn a_rule_does_not_see_what_later_ones_record_now() {
        // The first reads last time's b; the third waits for a, and b with it is not written before the first has been asked.
        check("{record: a, expr: b}, {record: b, expr: x}", &[0, 0]);
        check(
            "{record: a, expr: x}, {record: c, expr: a + b}, {record: b, expr: y}",
            &[0, 1, 1],
        );
        check("{record: a, expr: x}, {record: a, expr: y}", &[0, 0]);
    }
}
