//! Keeping Traffic's ordinary triggers from firing for replicated rows (guarantees 4.1).

use tokio_postgres::Client;

use crate::error::{Error, Result};
use crate::postgres::step::during;

/// How this role keeps `updated_at` as Landing has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerControl {
    /// `session_replication_role = replica`, as in PostgreSQL's own apply worker.
    ReplicaRole,
    /// The role may not set `session_replication_role`: the two guard triggers of migration 018 restore
    /// `updated_at`. Traffic's other triggers and foreign key checks run.
    GuardTriggers,
}

impl TriggerControl {
    /// Tries the setting in a transaction, and rolls back. The catalog does not suffice, because on Supabase
    /// the catalog denies the right although an extension grants it.
    pub async fn probe(client: &Client) -> Result<Self> {
        let tried = client.batch_execute("BEGIN; SET LOCAL session_replication_role = replica").await;
        let step = "trying session_replication_role";
        during(client, step).batch("ROLLBACK").await?;
        match tried {
            Ok(()) => Ok(TriggerControl::ReplicaRole),
            Err(error) if error.code().is_some_and(|code| code.code() == "42501") => {
                Ok(TriggerControl::GuardTriggers)
            }
            Err(error) => Err(Error::database(step, &error)),
        }
    }

    /// SQL to keep ordinary triggers from changing replicated rows, for the rest of the transaction or until
    /// [`TriggerControl::restore`].
    pub(crate) fn suppress(self) -> &'static str {
        match self {
            TriggerControl::ReplicaRole => "SET LOCAL session_replication_role = replica",
            TriggerControl::GuardTriggers => "SET LOCAL leadbridge.applying = 'on'",
        }
    }

    /// SQL to let triggers fire again: for deletes, whose cascades must reach Traffic's own rows (guarantees
    /// 4.2).
    pub(crate) fn restore(self) -> &'static str {
        match self {
            TriggerControl::ReplicaRole => "SET LOCAL session_replication_role = origin",
            TriggerControl::GuardTriggers => "SET LOCAL leadbridge.applying = 'off'",
        }
    }
}

/// Whether the database of `client` has a deferrable constraint or trigger. Every table counts, because a
/// trigger on a replicated table may write to any table.
pub async fn may_defer(client: &Client) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable)";
    let found = during(client, "looking for deferrable constraints").row(sql, &[]).await?;
    Ok(found.get(0))
}
