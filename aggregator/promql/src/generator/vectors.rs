//! Instant vectors: aggregations and operators.

use super::{Feature, Generator, Kind, Text};
use crate::{AggregateOp, Operator};

impl Generator<'_> {
    pub(super) fn vector(&mut self, kind: Kind, nodes: u32) -> Text {
        if nodes == 0 {
            return Text::primary(self.selector(kind));
        }
        match self.choices.below(24) {
            0..=2 => Text::primary(self.selector(kind)),
            3..=11 => Text::primary(self.call(kind, nodes)),
            12..=15 => Text::primary(self.aggregation(kind, nodes)),
            16..=19 => self.between_vectors(kind, nodes),
            20 | 21 => self.with_scalar(kind, nodes),
            22 => {
                let sign = *self.choices.of(&["-", "+"]);
                let inner = self.vector(kind, nodes - 1);
                Text {
                    text: format!("{sign}{}", Self::primary(inner)),
                    is_primary: false,
                    may_stand_bare: true,
                }
            }
            _ => {
                let inner = self.vector(kind, nodes - 1);
                Text::primary(format!("({})", inner.text))
            }
        }
    }

    fn aggregation(&mut self, kind: Kind, nodes: u32) -> String {
        let inner = self.vector(kind, nodes - 1);
        self.aggregation_of(kind, &inner.text, nodes)
    }

    fn aggregation_of(&mut self, kind: Kind, inner: &str, nodes: u32) -> String {
        let op = match kind {
            // Most aggregations pass histograms over.
            Kind::Native if self.choices.one_in(2) => AggregateOp::Sum,
            Kind::Native if self.choices.one_in(3) => AggregateOp::Avg,
            Kind::Buckets if self.choices.one_in(2) => AggregateOp::Sum,
            _ => *self.choices.of(&self.aggregations),
        };
        let parameter = self.parameter(op, nodes / 3);
        let clause = match (kind, self.choices.below(5)) {
            (Kind::Buckets, 0..=2) => format!("by (le, {})", self.label()),
            (_, 0 | 1) => format!("by {}", self.labels(2)),
            (_, 2) => format!("without {}", self.labels(2)),
            _ => return format!("{op}({parameter}{inner})"),
        };
        if self.choices.one_in(3) {
            format!("{op}({parameter}{inner}) {clause} ")
                .trim_end()
                .to_owned()
        } else {
            format!("{op} {clause} ({parameter}{inner})")
        }
    }

    fn parameter(&mut self, op: AggregateOp, nodes: u32) -> String {
        let text = match op {
            AggregateOp::CountValues => {
                let name = *self.choices.of(&["v", "a", "value"]);
                format!("{name:?}")
            }
            _ if !op.takes_parameter() => return String::new(),
            _ if nodes > 0 && self.choices.one_in(8) => self.scalar(nodes).text,
            AggregateOp::Quantile => self.quantile(),
            AggregateOp::LimitRatio => (*self
                .choices
                .of(&["0.5", "-0.5", "0.3", "1", "-1", "0", "-0.7", "2"]))
            .to_owned(),
            _ => (*self.choices.of(&["1", "2", "3", "5", "0", "-1", "2.9"])).to_owned(),
        };
        format!("{text}, ")
    }

    pub(super) fn quantile(&mut self) -> String {
        (*self.choices.of(&[
            "0.5", "0.9", "0.25", "0.99", "0", "1", "0.1", "-1", "2", "NaN",
        ]))
        .to_owned()
    }

    fn with_scalar(&mut self, kind: Kind, nodes: u32) -> Text {
        let fits: Vec<Operator> = self
            .operators
            .iter()
            .copied()
            .filter(|op| !op.is_set())
            .collect();
        let op = match kind {
            Kind::Native if self.choices.one_in(2) => *self.choices.of(&[
                Operator::Mul,
                Operator::Div,
                Operator::TrimUpper,
                Operator::TrimLower,
            ]),
            _ => *self.choices.of(&fits),
        };
        let vector = self.vector(kind, nodes - 1);
        let scalar = self.scalar(nodes / 3);
        let bool = self.bool_of(op);
        let (vector, scalar) = (self.operand(vector), self.operand(scalar));
        let text = if self.choices.one_in(3) {
            format!("{scalar} {op}{bool} {vector}")
        } else {
            format!("{vector} {op}{bool} {scalar}")
        };
        Text {
            text,
            is_primary: false,
            // `1 < (2 < m)` without parentheses would compare two scalars, `m + fill(1) (2 * n)` would fill for a scalar.
            may_stand_bare: false,
        }
    }

    fn bool_between(&mut self, op: Operator) -> &'static str {
        if op.is_comparison() && !self.grammar.has(Feature::FiltersBetweenVectors) {
            return " bool";
        }
        self.bool_of(op)
    }

    fn bool_of(&mut self, op: Operator) -> &'static str {
        if op.is_comparison() && self.choices.one_in(2) {
            " bool"
        } else {
            ""
        }
    }

    fn between_vectors(&mut self, kind: Kind, nodes: u32) -> Text {
        let op = match kind {
            Kind::Native if self.choices.one_in(2) => {
                *self.choices.of(&[Operator::Add, Operator::Sub])
            }
            _ => *self.choices.of(&self.operators),
        };
        let right_kind = match op {
            Operator::TrimUpper | Operator::TrimLower => Kind::Float,
            Operator::Mul | Operator::Div if kind == Kind::Native => Kind::Float,
            _ => kind,
        };
        let half = nodes / 2;
        let left = self.vector(kind, half);
        let right = self.vector(right_kind, (nodes - half).saturating_sub(1));
        let (left, right) = (self.operand(left), self.operand(right));
        let bool = self.bool_between(op);
        let text = match self.choices.below(10) {
            0..=3 => {
                let fill = self.fill(op);
                format!("{left} {op}{bool}{fill} {right}")
            }
            4 | 5 if !op.is_set() => self.grouped(op, (kind, &left), (right_kind, &right)),
            4..=6 => {
                let labels = self.labels(2);
                format!("{left} {op}{bool} ignoring {labels} {right}")
            }
            _ if op.is_set() => {
                let labels = self.labels(2);
                format!("{left} {op} on {labels} {right}")
            }
            _ => {
                // Sides that are unique by what they are matched on.
                let labels = self.labels(2);
                let fill = self.fill(op);
                format!(
                    "{} {op}{bool} on {labels}{fill} {}",
                    self.unique(kind, &left, &labels),
                    self.unique(right_kind, &right, &labels)
                )
            }
        };
        Text {
            text,
            is_primary: false,
            may_stand_bare: !op.is_comparison(),
        }
    }

    /// Most often a side that has one series per match; at times whatever there is, which may be refused.
    fn unique(&mut self, kind: Kind, side: &str, labels: &str) -> String {
        if self.choices.one_in(12) {
            return side.to_owned();
        }
        let op = match kind {
            Kind::Native => *self.choices.of(&["sum", "avg"]),
            _ => *self.choices.of(&["sum", "max", "min", "count"]),
        };
        if self.grammar.has_word(op) {
            format!("{op} by {labels} ({side})")
        } else {
            format!("group by {labels} ({side})")
        }
    }

    /// `group_left` and `group_right`.
    fn grouped(&mut self, op: Operator, left: (Kind, &str), right: (Kind, &str)) -> String {
        let labels = self.labels(2);
        let include = match self.choices.below(3) {
            0 => String::new(),
            1 => " ()".to_owned(),
            _ => {
                // What is matched on cannot be taken over.
                let taken: Vec<&str> = self
                    .grammar
                    .vocabulary
                    .labels
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|name| !labels.contains(name))
                    .collect();
                let name = taken.first().copied().unwrap_or("other");
                format!(" ({})", self.written_name(name))
            }
        };
        let (bool, fill) = (self.bool_between(op), self.fill(op));
        // Without a list, a parenthesis that follows would be read as one.
        let open = |side: String| {
            if include.is_empty() && side.starts_with('(') {
                format!("+{side}")
            } else {
                side
            }
        };
        if self.choices.one_in(2) {
            let one = self.unique(right.0, right.1, &labels);
            let one = if fill.is_empty() { open(one) } else { one };
            format!(
                "{} {op}{bool} on {labels} group_left{include}{fill} {one}",
                left.1
            )
        } else {
            let one = self.unique(left.0, left.1, &labels);
            let many = right.1.to_owned();
            let many = if fill.is_empty() { open(many) } else { many };
            format!("{one} {op}{bool} on {labels} group_right{include}{fill} {many}")
        }
    }

    fn fill(&mut self, op: Operator) -> String {
        if op.is_set() || !self.grammar.has(Feature::Fill) || !self.choices.one_in(4) {
            return String::new();
        }
        let (a, b) = (self.signed(), self.signed());
        match self.choices.below(5) {
            0 => format!(" fill({a})"),
            1 => format!(" fill_left({a})"),
            2 => format!(" fill_right ({a})"),
            3 => format!(" fill_left ({a}) fill_right({b})"),
            _ => format!(" fill_right({b}) fill_left({a})"),
        }
    }
}
