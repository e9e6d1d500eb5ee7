//! Version 4 of Amazon's signatures, for requests that post a form.

use http_shell::Method;
use http_shell::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use ring::hmac::{HMAC_SHA256, Key, sign};
use template::Time;

use super::super::exchange::Request;
use super::super::rendering::{Rendered, fail};
use super::super::text::{hash, hex};
use super::credentials::Keys;

/// The type of what is posted.
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs, and for what.
pub(super) struct Signer {
    pub(super) keys: Keys,
    pub(super) region: String,
    pub(super) service: &'static str,
}

/// What a signature adds to a request.
struct Signed {
    date: String,
    authorization: String,
}

impl Signer {
    /// Returns a signed request that posts a form to a URL without query, at an instant in milliseconds.
    pub(super) fn post(&self, url: &str, form: &str, at_ms: i64) -> Rendered<Request> {
        let signed = self.sign(FORM, url, form, at_ms);
        let signed = signed.ok_or_else(|| fail("api_url is no URL"))?;
        let request = Request::new(Method::POST, url, form.as_bytes().to_vec())
            .with(CONTENT_TYPE, FORM.to_owned())
            .with(HeaderName::from_static("x-amz-date"), signed.date)
            .with(AUTHORIZATION, signed.authorization);
        Ok(match self.keys.session_token.as_str() {
            "" => request,
            token => request.with(
                HeaderName::from_static("x-amz-security-token"),
                token.to_owned(),
            ),
        })
    }

    fn sign(&self, content_type: &str, url: &str, form: &str, at_ms: i64) -> Option<Signed> {
        let (_, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let date = basic_date(at_ms);
        let day = date.get(..8)?;
        let mut headers = vec![
            ("content-type", content_type),
            ("host", host),
            ("x-amz-date", &date),
        ];
        if !self.keys.session_token.is_empty() {
            headers.push(("x-amz-security-token", &self.keys.session_token));
        }
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"));
        let lines: String = lines.collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let canonical = format!("POST\n/{path}\n\n{lines}\n{names}\n{}", hash(form));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hash(&canonical));
        let mut key = format!("AWS4{}", self.keys.secret_key).into_bytes();
        for part in [day, &self.region, self.service, "aws4_request", &to_sign] {
            key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes())
                .as_ref()
                .to_vec();
        }
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.keys.access_key,
            hex(&key)
        );
        Some(Signed {
            date,
            authorization,
        })
    }
}

/// Returns an instant as `20150830T123600Z`.
fn basic_date(at_ms: i64) -> String {
    let civil = Time::from_unix_ms(at_ms).civil();
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case of Amazon's own test suite, with its example keys.
    #[test]
    fn a_form_is_signed_as_amazon_signs_it() {
        let signer = Signer {
            keys: Keys {
                access_key: "AKIDEXAMPLE".to_owned(),
                secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
                session_token: String::new(),
            },
            region: "us-east-1".to_owned(),
            service: "service",
        };
        let signed = signer
            .sign(
                "application/x-www-form-urlencoded",
                "https://example.amazonaws.com/",
                "Param1=value1",
                1_440_938_160_000,
            )
            .unwrap();
        assert_eq!(signed.date, "20150830T123600Z");
        assert_eq!(
            signed.authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }
}
