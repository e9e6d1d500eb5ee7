//! Templates of rules: labels and annotations of alerts, and console pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::environment::{Environment, Sample, SampleValue};
use crate::error::{Error, Failure};
use crate::escape;
use crate::function::{Function, Kind};
use crate::functions::{
    COMMON, STRING, float, humanize, humanize_1024, percentage, strip_domain, strip_port,
    timestamp, title, to_duration, to_time,
};
use crate::machine::{Limits, Machine};
use crate::templates::{Functions, Mode, Program, Templates};
use crate::value::{
    ANY_MAP, Element, FieldType, ListType, Map, STRING_MAP, Safe, StructType, Value,
};

/// What templates of rules may use.
pub const RULE_FUNCTIONS: Functions = Functions(&[COMMON, RULES]);
/// What console pages may use: as rules, and `tmpl`.
pub const CONSOLE_FUNCTIONS: Functions = Functions(&[COMMON, RULES, CONSOLES]);

static SAMPLE: StructType = StructType {
    name: "*template.sample",
    pointer: true,
    fields: &[
        FieldType::new("Labels", "Labels"),
        FieldType::new("Value", "Value"),
    ],
};

static SAMPLES: ListType = ListType {
    name: "template.queryResult",
    element: Element::Struct(&SAMPLE),
    methods: &[],
    text: None,
};

static ALERT_DATA: StructType = StructType {
    name: "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }",
    pointer: false,
    fields: &[
        FieldType::new("Labels", "Labels"),
        FieldType::new("ExternalLabels", "ExternalLabels"),
        FieldType::new("ExternalURL", "ExternalURL"),
        FieldType::new("Value", "Value"),
    ],
};

/// The template of a label or an annotation of an alerting rule.
#[derive(Debug)]
pub struct RuleTemplate(Program);

impl RuleTemplate {
    /// Reads `text`; errors call it `name`, for instance `__alert_HighLoad`.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        Templates::new(RULE_FUNCTIONS)
            .compile(name, text, Mode::Text, RuleData::VARIABLES)
            .map(Self)
    }

    /// Returns the text for one element of the rule's result.
    pub fn expand(
        &self,
        data: &RuleData,
        environment: &mut dyn Environment,
        limits: Limits,
    ) -> Result<String, Error> {
        self.0
            .render(&data.data, &data.variables, environment, limits)
    }
}

/// What the templates of a rule are given. Made once for all labels and annotations of an alert.
#[derive(Clone, Debug)]
pub struct RuleData {
    data: Value,
    variables: [Value; 4],
}

impl RuleData {
    /// The variables that a rule's templates have beside `$`.
    pub const VARIABLES: &[&str] = &["$labels", "$externalLabels", "$externalURL", "$value"];

    /// `labels` are those of the element, `value` is its value.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(
        labels: impl IntoIterator<Item = (K, V)>,
        external_labels: impl IntoIterator<Item = (K, V)>,
        external_url: &str,
        value: SampleValue,
    ) -> Self {
        let variables = [
            Value::string_map(labels),
            Value::string_map(external_labels),
            external_url.into(),
            sample_value(value),
        ];
        Self {
            data: Value::flat_struct(&ALERT_DATA, variables.to_vec()),
            variables,
        }
    }

    /// Returns what `.` is.
    pub const fn value(&self) -> &Value {
        &self.data
    }

    /// Returns the values of [`RuleData::VARIABLES`].
    pub const fn variables(&self) -> &[Value] {
        &self.variables
    }
}

fn sample_value(value: SampleValue) -> Value {
    match value {
        SampleValue::Float(value) => Value::Float(value),
        SampleValue::Histogram(text) => text.into(),
    }
}

const NUMBER: &[Kind] = &[Kind::Any];
const ONE_SAMPLE: &[Kind] = &[Kind::Struct(&SAMPLE)];

static RULES: &[Function] = &[
    Function::new("query", STRING, |machine, args| {
        query(machine, args[0].text())
    }),
    Function::new(
        "first",
        &[Kind::ListLike(&SAMPLES)],
        |_, args| match &args[0] {
            Value::List(list) => Ok(list
                .items
                .first()
                .cloned()
                .ok_or("first() called on vector with no elements")?),
            _ => Ok(Value::Absent),
        },
    ),
    Function::new(
        "label",
        &[Kind::String, Kind::Struct(&SAMPLE)],
        |_, args| Ok(label(&args[1], args[0].text())),
    ),
    Function::new("value", ONE_SAMPLE, |_, args| match &args[0] {
        Value::Struct(sample) => Ok(sample.field("Value").cloned().unwrap_or_default()),
        _ => Ok(Value::Absent),
    }),
    Function::new("strvalue", ONE_SAMPLE, |_, args| {
        Ok(label(&args[0], "__value__"))
    }),
    Function::new(
        "sortByLabel",
        &[Kind::String, Kind::ListLike(&SAMPLES)],
        |machine, args| {
            let Value::List(list) = &args[1] else {
                return Ok(Value::Absent);
            };
            machine.charge(u64::try_from(list.items.len()).unwrap_or(u64::MAX))?;
            let mut items = list.items.to_vec();
            items.sort_by_cached_key(|sample| {
                Arc::<str>::from(label(sample, args[0].text()).text())
            });
            Ok(Value::flat_list(&SAMPLES, items))
        },
    ),
    Function::variadic("args", &[], Kind::Any, |machine, args| {
        machine.charge(u64::try_from(args.len()).unwrap_or(u64::MAX))?;
        let names = (0..).map(|index| Arc::from(format!("arg{index}")));
        let entries: BTreeMap<Arc<str>, Value> = names.zip(args.iter().cloned()).collect();
        Map::new(&ANY_MAP, entries)
            .map(Value::Map)
            .map_err(|_| too_deep())
    }),
    Function::new("title", STRING, |machine, args| {
        machine.take_string(title(args[0].text(), false))
    }),
    Function::new("humanize", NUMBER, |_, args| {
        Ok(humanize(float(&args[0])?).into())
    }),
    Function::new("humanize1024", NUMBER, |_, args| {
        Ok(humanize_1024(float(&args[0])?).into())
    }),
    Function::new("humanizePercentage", NUMBER, |_, args| {
        Ok(percentage(float(&args[0])?).into())
    }),
    Function::new("humanizeTimestamp", NUMBER, |_, args| {
        Ok(timestamp(float(&args[0])?)?.into())
    }),
    Function::new("toTime", NUMBER, |_, args| {
        Ok(Value::Time(to_time(float(&args[0])?)?))
    }),
    Function::new("toDuration", NUMBER, |_, args| {
        Ok(Value::Duration(to_duration(float(&args[0])?)))
    }),
    Function::new("now", &[], |machine, _| {
        Ok(machine.environment().now().unix_seconds().into())
    }),
    Function::new("parseDuration", STRING, |_, args| {
        Ok(parse_duration(args[0].text())?.into())
    }),
    Function::new("stripPort", STRING, |_, args| {
        Ok(strip_port(args[0].text()).into())
    }),
    Function::new("stripDomain", STRING, |_, args| {
        Ok(strip_domain(args[0].text()).into())
    }),
    Function::new("graphLink", STRING, |machine, args| {
        link(machine, args[0].text(), "&g0.tab=0")
    }),
    Function::new("tableLink", STRING, |machine, args| {
        link(machine, args[0].text(), "&g0.tab=1")
    }),
    Function::new("urlQueryEscape", STRING, |machine, args| {
        let mut text = machine.new_text();
        escape::query(&mut text, args[0].text());
        machine.take_text(text)
    }),
    Function::new("externalURL", &[], |machine, _| {
        Ok(machine.environment().external_url().into())
    }),
    Function::new("pathPrefix", &[], |machine, _| {
        Ok(path_of(machine.environment().external_url()).into())
    }),
];

static CONSOLES: &[Function] = &[Function::new(
    "tmpl",
    &[Kind::String, Kind::Any],
    |machine, args| {
        let html = machine.render_named(args[0].text(), &args[1])?;
        Ok(Value::Safe(Safe::Html, html.into()))
    },
)];

pub(crate) fn too_deep() -> Failure {
    Failure::limit("lists and maps are nested too deep")
}

fn query(machine: &mut Machine<'_>, expression: &str) -> Result<Value, Failure> {
    let samples = machine.environment().query(expression)?;
    machine.charge(u64::try_from(samples.len()).unwrap_or(u64::MAX))?;
    let samples = samples.into_iter().map(|Sample { labels, value }| {
        let labels = Value::flat_map(&STRING_MAP, labels);
        Value::flat_struct(&SAMPLE, vec![labels, sample_value(value)])
    });
    Ok(Value::flat_list(&SAMPLES, samples.collect()))
}

fn label(sample: &Value, name: &str) -> Value {
    match sample {
        Value::Struct(sample) => match sample.field("Labels") {
            Some(Value::Map(labels)) => labels.get(name),
            _ => Value::Absent,
        },
        _ => Value::Absent,
    }
}

/// Returns a duration in Prometheus' form, which may be negative here, in seconds.
fn parse_duration(text: &str) -> Result<f64, Failure> {
    let (sign, magnitude) = text
        .strip_prefix('-')
        .map_or((1.0, text), |rest| (-1.0, rest));
    let duration = model::parse_duration(magnitude).map_err(|error| error.to_string())?;
    Ok(sign * duration.as_secs_f64())
}

/// Returns a relative link to an expression in the web interface.
fn link(machine: &mut Machine<'_>, expression: &str, tab: &str) -> Result<Value, Failure> {
    let mut text = machine.new_text();
    text.push_str("/graph?g0.expr=");
    escape::query(&mut text, expression);
    text.push_str(tab);
    machine.take_text(text)
}

/// Returns the path of a URL, its escapes read.
fn path_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest
        .find('/')
        .and_then(|at| rest.get(at..))
        .unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    escape::unescape_path(path).unwrap_or_else(|_| path.to_owned())
}
