//! Writing an exposition, sample by sample.

use model::{Exemplar, METRIC_NAME, MetricType, TimestampMs};

use crate::number::append;
use crate::series::{is_label_name, is_metric_name};
use gofloat::write_g;

use crate::{EXEMPLAR_CHARS_MAX, Format, parse_float, write_openmetrics};

/// What stands above a family's samples.
#[derive(Clone, Copy, Debug)]
pub struct Family<'a> {
    /// The name as text 0.0.4 has it: a counter's ends with `_total`, an info's with `_info`.
    pub name: &'a str,
    /// The type.
    pub kind: MetricType,
    /// The help text; may be empty.
    pub help: &'a str,
    /// The unit; written in OpenMetrics only, and only if the name ends with it.
    pub unit: &'a str,
}

/// Which of a family's samples one is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// The value itself: of a counter, gauge, info, state or unknown.
    Value,
    /// Observations up to this bound.
    Bucket(f64),
    /// The value at this quantile.
    Quantile(f64),
    /// The sum of all observations.
    Sum,
    /// The number of all observations.
    Count,
    /// When the metric began, in seconds; text 0.0.4 has no such sample, so none is written there.
    Created,
}

impl Part {
    /// Splits the name of a sample of a histogram or summary into its family's and the suffix of its part; other names stay whole.
    pub fn split_name(kind: MetricType, name: &str) -> (&str, &'static str) {
        let suffixes: &[&'static str] = match kind {
            MetricType::Histogram => &["_bucket", "_sum", "_count"],
            MetricType::Summary => &["_sum", "_count"],
            _ => &[],
        };
        let split = suffixes
            .iter()
            .find_map(|suffix| Some((name.strip_suffix(suffix)?, *suffix)));
        split.unwrap_or((name, ""))
    }

    /// Returns the part of a sample whose name has `suffix` after its family's; `label` returns the value of a label.
    pub fn of_suffix<'l>(
        kind: MetricType,
        suffix: &str,
        label: impl FnOnce(&str) -> Option<&'l str>,
    ) -> Self {
        match (kind, suffix) {
            (MetricType::Histogram, "_bucket") => label("le")
                .and_then(parse_float)
                .map_or(Self::Value, Self::Bucket),
            (MetricType::Summary, "") => label("quantile")
                .and_then(parse_float)
                .map_or(Self::Value, Self::Quantile),
            (MetricType::Histogram | MetricType::Summary, "_sum") => Self::Sum,
            (MetricType::Histogram | MetricType::Summary, "_count") => Self::Count,
            _ => Self::Value,
        }
    }

    /// Returns what the sample's name has after the family's, in text 0.0.4.
    pub const fn suffix(self, kind: MetricType) -> &'static str {
        let is_gauge_histogram = matches!(kind, MetricType::GaugeHistogram);
        match self {
            Self::Value | Self::Quantile(_) => "",
            Self::Bucket(_) => "_bucket",
            Self::Sum if is_gauge_histogram => "_gsum",
            Self::Sum => "_sum",
            Self::Count if is_gauge_histogram => "_gcount",
            Self::Count => "_count",
            Self::Created => "_created",
        }
    }

    /// Returns the label that tells this part from its neighbours, and its bound.
    pub const fn bound(self) -> Option<(&'static str, f64)> {
        match self {
            Self::Bucket(bound) => Some(("le", bound)),
            Self::Quantile(quantile) => Some(("quantile", quantile)),
            Self::Value | Self::Sum | Self::Count | Self::Created => None,
        }
    }
}

/// A value, and what may come with it.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// The value.
    pub value: f64,
    /// A time of its own; most samples have none.
    pub at: Option<TimestampMs>,
    /// An exemplar; left out where OpenMetrics does not allow one, and in text 0.0.4.
    pub exemplar: Option<&'a Exemplar>,
}

impl From<f64> for Point<'_> {
    fn from(value: f64) -> Self {
        Self {
            value,
            at: None,
            exemplar: None,
        }
    }
}

/// Appends an exposition to a `String`: each family's header, then its samples, at last the end.
///
/// What is written is well formed whatever names and texts are given: names outside the classic alphabet are quoted, texts are
/// escaped. Order and completeness are the caller's: a family's samples together, a metric's samples together, buckets ascending.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut String,
    format: Format,
    kind: MetricType,
    /// The family's name without the suffix that its samples have.
    stem: String,
    name: String,
}

impl<'o> Writer<'o> {
    /// Returns a writer that appends to `out`; its owner may drain it between two calls.
    pub fn new(format: Format, out: &'o mut String) -> Self {
        Self {
            out,
            format,
            kind: MetricType::Unknown,
            stem: String::new(),
            name: String::new(),
        }
    }

    /// Begins a family.
    ///
    /// OpenMetrics wants counters to end with `_total` and infos with `_info`; one that does not is declared unknown there, so
    /// that its series are called the same in both formats.
    pub fn family(&mut self, family: &Family<'_>) {
        let suffix = match family.kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            MetricType::Unknown
            | MetricType::Gauge
            | MetricType::Histogram
            | MetricType::GaugeHistogram
            | MetricType::Summary
            | MetricType::StateSet => "",
        };
        let stem = family
            .name
            .strip_suffix(suffix)
            .filter(|stem| !stem.is_empty());
        self.kind = family.kind;
        if self.format == Format::OpenMetrics && stem.is_none() {
            self.kind = MetricType::Unknown;
        }
        self.stem.clear();
        self.stem.push_str(match self.format {
            Format::Text => family.name,
            Format::OpenMetrics => stem.unwrap_or(family.name),
        });
        self.header(family);
    }

    fn header(&mut self, family: &Family<'_>) {
        if !family.help.is_empty() {
            self.metadata("HELP");
            escape(self.out, family.help, self.format == Format::OpenMetrics);
            self.out.push('\n');
        }
        self.metadata("TYPE");
        self.out.push_str(match self.format {
            Format::Text => text_type(self.kind),
            Format::OpenMetrics => self.kind.as_str(),
        });
        self.out.push('\n');
        let has_unit = !family.unit.is_empty()
            && is_metric_name(family.unit)
            && !matches!(self.kind, MetricType::Info | MetricType::StateSet)
            && (self.stem.strip_suffix(family.unit)).is_some_and(|stem| stem.ends_with('_'));
        if self.format == Format::OpenMetrics && has_unit {
            self.metadata("UNIT");
            self.out.push_str(family.unit);
            self.out.push('\n');
        }
    }

    fn metadata(&mut self, keyword: &str) {
        self.out.extend(["# ", keyword, " "]);
        if is_metric_name(&self.stem) {
            self.out.push_str(&self.stem);
        } else {
            quote(self.out, &self.stem);
        }
        self.out.push(' ');
    }

    /// Writes one sample of the present family. `labels` may hold `__name__`, which is left out, but each name once only.
    pub fn sample<'l, 'p>(
        &mut self,
        part: Part,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        point: impl Into<Point<'p>>,
    ) {
        if part == Part::Created && self.format == Format::Text {
            return;
        }
        let point = point.into();
        self.name_of(part);
        let is_classic = is_metric_name(&self.name);
        let mut separator = '{';
        if is_classic {
            self.out.push_str(&self.name);
        } else {
            self.out.push('{');
            quote(self.out, &self.name);
            separator = ',';
        }
        for (name, value) in labels {
            if name != METRIC_NAME {
                self.out.push(separator);
                label(self.out, name, value);
                separator = ',';
            }
        }
        if let Some((name, bound)) = part.bound() {
            self.out
                .extend([separator.encode_utf8(&mut [0; 4]), name, "=\""]);
            self.number(bound);
            self.out.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
        self.point(part, &point);
        self.out.push('\n');
    }

    /// Writes a whole histogram: `buckets` are cumulative pairs of bound and count in ascending order, without the one for `+Inf`.
    pub fn histogram<'l>(
        &mut self,
        labels: impl IntoIterator<Item = (&'l str, &'l str)> + Clone,
        buckets: impl IntoIterator<Item = (f64, f64)>,
        count: f64,
        sum: f64,
    ) {
        for (bound, cumulative) in buckets {
            self.sample(Part::Bucket(bound), labels.clone(), cumulative);
        }
        self.sample(Part::Bucket(f64::INFINITY), labels.clone(), count);
        self.sample(Part::Sum, labels.clone(), sum);
        self.sample(Part::Count, labels, count);
    }

    /// Ends the exposition: OpenMetrics has a last line of its own.
    pub fn finish(self) {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    fn name_of(&mut self, part: Part) {
        let suffix = match (self.format, self.kind) {
            (Format::OpenMetrics, MetricType::Counter) if part == Part::Value => "_total",
            (Format::OpenMetrics, MetricType::Info) if part == Part::Value => "_info",
            (_, kind) => part.suffix(kind),
        };
        self.name.clear();
        self.name.extend([self.stem.as_str(), suffix]);
    }

    fn number(&mut self, value: f64) {
        match self.format {
            Format::Text => write_g(self.out, value),
            Format::OpenMetrics => write_openmetrics(self.out, value),
        }
    }

    /// Values are written alike in both formats; only bounds are always visibly floats in OpenMetrics.
    fn point(&mut self, part: Part, point: &Point<'_>) {
        write_g(self.out, point.value);
        if let Some(at) = point.at {
            self.out.push(' ');
            self.time(at);
        }
        let may_have_exemplar = matches!(
            (self.kind, part),
            (MetricType::Counter, Part::Value)
                | (
                    MetricType::Histogram | MetricType::GaugeHistogram,
                    Part::Bucket(_)
                )
        );
        if let Some(exemplar) = point.exemplar
            && may_have_exemplar
            && self.format == Format::OpenMetrics
            && characters(exemplar) <= EXEMPLAR_CHARS_MAX
        {
            self.exemplar(exemplar);
        }
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        self.out.push_str(" # {");
        for (index, (name, value)) in exemplar.labels.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            label(self.out, name, value);
        }
        self.out.push_str("} ");
        write_g(self.out, exemplar.value);
        self.out.push(' ');
        self.time(exemplar.at);
    }

    fn time(&mut self, at: TimestampMs) {
        if self.format == Format::Text {
            return append(self.out, format_args!("{}", at.0));
        }
        let sign = if at.0 < 0 { "-" } else { "" };
        let (seconds, millis) = (at.0.unsigned_abs() / 1_000, at.0.unsigned_abs() % 1_000);
        append(self.out, format_args!("{sign}{seconds}"));
        if millis > 0 {
            append(self.out, format_args!(".{millis:03}"));
        }
    }
}

/// Returns the type's name in text 0.0.4, which knows five.
const fn text_type(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Unknown => "untyped",
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => "gauge",
        MetricType::Histogram | MetricType::GaugeHistogram => "histogram",
        MetricType::Summary => "summary",
    }
}

fn characters(exemplar: &Exemplar) -> usize {
    let count = |(name, value): (&str, &str)| name.chars().count() + value.chars().count();
    exemplar.labels.iter().map(count).sum()
}

fn label(out: &mut String, name: &str, value: &str) {
    if is_label_name(name) {
        out.push_str(name);
    } else {
        quote(out, name);
    }
    out.push('=');
    quote(out, value);
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text, true);
    out.push('"');
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    let needs_escape = |c: char| matches!(c, '\\' | '\n') || (quotes && c == '"');
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        let (clean, special) = rest.split_at(at);
        out.push_str(clean);
        let mut chars = special.chars();
        out.push_str(match chars.next() {
            Some('\n') => "\\n",
            Some('"') => "\\\"",
            _ => "\\\\",
        });
        rest = chars.as_str();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests;
