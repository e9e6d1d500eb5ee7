//! Why a query has no result.

use storage::BudgetExceeded;

use crate::ParseErrors;

/// Why a query has no result; variants are the error types of the HTTP API.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is not PromQL (`bad_data`).
    #[error(transparent)]
    Parse(#[from] ParseErrors),
    /// The parameters contradict the expression (`bad_data`).
    #[error("{0}")]
    BadData(String),
    /// The data do not fit the expression (`execution`).
    #[error("{0}")]
    Execution(String),
    /// It may not go on: a limit (`execution`), the deadline (`timeout`), or whoever asked has gone (`canceled`).
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    /// The store cannot answer (`internal`).
    #[error("cannot select series: {0}")]
    Storage(#[source] storage::QueryError),
}

/// The error types of the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400
    BadData,
    /// 422
    Execution,
    /// 503
    Timeout,
    /// 499
    Canceled,
    /// 500
    Internal,
}

impl QueryError {
    /// Returns the error type of the HTTP API.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Parse(_) | Self::BadData(_) => ErrorKind::BadData,
            Self::Execution(_) => ErrorKind::Execution,
            Self::Budget(BudgetExceeded::Deadline { .. }) => ErrorKind::Timeout,
            Self::Budget(BudgetExceeded::Cancelled { .. }) => ErrorKind::Canceled,
            Self::Budget(
                BudgetExceeded::Memory { .. }
                | BudgetExceeded::MemoryOfAll { .. }
                | BudgetExceeded::MemoryOfProcess { .. }
                | BudgetExceeded::Samples { .. },
            ) => ErrorKind::Execution,
            Self::Storage(_) => ErrorKind::Internal,
        }
    }
}

impl From<storage::QueryError> for QueryError {
    fn from(error: storage::QueryError) -> Self {
        match error {
            storage::QueryError::Budget(exceeded) => Self::Budget(exceeded),
            other @ (storage::QueryError::Damaged(_) | storage::QueryError::NotReady(_)) => {
                Self::Storage(other)
            }
        }
    }
}
