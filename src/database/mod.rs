//! Connections to the two databases: one meaning of a libpq URL for ordinary and for replication connections.
//!
//! `url` reads what the operator wrote, `place` finds the addresses, `tls` gives `sslmode` libpq's meaning, `socket`
//! and `endpoint` connect, `session` is one ordinary connection with its settings pinned, `replication` one that streams,
//! `pipelined` sends statements on one together, `advisory` its rights, `table_lock` the lock before its snapshot,
//! `holders` who is in the way of a lock, `unique` lets rows exchange unique values, `failure` says in an operator's words
//! why a connection failed.

pub mod advisory;
mod endpoint;
mod failure;
pub mod holders;
pub mod pipelined;
mod place;
pub mod replication;
mod session;
mod socket;
pub mod table_lock;
mod tls;
pub mod unique;
mod url;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use endpoint::Endpoint;
pub use session::{Backend, Session};

/// Which of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The source: it is read and, before the cutover, never written to.
    Landing,
    /// The target: live, with writers of its own.
    Traffic,
}

impl Side {
    /// The environment variable that holds its URL.
    pub fn variable(self) -> &'static str {
        match self {
            Side::Landing => "LANDING_DATABASE_URL",
            Side::Traffic => "TRAFFIC_DATABASE_URL",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Side::Landing => "Landing DB",
            Side::Traffic => "Traffic DB",
        })
    }
}
