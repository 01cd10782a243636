//! The two sides of replication; pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Landing or Traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The source of replication until a cutover. leadbridge writes no replicated row to Landing before a
    /// cutover.
    Landing,
    /// The target of replication until a cutover: live, with writers of its own.
    Traffic,
}

impl Side {
    /// The side's name, for steps: "committing on Traffic".
    pub fn name(self) -> &'static str {
        match self {
            Side::Landing => "Landing",
            Side::Traffic => "Traffic",
        }
    }

    /// Environment variable with the side's URL.
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
