//! The lexer both formats share: a position in one line, and the grammar of names, quoted strings and series.

use model::METRIC_NAME;

use crate::error::Fault;
use crate::series::{LABELS_MAX, LabelPairs, Series, Text, is_label_byte};

/// How exact a series must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text 0.0.4 as Prometheus reads it: blanks between all parts, commas as one likes.
    Lenient,
    /// OpenMetrics: no blanks, exactly one comma between two labels.
    Strict,
}

/// A position in a line (or in the part of one between two braces).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(line: &'a str) -> Self {
        Self { line, at: 0 }
    }

    /// Returns a cursor over `line`; a fault when it is not UTF-8.
    pub(crate) fn over(line: &'a [u8]) -> Result<Self, Fault> {
        match str::from_utf8(line) {
            Ok(line) => Ok(Self::new(line)),
            Err(error) => {
                let offset = error.valid_up_to();
                let rest = line.get(offset..).unwrap_or_default();
                Err(Fault::new(offset, "UTF-8 text", rest))
            }
        }
    }

    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.line.len()
    }

    fn bytes(&self) -> &'a [u8] {
        self.line.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes().first().copied()
    }

    /// Returns the text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.line.get(start..self.at).unwrap_or_default()
    }

    pub(crate) fn fault(&self, expected: &'static str) -> Fault {
        self.fault_at(self.at, expected)
    }

    pub(crate) fn fault_at(&self, offset: usize, expected: &'static str) -> Fault {
        let rest = self.line.as_bytes().get(offset..).unwrap_or_default();
        Fault::new(offset, expected, rest)
    }

    /// Steps over `byte` when it comes next, and returns whether it did; `byte` must be ASCII.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let comes = self.peek() == Some(byte);
        self.at += usize::from(comes);
        comes
    }

    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Fault> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(self.fault(expected))
        }
    }

    pub(crate) fn expect_end(&self) -> Result<(), Fault> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.fault("end of line"))
        }
    }

    /// Steps over spaces and tabs.
    pub(crate) fn skip_blanks(&mut self) {
        self.take_while(|b| b == b' ' || b == b'\t');
    }

    /// Takes everything up to the next space or tab.
    pub(crate) fn word(&mut self) -> &'a str {
        self.take_while(|b| b != b' ' && b != b'\t')
    }

    /// `accepts` must treat all bytes of a non-ASCII character alike.
    fn take_while(&mut self, accepts: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        let rest = self.bytes();
        self.at += rest.iter().position(|b| !accepts(*b)).unwrap_or(rest.len());
        self.since(start)
    }

    pub(crate) fn metric_name(&mut self) -> Result<Text<'a>, Fault> {
        self.classic_name("a metric name", |b| is_label_byte(b) || b == b':')
    }

    pub(crate) fn label_name(&mut self) -> Result<Text<'a>, Fault> {
        self.classic_name("a label name", is_label_byte)
    }

    fn classic_name(
        &mut self,
        expected: &'static str,
        accepts: impl Fn(u8) -> bool,
    ) -> Result<Text<'a>, Fault> {
        if self.peek().is_none_or(|b| b.is_ascii_digit()) {
            return Err(self.fault(expected));
        }
        let start = self.at;
        let name = self.take_while(accepts);
        if name.is_empty() {
            return Err(self.fault_at(start, expected));
        }
        Ok(Text::plain(name))
    }

    /// Takes a quoted string when a quote comes next, otherwise what `bare` takes; a quoted name must not be empty.
    pub(crate) fn quoted_or(
        &mut self,
        bare: impl FnOnce(&mut Self) -> Result<Text<'a>, Fault>,
    ) -> Result<Text<'a>, Fault> {
        if self.peek() != Some(b'"') {
            return bare(self);
        }
        let start = self.at;
        let name = self.quoted()?;
        if name.is_empty() {
            return Err(self.fault_at(start, "a name that is not empty"));
        }
        Ok(name)
    }

    /// Takes a quoted string.
    pub(crate) fn quoted(&mut self) -> Result<Text<'a>, Fault> {
        let open = self.at;
        self.expect(b'"', "a double quote")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let Some(step) = memchr::memchr2(b'"', b'\\', self.bytes()) else {
                return Err(self.fault_at(open, "a closing double quote"));
            };
            self.at += step;
            if self.eat(b'"') {
                let raw = self.line.get(start..self.at - 1).unwrap_or_default();
                return Ok(if escaped {
                    Text::escaped(raw)
                } else {
                    Text::plain(raw)
                });
            }
            // The backslash and the byte after it, which may be the first of several: none of those is a quote or a backslash.
            escaped = true;
            self.at += 2;
        }
    }

    /// Takes `name`, `name{label="value"}` or `{"name",label="value"}`.
    ///
    /// `names` is scratch space.
    pub(crate) fn series(
        &mut self,
        style: Style,
        names: &mut Vec<Text<'a>>,
    ) -> Result<Series<'a>, Fault> {
        let start = self.at;
        let name = match self.peek() {
            Some(b'{') => None,
            _ => Some(self.metric_name()?),
        };
        let bare_end = self.at;
        if style == Style::Lenient {
            self.skip_blanks();
        }
        if self.peek() != Some(b'{') {
            let raw = self.line.get(start..bare_end).unwrap_or_default();
            // Back to the blank that must follow.
            self.at = bare_end;
            let name = name.ok_or_else(|| self.fault("a metric name"))?;
            let labels = LabelPairs::new("");
            return Ok(Series { raw, name, labels });
        }
        let (name, labels) = self.braces(style, name, names)?;
        let name =
            name.ok_or_else(|| self.fault_at(start, "a metric name, before the braces or within"))?;
        let raw = self.since(start);
        Ok(Series { raw, name, labels })
    }

    /// Takes the labels of an exemplar.
    pub(crate) fn exemplar_labels(
        &mut self,
        names: &mut Vec<Text<'a>>,
    ) -> Result<LabelPairs<'a>, Fault> {
        let start = self.at;
        match self.braces(Style::Strict, None, names)? {
            (None, labels) => Ok(labels),
            (Some(_), _) => Err(self.fault_at(start, "labels without a metric name")),
        }
    }

    /// Takes braces and what is between them: labels, and the metric's name if it is quoted there.
    fn braces(
        &mut self,
        style: Style,
        mut metric: Option<Text<'a>>,
        names: &mut Vec<Text<'a>>,
    ) -> Result<(Option<Text<'a>>, LabelPairs<'a>), Fault> {
        self.expect(b'{', "`{`")?;
        names.clear();
        let inside = self.at;
        let mut may_close = true;
        loop {
            self.blanks(style);
            if may_close && self.peek() == Some(b'}') {
                let labels = LabelPairs::new(self.since(inside));
                self.at += 1;
                return Ok((metric, labels));
            }
            let start = self.at;
            let name = self.quoted_or(Self::label_name)?;
            let is_quoted = self.at > start + name.raw().len();
            self.blanks(style);
            if is_quoted && matches!(self.peek(), Some(b',' | b'}')) {
                if metric.replace(name).is_some() {
                    return Err(self.fault_at(start, "one metric name only"));
                }
            } else {
                self.label_value(style, start, name, names)?;
            }
            let comma = self.comma(style)?;
            may_close = style == Style::Lenient || !comma;
        }
    }

    /// Takes `="value"` after the label `name`, which began at `start`.
    fn label_value(
        &mut self,
        style: Style,
        start: usize,
        name: Text<'a>,
        names: &mut Vec<Text<'a>>,
    ) -> Result<(), Fault> {
        self.expect(b'=', "`=` after a label name")?;
        self.blanks(style);
        if self.peek() != Some(b'"') {
            return Err(self.fault("a label value in double quotes"));
        }
        self.quoted()?;
        if name == *METRIC_NAME {
            return Err(self.fault_at(start, "a label name other than __name__"));
        }
        if names.contains(&name) {
            return Err(self.fault_at(start, "label names that are unique"));
        }
        if names.len() >= LABELS_MAX {
            return Err(self.fault_at(start, "at most 256 labels"));
        }
        names.push(name);
        Ok(())
    }

    /// Takes what may follow a label, and returns whether it was a comma.
    fn comma(&mut self, style: Style) -> Result<bool, Fault> {
        self.blanks(style);
        let comma = self.eat(b',');
        // Prometheus does not miss a comma in text 0.0.4.
        if style == Style::Strict && !comma && self.peek() != Some(b'}') {
            return Err(self.fault("`,` or `}` after a label"));
        }
        Ok(comma)
    }

    fn blanks(&mut self, style: Style) {
        if style == Style::Lenient {
            self.skip_blanks();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(line: &str, style: Style) -> Result<(String, usize), String> {
        let mut cursor = Cursor::new(line);
        let series = cursor
            .series(style, &mut Vec::new())
            .map_err(|fault| format!("{}: {}", fault.offset, fault.expected))?;
        Ok((series.to_labels().to_string(), cursor.offset()))
    }

    #[test]
    fn series_are_read_in_both_styles() {
        for (line, labels) in [
            ("a", "a"),
            ("a{}", "a"),
            ("a{b=\"c\"}", "a{b=\"c\"}"),
            ("a{b=\"\",c=\"d\"}", "a{c=\"d\"}"),
            ("a{b=\"} \\\" # {\"}", "a{b=\"} \\\" # {\"}"),
            ("a{b=\"\\é\\\\\"}", "a{b=\"\\\\é\\\\\"}"),
            ("{\"a.b\"}", "{\"a.b\"}"),
            (
                "{\"a.b\",\"c.d\"=\"e\",f=\"g\"}",
                "{\"a.b\", \"c.d\"=\"e\", f=\"g\"}",
            ),
            ("{c=\"d\",\"a\"}", "a{c=\"d\"}"),
            ("a{\"b\"=\"c\"}", "a{b=\"c\"}"),
        ] {
            for style in [Style::Lenient, Style::Strict] {
                assert_eq!(
                    series(line, style),
                    Ok((labels.to_owned(), line.len())),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn only_text_0_0_4_forgives_blanks_and_commas() {
        for line in [
            "a {b=\"c\",d=\"e\"}",
            "a{ b = \"c\" , d = \"e\" }",
            "a{\tb=\"c\",d=\"e\",}",
            "a{b=\"c\"d=\"e\"}",
        ] {
            assert_eq!(
                series(line, Style::Lenient).map(|(labels, _)| labels),
                Ok("a{b=\"c\", d=\"e\"}".to_owned()),
                "{line}"
            );
        }
        for (line, fault) in [
            ("a{ b=\"c\"}", "2: a label name"),
            ("a{b =\"c\"}", "3: `=` after a label name"),
            ("a{b= \"c\"}", "4: a label value in double quotes"),
            ("a{b=\"c\",}", "8: a label name"),
            ("a{b=\"c\"d=\"e\"}", "7: `,` or `}` after a label"),
        ] {
            assert_eq!(series(line, Style::Strict), Err(fault.to_owned()), "{line}");
        }
    }

    #[test]
    fn faults_say_where_and_what() {
        for (line, fault) in [
            ("", "0: a metric name"),
            ("1a", "0: a metric name"),
            ("{}", "0: a metric name, before the braces or within"),
            ("{b=\"c\"}", "0: a metric name, before the braces or within"),
            ("{\"\"}", "1: a name that is not empty"),
            ("a{\"b\"}", "2: one metric name only"),
            ("{\"a\",\"b\"}", "5: one metric name only"),
            ("a{,}", "2: a label name"),
            ("a{b=\"c\",,d=\"e\"}", "8: a label name"),
            ("a{b}", "3: `=` after a label name"),
            ("a{b=c}", "4: a label value in double quotes"),
            ("a{b=\"c}", "4: a closing double quote"),
            ("a{b=\"c\\", "4: a closing double quote"),
            ("a{b=\"c\"", "7: a label name"),
            ("a{b=\"1\",b=\"2\"}", "8: label names that are unique"),
            ("a{b=\"1\",\"b\"=\"2\"}", "8: label names that are unique"),
            ("a{__name__=\"b\"}", "2: a label name other than __name__"),
        ] {
            assert_eq!(
                series(line, Style::Lenient),
                Err(fault.to_owned()),
                "{line}"
            );
        }
    }

    #[test]
    fn labels_are_bounded() {
        let labels = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|i| format!("l{i}=\"v\"")).collect();
            format!("a{{{}}}", pairs.join(","))
        };
        assert!(series(&labels(LABELS_MAX), Style::Strict).is_ok());
        assert!(series(&labels(LABELS_MAX + 1), Style::Strict).is_err());
    }
}
