//! What the pipeline hands to receivers, and what they answer.
//!
//! The pipeline decides that a group is told of and with which alerts; a [`Deliver`] makes one request of it and says how that went.
//! Waiting, trying again and remembering are the pipeline's: an implementation neither loops nor sleeps.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use template::Time;

use crate::Integration;

/// What templates are given: receiver, status, alerts (by job, instance, then labels), labels and annotations.
pub type Data = template::Notification;

/// What an integration keeps about a group from one notification to the next, by names of its own: Slack's message and channel,
/// say. Bounded by [`REMEMBERED_BYTES_MAX`].
pub type Remembered = BTreeMap<String, String>;

/// What names and values of [`Remembered`] may take together; more is not kept.
pub const REMEMBERED_BYTES_MAX: usize = 4 * 1024;

/// One message to one integration of a receiver.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The receiver's name as it is; [`Data::receiver`] has it as an expression.
    pub receiver: String,
    /// Where it goes, with its settings; those of `global` are taken over.
    pub integration: Arc<Integration>,
    /// The key of the alert group: `ROUTE:{LABELS}`. Equal for all notifications about a group, over restarts too.
    pub group_key: String,
    /// What templates are given. [`Data::status`] says whether any alert fires. Alerts beyond the integration's `max_alerts` are cut.
    pub data: Data,
    /// How many alerts were cut.
    pub truncated_alerts: usize,
    /// What the last delivered notification left; empty when a group fires for the first time, or again after it was resolved.
    pub remembered: Remembered,
    /// When the group was looked at: `now` of templates, the date of a mail. The same for all attempts.
    pub at: Time,
}

impl Notification {
    /// Whether any of its alerts fires; otherwise all are resolved.
    pub fn is_firing(&self) -> bool {
        self.data.status == "firing"
    }
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has taken it.
    Delivered {
        /// What the next notification about the group is given.
        remembered: Remembered,
    },
    /// It may succeed later.
    Retry {
        /// The least time to wait, as the other side asks for it (`Retry-After`).
        after: Option<Duration>,
        /// What happened.
        failure: Failure,
    },
    /// It will not succeed, however often it is tried.
    GiveUp(Failure),
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort it is: the label `reason` of the metric.
    pub kind: FailureKind,
    /// What happened, for people: without secrets, URLs or headers, on one line and at most [`REASON_BYTES_MAX`] long.
    pub reason: String,
}

/// What the text of a reason may take.
pub const REASON_BYTES_MAX: usize = 1024;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Sorts of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The other side refuses the message (4xx).
    Client,
    /// The other side does not take our credentials (401, 403).
    Unauthorized,
    /// The other side has had enough for now (429).
    RateLimited,
    /// The other side has failed (5xx).
    Server,
    /// There was no answer in time.
    Timeout,
    /// The other side could not be reached.
    Connection,
    /// The other side broke off before it answered.
    BrokenOff,
    /// The message could not be made: a template failed, a secret's file is missing, an address is refused.
    Message,
}

impl FailureKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Client,
        Self::Unauthorized,
        Self::RateLimited,
        Self::Server,
        Self::Timeout,
        Self::Connection,
        Self::BrokenOff,
        Self::Message,
    ];

    /// Whether the other side may have taken the message all the same: it gave no answer.
    pub const fn may_have_arrived(self) -> bool {
        matches!(self, Self::Timeout | Self::BrokenOff)
    }

    /// Returns the value of the label `reason`: Alertmanager's name where it has one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "clientError",
            Self::Unauthorized => "authError",
            Self::RateLimited => "rateLimited",
            Self::Server => "serverError",
            Self::Timeout => "contextDeadlineExceeded",
            Self::Connection => "connectionError",
            Self::BrokenOff => "brokenOff",
            Self::Message => "messageError",
        }
    }
}

/// An attempt under way. Dropping it breaks it off; whether the other side has taken the message is then unknown.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Takes notifications to where they go.
pub trait Deliver: fmt::Debug + Send + Sync {
    /// Tries once. Must end by itself: requests, answers and rendering are bounded in size and time by the implementation.
    fn deliver<'a>(&'a self, notification: &'a Arc<Notification>) -> Attempt<'a>;
}
