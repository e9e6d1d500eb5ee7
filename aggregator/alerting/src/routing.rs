//! The tree of routes as alerts go through it.

use model::{Labels, Matcher};

use crate::{GroupBy, Route, format_matcher};

/// The routes of a configuration, each with its key. Routes are named by their place in the file, the root being 0.
#[derive(Clone, Debug)]
pub struct RouteTree {
    nodes: Vec<RouteNode>,
}

/// One route of a tree.
#[derive(Clone, Debug)]
pub struct RouteNode {
    /// What holds for it; routes within it stand on their own.
    pub route: Route,
    /// The matchers of all routes from the root to this one: the first half of the keys of its groups.
    pub key: String,
    children: Vec<usize>,
}

impl RouteTree {
    /// Returns the tree below `root`.
    pub fn new(root: &Route) -> Self {
        let mut tree = Self { nodes: Vec::new() };
        tree.add(root, "");
        tree
    }

    fn add(&mut self, route: &Route, parent_key: &str) -> usize {
        let separator = if parent_key.is_empty() { "" } else { "/" };
        let key = format!("{parent_key}{separator}{}", in_braces(&route.matchers));
        let own = Route {
            routes: Vec::new(),
            ..route.clone()
        };
        let index = self.nodes.len();
        self.nodes.push(RouteNode {
            route: own,
            key: key.clone(),
            children: Vec::new(),
        });
        let children = route.routes.iter().map(|child| self.add(child, &key));
        let children = children.collect();
        if let Some(node) = self.nodes.get_mut(index) {
            node.children = children;
        }
        index
    }

    /// Returns the route at `index`.
    pub fn get(&self, index: usize) -> Option<&RouteNode> {
        self.nodes.get(index)
    }

    /// Returns the routes that take an alert with these labels, in the order of the file; never none, for the root takes all.
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.descend(0, labels, &mut found);
        found
    }

    /// Whether the route at `index`, or one within it, takes the alert.
    fn descend(&self, index: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let Some(node) = self.nodes.get(index) else {
            return false;
        };
        if !matches_all(&node.route.matchers, labels) {
            return false;
        }
        let before = found.len();
        for child in &node.children {
            let is_taken = self.descend(*child, labels, found);
            if is_taken && !self.continues(*child) {
                break;
            }
        }
        if found.len() == before {
            found.push(index);
        }
        true
    }

    fn continues(&self, index: usize) -> bool {
        self.get(index).is_some_and(|node| node.route.continues)
    }

    /// Returns the names of the receivers that an alert goes to, in the order of the routes.
    pub fn receivers(&self, labels: &Labels) -> Vec<&str> {
        let found = self.matching(labels).into_iter();
        found
            .filter_map(|index| self.get(index))
            .map(|node| node.route.receiver.as_str())
            .collect()
    }

    /// Draws all routes, as `amtool config routes show` does.
    pub fn draw(&self) -> String {
        let mut text = String::from(".\n");
        self.draw_node(0, "", true, &mut text, &|_| true, &|node| {
            let continues = if node.route.continues {
                "continue: true  "
            } else {
                ""
            };
            format!("  {continues}receiver: {}", node.route.receiver)
        });
        text
    }

    /// Draws the routes that an alert goes through, as `amtool config routes test --tree` does.
    pub fn draw_matching(&self, labels: &Labels) -> String {
        let ends = self.matching(labels);
        let ends = &ends;
        let mut text = String::from(".\n");
        self.draw_node(
            0,
            "",
            true,
            &mut text,
            &|index| self.leads_to(index, ends),
            &|node| {
                let is_end = ends
                    .iter()
                    .any(|end| self.get(*end).is_some_and(|end| std::ptr::eq(end, node)));
                if is_end {
                    format!("  receiver: {}", node.route.receiver)
                } else {
                    String::new()
                }
            },
        );
        text
    }

    fn leads_to(&self, index: usize, ends: &[usize]) -> bool {
        ends.contains(&index)
            || self.get(index).is_some_and(|node| {
                let mut children = node.children.iter();
                children.any(|child| self.leads_to(*child, ends))
            })
    }

    fn draw_node(
        &self,
        index: usize,
        indent: &str,
        is_last: bool,
        text: &mut String,
        shows: &dyn Fn(usize) -> bool,
        says: &dyn Fn(&RouteNode) -> String,
    ) {
        let Some(node) = self.get(index) else { return };
        let (branch, below) = if is_last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let name = if node.route.matchers.is_empty() {
            "default-route".to_owned()
        } else {
            in_braces(&node.route.matchers)
        };
        text.push_str(&format!("{indent}{branch}{name}{}\n", says(node)));
        let indent = format!("{indent}{below}");
        let children: Vec<usize> = node
            .children
            .iter()
            .copied()
            .filter(|i| shows(*i))
            .collect();
        for child in &children {
            let is_last = children.last() == Some(child);
            self.draw_node(*child, &indent, is_last, text, shows, says);
        }
    }
}

impl RouteNode {
    /// Returns the labels of the group that an alert belongs to.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.route.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.filtered(|name| names.contains(name)),
        }
    }

    /// Returns the key of the group with these labels.
    pub fn group_key(&self, group_labels: &Labels) -> String {
        let mut key = format!("{}:{{", self.key);
        for (place, (name, value)) in group_labels.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            key.push_str(&format!("{separator}{name}={}", template::quote(value)));
        }
        key.push('}');
        key
    }
}

/// Whether labels satisfy all matchers.
pub(crate) fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.matches(labels.value_or_empty(matcher.name())))
}

fn in_braces(matchers: &[Matcher]) -> String {
    let texts: Vec<String> = matchers.iter().map(format_matcher).collect();
    format!("{{{}}}", texts.join(","))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use template::Zone;

    use super::*;
    use crate::{Config, MatcherMode};

    fn tree() -> RouteTree {
        let text = r#"
route:
  receiver: all
  group_by: [cluster]
  routes:
  - matchers: ['team="db"']
    receiver: db
    routes:
    - matchers: ['severity="page"']
      receiver: pager
      continue: true
    - matchers: ['env=~"prod|stage"']
      receiver: prod
      group_by: ['...']
  - matchers: ['severity="page"']
    receiver: pager
receivers: [{name: all}, {name: db}, {name: pager}, {name: prod}]
"#;
        let config = Config::parse(
            Path::new("a.yml"),
            text,
            MatcherMode::Fallback,
            &Zone::utc(),
        );
        RouteTree::new(&config.unwrap().route)
    }

    fn labels(text: &str) -> Labels {
        let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
        Labels::from_pairs(pairs).unwrap()
    }

    #[test]
    fn alerts_go_to_the_innermost_routes_that_take_them() {
        let cases = [
            ("", "all"),
            ("team=web", "all"),
            ("team=web severity=page", "pager"),
            ("team=db", "db"),
            ("team=db severity=page", "pager"),
            ("team=db severity=page env=prod", "pager,prod"),
            ("team=db env=stage", "prod"),
        ];
        let tree = tree();
        for (text, expected) in cases {
            assert_eq!(tree.receivers(&labels(text)).join(","), expected, "{text}");
        }
    }

    #[test]
    fn keys_name_the_way_and_the_labels() {
        let (tree, alert) = (tree(), labels("team=db env=prod cluster=a\"b"));
        let node = tree.get(tree.matching(&alert)[0]).unwrap();
        let group = node.group_labels(&alert);
        assert_eq!(
            node.group_key(&group),
            r#"{}/{team="db"}/{env=~"prod|stage"}:{cluster="a\"b", env="prod", team="db"}"#
        );
        let root = tree.get(0).unwrap();
        assert_eq!(root.group_key(&Labels::empty()), "{}:{}");
    }

    #[test]
    fn old_expressions_have_their_anchors_in_keys() {
        let text = "route: {receiver: a, routes: [{match_re: {b: 'c|d', e: f}, match: {g: h}}]}\nreceivers: [{name: a}]";
        let path = Path::new("a.yml");
        let config = Config::parse(path, text, MatcherMode::Fallback, &Zone::utc()).unwrap();
        let tree = RouteTree::new(&config.route);
        let taken = tree.matching(&labels("b=d e=f g=h"));
        assert_eq!(
            tree.get(taken[0]).unwrap().key,
            r#"{}/{b=~"^(?:c|d)$",e=~"^(?:f)$",g="h"}"#
        );
        assert_eq!(tree.matching(&labels("b=cd e=f g=h")), [0]);
    }

    #[test]
    fn trees_are_drawn_as_amtool_draws_them() {
        assert_eq!(
            tree().draw(),
            r#".
└── default-route  receiver: all
    ├── {team="db"}  receiver: db
    │   ├── {severity="page"}  continue: true  receiver: pager
    │   └── {env=~"prod|stage"}  receiver: prod
    └── {severity="page"}  receiver: pager
"#
        );
        assert_eq!(
            tree().draw_matching(&labels("team=db severity=page")),
            r#".
└── default-route
    └── {team="db"}
        └── {severity="page"}  receiver: pager
"#
        );
    }
}
