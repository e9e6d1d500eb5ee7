//! A configuration file as it may be shown.

use std::collections::BTreeSet;
use std::path::Path;

use config::{Node, NodeValue, parse_yaml};

use super::settings::add_secret_names;
use super::{IntegrationKind, schema};

const HIDDEN: &str = "<secret>";
/// Fields that Alertmanager does not have, each with the field that it stands below.
const OURS: &[(&str, &str)] = &[
    ("", "recurring_silences"),
    ("route", "repeat_interval_max"),
    ("routes", "repeat_interval_max"),
    ("route", "send_resolved_suppressed"),
    ("routes", "send_resolved_suppressed"),
    ("slack_configs", "style"),
    ("msteamsv2_configs", "style"),
];

/// Returns the text of a configuration file with `<secret>` in the place of everything whose name is that of a secret, wherever it
/// stands; comments are left out. Fields of ours are made comments: amtool reads this, and refuses a text with fields that it does not
/// know. What is not YAML is not shown at all.
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
    let names = &names;
    Writer { names, within: "" }.write(&root, 0, &mut shown);
    shown
}

/// Writes what stands below one field.
#[derive(Clone, Copy)]
struct Writer<'a> {
    /// Those of secrets.
    names: &'a BTreeSet<&'a str>,
    within: &'a str,
}

impl<'a> Writer<'a> {
    fn write(self, node: &'a Node, depth: usize, shown: &mut String) {
        let indent = "  ".repeat(depth);
        match &node.value {
            NodeValue::Map(entries) => {
                for (key, _, value) in entries {
                    let mut entry = format!("{indent}{}:", scalar(key));
                    if self.names.contains(key.as_str()) && !matches!(value.value, NodeValue::Null)
                    {
                        entry.push_str(&format!(" {HIDDEN}\n"));
                    } else {
                        let below = Self {
                            within: key,
                            ..self
                        };
                        below.write_below(value, depth, &mut entry);
                    }
                    if self.is_ours(key) {
                        let lines = entry.lines();
                        shown.extend(lines.map(|line| format!("# {line}\n")));
                    } else {
                        shown.push_str(&entry);
                    }
                }
            }
            NodeValue::List(items) => {
                for item in items {
                    shown.push_str(&format!("{indent}-"));
                    self.write_below(item, depth, shown);
                }
            }
            NodeValue::Scalar(text) => shown.push_str(&format!("{indent}{}\n", scalar(text))),
            NodeValue::Null => {}
        }
    }

    /// Writes what stands behind a key or a dash.
    fn write_below(self, node: &'a Node, depth: usize, shown: &mut String) {
        match &node.value {
            NodeValue::Null => shown.push_str(" null\n"),
            NodeValue::Scalar(text) => shown.push_str(&format!(" {}\n", scalar(text))),
            NodeValue::List(items) if items.is_empty() => shown.push_str(" []\n"),
            NodeValue::Map(entries) => {
                // With nothing but comments it would be nothing at all.
                let is_empty = entries.iter().all(|(key, _, _)| self.is_ours(key));
                shown.push_str(if is_empty { " {}\n" } else { "\n" });
                self.write(node, depth + 1, shown);
            }
            NodeValue::List(_) => {
                shown.push('\n');
                self.write(node, depth + 1, shown);
            }
        }
    }

    fn is_ours(self, key: &str) -> bool {
        OURS.contains(&(self.within, key))
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

    #[test]
    fn what_is_ours_is_a_comment() {
        let text = "
route: {receiver: a, repeat_interval_max: 1d, routes: [{send_resolved_suppressed: false}]}
receivers:
- name: a
  slack_configs: [{channel: c, style: rich, actions: [{type: button, text: t, style: primary}]}]
  msteamsv2_configs: [{style: rich}]
time_intervals: [{name: n}]
recurring_silences: [{name: x, matchers: [a=b], time_intervals: [n]}]
";
        let expected = "\
route:
  receiver: a
#   repeat_interval_max: 1d
  routes:
    - {}
#       send_resolved_suppressed: false
receivers:
  -
    name: a
    slack_configs:
      -
        channel: c
#         style: rich
        actions:
          -
            type: button
            text: t
            style: primary
    msteamsv2_configs:
      - {}
#         style: rich
time_intervals:
  -
    name: n
# recurring_silences:
#   -
#     name: x
#     matchers:
#       - \"a=b\"
#     time_intervals:
#       - n
";
        assert_eq!(shown(text), expected);
        assert!(parse_yaml(Path::new(""), expected).is_ok());
    }
}
