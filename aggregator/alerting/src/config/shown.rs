//! A configuration file as it may be shown.

use std::collections::BTreeSet;
use std::path::Path;

use config::{Node, NodeValue, parse_yaml};

use super::settings::add_secret_names;
use super::{IntegrationKind, schema};

const HIDDEN: &str = "<secret>";

/// Returns the text of a configuration file with `<secret>` in the place of everything whose name is that of a secret, wherever it
/// stands; comments are left out. What is not YAML is not shown at all.
pub fn shown(text: &str) -> String {
    let Ok(root) = parse_yaml(Path::new(""), text) else {
        return String::new();
    };
    // Values of headers stand below `secrets` and `values`: either may hold credentials.
    let mut names = BTreeSet::from(["headers", "http_headers", "proxy_connect_header"]);
    add_secret_names(schema::GLOBAL, &mut names);
    for kind in IntegrationKind::ALL {
        add_secret_names(kind.fields(), &mut names);
    }
    let mut shown = String::new();
    write(&root, 0, &names, &mut shown);
    shown
}

fn write(node: &Node, depth: usize, secret: &BTreeSet<&str>, shown: &mut String) {
    let indent = "  ".repeat(depth);
    match &node.value {
        NodeValue::Map(entries) => {
            for entry in entries {
                let (key, value) = (&entry.0, &entry.2);
                shown.push_str(&format!("{indent}{}:", scalar(key)));
                if secret.contains(key.as_str()) && !matches!(value.value, NodeValue::Null) {
                    shown.push_str(&format!(" {HIDDEN}\n"));
                } else {
                    write_below(value, depth, secret, shown);
                }
            }
        }
        NodeValue::List(items) => {
            for item in items {
                shown.push_str(&format!("{indent}-"));
                write_below(item, depth, secret, shown);
            }
        }
        NodeValue::Scalar(text) => shown.push_str(&format!("{indent}{}\n", scalar(text))),
        NodeValue::Null => {}
    }
}

/// Writes what stands behind a key or a dash.
fn write_below(node: &Node, depth: usize, secret: &BTreeSet<&str>, shown: &mut String) {
    match &node.value {
        NodeValue::Null => shown.push_str(" null\n"),
        NodeValue::Scalar(text) => shown.push_str(&format!(" {}\n", scalar(text))),
        NodeValue::Map(entries) if entries.is_empty() => shown.push_str(" {}\n"),
        NodeValue::List(items) if items.is_empty() => shown.push_str(" []\n"),
        NodeValue::Map(_) | NodeValue::List(_) => {
            shown.push('\n');
            write(node, depth + 1, secret, shown);
        }
    }
}

/// Returns a text as it stands in YAML: plain where that is safe, else quoted.
fn scalar(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !text.starts_with('-');
    if is_plain {
        text.to_owned()
    } else {
        template::quote(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let text = "
global: {smtp_auth_password: hunter2, slack_api_url: 'https://hooks.example/hunter2'}
route: {receiver: a, group_by: ['...'], routes: []}
receivers:
- name: a
  webhook_configs:
  - {url: 'http://u:hunter2@x.example', http_config: {basic_auth: {username: u, password: hunter2}}}
  pagerduty_configs: [{routing_key: hunter2, severity: 'a: b'}]
";
        let shown = shown(text);
        assert!(!shown.contains("hunter2"), "{shown}");
        let lines = [
            "  smtp_auth_password: <secret>",
            "  receiver: a",
            "        severity: \"a: b\"",
        ];
        for line in lines {
            assert!(shown.lines().any(|one| one == line), "{line} in {shown}");
        }
        assert!(parse_yaml(Path::new(""), &shown).is_ok());
    }
}
