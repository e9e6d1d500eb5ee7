//! Selectors, ranges, subqueries, and where in time they look.

use super::{Feature, Generator, Kind};

impl Generator<'_> {
    /// An instant selector with its modifiers.
    pub(super) fn selector(&mut self, kind: Kind) -> String {
        let selector = self.series(kind);
        let time = self.time();
        if self.grammar.has(Feature::ExtendedRanges) && self.choices.one_in(24) {
            return if self.choices.one_in(2) {
                format!("{selector} smoothed{time}")
            } else {
                format!("{selector}{time} smoothed")
            };
        }
        format!("{selector}{time}")
    }

    /// A range vector as `function` takes it.
    pub(super) fn matrix(&mut self, kind: Kind, nodes: u32, function: &str) -> String {
        let counts = matches!(function, "rate" | "increase");
        if counts && !self.grammar.has(Feature::RatesOfAnything) {
            let kind = if kind == Kind::Buckets {
                kind
            } else {
                Kind::Counter
            };
            let (series, range, time) = (self.series(kind), self.duration(), self.time());
            return format!("{series}[{range}]{time}");
        }
        let may_nest = self.subqueries == 0 || self.grammar.has(Feature::NestedSubqueries);
        let may = nodes > 1 && may_nest && self.grammar.has(Feature::Subqueries);
        if may && self.choices.one_in(4) {
            return self.subquery(kind, nodes);
        }
        const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
        const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];
        let (series, range, time) = (self.series(kind), self.duration(), self.time());
        let mut words = vec![""];
        if self.grammar.has(Feature::ExtendedRanges) {
            words.extend(ANCHORED.contains(&function).then_some(" anchored"));
            words.extend(SMOOTHED.contains(&function).then_some(" smoothed"));
        }
        let extended = *self.choices.of(&words);
        if self.choices.one_in(2) {
            format!("{series}[{range}]{extended}{time}")
        } else {
            format!("{series}[{range}]{time}{extended}")
        }
    }

    fn subquery(&mut self, kind: Kind, nodes: u32) -> String {
        self.subqueries += 1;
        let inner = self.vector(kind, nodes - 1);
        self.subqueries -= 1;
        let inner = Self::primary(inner);
        let range = self.duration();
        let step = match self.choices.below(4) {
            0 => String::new(),
            1 => "30s".to_owned(),
            2 => "20s".to_owned(),
            _ => self.duration(),
        };
        let time = self.time();
        format!("{inner}[{range}:{step}]{time}")
    }

    /// `offset` and `@`, in any order.
    fn time(&mut self) -> String {
        match self.choices.below(12) {
            0 => format!(" offset {}", self.offset()),
            1 => format!(" @ {}", self.instant()),
            2 => format!(" offset {} @ {}", self.offset(), self.instant()),
            3 => format!(" @ {} offset {}", self.instant(), self.offset()),
            _ => String::new(),
        }
    }

    /// A name and matchers, in one of their forms.
    pub(super) fn series(&mut self, kind: Kind) -> String {
        let name = self.metric(kind);
        let mut matchers: Vec<String> = Vec::new();
        let count = *self.choices.of(&[0, 0, 0, 1, 1, 2]);
        for _ in 0..count {
            matchers.push(self.matcher());
        }
        let quoted = self.grammar.has(Feature::QuotedNames);
        let needs_quotes = !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
        match self.choices.below(16) {
            0 if quoted => matchers.insert(0, format!("{name:?}")),
            1 if quoted => matchers.push(format!("'{name}'")),
            _ if needs_quotes => matchers.insert(0, format!("{name:?}")),
            2 => matchers.push(format!("__name__={name:?}")),
            3 => matchers.push(format!("__name__=~\"{name}|nothing\"")),
            4 if self.choices.one_in(3) => {
                let other = self.metric(kind);
                matchers.push(format!("__name__=~\"{name}|{other}\""));
            }
            _ if matchers.is_empty() => return name.to_owned(),
            _ => return format!("{name}{{{}}}", matchers.join(",")),
        }
        format!("{{{}}}", matchers.join(", "))
    }

    fn metric(&mut self, kind: Kind) -> &'static str {
        let names = &self.grammar.vocabulary;
        let list = match kind {
            Kind::Float => {
                *self
                    .choices
                    .of(&[names.counters, names.counters, names.gauges, names.gauges])
            }
            Kind::Counter => names.counters,
            Kind::Buckets => names.buckets,
            Kind::Native => names.natives,
            Kind::Any => *self.choices.of(&[
                names.counters,
                names.gauges,
                names.natives,
                names.mixed,
                names.mixed,
                names.buckets,
                names.infos,
            ]),
        };
        let list = if list.is_empty() { names.gauges } else { list };
        let name: &&'static str = self.choices.of(list);
        name
    }

    pub(super) fn matcher(&mut self) -> String {
        let (label, values) = *self.choices.of(self.grammar.vocabulary.labels);
        let value = *self.choices.of(values);
        let label = self.written_name(label);
        let pattern = value.replace('+', "\\\\+");
        match self.choices.below(8) {
            0 => format!("{label}={value:?}"),
            1 => format!("{label}!={value:?}"),
            2 => format!("{label}=~\"{pattern}|nothing\""),
            3 => format!("{label}!~\"{pattern}.+\""),
            4 => format!("{label}=~\".*\""),
            5 => format!("{label}!=\"\""),
            6 => format!("{label}=~\"[^x]?{pattern}\""),
            _ => format!("{label}=~\"(?i:{pattern})\""),
        }
    }
}
