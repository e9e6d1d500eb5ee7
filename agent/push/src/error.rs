//! Why a push was refused, and what the client is told.

use exposition::{ParseError, ProtobufError};
use model::MetricType;

use crate::GroupKey;

/// Why a push changed nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PushError {
    /// The text is none.
    #[error("text format parsing error in {0}")]
    Text(#[from] ParseError),
    /// The text is one, but says something that cannot be.
    #[error("text format parsing error in line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The protobuf is none.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// A family breaks the rules of its type.
    #[error("metric family {name:?}: {what}")]
    Family {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The body is not what `Content-Encoding` says.
    #[error("cannot decompress the body as {encoding}: {reason}")]
    Compression {
        /// What it should be.
        encoding: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The body is encoded in a way that is not known.
    #[error("content encoding {0:?} is not known; send gzip, snappy or none")]
    Encoding(String),
    /// The body is too large.
    #[error(
        "the body has more than {bytes_max} bytes; push less at once, or raise --push.max-body-size"
    )]
    BodyTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// There are more samples than one group takes.
    #[error("a group has at most {samples_max} series; split the push over more groups")]
    TooManySeries {
        /// The limit.
        samples_max: usize,
    },
    /// The group's native histograms do not fit into a batch.
    #[error(
        "the group's native histograms would take {bytes} bytes, and at most {bytes_max} are taken; split them over more groups"
    )]
    HistogramsTooLarge {
        /// What they would take.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// What the request asks for beside the push cannot be.
    #[error("{0}")]
    Option(String),
    /// The metrics contradict themselves or those of others.
    #[error("pushed metrics are invalid or inconsistent with existing metrics: {0}")]
    Inconsistent(#[from] Inconsistent),
    /// There is no room.
    #[error(transparent)]
    Full(#[from] Full),
}

/// How metrics contradict themselves or others. The group is marked as one whose last push failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Inconsistent {
    /// A sample brings a time.
    #[error("pushed metrics must not have timestamps")]
    Timestamp,
    /// A family has another type elsewhere.
    #[error(
        "metric family {family} has type {pushed} but should have {present}, as {owner} has it"
    )]
    Type {
        /// The family.
        family: String,
        /// What was pushed.
        pushed: MetricType,
        /// What is there.
        present: MetricType,
        /// Where.
        owner: String,
    },
    /// A series comes twice.
    #[error("series {0} comes twice in this push")]
    Repeated(String),
    /// A series is another group's.
    #[error("series {series} belongs to group {owner}")]
    Owned {
        /// The series.
        series: String,
        /// Whose it is.
        owner: GroupKey,
    },
    /// A name cannot be a label's.
    #[error(
        "series of metric family {family:?} have the label {label:?}, which no pushed series may have"
    )]
    Label {
        /// The family.
        family: String,
        /// The label.
        label: String,
    },
    /// Values cannot be summed.
    #[error("{series} cannot be summed: {why}")]
    Sum {
        /// The series, or the family.
        series: String,
        /// Why.
        why: &'static str,
    },
}

/// What there is no room for. Nothing was changed; what is there stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// There are as many groups as there may be.
    #[error(
        "there are {groups} groups, as many as fit; delete some, let them end with ?ttl=, or raise --push.max-groups"
    )]
    Groups {
        /// Their number, and the limit.
        groups: usize,
    },
    /// The groups take as many bytes as they may.
    #[error(
        "the groups would take {bytes} bytes, and at most {bytes_max} fit; delete some, let them end with ?ttl=, or raise --push.max-bytes"
    )]
    Bytes {
        /// What they would take.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}
