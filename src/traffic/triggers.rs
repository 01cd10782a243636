//! Keeping Traffic's ordinary triggers from firing for replicated rows (guarantees 4.1).

use tokio_postgres::Client;

use crate::error::{Error, Result};

/// How this role keeps `updated_at` as Landing has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerControl {
    /// `session_replication_role = replica`, as PostgreSQL's own apply worker runs.
    ReplicaRole,
    /// The role may not set that: the two guard triggers of migration 018 put `updated_at` back. Traffic's
    /// other triggers, and its foreign key checks, run.
    GuardTriggers,
}

impl TriggerControl {
    /// Finds out by trying, in a transaction that is rolled back: on Supabase the catalog says no although
    /// an extension allows it (supabase.md).
    pub async fn probe(client: &Client) -> Result<Self> {
        let tried = client.batch_execute("BEGIN; SET LOCAL session_replication_role = replica").await;
        let step = "trying session_replication_role";
        client.batch_execute("ROLLBACK").await.map_err(|error| Error::database(step, &error))?;
        match tried {
            Ok(()) => Ok(TriggerControl::ReplicaRole),
            Err(error) if error.code().is_some_and(|code| code.code() == "42501") => {
                Ok(TriggerControl::GuardTriggers)
            }
            Err(error) => Err(Error::database(step, &error)),
        }
    }

    /// For the rest of the transaction, replicated rows are written.
    pub(crate) fn suppress(self) -> &'static str {
        match self {
            TriggerControl::ReplicaRole => "SET LOCAL session_replication_role = replica",
            TriggerControl::GuardTriggers => "SET LOCAL leadbridge.applying = 'on'",
        }
    }

    /// From here on triggers fire: for deletes, whose cascades must reach Traffic's own rows (guarantees 4.2).
    pub(crate) fn restore(self) -> &'static str {
        match self {
            TriggerControl::ReplicaRole => "SET LOCAL session_replication_role = origin",
            TriggerControl::GuardTriggers => "SET LOCAL leadbridge.applying = 'off'",
        }
    }
}
