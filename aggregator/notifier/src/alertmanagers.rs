//! From discovered targets to the URLs that alerts are posted to.

use std::collections::BTreeSet;

use http_shell::HttpUrl;
use model::LabelsBuilder;
use relabel::apply;
use scrape::WatchedFiles;

use crate::config::AlertmanagerSet;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__alerts_path__";

/// Where alerts are posted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alertmanagers {
    /// The URLs of those that are sent to.
    pub active: Vec<String>,
    /// The URLs of those that relabelling dropped, as they were before.
    pub dropped: Vec<String>,
}

impl Alertmanagers {
    /// Returns those of a set, each URL once.
    pub(crate) fn of(set: &AlertmanagerSet, files: &WatchedFiles) -> Self {
        let mut found = Self::default();
        let mut seen = BTreeSet::new();
        let groups = set.groups.iter().chain(files.groups());
        for mut labels in groups.flat_map(|group| group.discovered()) {
            default(&mut labels, SCHEME, set.scheme);
            default(&mut labels, PATH, &path(&set.path_prefix));
            let before = url(&labels);
            if !apply(&set.relabel, &mut labels) {
                found.dropped.push(before);
                continue;
            }
            let url = url(&labels);
            let address = labels.get(ADDRESS).unwrap_or_default();
            if address.is_empty() || address.contains('/') || HttpUrl::parse(&url).is_none() {
                tracing::warn!(url, "an Alertmanager has no address that can be called");
            } else if seen.insert(url.clone()) {
                found.active.push(url);
            }
        }
        found
    }
}

fn default(labels: &mut LabelsBuilder, name: &str, value: &str) {
    if labels.get(name).is_none() {
        labels.set(name, value);
    }
}

fn path(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => "/api/v2/alerts".to_owned(),
        prefix => format!("/{prefix}/api/v2/alerts"),
    }
}

fn url(labels: &LabelsBuilder) -> String {
    let part = |name| labels.get(name).unwrap_or_default();
    format!("{}://{}{}", part(SCHEME), part(ADDRESS), part(PATH))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Config;

    #[test]
    fn targets_become_urls_and_relabelling_may_drop_them() {
        let text = "
alerting:
  alertmanagers:
  - path_prefix: /am/
    static_configs:
    - {targets: ['a:1', 'a:1', 'b:2', '', 'c/d']}
    - {targets: ['old:9'], labels: {age: old}}
    - {targets: ['tls:9'], labels: {__scheme__: https}}
    relabel_configs:
    - {source_labels: [age], regex: old, action: drop}
    - {source_labels: [__address__], regex: 'b:(.*)', target_label: __address__, replacement: 'b.example:$1'}
";
        let config = Config::read(Path::new("p.yml"), text).unwrap();
        let found = Alertmanagers::of(&config.sets[0], &WatchedFiles::default());
        assert_eq!(
            found.active,
            [
                "http://a:1/am/api/v2/alerts",
                "http://b.example:2/am/api/v2/alerts",
                "https://tls:9/am/api/v2/alerts",
            ]
        );
        assert_eq!(found.dropped, ["http://old:9/am/api/v2/alerts"]);
    }
}
