//! Roles: Amazon's STS gives keys for a while to whoever may take one.

use super::super::exchange::{Answer, Request};
use super::super::rendering::Rendered;
use super::super::text::form;
use super::credentials::Keys;
use super::signature::Signer;
use super::{Place, domain};
use crate::config::Settings;

const SERVICE: &str = "sts";
const API_VERSION: &str = "2011-06-15";
/// What the session is called in Amazon's logs.
const SESSION: &str = "promontory";
/// The shortest that there is, in seconds: the keys are used once, at once.
const DURATION: &str = "900";

/// The role that `sigv4` asks for.
#[derive(Clone)]
pub(super) struct Role {
    arn: String,
    external_id: String,
    is_fips: bool,
}

impl Role {
    pub(super) fn of(sigv4: &Settings) -> Option<Self> {
        sigv4.has("role_arn").then(|| Self {
            arn: sigv4.text("role_arn").to_owned(),
            external_id: sigv4.text("external_id").to_owned(),
            is_fips: sigv4.flag("use_fips_sts_endpoint"),
        })
    }

    /// Returns the request for its keys.
    pub(super) fn request(&self, place: &Place, at_ms: i64) -> Rendered<Request> {
        let mut parameters = vec![
            ("Action", "AssumeRole"),
            ("DurationSeconds", DURATION),
            ("RoleArn", &self.arn),
            ("RoleSessionName", SESSION),
            ("Version", API_VERSION),
        ];
        if !self.external_id.is_empty() {
            parameters.push(("ExternalId", &self.external_id));
        }
        let host = if self.is_fips { "sts-fips" } else { SERVICE };
        let region = &place.region;
        let url = format!("https://{host}.{region}.{}/", domain(region));
        let signer = Signer {
            keys: place.keys.clone(),
            region: region.clone(),
            service: SERVICE,
        };
        signer.post(&url, &form(&parameters), at_ms)
    }

    /// Returns the keys that an answer gives.
    pub(super) fn keys_in(answer: &Answer) -> Option<Keys> {
        let text = std::str::from_utf8(&answer.body).ok()?;
        Some(Keys {
            access_key: element(text, "AccessKeyId")?,
            secret_key: element(text, "SecretAccessKey")?,
            session_token: element(text, "SessionToken")?,
        })
    }
}

/// Returns the text of the one element of this name. Keys are made of characters that XML leaves as they are.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}
