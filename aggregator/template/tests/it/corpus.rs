//! Every annotation and label of the rule corpus parses and expands.

use std::path::Path;

use config::{Node, NodeValue, parse_yaml};
use template::{Limits, RuleTemplate};

use crate::data::{Data, shared};

#[test]
fn templates_of_real_rules_expand() {
    let Some(folder) = shared("rules") else {
        return;
    };
    let data = Data::read();
    let mut files = Vec::new();
    collect(&folder, &mut files);
    let (mut templates, mut actions) = (0, 0);
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let root = parse_yaml(file, &text).unwrap();
        for text in texts(&root) {
            templates += 1;
            actions += usize::from(text.contains("{{"));
            let template = RuleTemplate::parse("alert", text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let (rule, mut environment) = data.rule("rule");
            let expanded = template.expand(&rule, &mut environment, Limits::default());
            match expanded {
                Ok(expanded) => assert!(!expanded.contains("{{"), "{expanded}"),
                // Some ask the server for what our example data does not have.
                Err(error) => assert!(
                    text.contains("query") && error.message.contains("no answer to"),
                    "{}: {error}",
                    file.display()
                ),
            }
        }
    }
    println!(
        "{} files, {templates} labels and annotations, {actions} with actions",
        files.len()
    );
    assert!(
        files.len() >= 100 && templates > 2_500 && actions > 1_500,
        "the corpus is whole"
    );
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() {
            collect(&path, files);
        } else if is_yaml {
            files.push(path);
        }
    }
}

/// Returns the values of labels and annotations of alerting rules.
fn texts(root: &Node) -> Vec<&str> {
    let rules = list(root.get("groups")).flat_map(|group| list(group.get("rules")));
    let alerts = rules.filter(|rule| rule.get("alert").is_some());
    let maps = alerts
        .flat_map(|alert| [alert.get("labels"), alert.get("annotations")])
        .flatten();
    maps.flat_map(|map| match &map.value {
        NodeValue::Map(entries) => entries.as_slice(),
        _ => &[],
    })
    .filter_map(|(_, _, value)| match &value.value {
        NodeValue::Scalar(text) => Some(text.as_str()),
        _ => None,
    })
    .collect()
}

fn list(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    match node.map(|node| &node.value) {
        Some(NodeValue::List(items)) => items.iter(),
        _ => [].iter(),
    }
}
