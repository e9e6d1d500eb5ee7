//! Alertmanager's API v2, exact by its OpenAPI document, and the history of alerts beside it.
//!
//! There is no envelope: an answer is the data itself, an error a JSON string, or an object with code and message where the request
//! could not even be read. Everything runs on a thread for blocking work, for what changes is durable before it is answered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use alerting::{
    AlertFilter, AlertView, Alerting, Event, GroupView, HistoryFilter, MatcherMode, Silence,
    SilenceError, SilenceRequest, SilenceState, parse_matcher, parse_matchers,
};
use http_shell::header::{CACHE_CONTROL, HeaderValue};
use http_shell::{Form, Method, Request, Response, StatusCode};
use model::{AnchoredRegex, MatchOp, Matcher, TimestampMs};
use serde_json::Value;

use crate::api::Api;
use crate::control::Build;
use crate::envelope::{ApiError, ErrorType, Notes, success};
use crate::json::Json;
use crate::parameters;

mod posted_alerts;

/// What `alerting` shows, and takes.
#[derive(Clone)]
pub struct AlertmanagerApi {
    /// Takes alerts.
    pub alerting: Alerting,
    /// Returns the configuration file's text, secrets hidden.
    pub configuration: Arc<dyn Fn() -> String + Send + Sync>,
    /// Returns how its pair stands; none: it is in none.
    pub cluster: Option<Arc<dyn Fn() -> Cluster + Send + Sync>>,
}

/// A pair of aggregators, as Alertmanager shows a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The name of the one that is asked.
    pub name: String,
    /// Whether it tells: it does not wait for what the other knows.
    pub is_settled: bool,
    /// Those that are there, the one that is asked included.
    pub members: Vec<ClusterMember>,
}

/// One of a [`Cluster`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMember {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// Where alerts of rules are sent, beside our own alerting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertmanagerUrls {
    /// The URLs of those that are sent to.
    pub active: Vec<String>,
    /// The URLs of those that relabelling has dropped.
    pub dropped: Vec<String>,
}

impl fmt::Debug for AlertmanagerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertmanagerApi").finish_non_exhaustive()
    }
}

/// A path below `/api/v2/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum V2 {
    Status,
    Receivers,
    Alerts,
    AlertGroups,
    Silences,
    Silence(String),
}

impl V2 {
    pub(crate) fn find(endpoint: &str) -> Option<Self> {
        Some(match endpoint {
            "status" => Self::Status,
            "receivers" => Self::Receivers,
            "alerts" => Self::Alerts,
            "alerts/groups" => Self::AlertGroups,
            "silences" => Self::Silences,
            _ => {
                let id = endpoint.strip_prefix("silence/")?;
                (!id.contains('/')).then(|| Self::Silence(http_shell::decode_component(id)))?
            }
        })
    }

    pub(crate) const fn methods(&self) -> &'static [Method] {
        match self {
            Self::Status | Self::Receivers | Self::AlertGroups => &[Method::GET, Method::OPTIONS],
            Self::Alerts | Self::Silences => &[Method::GET, Method::OPTIONS, Method::POST],
            Self::Silence(_) => &[Method::DELETE, Method::GET, Method::OPTIONS],
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Status => "/api/v2/status",
            Self::Receivers => "/api/v2/receivers",
            Self::Alerts => "/api/v2/alerts",
            Self::AlertGroups => "/api/v2/alerts/groups",
            Self::Silences => "/api/v2/silences",
            Self::Silence(_) => "/api/v2/silence/:id",
        }
    }
}

/// An answer that is no data.
#[derive(Debug)]
enum Refusal {
    /// A JSON string.
    Text(StatusCode, String),
    /// What could not be read: a status, a code of its own, and why.
    Unread(StatusCode, u32, String),
}

type Answered = Result<Response, Refusal>;

const VALIDATION: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
/// The code of a value that has not its type.
const BAD_TYPE: u32 = 601;
/// The code of a value that is missing.
const MISSING: u32 = 602;

impl Api {
    /// Answers a request of API v2.
    pub(crate) async fn alertmanager(&self, route: V2, request: &Request) -> Response {
        let Some(parts) = self.parts.alertmanager.clone() else {
            return Response::text(StatusCode::NOT_FOUND, "404 page not found");
        };
        let (request, build, started) = (
            request.clone(),
            self.config.build,
            self.parts.control.runtime().started,
        );
        let answering = self
            .parts
            .tasks
            .spawn_blocking("alertmanager api", move || {
                answer(&parts, &route, &request, (build, started))
            });
        let answered = answering
            .await
            .unwrap_or_else(|error| Err(internal(&error)));
        let response = answered.unwrap_or_else(Refusal::response);
        response.with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// `GET /api/v1/alertmanagers`
    pub(crate) fn alertmanagers(&self) -> Response {
        let AlertmanagerUrls { active, dropped } = (self.parts.alertmanagers)();
        success(&Notes::default(), |json| {
            json.object(|json| {
                for (key, urls) in [
                    ("activeAlertmanagers", active),
                    ("droppedAlertmanagers", dropped),
                ] {
                    json.key(key).array(|json| {
                        for url in &urls {
                            json.object(|json| {
                                json.key("url").string(url);
                            });
                        }
                    });
                }
            });
        })
    }

    /// `GET /api/v1/alerts/history`: `filter` (matchers), `start`, `end`, `limit`. Events of the kind `late` say of which span they tell.
    pub(crate) fn alert_history(&self, form: &Form) -> Result<Response, ApiError> {
        const LIMIT: usize = 1_000;
        let Some(parts) = &self.parts.alertmanager else {
            return Err(ApiError::new(ErrorType::NotFound, "there is no alerting"));
        };
        let time = |name: &str| {
            let text = form.get(name).filter(|text| !text.is_empty());
            text.map(|text| {
                parameters::parse_time(text).map_err(|why| ApiError::parameter(name, why))
            })
            .transpose()
        };
        let limit = match parameters::limit(form, "limit")? {
            0 => LIMIT,
            limit => limit,
        };
        let filter = HistoryFilter {
            matchers: matchers(form, "filter").map_err(|why| ApiError::parameter("filter", why))?,
            start: time("start")?,
            end: time("end")?,
            limit,
        };
        Ok(parts.alerting.see(|pipeline, _| {
            success(&Notes::default(), |json| {
                json.array(|json| {
                    for event in &pipeline.history(&filter) {
                        show_event(json, event);
                    }
                });
            })
        }))
    }
}

fn show_event(json: &mut Json, event: &Event) {
    json.object(|json| {
        json.key("number").raw(event.number);
        json.key("time").string(&date_time(event.at));
        json.key("event").string(event.kind.name());
        json.key("detail").string(&event.detail);
        json.key("group").string(&event.group);
        json.key("receiver").string(&event.receiver);
        json.key("alerts").array(|json| {
            for fingerprint in &event.alerts {
                json.string(&fingerprint.to_string());
            }
        });
        json.key("labels").labels(&event.labels);
        if let Some(late) = &event.late {
            json.key("late").object(|json| {
                json.key("start").string(&date_time(late.start));
                json.key("end").string(&date_time(late.end));
                json.key("fired").raw(late.fired);
            });
        }
    });
}

fn answer(
    parts: &AlertmanagerApi,
    route: &V2,
    request: &Request,
    about: (Build, TimestampMs),
) -> Answered {
    let alerting = &parts.alerting;
    match (route, &request.method) {
        (V2::Status, _) => Ok(status(parts, about)),
        (V2::Receivers, _) => receivers(alerting, &request.form()),
        (V2::Alerts, &Method::POST) => post_alerts(alerting, &request.body),
        (V2::Alerts, _) => alerts(alerting, &request.form()),
        (V2::AlertGroups, _) => groups(alerting, &request.form()),
        (V2::Silences, &Method::POST) => post_silence(alerting, &request.body),
        (V2::Silences, _) => silences(alerting, &request.form()),
        (V2::Silence(id), method) => silence(alerting, id, *method == Method::DELETE),
    }
}

fn status(parts: &AlertmanagerApi, (build, started): (Build, TimestampMs)) -> Response {
    data(|json| {
        json.object(|json| {
            let cluster = parts.cluster.as_ref().map(|cluster| cluster());
            json.key("cluster")
                .object(|json| write_cluster(json, cluster.as_ref()));
            json.key("config").object(|json| {
                let original = (parts.configuration)();
                json.key("original").string(&original);
            });
            json.key("uptime").string(&date_time(started));
            json.key("versionInfo").object(|json| {
                json.key("branch").string("");
                json.key("buildDate").string("");
                json.key("buildUser").string("");
                json.key("goVersion").string("");
                json.key("revision").string(build.revision);
                json.key("version").string(build.version);
            });
        });
    })
}

fn write_cluster(json: &mut Json, cluster: Option<&Cluster>) {
    let status = match cluster {
        None => "disabled",
        Some(cluster) if cluster.is_settled => "ready",
        Some(_) => "settling",
    };
    if let Some(cluster) = cluster {
        json.key("name").string(&cluster.name);
    }
    json.key("peers").array(|json| {
        for member in cluster.into_iter().flat_map(|cluster| &cluster.members) {
            json.object(|json| {
                json.key("address").string(&member.address);
                json.key("name").string(&member.name);
            });
        }
    });
    json.key("status").string(status);
}

fn receivers(alerting: &Alerting, form: &Form) -> Answered {
    let matchers = matchers(form, "receiver_matchers").map_err(bad_request)?;
    Ok(alerting.see(|pipeline, _| {
        data(|json| {
            json.array(|json| {
                for receiver in pipeline.receivers(&matchers) {
                    json.object(|json| {
                        json.key("name").string(&receiver.name);
                    });
                }
            });
        })
    }))
}

fn alerts(alerting: &Alerting, form: &Form) -> Answered {
    let filter = alert_filter(form)?;
    Ok(alerting.see(|pipeline, now| {
        data(|json| {
            json.array(|json| {
                for view in pipeline.alerts(&filter, now) {
                    write_alert(json, &view);
                }
            });
        })
    }))
}

fn groups(alerting: &Alerting, form: &Form) -> Answered {
    let filter = alert_filter(form)?;
    Ok(alerting.see(|pipeline, now| {
        data(|json| {
            json.array(|json| {
                for group in pipeline.groups(&filter, now) {
                    write_group(json, &group);
                }
            });
        })
    }))
}

fn post_alerts(alerting: &Alerting, body: &[u8]) -> Answered {
    let posted = posted_alerts::read(body)?;
    let taken = alerting
        .change(|pipeline, now| pipeline.take(posted, now))
        .map_err(|error| internal(&error))?;
    if taken.refused > 0 {
        let why = format!(
            "{} alerts were refused: there are too many; see --alertmanager.max-alerts",
            taken.refused
        );
        return Err(Refusal::Text(StatusCode::INTERNAL_SERVER_ERROR, why));
    }
    if !taken.invalid.is_empty() {
        return Err(bad_request(taken.invalid.join("; ")));
    }
    Ok(Response::empty(StatusCode::OK))
}

fn silences(alerting: &Alerting, form: &Form) -> Answered {
    let filter = matchers(form, "filter").map_err(bad_request)?;
    let shows = |state: SilenceState| match state {
        SilenceState::Active => flag(form, "active"),
        SilenceState::Pending => flag(form, "pending"),
        SilenceState::Expired => flag(form, "expired"),
    };
    Ok(alerting.see(|pipeline, now| {
        let is_shown = |silence: &&Silence| {
            shows(silence.state(now)) && has_single_set(silence) && names_all(silence, &filter)
        };
        let recurring = pipeline.recurring_silences(now);
        let all = pipeline.silences().chain(&recurring);
        let mut shown: Vec<&Silence> = all.filter(is_shown).collect();
        shown.sort_by_key(|silence| order(silence, now));
        data(|json| {
            json.array(|json| {
                for silence in shown {
                    write_silence(json, silence, now);
                }
            });
        })
    }))
}

/// Active ones first, by their end; pending ones by their begin; expired ones last, the newest first.
fn order(silence: &Silence, now: TimestampMs) -> (u8, i64, String) {
    let request = &silence.request;
    let (rank, time) = match silence.state(now) {
        SilenceState::Active => (0, request.ends_at.0),
        SilenceState::Pending => (1, request.starts_at.0),
        SilenceState::Expired => (2, -request.ends_at.0),
    };
    (rank, time, silence.id.clone())
}

/// This version of the API shows silences of one set of matchers only.
fn has_single_set(silence: &Silence) -> bool {
    silence.request.matcher_sets.len() == 1
}

/// Whether the matchers of a silence, taken for labels, satisfy those of a filter.
fn names_all(silence: &Silence, filter: &[Matcher]) -> bool {
    filter.iter().all(|wanted| {
        let named = silence.request.matcher_sets.iter().flatten();
        let mut named = named.filter(|matcher| matcher.name() == wanted.name());
        let value = named.next_back().map_or("", Matcher::value);
        wanted.matches(value)
    })
}

fn silence(alerting: &Alerting, id: &str, deletes: bool) -> Answered {
    if !is_uuid(id) {
        let why = format!("silenceID in path must be of type uuid: {id:?}");
        return Err(Refusal::Unread(VALIDATION, BAD_TYPE, why));
    }
    if deletes {
        let ended = alerting
            .change(|pipeline, now| pipeline.expire_silence(id, now))
            .map_err(|error| internal(&error))?;
        return match ended {
            Ok(()) => Ok(Response::empty(StatusCode::OK)),
            Err(SilenceError::NotFound) => Ok(Response::empty(StatusCode::NOT_FOUND)),
            // The only answer with a text that the API has here.
            Err(error) => Err(internal(&error)),
        };
    }
    Ok(alerting.see(|pipeline, now| {
        let recurring = pipeline.recurring_silences(now);
        let mut recurring = recurring.iter();
        let silence = pipeline.silence(id);
        match silence.or_else(|| recurring.find(|silence| silence.id == id)) {
            Some(silence) => data(|json| write_silence(json, silence, now)),
            None => Response::empty(StatusCode::NOT_FOUND),
        }
    }))
}

/// Reads silences as `GET /api/v2/silences` gives them; an error says what is wrong with which.
pub fn read_silences(text: &str) -> Result<Vec<SilenceRequest>, String> {
    let items: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let read = |(place, item): (usize, &Value)| {
        silence_request(item).map_err(|refusal| format!("silence {place}: {}", refusal.why()))
    };
    items.iter().enumerate().map(read).collect()
}

fn silence_request(item: &Value) -> Result<SilenceRequest, Refusal> {
    if !item.is_object() {
        return Err(unread("silence", "it is no object"));
    }
    for name in ["comment", "createdBy", "endsAt", "matchers", "startsAt"] {
        if item.get(name).is_none_or(Value::is_null) {
            let why = format!("{name} in body is required");
            return Err(Refusal::Unread(VALIDATION, MISSING, why));
        }
    }
    let time = |name| Ok::<_, Refusal>(time(item, name, "silence")?.unwrap_or(ZERO_TIME));
    let text = |name| Ok::<_, Refusal>(text(item, name, "silence")?.unwrap_or_default());
    Ok(SilenceRequest {
        id: Some(text("id")?).filter(|id| !id.is_empty()),
        matcher_sets: vec![silence_matchers(item)?],
        starts_at: time("startsAt")?,
        ends_at: time("endsAt")?,
        created_by: text("createdBy")?,
        comment: text("comment")?,
        annotations: texts(item, "annotations", "silence")?,
    })
}

fn post_silence(alerting: &Alerting, body: &[u8]) -> Answered {
    let request = silence_request(&parsed("silence", body)?)?;
    let new_id = random_uuid().map_err(|why| internal(&why))?;
    let set = alerting
        .change(|pipeline, now| pipeline.set_silence(request, new_id, now))
        .map_err(|error| internal(&error))?;
    match set {
        Ok(id) => Ok(data(|json| {
            json.object(|json| {
                json.key("silenceID").string(&id);
            });
        })),
        Err(error @ SilenceError::NotFound) => {
            Err(Refusal::Text(StatusCode::NOT_FOUND, error.to_string()))
        }
        Err(error) => Err(bad_request(error.to_string())),
    }
}

fn silence_matchers(item: &Value) -> Result<Vec<Matcher>, Refusal> {
    let Some(Value::Array(matchers)) = item.get("matchers") else {
        return Err(unread("silence", "matchers is no list"));
    };
    if matchers.is_empty() {
        let why = "matchers in body should have at least 1 items".to_owned();
        return Err(Refusal::Unread(VALIDATION, 612, why));
    }
    let read = |(place, matcher): (usize, &Value)| {
        for name in ["isRegex", "name", "value"] {
            if matcher.get(name).is_none_or(Value::is_null) {
                let why = format!("matchers.{place}.{name} in body is required");
                return Err(Refusal::Unread(VALIDATION, MISSING, why));
            }
        }
        let flag = |name: &str, default| match matcher.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => {
                let why = format!("matchers.{place}.{name} is neither true nor false");
                Err(unread("silence", &why))
            }
        };
        let op = match (flag("isEqual", true)?, flag("isRegex", false)?) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        };
        let text = |name| Ok::<_, Refusal>(text(matcher, name, "silence")?.unwrap_or_default());
        Matcher::new(text("name")?, op, text("value")?).map_err(|error| {
            bad_request(format!(
                "invalid silence: invalid label matcher {place}: {error}"
            ))
        })
    };
    matchers.iter().enumerate().map(read).collect()
}

fn write_alert(json: &mut Json, view: &AlertView) {
    let alert = &view.alert;
    json.object(|json| {
        json.key("annotations").object(|json| {
            for (name, value) in alert.annotations.iter() {
                json.key(name).string(value);
            }
        });
        json.key("endsAt").string(&date_time(alert.span.ends_at));
        json.key("fingerprint")
            .string(&view.fingerprint.to_string());
        json.key("receivers").array(|json| {
            for name in &view.receivers {
                json.object(|json| {
                    json.key("name").string(name);
                });
            }
        });
        json.key("startsAt")
            .string(&date_time(alert.span.starts_at));
        json.key("status").object(|json| {
            let by: Vec<String> = view.inhibited_by.iter().map(ToString::to_string).collect();
            json.key("inhibitedBy")
                .strings(by.iter().map(String::as_str));
            json.key("mutedBy")
                .strings(view.muted_by.iter().map(String::as_str));
            json.key("silencedBy")
                .strings(view.silenced_by.iter().map(String::as_str));
            json.key("state").string(if view.is_suppressed() {
                "suppressed"
            } else {
                "active"
            });
        });
        json.key("updatedAt")
            .string(&date_time(alert.span.updated_at));
        if !alert.generator_url.is_empty() {
            json.key("generatorURL").string(&alert.generator_url);
        }
        json.key("labels").labels(&alert.labels);
    });
}

fn write_group(json: &mut Json, group: &GroupView) {
    json.object(|json| {
        json.key("alerts").array(|json| {
            for view in &group.alerts {
                write_alert(json, view);
            }
        });
        json.key("labels").labels(&group.labels);
        json.key("receiver").object(|json| {
            json.key("name").string(&group.receiver);
        });
        json.key("routeLabels").object(|json| {
            for (name, value) in &group.route_labels {
                json.key(name).string(value);
            }
        });
    });
}

fn write_silence(json: &mut Json, silence: &Silence, now: TimestampMs) {
    let request = &silence.request;
    json.object(|json| {
        json.key("id").string(&silence.id);
        json.key("status").object(|json| {
            json.key("state").string(silence.state(now).name());
        });
        json.key("updatedAt").string(&date_time(silence.updated_at));
        json.key("annotations").object(|json| {
            for (name, value) in &request.annotations {
                json.key(name).string(value);
            }
        });
        json.key("comment").string(&request.comment);
        json.key("createdBy").string(&request.created_by);
        json.key("endsAt").string(&date_time(request.ends_at));
        json.key("matchers").array(|json| {
            for matcher in request.matcher_sets.iter().flatten() {
                let op = matcher.op();
                json.object(|json| {
                    json.key("isEqual")
                        .raw(matches!(op, MatchOp::Equal | MatchOp::Regex));
                    json.key("isRegex")
                        .raw(matches!(op, MatchOp::Regex | MatchOp::NotRegex));
                    json.key("name").string(matcher.name());
                    json.key("value").string(matcher.value());
                });
            }
        });
        json.key("startsAt").string(&date_time(request.starts_at));
    });
}

fn alert_filter(form: &Form) -> Result<AlertFilter, Refusal> {
    let receiver = form.get("receiver").map(AnchoredRegex::new).transpose();
    Ok(AlertFilter {
        matchers: matchers(form, "filter").map_err(bad_request)?,
        receiver: receiver
            .map_err(|error| bad_request(format!("failed to parse receiver param: {error}")))?,
        receiver_matchers: matchers(form, "receiver_matchers").map_err(bad_request)?,
        active: flag(form, "active"),
        silenced: flag(form, "silenced"),
        inhibited: flag(form, "inhibited"),
        muted: flag(form, "muted"),
    })
}

/// Returns the matchers of all parameters called `name`: one in each, as Alertmanager has it, or several where that reads as none.
fn matchers(form: &Form, name: &str) -> Result<Vec<Matcher>, String> {
    let mut all = Vec::new();
    for text in form.all(name) {
        match parse_matcher(text, MatcherMode::Fallback) {
            Ok(matcher) => all.push(matcher),
            Err(_) => all.extend(parse_matchers(text, MatcherMode::Fallback)?.matchers),
        }
    }
    Ok(all)
}

/// Returns a truth value; what is not given, or empty, is true; what is no word for true is false.
fn flag(form: &Form, name: &str) -> bool {
    let word = form.get(name).filter(|word| !word.is_empty());
    word.is_none_or(|word| {
        matches!(
            word.to_ascii_lowercase().as_str(),
            "true" | "1" | "yes" | "ok" | "y" | "on" | "selected" | "checked" | "t" | "enabled"
        )
    })
}

fn parsed(what: &str, body: &[u8]) -> Result<Value, Refusal> {
    required(what, body)?;
    serde_json::from_slice(body).map_err(|error| unread(what, &error.to_string()))
}

fn required(what: &str, body: &[u8]) -> Result<(), Refusal> {
    if body.is_empty() {
        let why = format!("{what} in body is required");
        return Err(Refusal::Unread(VALIDATION, MISSING, why));
    }
    Ok(())
}

fn text(item: &Value, name: &str, body: &str) -> Result<Option<String>, Refusal> {
    match item.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(unread(body, &format!("{name} is no text"))),
    }
}

fn texts(item: &Value, name: &str, body: &str) -> Result<BTreeMap<String, String>, Refusal> {
    match item.get(name) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(pairs)) => pairs
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) => Ok((name.clone(), text.clone())),
                _ => Err(unread(body, &format!("{name} is no text"))),
            })
            .collect(),
        Some(_) => Err(unread(body, &format!("{name} is no object"))),
    }
}

/// Go's zero time, which stands for none.
const ZERO_TIME: TimestampMs = TimestampMs(-62_135_596_800_000);

fn time(item: &Value, name: &str, body: &str) -> Result<Option<TimestampMs>, Refusal> {
    let Some(text) = text(item, name, body)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let at = parameters::parse_rfc3339(&text);
    at.map(Some)
        .ok_or_else(|| unread(body, &format!("{name} is no time: {text:?}")))
}

/// Returns a time as the API writes it: with three decimals, always.
fn date_time(at: TimestampMs) -> String {
    let text = promql::number::rfc3339(at.0);
    let seconds = text.trim_end_matches('Z');
    let seconds = seconds
        .split_once('.')
        .map_or(seconds, |(seconds, _)| seconds);
    format!("{seconds}.{:03}Z", at.0.rem_euclid(1_000))
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Returns a random UUID of version 4.
fn random_uuid() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no randomness: {error}"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    ))
}

fn data(write: impl FnOnce(&mut Json)) -> Response {
    let mut json = Json::default();
    write(&mut json);
    respond(StatusCode::OK, json)
}

fn respond(status: StatusCode, json: Json) -> Response {
    match json.finish() {
        Ok(mut body) => {
            body.push(b'\n');
            Response::new(status, "application/json", body)
        }
        // Nobody keeps an account of these.
        Err(error) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

fn bad_request(why: impl Into<String>) -> Refusal {
    Refusal::Text(StatusCode::BAD_REQUEST, why.into())
}

fn internal(error: &impl fmt::Display) -> Refusal {
    Refusal::Text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn unread(what: &str, why: &str) -> Refusal {
    let why = format!("parsing {what} body from \"\" failed, because {why}");
    Refusal::Unread(StatusCode::BAD_REQUEST, 400, why)
}

impl Refusal {
    fn why(&self) -> &str {
        match self {
            Self::Text(_, why) | Self::Unread(_, _, why) => why,
        }
    }

    fn response(self) -> Response {
        let mut json = Json::default();
        match self {
            Self::Text(status, why) => {
                json.string(&why);
                respond(status, json)
            }
            Self::Unread(status, code, why) => {
                json.object(|json| {
                    json.key("code").raw(code);
                    json.key("message").string(&why);
                });
                respond(status, json)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alerting::{EventKind, Fingerprint, Late};
    use model::Labels;

    use super::*;

    #[test]
    fn late_events_say_of_which_span_they_tell() {
        let event = Event {
            number: 7,
            at: TimestampMs(90_000),
            alerts: vec![Fingerprint(1)],
            labels: Labels::from_pairs([("alertname", "A")]).unwrap(),
            group: String::new(),
            receiver: String::new(),
            kind: EventKind::Late,
            detail: "fired".to_owned(),
            late: Some(Late {
                start: TimestampMs(1_000),
                end: TimestampMs(2_500),
                fired: true,
            }),
        };
        let mut json = Json::default();
        show_event(&mut json, &event);
        let shown: Value = serde_json::from_slice(&json.finish().unwrap()).unwrap();
        let expected = serde_json::json!({
            "number": 7,
            "time": "1970-01-01T00:01:30.000Z",
            "event": "late",
            "detail": "fired",
            "group": "",
            "receiver": "",
            "alerts": ["0000000000000001"],
            "labels": {"alertname": "A"},
            "late": {
                "start": "1970-01-01T00:00:01.000Z",
                "end": "1970-01-01T00:00:02.500Z",
                "fired": true,
            },
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_filter_is_one_matcher_or_several() {
        let read = |text: &str| {
            let found = matchers(&Form::default().with("filter", text), "filter")?;
            let texts = found.iter().map(alerting::format_matcher);
            Ok::<_, String>(texts.collect::<Vec<_>>().join(" "))
        };
        for (text, expected) in [
            ("a=b", r#"a="b""#),
            ("a=b,c=d", r#"a="b,c=d""#),
            (r#"a="b",c="d""#, r#"a="b" c="d""#),
            (r#"{a="b"}"#, r#"a="b""#),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()), "{text}");
        }
        assert_eq!(read("a"), Err("bad matcher format: a".to_owned()));
    }

    #[test]
    fn an_empty_word_is_what_holds_without_it() {
        for (word, expected) in [("", true), ("true", true), ("1", true), ("no", false)] {
            let form = Form::default().with("active", word);
            assert_eq!(flag(&form, "active"), expected, "{word:?}");
        }
        assert!(flag(&Form::default(), "active"));
    }

    #[test]
    fn what_is_no_silence_is_refused() {
        let silence = |matchers: &str| {
            format!(
                r#"{{"matchers": {matchers}, "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "", "comment": ""}}"#
            )
        };
        let good = silence(r#"[{"name": "a", "value": "b", "isRegex": false}]"#);
        let request = parsed("silence", good.as_bytes()).and_then(|item| silence_request(&item));
        assert!(request.is_ok(), "{request:?}");
        for (body, why) in [
            (String::new(), "silence in body is required"),
            ("[]".to_owned(), "it is no object"),
            (
                silence("[]"),
                "matchers in body should have at least 1 items",
            ),
            (
                silence(r#"[{"name": "a", "value": "b", "isRegex": "false"}]"#),
                "matchers.0.isRegex is neither true nor false",
            ),
            (
                silence(r#"[{"name": "a", "value": "b", "isRegex": false, "isEqual": 1}]"#),
                "matchers.0.isEqual is neither true nor false",
            ),
            (
                silence(r#"[{"name": "a", "value": "b"}]"#),
                "matchers.0.isRegex in body is required",
            ),
        ] {
            let request = parsed("silence", body.as_bytes());
            let refusal = request.and_then(|item| silence_request(&item)).unwrap_err();
            assert!(refusal.why().contains(why), "{body}: {}", refusal.why());
        }
    }

    #[test]
    fn times_have_three_decimals() {
        assert_eq!(date_time(TimestampMs(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(date_time(TimestampMs(1_120)), "1970-01-01T00:00:01.120Z");
        assert_eq!(date_time(TimestampMs(-1)), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn names_of_silences_are_uuids() {
        let id = random_uuid().unwrap();
        assert!(is_uuid(&id), "{id}");
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(!is_uuid("zzz") && !is_uuid("silence-1"));
    }

    #[test]
    fn paths_are_found_whole() {
        assert_eq!(V2::find("alerts/groups"), Some(V2::AlertGroups));
        assert_eq!(V2::find("silence/a"), Some(V2::Silence("a".to_owned())));
        assert_eq!(V2::find("silence/a/b"), None);
        assert_eq!(V2::find("alerts/"), None);
    }
}
