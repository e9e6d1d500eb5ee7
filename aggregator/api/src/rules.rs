//! `rules` and `alerts`, and the questions that rules ask.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use http_shell::{Form, Response};
use model::{Matcher, TimestampMs};
use promql::ast::Expr;
use promql::{Grid, Outcome, ParserOptions, QueryError};
use rules::{Alert, AlertView, Answer, GroupView, Health, Question, RuleView, elements};
use storage::{BudgetExceeded, Unlimited};

use crate::api::Api;
use crate::envelope::{ApiError, ErrorType, Notes, success};
use crate::json::Json;
use crate::parameters;
use crate::query::refusal;
use crate::running::{Asker, Subject};

/// What Go's zero time looks like: it was never evaluated.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Which rules are asked for.
struct Asked {
    names: BTreeSet<String>,
    groups: BTreeSet<String>,
    files: BTreeSet<String>,
    matchers: Vec<Vec<Matcher>>,
    alerts: bool,
    recordings: bool,
    without_alerts: bool,
    /// Groups on a page; 0: all.
    limit: usize,
    /// The first group of the page.
    token: Option<String>,
}

impl Asked {
    fn of(form: &Form) -> Result<Self, ApiError> {
        let set = |name| form.all(name).map(str::to_owned).collect();
        let matchers = parameters::selectors(
            &parameters::selector_texts(form),
            ParserOptions::default(),
            &Unlimited,
        );
        let kind = form.get("type").unwrap_or_default().to_lowercase();
        if !["", "alert", "record"].contains(&kind.as_str()) {
            return Err(ApiError::parameter(
                "type",
                format!("not supported value {kind:?}"),
            ));
        }
        let (limit, token) = page(form)?;
        Ok(Self {
            names: set("rule_name[]"),
            groups: set("rule_group[]"),
            files: set("file[]"),
            matchers: matchers
                .map_err(|error| crate::query::refusal_of(Some("match[]"), &error))?,
            alerts: kind != "record",
            recordings: kind != "alert",
            without_alerts: without_alerts(form)?,
            limit,
            token,
        })
    }

    fn wants_group(&self, group: &GroupView) -> bool {
        let file = group.key.file.to_string_lossy();
        (self.groups.is_empty() || self.groups.contains(&group.key.name))
            && (self.files.is_empty() || self.files.contains(&*file))
    }

    fn wants_rule(&self, rule: &RuleView) -> bool {
        let kind = if rule.alert.is_some() {
            self.alerts
        } else {
            self.recordings
        };
        kind && (self.names.is_empty() || self.names.contains(&rule.name))
            && (self.matchers.is_empty()
                || self.matchers.iter().any(|set| selects(set, &rule.labels)))
    }
}

fn selects(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    let value = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
    matchers
        .iter()
        .all(|matcher| matcher.matches(value(matcher.name())))
}

fn without_alerts(form: &Form) -> Result<bool, ApiError> {
    match form.get("exclude_alerts").unwrap_or_default() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => {
            let why = format!(
                "error converting exclude_alerts: strconv.ParseBool: parsing \"{other}\": invalid syntax"
            );
            Err(ApiError::parameter("exclude_alerts", why))
        }
    }
}

fn page(form: &Form) -> Result<(usize, Option<String>), ApiError> {
    let wrong = |why: String| Err(ApiError::parameter("group_limit", why));
    let token = form
        .get("group_next_token")
        .filter(|token| !token.is_empty());
    let Some(text) = form.get("group_limit").filter(|text| !text.is_empty()) else {
        return match token {
            Some(_) => wrong(
                "group_limit needs to be present in order to paginate over the groups".to_owned(),
            ),
            None => Ok((0, None)),
        };
    };
    match text.parse::<i64>() {
        Err(_) => wrong(format!(
            "group_limit needs to be a valid number: strconv.ParseInt: parsing \"{text}\": invalid syntax"
        )),
        Ok(limit) => match usize::try_from(limit) {
            Ok(limit) if limit > 0 => Ok((limit, token.map(str::to_owned))),
            _ => wrong("group_limit needs to be greater than 0".to_owned()),
        },
    }
}

impl Api {
    /// `GET /api/v1/rules`
    pub(crate) fn rules(&self, form: &Form) -> Result<Response, ApiError> {
        let asked = Asked::of(form)?;
        let views = self.parts.rules.views();
        let first = match &asked.token {
            None => 0,
            Some(token) => views
                .iter()
                .position(|group| group.key.token() == *token)
                .ok_or_else(|| {
                    let why =
                        format!("invalid group_next_token '{token}'. were rule groups changed?");
                    ApiError::parameter("group_next_token", why)
                })?,
        };
        let mut shown: Vec<(&GroupView, Vec<&RuleView>)> = Vec::new();
        let mut next = None;
        for group in views
            .iter()
            .skip(first)
            .filter(|group| asked.wants_group(group))
        {
            let rules = group.rules.iter().filter(|rule| asked.wants_rule(rule));
            let rules: Vec<&RuleView> = rules.collect();
            if rules.is_empty() {
                continue;
            }
            if asked.limit > 0 && shown.len() == asked.limit {
                next = Some(group.key.token());
                break;
            }
            shown.push((group, rules));
        }
        Ok(success(&Notes::default(), |json| {
            json.object(|json| {
                json.key("groups").array(|json| {
                    for (group, rules) in &shown {
                        write_group(json, group, rules, asked.without_alerts);
                    }
                });
                if let Some(next) = &next {
                    json.key("groupNextToken").string(next);
                }
            });
        }))
    }

    /// `GET /api/v1/alerts`
    pub(crate) fn alerts(&self) -> Response {
        let views = self.parts.rules.views();
        let rules = views.iter().flat_map(|group| &group.rules);
        let alerts = rules.filter_map(|rule| rule.alert.as_ref());
        success(&Notes::default(), |json| {
            json.object(|json| {
                json.key("alerts").array(|json| {
                    for view in alerts {
                        for alert in &view.active {
                            write_alert(json, view, alert);
                        }
                    }
                });
            });
        })
    }

    /// Evaluates expressions of rules, of one instant, as queries are: when there is a place, on a thread for queries, within a budget, in the
    /// list of those that run. They are one query there, and what they have in common is evaluated once; but one that the budget stops
    /// behind others is evaluated again with a budget of its own. `rule` is who asks, for that list.
    pub async fn answer_rules(&self, rule: &str, questions: Vec<Question>) -> Vec<Answer> {
        let questions: Arc<[Question]> = questions.into();
        let mut answers = Vec::with_capacity(questions.len());
        let mut most = usize::MAX;
        while answers.len() < questions.len() {
            let from = answers.len();
            let count = most.min(questions.len() - from);
            most = usize::MAX;
            let asked = (Arc::clone(&questions), from..from + count);
            match self.answer_together(rule, asked).await {
                Ok(mut outcomes) => {
                    let stopped = outcomes.len() > 1 && outcomes.last().is_some_and(is_stopped);
                    if stopped {
                        outcomes.pop();
                        most = 1;
                    }
                    answers.extend(outcomes.into_iter().map(answer_of));
                }
                // One of them may have brought down the others.
                Err(error) if count > 1 && error.kind == ErrorType::Internal => most = 1,
                Err(error) => answers.extend(Answer::refused(count, &error.message)),
            }
        }
        answers
    }

    /// Evaluates some of these questions as one query, up to the first that the budget stops.
    async fn answer_together(
        &self,
        rule: &str,
        (questions, which): (Arc<[Question]>, Range<usize>),
    ) -> Result<Vec<Outcome>, ApiError> {
        let asked = &questions[which.clone()];
        let texts: Vec<&str> = asked.iter().map(|question| &*question.text).collect();
        let grid = asked.first().map(|first| Grid::instant(first.at));
        let subject = Subject::new("rule", &texts.join("; "), grid, &Asker::of_rule(rule));
        let (engine, store) = (
            Arc::clone(&self.parts.engine),
            Arc::clone(&self.parts.store),
        );
        let limits = self.config.query_limits;
        self.on_place(limits, subject, move |place| {
            let asked = &questions[which];
            let exprs: Vec<&Expr> = asked.iter().map(|question| &*question.expr).collect();
            let at = asked
                .first()
                .map_or_else(TimestampMs::default, |first| first.at);
            let outcomes = engine.instant_exprs(&*store, &exprs, at, &*place.budget);
            outcomes.map_err(|error| refusal(&error))
        })
        .await
    }
}

/// Whether the budget stopped a query, and not whoever asked.
const fn is_stopped(outcome: &Outcome) -> bool {
    match &outcome.output {
        Err(QueryError::Budget(exceeded)) => !matches!(exceeded, BudgetExceeded::Cancelled { .. }),
        _ => false,
    }
}

fn answer_of(outcome: Outcome) -> Answer {
    let result = outcome.output.map_err(|error| refusal(&error).message);
    Answer {
        result: result.and_then(|output| elements(output.result)),
        took: outcome.took,
    }
}

fn write_group(json: &mut Json, group: &GroupView, rules: &[&RuleView], without_alerts: bool) {
    json.object(|json| {
        json.key("name").string(&group.key.name);
        json.key("file").string(&group.key.file.to_string_lossy());
        json.key("rules").array(|json| {
            for rule in rules {
                write_rule(json, rule, without_alerts);
            }
        });
        json.key("interval").raw(group.interval.as_secs_f64());
        json.key("limit").raw(group.limit);
        json.key("evaluationTime").raw(group.took.as_secs_f64());
        json.key("lastEvaluation").string(&time(group.at));
    });
}

fn write_rule(json: &mut Json, rule: &RuleView, without_alerts: bool) {
    json.object(|json| {
        if let Some(alert) = &rule.alert {
            json.key("state").string(alert.state().name());
        }
        json.key("name").string(&rule.name);
        json.key("query").string(&rule.query);
        if let Some(alert) = &rule.alert {
            json.key("duration").raw(alert.hold.as_secs_f64());
            json.key("keepFiringFor")
                .raw(alert.keep_firing_for.as_secs_f64());
        }
        // A recording rule without labels has none in Prometheus' answer either.
        if rule.alert.is_some() || !rule.labels.is_empty() {
            json.key("labels");
            write_texts(json, &rule.labels);
        }
        if let Some(alert) = &rule.alert {
            json.key("annotations");
            write_texts(json, &alert.annotations);
            json.key("alerts");
            write_alerts(json, alert, without_alerts);
        }
        let (health, error) = match &rule.last.health {
            Health::Unknown => ("unknown", None),
            Health::Good => ("ok", None),
            Health::Bad(error) => ("err", Some(error)),
        };
        json.key("health").string(health);
        if let Some(error) = error {
            json.key("lastError").string(error);
        }
        json.key("evaluationTime").raw(rule.last.took.as_secs_f64());
        json.key("lastEvaluation").string(&time(rule.last.at));
        let kind = if rule.alert.is_some() {
            "alerting"
        } else {
            "recording"
        };
        json.key("type").string(kind);
    });
}

fn write_alerts(json: &mut Json, view: &AlertView, without_alerts: bool) {
    if without_alerts {
        json.raw("null");
        return;
    }
    json.array(|json| {
        for alert in &view.active {
            write_alert(json, view, alert);
        }
    });
}

/// Writes an alert of a rule. Annotations that came to nothing are there, as in Prometheus.
fn write_alert(json: &mut Json, rule: &AlertView, alert: &Alert) {
    json.object(|json| {
        json.key("labels").labels(&alert.labels);
        json.key("annotations").object(|json| {
            for name in rule.annotations.keys() {
                let text = alert.annotations.get(name).unwrap_or_default();
                json.key(name).string(text);
            }
        });
        json.key("state").string(alert.state.name());
        json.key("activeAt").string(&time(Some(alert.active_at)));
        if let Some(since) = alert.keep_firing_since {
            json.key("keepFiringSince").string(&time(Some(since)));
        }
        json.key("value").string(&gofloat::format_e(alert.value));
    });
}

fn write_texts(json: &mut Json, texts: &BTreeMap<String, String>) {
    json.object(|json| {
        for (name, text) in texts {
            json.key(name).string(text);
        }
    });
}

fn time(at: Option<TimestampMs>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| promql::number::rfc3339(at.0))
}
