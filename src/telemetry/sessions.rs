//! Sessions that the status names: the holder of the lease, and those for whose locks leadbridge waits.

use serde::{Deserialize, Serialize};

use crate::model::side::Side;

/// A session or prepared transaction that holds a lock for which a session of leadbridge waits. Never a query, because
/// a query may hold people's data. A value that this role may not see is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockingSession {
    /// The server on which it holds the lock.
    pub side: Side,
    /// Null for a prepared transaction.
    pub pid: Option<i32>,
    pub role: Option<String>,
    pub application_name: Option<String>,
    pub client_address: Option<String>,
    /// Age of its transaction.
    pub transaction_seconds: Option<f64>,
    /// For how long leadbridge has waited for the lock.
    pub waited_seconds: Option<f64>,
}

/// The session that holds the lease: the daemon that replicates, or whoever keeps every daemon from replicating. A
/// value that this role may not see is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHolder {
    /// Null for a prepared transaction.
    pub pid: Option<i32>,
    pub role: Option<String>,
    pub application_name: Option<String>,
    pub client_address: Option<String>,
    /// When the session was connected, by Traffic's clock.
    pub since: Option<String>,
    /// Whether the session is a session of leadbridge, of this installation.
    pub is_leadbridge: bool,
}
