//! Numbers, strings, durations, and how things are spelled.

use super::{Feature, Generator, QueryBounds, Text};
use crate::functions::Function;

impl Generator<'_> {
    /// A number in one of its forms, without a sign.
    pub(super) fn number(&mut self) -> String {
        const PLAIN: [&str; 12] = [
            "0", "1", "2", "3", "0.5", "10", "1e1", "2.5e-1", ".25", "7", "100", "1.",
        ];
        const ODD: [&str; 5] = ["Inf", "NaN", "inf", "1e300", "nan"];
        const FORMS: [&str; 3] = ["0x1F", "017", "0Xa"];
        const DURATIONS: [&str; 4] = ["5m", "1m30s", "1h", "500ms"];
        let text = match self.choices.below(20) {
            0 if self.grammar.has(Feature::OddNumbers) => *self.choices.of(&ODD),
            1 => *self.choices.of(&FORMS),
            3 if self.grammar.has(Feature::Underscores) => "1_000",
            2 if self.grammar.has(Feature::DurationNumbers) => *self.choices.of(&DURATIONS),
            _ => *self.choices.of(&PLAIN),
        };
        text.to_owned()
    }

    /// A number with or without a sign.
    pub(super) fn signed(&mut self) -> String {
        let sign = *self.choices.of(&["", "", "", "-", "+"]);
        format!("{sign}{}", self.number())
    }

    /// A scalar.
    pub(super) fn scalar(&mut self, nodes: u32) -> Text {
        if nodes == 0 {
            return Text::primary(self.number());
        }
        match self.choices.below(16) {
            0..=4 => Text::primary(self.number()),
            5 => {
                let sign = *self.choices.of(&["-", "+"]);
                let inner = self.scalar(nodes - 1);
                Text {
                    text: format!("{sign}{}", Self::primary(inner)),
                    is_primary: false,
                    may_stand_bare: true,
                }
            }
            6..=8 => self.scalar_arithmetic(nodes),
            9 => {
                let inner = self.scalar(nodes - 1);
                Text::primary(format!("({})", inner.text))
            }
            10..=12 => {
                let kind = self.kind();
                let inner = self.vector(kind, nodes - 1);
                Text::primary(format!("scalar({})", inner.text))
            }
            _ => self.scalar_function(nodes),
        }
    }

    fn scalar_arithmetic(&mut self, nodes: u32) -> Text {
        let left = self.scalar(nodes / 2);
        let right = self.scalar(nodes.saturating_sub(nodes / 2 + 1));
        let fits = |op: &crate::Operator| {
            !op.is_set() && !matches!(op, crate::Operator::TrimUpper | crate::Operator::TrimLower)
        };
        let operators: Vec<_> = self.operators.iter().copied().filter(fits).collect();
        let op = *self.choices.of(&operators);
        let bool = if op.is_comparison() { " bool" } else { "" };
        let (left, right) = (self.operand(left), self.operand(right));
        Text {
            text: format!("{left} {op}{bool} {right}"),
            is_primary: false,
            may_stand_bare: true,
        }
    }

    fn scalar_function(&mut self, nodes: u32) -> Text {
        let scalars = |f: &&&'static Function| {
            f.returns == crate::ast::ValueType::Scalar && f.name != "scalar"
        };
        let functions: Vec<_> = self.functions.iter().filter(scalars).copied().collect();
        if functions.is_empty() {
            return Text::primary(self.number());
        }
        let name = self.choices.of(&functions).name;
        match (name, self.bounds) {
            ("min_of" | "max_of", _) => {
                let (a, b) = (self.scalar(nodes / 2), self.scalar(nodes / 2));
                Text::primary(format!("{name}({}, {})", a.text, b.text))
            }
            ("start" | "end" | "step" | "range", QueryBounds::Given { .. }) => {
                Text::primary(self.bound_in_seconds(name))
            }
            _ => Text::primary(format!("{name}()")),
        }
    }

    /// What a bound of the query is as a number of seconds.
    fn bound_in_seconds(&self, name: &str) -> String {
        let QueryBounds::Given {
            start_ms,
            end_ms,
            step_ms,
        } = self.bounds
        else {
            return format!("{name}()");
        };
        let ms = match name {
            "start" => start_ms,
            "end" => end_ms,
            "step" => step_ms,
            _ => end_ms - start_ms,
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let seconds = ms as f64 / 1_000.0;
        format!("{seconds}")
    }

    /// A range or step: positive.
    pub(super) fn duration(&mut self) -> String {
        const PLAIN: [&str; 10] = [
            "1m",
            "2m",
            "30s",
            "5m",
            "90s",
            "1m30s500ms",
            "15s",
            "45s1ms",
            "10m",
            "1h",
        ];
        if self.grammar.has(Feature::DurationNumbers) && self.choices.one_in(10) {
            return (*self.choices.of(&["60", "30.5", "120", "1e2", "0x40"])).to_owned();
        }
        if !self.grammar.has(Feature::DurationExpressions) || !self.choices.one_in(6) {
            return (*self.choices.of(&PLAIN)).to_owned();
        }
        let plain = *self.choices.of(&PLAIN);
        let of_query = self.duration_of_query();
        match self.choices.below(10) {
            0 => format!("{plain} + {of_query}"),
            1 => format!("{of_query} * 2"),
            2 => format!("({plain} + 15s) / 2"),
            3 => format!("min_of({plain}, {of_query})"),
            4 => format!("max_of({plain} - 10m, {of_query})"),
            5 => format!("1h - {plain} / 2"),
            6 => format!("2 ^ 2 * {plain}"),
            7 => format!("-(-{plain})"),
            8 => format!("100 % 70 + {plain}"),
            _ => format!("max_of(30s, min_of({plain}, {of_query} + +5))"),
        }
    }

    fn duration_of_query(&mut self) -> String {
        if !self.grammar.has(Feature::QueryBounds) {
            return "1m".to_owned();
        }
        let name = *self.choices.of(&["step", "range"]);
        self.bound_in_seconds(name)
    }

    /// What stands behind `offset`.
    pub(super) fn offset(&mut self) -> String {
        const PLAIN: [&str; 8] = ["1m", "30s", "15s", "2m", "-30s", "5m", "-1m", "1ms"];
        if self.grammar.has(Feature::DurationNumbers) && self.choices.one_in(8) {
            return (*self.choices.of(&["10", "-20", "0", "+5.5"])).to_owned();
        }
        if !self.grammar.has(Feature::DurationExpressions) || !self.choices.one_in(5) {
            return (*self.choices.of(&PLAIN)).to_owned();
        }
        let sign = *self.choices.of(&["", "-", "+"]);
        match self.choices.below(3) {
            0 => format!("{sign}({})", self.duration()),
            1 if self.grammar.has(Feature::QueryBounds) => {
                format!("{sign}{}", self.duration_of_query())
            }
            _ => format!("{sign}min_of(20s, {})", self.duration()),
        }
    }

    /// What stands behind `@`.
    pub(super) fn instant(&mut self) -> String {
        if self.grammar.has(Feature::QueryBounds) && self.choices.one_in(3) {
            let name = *self.choices.of(&["start", "end"]);
            return self.bound_in_seconds(name);
        }
        let (from, to) = self.grammar.vocabulary.span;
        let width = u32::try_from(to - from).unwrap_or(0);
        let seconds = from + i64::from(self.choices.below(width));
        let fraction = *self.choices.of(self.grammar.fractions);
        format!("{seconds}{fraction}")
    }

    /// A string in one of its forms.
    pub(super) fn string(&mut self) -> String {
        const TEXTS: [&str; 9] = [
            "\"\"",
            "\"a b\"",
            "'it''s'",
            "\"tab\\tquote\\\"\"",
            "'\\x41\\102\\u00e9\\U0001F600'",
            "`raw \\n \"text\"`",
            "\"\\xff\"",
            "\"日本\"",
            "'#no comment'",
        ];
        let text = *self.choices.of(&TEXTS);
        text.replace("''", "\\'")
    }

    /// A label's name where one is named: quoted at times.
    pub(super) fn label(&mut self) -> String {
        let (name, _) = *self.choices.of(self.grammar.vocabulary.labels);
        self.written_name(name)
    }

    pub(super) fn written_name(&mut self, name: &str) -> String {
        let needs_quotes = !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if needs_quotes || (self.grammar.has(Feature::QuotedNames) && self.choices.one_in(8)) {
            return format!("{name:?}");
        }
        name.to_owned()
    }

    /// `(a, b)`
    pub(super) fn labels(&mut self, most: u32) -> String {
        let count = self.choices.below(most + 1);
        let mut names: Vec<String> = Vec::new();
        for _ in 0..count {
            let name = self.label();
            if !names
                .iter()
                .any(|other| other.trim_matches('"') == name.trim_matches('"'))
            {
                names.push(name);
            }
        }
        let mut text = format!("({}", names.join(", "));
        if !names.is_empty() && self.choices.one_in(10) {
            text.push(',');
        }
        text.push(')');
        text
    }

    /// Puts other blanks, comments and capitals where these mean nothing.
    pub(super) fn spelled(&mut self, text: &str) -> String {
        const KEYWORDS: [&str; 12] = [
            "by",
            "without",
            "on",
            "ignoring",
            "group_left",
            "group_right",
            "bool",
            "offset",
            "and",
            "or",
            "unless",
            "atan2",
        ];
        if !self.grammar.has(Feature::Spelling) || !self.choices.one_in(4) {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len() + 16);
        let mut quote = None;
        let mut escaped = false;
        let mut word = String::new();
        for c in text.chars() {
            let was_escaped = std::mem::take(&mut escaped);
            if let Some(open) = quote {
                escaped = c == '\\' && open != '`' && !was_escaped;
                if c == open && !was_escaped {
                    quote = None;
                }
                out.push(c);
                continue;
            }
            if c.is_ascii_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            // `fill` is a keyword when a parenthesis follows; upstream sees it behind blanks, not behind comments.
            let before_parenthesis = word.starts_with("fill");
            let is_keyword = KEYWORDS.contains(&word.as_str()) && c == ' ';
            if is_keyword && self.choices.one_in(2) {
                word.make_ascii_uppercase();
            }
            out.push_str(&word);
            word.clear();
            if matches!(c, '"' | '\'' | '`') {
                quote = Some(c);
            }
            if c == ' ' && !before_parenthesis && self.choices.one_in(4) {
                let blank = *self
                    .choices
                    .of(&["\n", "\t", "  ", " # \"odd' (comment\n", "\r\n"]);
                out.push_str(blank);
            } else {
                out.push(c);
            }
        }
        out.push_str(&word);
        out
    }
}
