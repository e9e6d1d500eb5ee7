//! Basic authentication against bcrypt hashes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use config::Secret;
use runtime::{Permits, Tasks};

/// Verified pairs that are remembered, because checking one costs some 100 ms of CPU by design.
const REMEMBERED_MAX: usize = 1_000;
/// Hashes checked at once; more wait, so that a flood of wrong passwords cannot take all cores.
const CHECKS_MAX: u32 = 2;

/// Checks users and passwords.
#[derive(Clone)]
pub(crate) struct Authenticator {
    shared: Arc<Shared>,
}

struct Shared {
    users: BTreeMap<String, Secret>,
    /// Two keyed hashes of what was verified: the passwords themselves are not kept.
    keys: [RandomState; 2],
    remembered: Mutex<HashSet<[u64; 2]>>,
    checks: Permits,
    tasks: Tasks,
}

impl Authenticator {
    pub(crate) fn new(users: BTreeMap<String, Secret>, tasks: Tasks) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        let checks = Permits::new("password checks", CHECKS_MAX);
        Self {
            shared: Arc::new(Shared {
                users,
                keys,
                remembered: Mutex::default(),
                checks,
                tasks,
            }),
        }
    }

    /// Returns whether anybody may call without a password.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.users.is_empty()
    }

    /// Returns the user when the header `Authorization` proves one.
    pub(crate) async fn user(&self, authorization: Option<&str>) -> Option<String> {
        let (user, password) = decode_basic(authorization?)?;
        let known = self.shared.users.get(&user);
        let fingerprint = self
            .shared
            .keys
            .each_ref()
            .map(|key| key.hash_one((&user, &password, known.map(Secret::expose))));
        if self.remembered().contains(&fingerprint) {
            return Some(user);
        }
        let is_known = known.is_some();
        // An unknown user's password is checked against somebody's, so that the refusal takes as long as any other.
        let hash = known
            .or_else(|| self.shared.users.values().next())?
            .expose()
            .to_owned();
        let permit = self.shared.checks.acquire(1).await;
        let check = self
            .shared
            .tasks
            .spawn_blocking("check a password", move || {
                let right = bcrypt::verify(&password, &hash).unwrap_or(false);
                drop(permit);
                right
            });
        if !(check.await.unwrap_or(false) && is_known) {
            return None;
        }
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(fingerprint);
        Some(user)
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<[u64; 2]>> {
        // A set of hashes: losing or keeping one costs time at most.
        self.shared
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("users", &self.shared.users.len())
            .finish_non_exhaustive()
    }
}

/// Returns user and password of `Basic <base64>`.
fn decode_basic(header: &str) -> Option<(String, String)> {
    let (scheme, credentials) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read() {
        assert_eq!(
            decode_basic("Basic YW5uOnA6dw=="),
            Some(("ann".to_owned(), "p:w".to_owned()))
        );
        assert_eq!(
            decode_basic("basic Og=="),
            Some((String::new(), String::new()))
        );
        for bad in [
            "Basic",
            "Bearer YW5uOnA6dw==",
            "Basic YW5u",
            "Basic YW5uOnA6dw=",
            "Basic ????",
            "Basic /w==",
        ] {
            assert_eq!(decode_basic(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn only_the_right_password_proves_a_user() {
        let hash = bcrypt::hash("secret", 4).expect("hashed");
        let users = BTreeMap::from([("ann".to_owned(), Secret::new(hash))]);
        let authenticator = Authenticator::new(users, Tasks::new("test"));
        for _ in 0..2 {
            assert_eq!(
                authenticator.user(Some("Basic YW5uOnNlY3JldA==")).await,
                Some("ann".to_owned())
            );
            assert_eq!(authenticator.user(Some("Basic YW5uOndyb25n")).await, None);
            assert_eq!(
                authenticator.user(Some("Basic Ym9iOnNlY3JldA==")).await,
                None
            );
            assert_eq!(authenticator.user(None).await, None);
        }
    }
}
