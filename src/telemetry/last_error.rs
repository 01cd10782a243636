//! The error that the document shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The last error. Holds no row values and no password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub message: String,
    /// Remedy for the operator.
    pub remedy: Option<String>,
    /// Time by this machine's clock.
    pub at: Timestamp,
    /// Whether the daemon retries by itself.
    pub retrying: bool,
}

impl LastError {
    /// Describes `error`, at the present time.
    pub fn new(error: &crate::error::Error) -> Self {
        LastError {
            message: error.message().to_owned(),
            remedy: error.remedy_text().map(str::to_owned),
            at: Timestamp::now(),
            retrying: error.response() == crate::error::Response::Retry,
        }
    }
}
