//! Version 4 of Amazon's signatures, for requests that post a form.

use ring::hmac::{HMAC_SHA256, Key, sign};
use template::Time;

use super::super::text::{hash, hex};

/// The type of what is posted.
pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SIGNED_HEADERS: &str = "content-type;host;x-amz-date";

/// Who signs, and for what.
pub(super) struct Signer {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) region: String,
    pub(super) service: &'static str,
}

/// Headers of a signed request.
pub(super) struct Signed {
    pub(super) date: String,
    pub(super) authorization: String,
}

impl Signer {
    /// Signs a request without query at an instant in milliseconds; `None` when the URL is none.
    pub(super) fn sign(&self, url: &str, body: &[u8], at_ms: i64) -> Option<Signed> {
        self.sign_as(FORM, url, body, at_ms)
    }

    fn sign_as(&self, content_type: &str, url: &str, body: &[u8], at_ms: i64) -> Option<Signed> {
        let (_, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let date = basic_date(at_ms);
        let day = date.get(..8)?;
        let body = std::str::from_utf8(body).ok()?;
        let canonical = format!(
            "POST\n/{path}\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{date}\n\n{SIGNED_HEADERS}\n{}",
            hash(body)
        );
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hash(&canonical));
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, &self.region, self.service, "aws4_request", &to_sign] {
            key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes())
                .as_ref()
                .to_vec();
        }
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={}",
            self.access_key,
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
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
            service: "service",
        };
        let signed = signer
            .sign_as(
                "application/x-www-form-urlencoded",
                "https://example.amazonaws.com/",
                b"Param1=value1",
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
