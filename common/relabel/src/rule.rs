//! One rule: how it is read, checked and applied.

use config::{Node, Position, Reader};
use model::{AnchoredRegex, LabelsBuilder};

use crate::letters::{lower, upper};
use crate::md5::md5;
use crate::template::Template;
use crate::{Names, VALUE_BYTES_MAX};

const SEPARATOR: &str = ";";
const REGEX: &str = "(.*)";
const REPLACEMENT: &str = "$1";

const KEYS: [&str; 7] = [
    "source_labels",
    "separator",
    "target_label",
    "regex",
    "modulus",
    "replacement",
    "action",
];

const ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

/// A checked rule.
#[derive(Clone, Debug)]
pub struct Rule {
    source_labels: Vec<String>,
    separator: String,
    action: Action,
}

/// What a rule does, with what it needs for that.
#[derive(Clone, Debug)]
enum Action {
    Replace {
        regex: AnchoredRegex,
        target: Target,
        replacement: Template,
        names: Names,
    },
    Keep(AnchoredRegex),
    Drop(AnchoredRegex),
    KeepEqual(String),
    DropEqual(String),
    HashMod {
        target: String,
        modulus: u64,
    },
    LabelMap {
        regex: AnchoredRegex,
        replacement: Template,
    },
    LabelDrop(AnchoredRegex),
    LabelKeep(AnchoredRegex),
    Lowercase(String),
    Uppercase(String),
}

/// The label that `replace` sets.
#[derive(Clone, Debug)]
enum Target {
    Fixed(String),
    /// Named by what the source labels have.
    Expanded(Template),
}

/// The keys of a rule as they were written.
#[derive(Debug, Default)]
struct Written {
    source_labels: Option<Vec<String>>,
    separator: Option<String>,
    target_label: Option<String>,
    regex: Option<(Position, String)>,
    modulus: Option<u64>,
    replacement: Option<String>,
    action: Option<String>,
}

impl Written {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Self {
        let mut written = Self::default();
        for (key, at, value) in reader.entries(node) {
            match key {
                "source_labels" => written.source_labels = Some(reader.texts(value)),
                "separator" => written.separator = Some(reader.text(value).unwrap_or_default()),
                "target_label" => written.target_label = reader.text(value),
                "regex" => {
                    let text = reader.text(value).unwrap_or_default();
                    written.regex = Some((value.at, text));
                }
                "modulus" => written.modulus = reader.count(value),
                "replacement" => {
                    written.replacement = Some(reader.text(value).unwrap_or_default());
                }
                "action" => written.action = reader.text(value),
                _ => reader.unknown(at, key, &KEYS),
            }
        }
        written
    }

    fn replacement(&self) -> &str {
        self.replacement.as_deref().unwrap_or(REPLACEMENT)
    }

    fn has_own_separator(&self) -> bool {
        self.separator.as_deref().is_some_and(|s| s != SEPARATOR)
    }

    fn has_own_regex(&self) -> bool {
        (self.regex.as_ref()).is_some_and(|(_, regex)| regex != REGEX)
    }

    fn has_own_replacement(&self) -> bool {
        self.replacement() != REPLACEMENT
    }
}

impl Rule {
    /// Reads a rule; what is wrong with it goes to the reader's mistakes, and then there is none.
    pub fn read(node: &Node, reader: &mut Reader<'_>, names: Names) -> Option<Self> {
        let written = Written::read(node, reader);
        let (at, pattern) = match &written.regex {
            Some((at, pattern)) => (*at, pattern.as_str()),
            None => (node.at, REGEX),
        };
        let regex = match AnchoredRegex::new(pattern) {
            Ok(regex) => regex,
            Err(error) => return reader.refuse(at, error.to_string()),
        };
        match Self::check(&written, regex, names) {
            Ok(action) => Some(Self {
                source_labels: written.source_labels.unwrap_or_default(),
                separator: written.separator.unwrap_or_else(|| SEPARATOR.to_owned()),
                action,
            }),
            Err(what) => reader.refuse(node.at, what),
        }
    }

    fn check(written: &Written, regex: AnchoredRegex, names: Names) -> Result<Action, String> {
        let action = written.action.as_deref().unwrap_or("replace");
        let action = action.to_lowercase();
        let target = || match written.target_label.as_deref().unwrap_or_default() {
            "" => Err(format!(
                "relabel configuration for {action} action requires 'target_label' value"
            )),
            label => Ok(label.to_owned()),
        };
        let fixed_target = || {
            let target = target()?;
            if names.allow_label(&target) {
                Ok(target)
            } else {
                let what = format!("{target:?} is invalid 'target_label' for {action} action");
                Err(what)
            }
        };
        let without_replacement = || {
            if written.has_own_replacement() {
                Err(format!("'replacement' can not be set for {action} action"))
            } else {
                Ok(())
            }
        };
        let source_and_target_only = || {
            let has_more = written.has_own_regex()
                || written.modulus.is_some_and(|modulus| modulus != 0)
                || written.has_own_separator()
                || written.has_own_replacement();
            if has_more {
                Err(format!(
                    "{action} action requires only 'source_labels' and 'target_label', and no other fields"
                ))
            } else {
                Ok(())
            }
        };
        let regex_only = || {
            let has_more = written.source_labels.is_some()
                || written
                    .target_label
                    .as_deref()
                    .is_some_and(|l| !l.is_empty())
                || written.modulus.is_some_and(|modulus| modulus != 0)
                || written.has_own_separator()
                || written.has_own_replacement();
            if has_more {
                Err(format!(
                    "{action} action requires only 'regex', and no other fields"
                ))
            } else {
                Ok(())
            }
        };
        Ok(match action.as_str() {
            "replace" => Action::Replace {
                regex,
                target: replaced(target()?, names)?,
                replacement: Template::new(written.replacement()),
                names,
            },
            "keep" => Action::Keep(regex),
            "drop" => Action::Drop(regex),
            "keepequal" | "dropequal" => {
                let target = fixed_target()?;
                source_and_target_only()?;
                if action == "keepequal" {
                    Action::KeepEqual(target)
                } else {
                    Action::DropEqual(target)
                }
            }
            "hashmod" => {
                let modulus = written
                    .modulus
                    .filter(|modulus| *modulus > 0)
                    .ok_or("relabel configuration for hashmod requires non-zero modulus")?;
                let target = fixed_target()?;
                Action::HashMod { target, modulus }
            }
            "labelmap" => {
                let replacement = written.replacement();
                if !may_name_a_label(replacement, names) {
                    return Err(format!(
                        "{replacement:?} is invalid 'replacement' for labelmap action"
                    ));
                }
                Action::LabelMap {
                    regex,
                    replacement: Template::new(replacement),
                }
            }
            "labeldrop" => {
                regex_only()?;
                Action::LabelDrop(regex)
            }
            "labelkeep" => {
                regex_only()?;
                Action::LabelKeep(regex)
            }
            "lowercase" | "uppercase" => {
                let target = fixed_target()?;
                without_replacement()?;
                if action == "lowercase" {
                    Action::Lowercase(target)
                } else {
                    Action::Uppercase(target)
                }
            }
            _ => {
                let accepted = ACTIONS.join(", ");
                return Err(format!(
                    "unknown relabel action {action:?} (accepted here: {accepted})"
                ));
            }
        })
    }

    /// Changes `labels`; returns whether they are kept.
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        match &self.action {
            Action::Keep(regex) => return regex.regex().is_match(&self.source(labels)),
            Action::Drop(regex) => return !regex.regex().is_match(&self.source(labels)),
            Action::KeepEqual(target) => {
                return labels.get(target).unwrap_or_default() == self.source(labels);
            }
            Action::DropEqual(target) => {
                return labels.get(target).unwrap_or_default() != self.source(labels);
            }
            Action::Replace {
                regex,
                target,
                replacement,
                names,
            } => {
                let source = self.source(labels);
                let target = match target {
                    Target::Fixed(name) => Some(name.clone()),
                    Target::Expanded(template) => template
                        .expand(regex, &source)
                        .filter(|name| names.allow_label(name)),
                };
                if let Some(target) = target
                    && let Some(value) = replacement.expand(regex, &source)
                {
                    labels.set(target, value);
                }
            }
            Action::HashMod { target, modulus } => {
                let [.., a, b, c, d, e, f, g, h] = md5(self.source(labels).as_bytes());
                let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                labels.set(target.as_str(), (hash % modulus).to_string());
            }
            Action::LabelMap { regex, replacement } => {
                let mapped: Vec<(String, String)> = labels
                    .iter()
                    .filter_map(|(name, value)| {
                        Some((replacement.expand(regex, name)?, value.to_owned()))
                    })
                    .collect();
                for (name, value) in mapped {
                    labels.set(name, value);
                }
            }
            Action::LabelDrop(regex) => {
                labels.retain(|name| !regex.regex().is_match(name));
            }
            Action::LabelKeep(regex) => {
                labels.retain(|name| regex.regex().is_match(name));
            }
            Action::Lowercase(target) => {
                let value = lower(&self.source(labels));
                labels.set(target.as_str(), value);
            }
            Action::Uppercase(target) => {
                let value = upper(&self.source(labels));
                labels.set(target.as_str(), value);
            }
        }
        true
    }

    /// The values of the source labels, with the separator between them; cut off where a rule's value must end.
    fn source(&self, labels: &LabelsBuilder) -> String {
        let mut source = String::new();
        for (index, name) in self.source_labels.iter().enumerate() {
            if index > 0 {
                source.push_str(&self.separator);
            }
            source.push_str(labels.get(name).unwrap_or_default());
        }
        source.truncate(source.floor_char_boundary(VALUE_BYTES_MAX));
        source
    }
}

/// Returns the rules of a list; what is wrong with one goes to the reader's mistakes.
pub fn read_rules(node: &Node, reader: &mut Reader<'_>, names: Names) -> Vec<Rule> {
    let nodes = reader.items(node);
    let rules = nodes
        .iter()
        .filter_map(|node| Rule::read(node, reader, names));
    rules.collect()
}

/// Runs `rules` over `labels` in order; returns whether the labels are kept. The first rule that drops them ends it.
pub fn apply(rules: &[Rule], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

fn replaced(label: String, names: Names) -> Result<Target, String> {
    let template = Template::new(&label);
    if template.has_references() && may_name_a_label(&label, names) {
        Ok(Target::Expanded(template))
    } else if !label.contains('$') && names.allow_label(&label) {
        Ok(Target::Fixed(label))
    } else if label.contains('$') && names == Names::Utf8 {
        Ok(Target::Expanded(template))
    } else {
        let what = format!("{label:?} is invalid 'target_label' for replace action");
        Err(what)
    }
}

/// Whether a template can become the name of a label.
fn may_name_a_label(template: &str, names: Names) -> bool {
    match names {
        Names::Utf8 => !template.is_empty(),
        // What references may become is seen when they have become it; what stands around them is checked here.
        Names::Legacy => {
            let mut around = String::new();
            let mut rest = template;
            while let Some((before, after)) = rest.split_once('$') {
                around.push_str(before);
                let inside = after.strip_prefix('{');
                let name = inside.unwrap_or(after);
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = name.find(|c| !is_word(c)).unwrap_or(name.len());
                let (word, after) = name.split_at(end);
                let after = match inside {
                    Some(_) => after.strip_prefix('}'),
                    None => Some(after),
                };
                let Some(after) = after.filter(|_| !word.is_empty()) else {
                    return false;
                };
                around.push('_');
                rest = after;
            }
            around.push_str(rest);
            names.allow_label(&around)
        }
    }
}

#[cfg(test)]
mod tests;
