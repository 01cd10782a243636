//! Traffic's record of a new slot on Landing, made after the switch.
//!
//! A slot beyond Traffic's position proves that Traffic was restored to an earlier state. A new slot is beyond
//! Traffic's position too, until its position is recorded. So the intent is recorded first, and cleared in the
//! statement that records the new position: a crash in between leaves the intent, and the next start takes the
//! slot for the one that was to be made.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use super::Ledger;
use crate::error::Result;
use crate::model::lsn::Lsn;
use crate::postgres::step::during;

const WRITING: &str = "recording the new slot of Landing on Traffic";

impl Ledger {
    /// Records that a new slot is to be made on Landing.
    ///
    /// # Errors
    /// `Transient` when the checkpoint is no longer `switched`, or belongs to another daemon.
    pub async fn intend_slot(&self, client: &Client) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET new_slot_since = COALESCE(new_slot_since, clock_timestamp()) WHERE slot = $1 \
             AND EXISTS (SELECT FROM {} AS c WHERE c.slot = $1 AND c.run_id = $2 AND c.state = 'switched')",
            self.reverse, self.table
        );
        self.one_row(during(client, WRITING).run(&sql, &[&self.identity.slot, &self.run_id]).await?)
    }

    /// Records that the new slot begins at `at`, provided that until then leadbridge alone has written to
    /// Landing's tables.
    ///
    /// # Errors
    /// As [`Ledger::intend_slot`].
    pub async fn record_slot(&self, client: &Client, at: Lsn) -> Result<()> {
        let sql = format!(
            "WITH ours AS (UPDATE {} SET applied_lsn = greatest(applied_lsn, $3), updated_at = now() \
               WHERE slot = $1 AND run_id = $2 AND state = 'switched' RETURNING true) \
             UPDATE {} SET new_slot_since = NULL, new_slot_made_at = clock_timestamp() \
             WHERE slot = $1 AND EXISTS (SELECT FROM ours)",
            self.table, self.reverse
        );
        let at = PgLsn::from(at);
        self.one_row(during(client, WRITING).run(&sql, &[&self.identity.slot, &self.run_id, &at]).await?)
    }
}
