//! Rule files in Prometheus' format, read strictly: every mistake with its file, line and column.

mod reader;
mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::{Mistakes, Node, parse_yaml};
use model::METRIC_NAME;
use promql::ParserOptions;
use promql::ast::Expr;
use template::RuleTemplate;

pub(crate) use self::reader::Reader;
use self::rule::read_rule;

const FILE_KEYS: &[&str] = &["groups"];
const GROUP_KEYS: &[&str] = &[
    "name",
    "interval",
    "query_offset",
    "limit",
    "rules",
    "labels",
];

/// How files are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileOptions {
    /// Take files with fields that nobody knows.
    pub ignore_unknown_fields: bool,
    /// What expressions may use.
    pub parser: ParserOptions,
}

/// The groups of a file.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// Where it lies; with a group's name it names the group.
    pub path: PathBuf,
    /// In the order of the file; names come once.
    pub groups: Vec<GroupSpec>,
}

/// A group as it is written.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Unique within the file.
    pub name: String,
    /// Between two evaluations; the default of whoever loads it when not given.
    pub interval: Option<Duration>,
    /// How far evaluation looks back from the time that it stands for; the default of whoever loads it when not given.
    pub query_offset: Option<Duration>,
    /// Results that a rule may have; 0: no bound.
    pub limit: usize,
    /// Evaluated in this order.
    pub rules: Vec<RuleSpec>,
}

/// A rule as it is written, expressions and templates parsed.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// The metric that is recorded, or the alert's name.
    pub name: String,
    /// What is evaluated.
    pub expr: Arc<Expr>,
    /// The same, as people write it.
    pub text: Arc<str>,
    /// The rule's labels and those of its group, of which the rule's win. Templates where the rule is an alert.
    pub labels: BTreeMap<String, String>,
    /// What becomes of the result.
    pub kind: RuleKind,
}

/// What becomes of a rule's result.
#[derive(Clone, Debug)]
pub enum RuleKind {
    /// Its series are stored under the rule's name.
    Recording,
    /// Each of its series is an alert.
    Alerting(AlertSpec),
}

/// What alerts have beyond recordings.
#[derive(Clone, Debug)]
pub struct AlertSpec {
    /// How long an alert is pending before it fires.
    pub hold: Duration,
    /// How long it goes on firing when the expression has no result for it any more.
    pub keep_firing_for: Duration,
    /// Templates, by name.
    pub annotations: BTreeMap<String, String>,
    pub(crate) label_templates: Vec<(String, Arc<RuleTemplate>)>,
    pub(crate) annotation_templates: Vec<(String, Arc<RuleTemplate>)>,
}

impl RuleSpec {
    /// Returns what the rule has as an alert.
    pub const fn alert(&self) -> Option<&AlertSpec> {
        match &self.kind {
            RuleKind::Recording => None,
            RuleKind::Alerting(alert) => Some(alert),
        }
    }
}

impl RuleFile {
    /// Reads the text of a file; all mistakes are reported together, in promtool's words where it has any.
    pub fn parse(path: &Path, text: &str, options: FileOptions) -> Result<Self, Mistakes> {
        let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
        let mut reader = Reader::new(path, options);
        let groups = read_groups(&mut reader, &root);
        let file = Self {
            path: path.to_owned(),
            groups,
        };
        Mistakes::none_in(reader.mistakes, file)
    }

    /// Returns the number of rules.
    pub fn rule_count(&self) -> usize {
        self.groups.iter().map(|group| group.rules.len()).sum()
    }
}

fn read_groups(reader: &mut Reader<'_>, root: &Node) -> Vec<GroupSpec> {
    reader.known_keys(root, "a rule file", FILE_KEYS);
    let mut names = BTreeSet::new();
    reader
        .items_of(root, "groups")
        .iter()
        .map(|node| {
            let group = read_group(reader, node);
            if group.name.is_empty() {
                reader.refuse(node.at, "Groupname must not be empty");
            } else if !names.insert(group.name.clone()) {
                let name = &group.name;
                let why = format!("groupname: \"{name}\" is repeated in the same file");
                reader.refuse(node.at, why);
            }
            group
        })
        .collect()
}

fn read_group(reader: &mut Reader<'_>, node: &Node) -> GroupSpec {
    reader.known_keys(node, "a rule group", GROUP_KEYS);
    let name = reader.text_of(node, "name");
    let labels = reader.map_of(node, "labels");
    for (label, at) in reader.keys_of(node, "labels") {
        if !is_label_name(label) {
            reader.refuse(at, format!("invalid label name: {label}"));
        }
    }
    let rules = (1..)
        .zip(reader.items_of(node, "rules"))
        .filter_map(|(number, node)| read_rule(reader, node, &name, number, &labels))
        .collect();
    GroupSpec {
        interval: reader
            .duration_of(node, "interval")
            .filter(|interval| !interval.is_zero()),
        query_offset: reader.duration_of(node, "query_offset"),
        limit: reader.limit_of(node, "limit"),
        rules,
        name,
    }
}

/// Whether a rule may set this label.
fn is_label_name(name: &str) -> bool {
    !name.is_empty() && name != METRIC_NAME
}

#[cfg(test)]
mod tests;
