//! WeChat Work: a token first, then the message.

use http_shell::Method;

use super::exchange::{Answer, Request, Step};
use super::json::Object;
use super::rendering::{Rendered, Rendering};
use super::text::{below, form};
use crate::notification::{Failure, FailureKind};

/// The token is too old.
const EXPIRED: i64 = 42_001;
/// The service has no time.
const BUSY: i64 = -1;
/// Too many calls.
const TOO_MANY: i64 = 45_009;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let settings = rendering.settings();
    let secret = rendering.needed_secret("api_secret", "api_secret_file")?;
    let corporation = rendering.text("corp_id")?;
    let content = Object::default().with("content", rendering.text("message")?);
    let empty = Object::default().with("content", "");
    let kind = settings.text("message_type").to_owned();
    let (text, markdown) = match kind.as_str() {
        "markdown" => (empty, content),
        _ => (content, empty),
    };
    let body = Object::default()
        .with("text", text)
        .with_text("touser", rendering.text("to_user")?)
        .with_text("toparty", rendering.text("to_party")?)
        .with_text("totag", rendering.text("to_tag")?)
        .with_text("agentid", rendering.text("agent_id")?)
        .with("safe", "0")
        .with_text("msgtype", kind)
        .with("markdown", markdown);
    let parameters = form(&[("corpsecret", &secret), ("corpid", &corporation)]);
    let api = settings.text("api_url");
    let url = format!("{}?{parameters}", below(api, "gettoken"));
    let send = below(api, "message/send");
    let get = Request::new(Method::GET, url, Vec::new());
    Ok(get.then(move |answer| with_token(answer, &send, body)))
}

fn with_token(answer: &Answer, url: &str, body: Object) -> Step {
    let json = answer.json().unwrap_or_default();
    match json["access_token"]
        .as_str()
        .filter(|token| !token.is_empty())
    {
        Some(token) => {
            let url = format!("{url}?{}", form(&[("access_token", token)]));
            Request::json(url, body.into_body()).then(taken)
        }
        None => Step::give_up(answer.failure(
            FailureKind::Unauthorized,
            "WeChat gives no token for this secret and corporation",
        )),
    }
}

/// Understands an answer with a status of success.
fn taken(answer: &Answer) -> Step {
    let code = answer.json().and_then(|json| json["errcode"].as_i64());
    let failure = |kind| answer.failure(kind, "WeChat refused the message");
    match code {
        Some(0) => Step::delivered(),
        Some(EXPIRED | BUSY) => Step::retry(failure(FailureKind::Server)),
        Some(TOO_MANY) => Step::retry(failure(FailureKind::RateLimited)),
        Some(_) => Step::give_up(failure(FailureKind::Client)),
        None => Step::retry(Failure {
            kind: FailureKind::Server,
            reason: "the answer has no code".to_owned(),
        }),
    }
}
