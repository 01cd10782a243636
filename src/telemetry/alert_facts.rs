//! Facts of the document that alerts need, or that alerts report about themselves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Ends of the certificates that the servers have shown, by the certificates' own words; `None` before a connection
/// with TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateEnds {
    pub landing: Option<Timestamp>,
    pub traffic: Option<Timestamp>,
}

/// The newest cutover or rollback, when it was aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortedChange {
    pub id: String,
    /// `cutover` or `rollback`.
    pub direction: String,
    /// Why; holds no row values.
    pub reason: Option<String>,
    /// When, by Traffic's clock.
    pub at: Timestamp,
}

/// What one way of delivery has done since this process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertChannelReport {
    /// `telegram`, `webhook`, `smtp` or `ping`.
    pub channel: String,
    /// Messages that arrived, or pings that were answered.
    pub delivered: u64,
    /// Messages that were given up, or pings that failed.
    pub failed: u64,
    /// Messages that are still to be delivered.
    pub waiting: u64,
    /// By this machine's clock; `None` before the first success.
    pub last_success: Option<Timestamp>,
    /// The last failed try, until a success: its kind, never an address or a token.
    pub last_failure: Option<String>,
}
