//! Join tokens: made, listed, used, revoked; kept in a small database, their secrets only as digests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use files::{KeyValue, KeyValueError};
use model::TimestampMs;
use transport::{
    Credential, Fingerprint, JoinToken, NoRandomness, PeerIdentity, PeerIdentityError, TokenId,
};
use wire::JoinRefusal;

const TABLE: &str = "join_tokens";
/// The most tokens kept; those that can no longer be used make room first.
const TOKENS_MAX: u64 = 10_000;
const RECORD_VERSION: u8 = 1;

/// What a new token allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTerms {
    /// The cluster that its agents belong to.
    pub cluster: Option<String>,
    /// Their tenant.
    pub tenant: Option<String>,
    /// How long it can be used; `None`: until it is revoked.
    pub expires: Option<Duration>,
    /// How many agents may join with it; `None`: any number.
    pub uses: Option<u32>,
}

/// A token, as it is listed; its secret is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Which.
    pub id: TokenId,
    /// The cluster that its agents belong to.
    pub cluster: Option<String>,
    /// Their tenant.
    pub tenant: Option<String>,
    /// When it was made.
    pub created: TimestampMs,
    /// When it ends; `None`: never.
    pub expires: Option<TimestampMs>,
    /// How many agents may join with it; `None`: any number.
    pub uses_max: Option<u32>,
    /// How many have.
    pub used: u32,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Why a token was not made, changed or listed.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] KeyValueError),
    /// There are too many.
    #[error("there are {0} join tokens already, as many as are kept; revoke some")]
    TooMany(u64),
    /// Nothing has this id.
    #[error("there is no join token {0}; `promontory token list` shows those there are")]
    Unknown(TokenId),
    /// The names in its terms break the rule.
    #[error(transparent)]
    Terms(#[from] PeerIdentityError),
    /// The system gave no randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Why an agent may not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The agent can do something about it, or at least say what is wrong.
    #[error("{message}")]
    Refused {
        /// For the agent and the counters.
        reason: JoinRefusal,
        /// For people.
        message: String,
    },
    /// The database failed; trying again later can succeed.
    #[error(transparent)]
    Database(#[from] KeyValueError),
}

/// All join tokens of an aggregator.
#[derive(Debug)]
pub struct Tokens {
    database: Arc<KeyValue>,
    authority: Fingerprint,
}

impl Tokens {
    /// Returns the tokens in `database`, whose other tables may have other owners; new ones carry the fingerprint of `authority`.
    pub fn new(database: impl Into<Arc<KeyValue>>, authority: Fingerprint) -> Self {
        Self {
            database: database.into(),
            authority,
        }
    }

    /// Returns the database that they are in, for what else is small and has to survive (see [`Agents::keep_in`](crate::Agents::keep_in)).
    pub fn database(&self) -> Arc<KeyValue> {
        Arc::clone(&self.database)
    }

    /// Makes a token. The text of what is returned is the only place where its secret ever stands.
    pub fn create(&self, terms: &TokenTerms, now: TimestampMs) -> Result<JoinToken, TokensError> {
        let anyone = "a".parse().map_err(PeerIdentityError::from)?;
        PeerIdentity::new(anyone, terms.cluster.as_deref(), terms.tenant.as_deref())?;
        let count = self.database.count(TABLE)?;
        if count >= TOKENS_MAX && self.remove_useless(now)? == 0 {
            return Err(TokensError::TooMany(count));
        }
        let token = JoinToken::generate(self.authority)?;
        let record = Record {
            digest: token.credential().secret.digest(),
            info: TokenInfo {
                id: token.id(),
                cluster: terms.cluster.clone(),
                tenant: terms.tenant.clone(),
                created: now,
                expires: terms.expires.map(|expires| now + expires),
                uses_max: terms.uses,
                used: 0,
                revoked: false,
            },
        };
        self.database
            .put(TABLE, &key(token.id()), &record.encode())?;
        Ok(token)
    }

    /// Returns all tokens, by id.
    pub fn list(&self) -> Result<Vec<TokenInfo>, TokensError> {
        let limit = usize::try_from(TOKENS_MAX).unwrap_or(usize::MAX);
        let pairs = self.database.scan(TABLE, &[], None, limit)?;
        Ok(pairs
            .iter()
            .filter_map(|(key, value)| Some(Record::decode(id_of(key)?, value)?.info))
            .collect())
    }

    /// Makes a token useless; agents that have joined with it stay.
    pub fn revoke(&self, id: TokenId) -> Result<(), TokensError> {
        self.database.write(|batch| {
            let stored = batch
                .get(TABLE, &key(id))?
                .and_then(|value| Record::decode(id, &value));
            let mut record = stored.ok_or(TokensError::Unknown(id))?;
            record.info.revoked = true;
            batch.put(TABLE, &key(id), &record.encode())?;
            Ok(())
        })
    }

    /// Uses a token once: returns the cluster and tenant of whoever shows it, or why it is not accepted.
    pub fn redeem(
        &self,
        credential: &Credential,
        now: TimestampMs,
    ) -> Result<TokenInfo, JoinError> {
        let refuse = |reason, message: &str| JoinError::Refused {
            reason,
            message: message.to_owned(),
        };
        self.database.write(|batch| {
            let id = credential.id;
            let stored = batch.get(TABLE, &key(id))?.and_then(|value| Record::decode(id, &value));
            // A wrong secret and a wrong id look alike, so that ids cannot be probed.
            let mut record = stored.filter(|record| record.digest == credential.secret.digest()).ok_or_else(|| {
                refuse(JoinRefusal::UnknownToken, "this aggregator has no such join token; make one with `promontory token create`")
            })?;
            let info = &mut record.info;
            if info.revoked {
                return Err(refuse(JoinRefusal::Revoked, "the join token was revoked; ask for another"));
            }
            if info.expires.is_some_and(|expires| expires <= now) {
                return Err(refuse(JoinRefusal::Expired, "the join token has expired; ask for another"));
            }
            if info.uses_max.is_some_and(|uses_max| info.used >= uses_max) {
                return Err(refuse(JoinRefusal::UsedUp, "the join token was used as often as it may be; ask for another"));
            }
            info.used = info.used.saturating_add(1);
            batch.put(TABLE, &key(id), &record.encode())?;
            Ok(record.info)
        })
    }

    fn remove_useless(&self, now: TimestampMs) -> Result<usize, TokensError> {
        let useless: Vec<TokenInfo> = self
            .list()?
            .into_iter()
            .filter(|token| !token.is_usable(now))
            .collect();
        self.database.write(|batch| {
            for token in &useless {
                batch.delete(TABLE, &key(token.id))?;
            }
            Ok(useless.len())
        })
    }
}

impl TokenInfo {
    /// Returns whether an agent could join with it now.
    pub fn is_usable(&self, now: TimestampMs) -> bool {
        !self.revoked
            && self.expires.is_none_or(|expires| now < expires)
            && self.uses_max.is_none_or(|uses_max| self.used < uses_max)
    }
}

fn key(id: TokenId) -> Vec<u8> {
    id.to_string().into_bytes()
}

fn id_of(key: &[u8]) -> Option<TokenId> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// What is stored of a token: version, digest, created, expires (`i64::MAX`: never), uses allowed (`u32::MAX`: any number), uses,
/// revoked, then cluster and tenant, each with its length; integers little-endian.
struct Record {
    digest: [u8; 32],
    info: TokenInfo,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![RECORD_VERSION];
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.info.created.0.to_le_bytes());
        out.extend_from_slice(&self.info.expires.map_or(i64::MAX, |at| at.0).to_le_bytes());
        out.extend_from_slice(&self.info.uses_max.unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&self.info.used.to_le_bytes());
        out.push(u8::from(self.info.revoked));
        for name in [&self.info.cluster, &self.info.tenant] {
            let name = name.as_deref().unwrap_or_default();
            // Names are at most 253 bytes: `create` has checked them.
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    fn decode(id: TokenId, bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != RECORD_VERSION {
            return None;
        }
        let digest = take(&mut rest)?;
        let created = TimestampMs(i64::from_le_bytes(take(&mut rest)?));
        let expires = Some(i64::from_le_bytes(take(&mut rest)?))
            .filter(|at| *at != i64::MAX)
            .map(TimestampMs);
        let uses_max = Some(u32::from_le_bytes(take(&mut rest)?)).filter(|uses| *uses != u32::MAX);
        let used = u32::from_le_bytes(take(&mut rest)?);
        let [revoked] = take(&mut rest)?;
        let (cluster, tenant) = (take_name(&mut rest)?, take_name(&mut rest)?);
        let info = TokenInfo {
            id,
            cluster,
            tenant,
            created,
            expires,
            uses_max,
            used,
            revoked: revoked != 0,
        };
        Some(Self { digest, info })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[expect(
    clippy::option_option,
    reason = "no record at all, and a record without a name"
)]
fn take_name(rest: &mut &[u8]) -> Option<Option<String>> {
    let [length] = take(rest)?;
    let (name, left) = rest.split_at_checked(usize::from(length))?;
    *rest = left;
    let name = std::str::from_utf8(name).ok()?;
    Some(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

impl fmt::Display for TokenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use files::{FileSystem, Simulated};

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000_000);

    fn tokens(disk: &Simulated) -> Tokens {
        let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
        let database = KeyValue::open(files, Path::new("/tokens.redb")).expect("opened");
        Tokens::new(database, Fingerprint([7; 32]))
    }

    fn refusal(result: Result<TokenInfo, JoinError>) -> JoinRefusal {
        match result.expect_err("refused") {
            JoinError::Refused { reason, .. } => reason,
            JoinError::Database(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_token_works_as_long_and_as_often_as_its_terms_say() {
        let disk = Simulated::new();
        let tokens = tokens(&disk);
        let terms = TokenTerms {
            cluster: Some("prod".to_owned()),
            expires: Some(Duration::from_secs(60)),
            uses: Some(2),
            ..TokenTerms::default()
        };
        let token = tokens.create(&terms, NOW).expect("made");
        let parsed: JoinToken = token.to_text().parse().expect("its own text");
        assert_eq!(parsed.authority(), Fingerprint([7; 32]));
        for used in 1..=2 {
            let info = tokens.redeem(parsed.credential(), NOW).expect("usable");
            assert_eq!((info.used, info.cluster.as_deref()), (used, Some("prod")));
        }
        assert_eq!(
            refusal(tokens.redeem(parsed.credential(), NOW)),
            JoinRefusal::UsedUp
        );

        let short = tokens.create(&terms, NOW).expect("made");
        let late = NOW + Duration::from_secs(60);
        assert_eq!(
            refusal(tokens.redeem(short.credential(), late)),
            JoinRefusal::Expired
        );
        tokens.revoke(short.id()).expect("revoked");
        assert_eq!(
            refusal(tokens.redeem(short.credential(), NOW)),
            JoinRefusal::Revoked
        );

        let mut forged = token.credential().clone();
        forged.secret = short.credential().secret.clone();
        assert_eq!(
            refusal(tokens.redeem(&forged, NOW)),
            JoinRefusal::UnknownToken
        );
    }

    #[test]
    fn tokens_survive_a_power_cut_and_show_no_secret() {
        let disk = Simulated::new();
        let token = tokens(&disk)
            .create(&TokenTerms::default(), NOW)
            .expect("made");
        disk.crash(1);
        let tokens = tokens(&disk);
        let listed = tokens.list().expect("listed");
        assert_eq!(listed.len(), 1);
        assert!(
            listed[0].is_usable(NOW) && listed[0].uses_max.is_none() && listed[0].expires.is_none()
        );
        let secret = token.credential().to_text();
        assert!(
            !format!("{listed:?} {token:?}").contains(secret.split_once('.').expect("two parts").1)
        );
        assert!(matches!(
            tokens.revoke(
                JoinToken::generate(Fingerprint([0; 32]))
                    .expect("made")
                    .id()
            ),
            Err(TokensError::Unknown(_))
        ));
    }
}
