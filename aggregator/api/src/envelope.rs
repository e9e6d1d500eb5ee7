//! The envelope that every answer of `/api/v1` comes in.

use std::sync::Arc;

use http_shell::{Response, StatusCode};
use storage::BudgetExceeded;

use crate::budget::QueryBudget;
use crate::json::Json;

const CONTENT_TYPE: &str = "application/json";

/// Why a call has no data; names and codes are Prometheus'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorType {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    Unavailable,
    NotFound,
}

impl ErrorType {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // nginx' "client closed request", which has no name in the standard.
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal | Self::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// An answer without data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) kind: ErrorType,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A parameter that cannot be used, in Prometheus' words.
    pub(crate) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorType::BadData,
            format!("invalid parameter \"{name}\": {why}"),
        )
    }

    pub(crate) fn response(&self) -> Response {
        let mut json = Json::default();
        json.object(|json| {
            json.key("status").string("error");
            json.key("errorType").string(self.kind.name());
            json.key("error").string(&self.message);
        });
        enveloped(self.kind.status(), json)
    }
}

impl From<BudgetExceeded> for ApiError {
    fn from(exceeded: BudgetExceeded) -> Self {
        crate::query::refusal(&exceeded.into())
    }
}

impl From<storage::QueryError> for ApiError {
    fn from(error: storage::QueryError) -> Self {
        crate::query::refusal(&error.into())
    }
}

/// What a caller should know about the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

impl Notes {
    /// The warning of a list that `limit` cut.
    pub(crate) fn truncated(truncated: bool) -> Self {
        let warnings = if truncated {
            vec!["results truncated due to limit".to_owned()]
        } else {
            Vec::new()
        };
        Self {
            warnings,
            infos: Vec::new(),
        }
    }
}

/// An answer with data, which `write` writes: something small.
pub(crate) fn success(notes: &Notes, write: impl FnOnce(&mut Json)) -> Response {
    let mut json = Json::default();
    write_success(&mut json, notes, write);
    enveloped(StatusCode::OK, json)
}

/// An answer with data, which `write` writes under a budget: something of any size.
pub(crate) fn success_within(
    budget: &Arc<QueryBudget>,
    notes: &Notes,
    write: impl FnOnce(&mut Json),
) -> Result<Response, ApiError> {
    let mut json = Json::charged_to(Arc::clone(budget));
    write_success(&mut json, notes, write);
    Ok(Response::new(StatusCode::OK, CONTENT_TYPE, json.finish()?))
}

fn write_success(json: &mut Json, notes: &Notes, write: impl FnOnce(&mut Json)) {
    json.object(|json| {
        json.key("status").string("success");
        json.key("data");
        write(json);
        for (key, texts) in [("warnings", &notes.warnings), ("infos", &notes.infos)] {
            if !texts.is_empty() {
                json.key(key).strings(texts.iter().map(String::as_str));
            }
        }
    });
}

fn enveloped(status: StatusCode, json: Json) -> Response {
    let text = json.finish().expect("no budget, no refusal");
    Response::new(status, CONTENT_TYPE, text)
}
