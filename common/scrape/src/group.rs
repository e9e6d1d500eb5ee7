//! Groups of targets, as `static_configs` and files list them.

use config::{Node, Reader};
use model::LabelsBuilder;

/// The most targets of one list; more are a mistake.
const TARGETS_MAX: usize = 100_000;

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// The addresses.
    pub targets: Vec<String>,
    /// What each of them has beside its address.
    pub labels: Vec<(String, String)>,
}

impl TargetGroup {
    /// Returns the labels of each target, before relabelling.
    pub fn discovered(&self) -> impl Iterator<Item = LabelsBuilder> {
        self.targets.iter().map(|address| {
            let mut labels = LabelsBuilder::new();
            for (name, value) in &self.labels {
                labels.set(name.as_str(), value.as_str());
            }
            labels.set("__address__", address.as_str());
            labels
        })
    }
}

/// Reads a list of groups; what is wrong with it goes to the reader's mistakes.
pub fn read_groups(node: &Node, reader: &mut Reader<'_>) -> Vec<TargetGroup> {
    let mut groups = Vec::new();
    let mut targets = 0;
    for item in reader.items(node) {
        let mut group = TargetGroup::default();
        for (key, at, value) in reader.entries(item) {
            match key {
                "targets" => group.targets = reader.texts(value),
                "labels" => {
                    for (name, at, value) in reader.entries(value) {
                        let text = reader.text(value).unwrap_or_default();
                        if name.is_empty() {
                            reader.refuse::<()>(at, "a label needs a name");
                        }
                        group.labels.push((name.to_owned(), text));
                    }
                }
                "source" => {}
                _ => reader.unknown(at, key, &["targets", "labels"]),
            }
        }
        targets += group.targets.len();
        groups.push(group);
    }
    if targets > TARGETS_MAX {
        let what = format!("{targets} targets are more than the {TARGETS_MAX} allowed in one list");
        reader.refuse::<()>(node.at, what);
    }
    groups
}
