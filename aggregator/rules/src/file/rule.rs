//! One rule of a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Node, Position};
use promql::parse;
use template::RuleTemplate;

use super::reader::Reader;
use super::{AlertSpec, RuleKind, RuleSpec, is_label_name};

const RULE_KEYS: &[&str] = &[
    "record",
    "alert",
    "expr",
    "for",
    "keep_firing_for",
    "labels",
    "annotations",
];

/// Reads a rule; nothing when it is no rule, which is reported.
pub(super) fn read_rule(
    reader: &mut Reader<'_>,
    node: &Node,
    group: &str,
    number: usize,
    group_labels: &BTreeMap<String, String>,
) -> Option<RuleSpec> {
    reader.known_keys(node, "a rule", RULE_KEYS);
    let text = |reader: &mut Reader<'_>, key| reader.text_of(node, key);
    let (record, alert) = (text(reader, "record"), text(reader, "alert"));
    let name = if alert.is_empty() { &record } else { &alert };
    let mut checked = Checked {
        reader,
        node,
        subject: format!("group {group:?}, rule {number}, {name:?}"),
    };
    checked.names(&record, &alert);
    let expr = checked.expression();
    if !record.is_empty() {
        checked.recording(&record);
    }
    for (label, at) in checked.reader.keys_of(node, "labels") {
        if !is_label_name(label) {
            checked.refuse(at, format_args!("invalid label name: {label}"));
        }
    }
    for (annotation, at) in checked.reader.keys_of(node, "annotations") {
        if annotation.is_empty() {
            checked.refuse(at, format_args!("invalid annotation name: {annotation}"));
        }
    }
    let own = checked.reader.map_of(node, "labels");
    let annotations = checked.reader.map_of(node, "annotations");
    let hold = checked.reader.duration_of(node, "for").unwrap_or_default();
    let keep_firing_for = (checked.reader.duration_of(node, "keep_firing_for")).unwrap_or_default();
    let mut labels = group_labels.clone();
    labels.extend(own);
    let kind = if alert.is_empty() {
        RuleKind::Recording
    } else {
        RuleKind::Alerting(AlertSpec {
            hold,
            keep_firing_for,
            label_templates: checked.templates(&alert, "label", &labels),
            annotation_templates: checked.templates(&alert, "annotation", &annotations),
            annotations,
        })
    };
    let (text, expr) = expr?;
    Some(RuleSpec {
        name: if alert.is_empty() { record } else { alert },
        expr,
        text,
        labels,
        kind,
    })
}

/// A rule while it is checked.
struct Checked<'r, 'p, 'n> {
    reader: &'r mut Reader<'p>,
    node: &'n Node,
    /// How messages name it.
    subject: String,
}

impl Checked<'_, '_, '_> {
    fn refuse(&mut self, at: Position, what: std::fmt::Arguments<'_>) {
        let what = format!("{}: {what}", self.subject);
        self.reader.refuse(at, what);
    }

    /// Returns where the value of `key` stands, or the rule when it has none.
    fn place(&self, key: &str) -> Position {
        self.node.get(key).unwrap_or(self.node).at
    }

    fn names(&mut self, record: &str, alert: &str) {
        let at = self.place("record");
        match (record.is_empty(), alert.is_empty()) {
            (true, true) => self.refuse(at, format_args!("one of 'record' or 'alert' must be set")),
            (false, false) => self.refuse(
                at,
                format_args!("only one of 'record' and 'alert' must be set"),
            ),
            (true, false) | (false, true) => {}
        }
    }

    fn expression(&mut self) -> Option<(Arc<str>, Arc<promql::ast::Expr>)> {
        let (text, at) = (self.reader.text_of(self.node, "expr"), self.place("expr"));
        if text.is_empty() {
            self.refuse(at, format_args!("field 'expr' must be set in rule"));
            return None;
        }
        match parse(&text, self.reader.options.parser) {
            Ok(expr) => Some((Arc::from(text), Arc::new(expr))),
            Err(error) => {
                self.refuse(at, format_args!("could not parse expression: {error}"));
                None
            }
        }
    }

    fn recording(&mut self, name: &str) {
        let at = self.place("record");
        for key in ["annotations", "for", "keep_firing_for"] {
            let given = match key {
                "annotations" => !self.reader.keys_of(self.node, key).is_empty(),
                _ => self
                    .reader
                    .duration_of(self.node, key)
                    .is_some_and(|duration| !duration.is_zero()),
            };
            if given {
                self.refuse(at, format_args!("invalid field '{key}' in recording rule"));
            }
        }
        if name.contains(['{', '}']) {
            self.refuse(
                at,
                format_args!(
                    "braces present in the recording rule name; should it be in expr?: {name}"
                ),
            );
        }
    }

    fn templates(
        &mut self,
        alert: &str,
        what: &str,
        texts: &BTreeMap<String, String>,
    ) -> Vec<(String, Arc<RuleTemplate>)> {
        let key = if what == "label" {
            "labels"
        } else {
            "annotations"
        };
        let mut templates = Vec::with_capacity(texts.len());
        for (name, text) in texts {
            match RuleTemplate::parse(&format!("__alert_{alert}"), text) {
                Ok(template) => templates.push((name.clone(), Arc::new(template))),
                Err(error) => {
                    let at = self
                        .node
                        .get(key)
                        .and_then(|texts| texts.get(name))
                        .map_or(self.node.at, |node| node.at);
                    self.refuse(
                        at,
                        format_args!(
                            "{what} {name:?}: error parsing template __alert_{alert}: {error}"
                        ),
                    );
                }
            }
        }
        templates
    }
}
