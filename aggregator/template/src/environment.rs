//! What templates ask of the world outside.

use crate::time::{Time, Zone};

/// One element of a query's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values, the metric's name as `__name__`.
    pub labels: Vec<(String, String)>,
    /// The value; of a histogram its text.
    pub value: SampleValue,
}

/// What a sample's value is.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A histogram, as it prints.
    Histogram(String),
}

/// The world outside of one rendering. Every answer has a harmless default.
pub trait Environment {
    /// Returns what time it is: that of the evaluation for rules, the present for notifications.
    fn now(&self) -> Time;

    /// Returns the zone of `.Local`.
    fn zone(&self) -> Zone {
        Zone::utc()
    }

    /// Returns the URL under which people reach us.
    fn external_url(&self) -> &str {
        ""
    }

    /// Answers a PromQL expression at [`Environment::now`]. `Err` says why there is no answer. Budget and deadline are the
    /// implementor's; a template may ask as often as its steps allow.
    fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String> {
        Err(format!("there is nobody to answer {expression:?}"))
    }
}

/// An environment that has nothing but a time.
#[derive(Clone, Debug)]
pub struct Fixed(pub Time);

impl Environment for Fixed {
    fn now(&self) -> Time {
        self.0.clone()
    }
}
