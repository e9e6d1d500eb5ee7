//! Join tokens: what an operator carries from the aggregator to a new agent.
//!
//! The text is `promontory_v1_` and the base32 of
//!
//! | bytes | content |
//! |---|---|
//! | 8 | id: names the token in lists; not secret |
//! | 20 | secret |
//! | 32 | SHA-256 of the authority's root certificate (DER) |
//! | 4 | the first bytes of the SHA-256 of `promontory_v1_` and the 60 bytes before: finds typing errors |
//!
//! The agent shows only id and secret ([`JoinToken::credential`]), and only to a server whose chain holds that root. How often and
//! how long a token may be used is kept by the aggregator, beside the secret's digest.

use std::fmt;
use std::str::FromStr;

use crate::authority::Fingerprint;
use crate::crypto::{NoRandomness, random, sha256};
use crate::text::{base32, from_base32};

const PREFIX: &str = "promontory_v1_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 20;
const CHECK_BYTES: usize = 4;
const BODY_BYTES: usize = ID_BYTES + SECRET_BYTES + 32;

/// Names a token; not secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; ID_BYTES]);

/// A token's secret: never shown by `Debug`, never stored by the aggregator.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret([u8; SECRET_BYTES]);

/// What an agent shows to join: a token without the fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Which token.
    pub id: TokenId,
    /// The proof of having it.
    pub secret: TokenSecret,
}

/// A whole join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    credential: Credential,
    authority: Fingerprint,
}

/// Why a text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else altogether.
    #[error(
        "not a join token: it must begin with {PREFIX:?}; make one with `promontory token create`"
    )]
    Prefix,
    /// Characters are missing or added.
    #[error(
        "join token is incomplete: it has {found} characters after {PREFIX:?} instead of {}; copy it again",
        text_length()
    )]
    Length {
        /// Characters after the prefix.
        found: usize,
    },
    /// A character was changed.
    #[error("join token is mistyped: its checksum does not match; copy it again")]
    Checksum,
    /// What was shown as id and secret has another form.
    #[error("malformed credential: it must be the id and the secret of a join token")]
    Credential,
}

const fn text_length() -> usize {
    ((BODY_BYTES + CHECK_BYTES) * 8).div_ceil(5)
}

impl JoinToken {
    /// Makes a new token for the authority with the fingerprint `authority`.
    pub fn generate(authority: Fingerprint) -> Result<Self, NoRandomness> {
        Ok(Self {
            credential: Credential {
                id: TokenId(random()?),
                secret: TokenSecret(random()?),
            },
            authority,
        })
    }

    /// Returns the token's id.
    pub fn id(&self) -> TokenId {
        self.credential.id
    }

    /// Returns what the agent shows to join.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the fingerprint of the authority that the server must belong to.
    pub fn authority(&self) -> Fingerprint {
        self.authority
    }

    /// Returns the token as the operator carries it; secret.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(BODY_BYTES + CHECK_BYTES);
        bytes.extend_from_slice(&self.credential.id.0);
        bytes.extend_from_slice(&self.credential.secret.0);
        bytes.extend_from_slice(&self.authority.0);
        let check = sha256(&[PREFIX.as_bytes(), &bytes]);
        bytes.extend_from_slice(&check[..CHECK_BYTES]);
        format!("{PREFIX}{}", base32(&bytes))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        if digits.len() != text_length() {
            return Err(TokenError::Length {
                found: digits.chars().count(),
            });
        }
        let bytes = from_base32(digits).ok_or(TokenError::Checksum)?;
        let (body, check) = bytes
            .split_at_checked(BODY_BYTES)
            .ok_or(TokenError::Checksum)?;
        if sha256(&[PREFIX.as_bytes(), body])[..CHECK_BYTES] != *check {
            return Err(TokenError::Checksum);
        }
        let (id, rest) = body.split_at(ID_BYTES);
        let (secret, authority) = rest.split_at(SECRET_BYTES);
        Ok(Self {
            credential: Credential {
                id: TokenId(id.try_into().expect("split there")),
                secret: TokenSecret(secret.try_into().expect("split there")),
            },
            authority: Fingerprint(authority.try_into().expect("the body's length is fixed")),
        })
    }
}

impl Credential {
    /// Returns the credential as it is sent; secret.
    pub fn to_text(&self) -> String {
        format!("{}.{}", base32(&self.id.0), base32(&self.secret.0))
    }
}

impl FromStr for Credential {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > 2 * (ID_BYTES + SECRET_BYTES) + 1 {
            return Err(TokenError::Credential);
        }
        let (id, secret) = text.split_once('.').ok_or(TokenError::Credential)?;
        let secret = from_base32(secret).and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            id: id.parse()?,
            secret: TokenSecret(secret.ok_or(TokenError::Credential)?),
        })
    }
}

impl TokenSecret {
    /// Returns what the aggregator keeps instead of the secret; comparing digests tells nothing about the secret by its timing.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[b"promontory join secret", &self.0])
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bytes = from_base32(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(TokenError::Credential)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken::generate(Fingerprint([7; 32])).unwrap()
    }

    #[test]
    fn tokens_and_credentials_come_back() {
        let token = token();
        let text = token.to_text();
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        assert_eq!(
            token.credential().to_text().parse(),
            Ok(token.credential().clone())
        );
        assert_eq!(token.id().to_string().parse(), Ok(token.id()));
        assert!(!format!("{token:?}").contains(&base32(&token.credential.secret.0)));
    }

    #[test]
    fn every_mistyped_character_is_found() {
        let text = token().to_text();
        for at in PREFIX.len()..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let mistyped = String::from_utf8(bytes).unwrap();
            assert_eq!(mistyped.parse::<JoinToken>(), Err(TokenError::Checksum));
        }
    }

    #[test]
    fn other_texts_say_what_is_wrong() {
        let text = token().to_text();
        let short = text.get(..text.len() - 1).unwrap();
        assert_eq!(
            short.parse::<JoinToken>(),
            Err(TokenError::Length { found: 102 })
        );
        assert_eq!("glsa_abc".parse::<JoinToken>(), Err(TokenError::Prefix));
        assert_eq!("".parse::<JoinToken>(), Err(TokenError::Prefix));
        for bad in ["", ".", "a.b", "aaaaaaaaaaaaa.", &"a".repeat(1_000)] {
            assert_eq!(
                bad.parse::<Credential>(),
                Err(TokenError::Credential),
                "{bad}"
            );
        }
    }
}
