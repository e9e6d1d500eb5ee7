//! Calls of functions that return vectors.

use super::{Generator, Kind};
use crate::ast::ValueType;
use crate::functions::{Function, Variadic};

impl Generator<'_> {
    pub(super) fn call(&mut self, kind: Kind, nodes: u32) -> String {
        let functions: Vec<_> = self
            .functions
            .iter()
            .copied()
            .filter(|f| f.returns == ValueType::Vector && fits(f, kind))
            .collect();
        let Some(function) = (!functions.is_empty()).then(|| *self.choices.of(&functions)) else {
            return self.selector(kind);
        };
        let args = self.arguments(function, kind, nodes - 1);
        format!("{}({})", function.name, args.join(", "))
    }

    fn arguments(&mut self, function: &Function, kind: Kind, nodes: u32) -> Vec<String> {
        let name = function.name;
        match name {
            "histogram_quantile" => {
                let phi = self.quantile();
                vec![phi, self.histograms(nodes)]
            }
            "histogram_quantiles" => {
                let vector = self.histograms(nodes);
                let mut args = vec![vector, "\"phi\"".to_owned()];
                for _ in 0..=self.choices.below(3) {
                    args.push(self.quantile());
                }
                args
            }
            "histogram_fraction" => {
                let lower = *self.choices.of(&["0", "-Inf", "0.5", "-1", "2", "NaN"]);
                let upper = *self.choices.of(&["1", "+Inf", "10", "2.5", "0"]);
                vec![lower.to_owned(), upper.to_owned(), self.histograms(nodes)]
            }
            "label_replace" => self.label_replace(kind, nodes),
            "label_join" => {
                let mut args = vec![self.vector(kind, nodes).text];
                args.push(self.written_label());
                args.push((*self.choices.of(&["\"-\"", "\"\"", "', '"])).to_owned());
                for _ in 0..self.choices.below(4) {
                    args.push(self.written_label());
                }
                args
            }
            "sort_by_label" | "sort_by_label_desc" => {
                let mut args = vec![self.vector(kind, nodes).text];
                for _ in 0..=self.choices.below(2) {
                    args.push(self.written_label());
                }
                args
            }
            "info" => self.info(kind, nodes),
            "double_exponential_smoothing" => {
                let matrix = self.matrix(kind, nodes, name);
                let factor = |text: &&str| (*text).to_owned();
                let first = factor(self.choices.of(&["0.3", "0.5", "0.9", "1.5"]));
                let second = factor(self.choices.of(&["0.1", "0.5", "0.7"]));
                vec![matrix, first, second]
            }
            "quantile_over_time" => {
                let phi = self.quantile();
                vec![phi, self.matrix(kind, nodes, name)]
            }
            "clamp" | "clamp_min" | "clamp_max" | "round" => {
                self.with_numbers(function, kind, nodes)
            }
            _ => self.by_signature(function, kind, nodes),
        }
    }

    fn by_signature(&mut self, function: &Function, kind: Kind, nodes: u32) -> Vec<String> {
        let optional = usize::from(function.variadic != Variadic::No);
        let required = function.args.len() - optional;
        let leave_out = self.choices.one_in(3);
        let count = if leave_out {
            required
        } else {
            function.args.len()
        };
        let mut args = Vec::new();
        for wanted in function.args.iter().take(count) {
            args.push(match wanted {
                ValueType::Scalar => self.scalar(nodes / 2).text,
                ValueType::Vector => self.vector(kind, nodes).text,
                ValueType::Matrix => self.matrix(kind, nodes, function.name),
                ValueType::String => self.string(),
            });
        }
        args
    }

    fn with_numbers(&mut self, function: &Function, kind: Kind, nodes: u32) -> Vec<String> {
        let mut args = vec![self.vector(kind, nodes).text];
        let leave_out = function.variadic != Variadic::No && self.choices.one_in(2);
        let count = function.args.len() - 1 - usize::from(leave_out);
        for _ in 0..count {
            args.push(if self.choices.one_in(4) {
                self.scalar(nodes / 2).text
            } else {
                self.signed()
            });
        }
        args
    }

    /// Something with buckets.
    fn histograms(&mut self, nodes: u32) -> String {
        let natives = self.grammar.has(super::Feature::NativeHistograms);
        let kind = match self.choices.below(8) {
            0..=2 => Kind::Buckets,
            3..=6 if natives => Kind::Native,
            7 => Kind::Any,
            _ => Kind::Buckets,
        };
        self.vector(kind, nodes).text
    }

    fn label_replace(&mut self, kind: Kind, nodes: u32) -> Vec<String> {
        let vector = self.vector(kind, nodes).text;
        let (destination, source) = (self.written_label(), self.written_label());
        let replacement = *self.choices.of(&[
            "\"$1\"",
            "\"new\"",
            "\"\"",
            "\"${1}-x\"",
            "\"$1$2\"",
            "\"$$\"",
            "\"${name}.\"",
        ]);
        let regex = *self.choices.of(&[
            "\"(.*)\"",
            "\"(.)(.*)\"",
            "\"x\"",
            "\"\"",
            "\"(?P<name>[a-z]+).*\"",
            "`(\\w+)`",
            "\".+\"",
        ]);
        vec![
            vector,
            destination,
            replacement.to_owned(),
            source,
            regex.to_owned(),
        ]
    }

    fn info(&mut self, kind: Kind, nodes: u32) -> Vec<String> {
        let mut args = vec![self.vector(kind, nodes).text];
        let name = *self.choices.of(self.grammar.vocabulary.infos);
        match self.choices.below(4) {
            0 => {}
            1 => args.push(format!("{{{}}}", self.matcher())),
            2 => args.push(format!("{{__name__={name:?}, {}}}", self.matcher())),
            _ => args.push(format!("{{__name__=~\".*_info\", {}}}", self.matcher())),
        }
        args
    }

    /// A label's name as a string.
    fn written_label(&mut self) -> String {
        let (name, _) = *self.choices.of(self.grammar.vocabulary.labels);
        format!("{name:?}")
    }
}

/// Whether a function says something about such series.
fn fits(function: &Function, kind: Kind) -> bool {
    let of_histograms = function.name.starts_with("histogram_");
    match kind {
        Kind::Float | Kind::Counter | Kind::Any => true,
        // What keeps `le`, mostly.
        Kind::Buckets => !of_histograms,
        Kind::Native => {
            of_histograms
                || function.args.contains(&ValueType::Matrix)
                || matches!(
                    function.name,
                    "timestamp"
                        | "label_replace"
                        | "label_join"
                        | "info"
                        | "absent"
                        | "abs"
                        | "sort"
                )
        }
    }
}
