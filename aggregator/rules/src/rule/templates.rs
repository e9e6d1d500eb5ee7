//! The templates of an alert's labels and annotations.

use std::sync::Arc;

use model::{LabelsBuilder, TimestampMs, Value};
use promql::{VectorSample, histogram_text, parse};
use template::{Environment, Limits, RuleData, RuleTemplate, Sample, SampleValue, Time};

use crate::world::{Question, World};

/// What one label or annotation may cost.
const LIMITS: Limits = Limits {
    steps: 1_000_000,
    output_bytes: 1 << 20,
};

/// Expands the templates of one alert.
#[derive(Debug)]
pub(super) struct Expander<'a> {
    alert: &'a str,
    data: RuleData,
    outside: Outside<'a>,
}

impl<'a> Expander<'a> {
    pub(super) fn new(
        alert: &'a str,
        element: &VectorSample,
        at: TimestampMs,
        world: &'a World<'a>,
    ) -> Self {
        let settings = world.settings;
        let data = RuleData::new(
            element.labels.iter(),
            settings.external_labels.iter(),
            &settings.external_url,
            sample_value(&element.value),
        );
        Self {
            alert,
            data,
            outside: Outside { at, world },
        }
    }

    /// Sets labels from templates. A template that fails leaves its error in the place of the text, as in Prometheus.
    pub(super) fn expand(
        &mut self,
        templates: &[(String, Arc<RuleTemplate>)],
        labels: &mut LabelsBuilder,
    ) {
        for (name, template) in templates {
            let text = template
                .expand(&self.data, &mut self.outside, LIMITS)
                .unwrap_or_else(|error| {
                    let alert = self.alert;
                    tracing::warn!(alert, label = name.as_str(), %error, "template of an alert failed");
                    format!(
                        "<error expanding template: error executing template __alert_{alert}: {error}>"
                    )
                });
            labels.set(name.as_str(), text);
        }
    }
}

/// What a template may ask.
#[derive(Debug)]
struct Outside<'a> {
    at: TimestampMs,
    world: &'a World<'a>,
}

impl Environment for Outside<'_> {
    fn now(&self) -> Time {
        Time::from_unix_ms(self.at.0)
    }

    fn external_url(&self) -> &str {
        &self.world.settings.external_url
    }

    fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String> {
        let expr = parse(expression, promql::ParserOptions::default())
            .map_err(|error| error.to_string())?;
        let question = Question {
            expr: Arc::new(expr),
            text: Arc::from(expression),
            at: self.at,
            kin: 0,
            took: None,
        };
        let answer = self.world.queries.answer(vec![question]).pop();
        let elements = answer.map_or_else(|| Err("no answer came".to_owned()), |one| one.result)?;
        let sample = |element: VectorSample| {
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            Sample {
                value: sample_value(&element.value),
                labels: element.labels.iter().map(owned).collect(),
            }
        };
        Ok(elements.into_iter().map(sample).collect())
    }
}

fn sample_value(value: &Value) -> SampleValue {
    match value {
        Value::Float(value) => SampleValue::Float(*value),
        Value::Histogram(histogram) => SampleValue::Histogram(histogram_text(histogram)),
    }
}
