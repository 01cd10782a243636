//! Copies of rows' values in leadbridge's own tables on Traffic, and how the deletion of a row reaches the
//! copies after the switch (guarantees 10.6).
//!
//! Three tables hold values: `conversion_notes`, `quarantine`, where discarded rows stay, and
//! `left_on_traffic`. While Landing is the system of record, the writer keeps the copies in step with each row.
//! After the switch reverse replication does, and at the end of a move `leadbridge finish` removes the copies,
//! because nothing would follow a deletion any more.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use uuid::Uuid;

use super::notes::labels;
use crate::batch::KeyChange;
use crate::batch::keys::Keys;
use crate::error::Result;
use crate::model::change::Table;
use crate::model::names::Names;
use crate::postgres::prepared::LazyStatement;
use crate::postgres::step::{Step, during};

const REMOVING: &str = "removing copies of rows in leadbridge's tables on Traffic";

/// Number of copies by table. Part of the certificate of a finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldCopies {
    /// Values in `conversion_notes`.
    pub conversion_notes: u64,
    /// Rows in `quarantine`, discarded rows included.
    pub quarantine: u64,
    /// Rows in `left_on_traffic`.
    pub left_on_traffic: u64,
}

impl HeldCopies {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Statements on the tables that hold copies.
#[derive(Debug)]
pub struct Copies {
    names: Names,
    notes: String,
    quarantine: String,
    left: String,
    forget_left: LazyStatement,
}

impl Copies {
    pub fn new(names: &Names) -> Self {
        let left = names.own("left_on_traffic");
        let forget_left = format!("DELETE FROM {left} WHERE traffic_table = $1 AND row_id = ANY ($2)");
        Copies {
            notes: names.own("conversion_notes"),
            quarantine: names.own("quarantine"),
            left,
            forget_left: LazyStatement::new(forget_left),
            names: names.clone(),
        }
    }

    pub async fn count(&self, traffic: &Client) -> Result<HeldCopies> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {}), (SELECT count(*) FROM {})",
            self.notes, self.quarantine, self.left
        );
        let row = step(traffic, "counting").row(&sql, &[]).await?;
        let count = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        Ok(HeldCopies { conversion_notes: count(0), quarantine: count(1), left_on_traffic: count(2) })
    }

    /// Removes the copies of rows that were deleted on Traffic, and of the rows that belonged to deleted leads.
    /// Removing copies twice does no harm.
    pub async fn forget(&self, traffic: &Client, deleted: &Keys) -> Result<()> {
        let sql = format!(
            "WITH notes AS (DELETE FROM {notes} WHERE source_table = ANY ($1) AND row_id = ANY ($4)), \
             waiting AS (DELETE FROM {quarantine} WHERE (source_table = $2 AND (row_id = ANY ($4) OR held_under = ANY ($4))) \
               OR ($5 AND lead_id = ANY ($4))) \
             DELETE FROM {left} WHERE (traffic_table = $3 AND row_id = ANY ($4)) \
               OR ($5 AND image ->> 'lead_id' = ANY ($4::uuid[]::text[]))",
            notes = self.notes,
            quarantine = self.quarantine,
            left = self.left,
        );
        for (&table, ids) in deleted.iter().filter(|(_, ids)| !ids.is_empty()) {
            let ids: Vec<Uuid> = ids.iter().copied().collect();
            let is_lead = table == Table::LandingLeads;
            step(traffic, "removing")
                .run(&sql, &[&labels(table), &table.label(), &table.traffic_name(), &ids, &is_lead])
                .await?;
        }
        Ok(())
    }

    /// Removes the rows that an aborted cutover has left, where the rows are deleted.
    pub async fn forget_left(&self, traffic: &Client, table: Table, ids: &[Uuid]) -> Result<()> {
        let statement = self.forget_left.on(traffic, REMOVING).await?;
        during(traffic, REMOVING).run(statement, &[&table.traffic_name(), &ids]).await.map(drop)
    }

    /// Removes all rows of a table that an aborted cutover has left and that Traffic does not have.
    pub async fn forget_left_missing(&self, traffic: &Client, table: Table) -> Result<()> {
        let sql = format!(
            "DELETE FROM {} AS k WHERE k.traffic_table = $1 \
             AND NOT EXISTS (SELECT FROM {} AS t WHERE t.id = k.row_id)",
            self.left,
            self.names.traffic_table(table)
        );
        step(traffic, "removing").run(&sql, &[&table.traffic_name()]).await.map(drop)
    }

    /// Removes the copies of rows of a table that Traffic does not have. To be called only while Traffic is the
    /// system of record: a discarded row of Landing may be missing on Traffic for another reason than a deletion,
    /// so `quarantine` is looked at only after a TRUNCATE.
    pub async fn forget_missing(&self, traffic: &Client, table: Table, is_truncated: bool) -> Result<()> {
        let missing = |key: &str| {
            format!("NOT EXISTS (SELECT FROM {} AS t WHERE t.id = {key})", self.names.traffic_table(table))
        };
        let sql = format!(
            "WITH notes AS (DELETE FROM {notes} AS k WHERE k.source_table = ANY ($1) AND {of_row}) \
             DELETE FROM {quarantine} AS k WHERE $3 AND k.source_table = $2 AND {of_held}",
            notes = self.notes,
            quarantine = self.quarantine,
            of_row = missing("k.row_id"),
            of_held = missing("coalesce(k.held_under, k.row_id)"),
        );
        step(traffic, "removing").run(&sql, &[&labels(table), &table.label(), &is_truncated]).await?;
        self.forget_left_missing(traffic, table).await
    }

    /// Moves the copies of rows whose keys have changed on Traffic, in the order of the changes, so that a later
    /// deletion finds the copies. Where the earlier key has no copies, a repetition changes nothing.
    pub async fn change_keys(&self, traffic: &Client, changes: &[KeyChange]) -> Result<()> {
        let of_lead = format!("UPDATE {} SET lead_id = $2 WHERE lead_id = $1", self.quarantine);
        for change in changes {
            let KeyChange { table, old, new } = *change;
            move_key(traffic, (&self.notes, "source_table"), &labels(table), (old, new)).await?;
            move_key(traffic, (&self.quarantine, "source_table"), &[table.label()], (old, new)).await?;
            self.change_left_key(traffic, *change).await?;
            if table == Table::LandingLeads {
                step(traffic, "moving").run(&of_lead, &[&old, &new]).await?;
            }
        }
        Ok(())
    }

    /// Moves the rows that an aborted cutover has left to a changed key.
    pub async fn change_left_key(&self, traffic: &Client, change: KeyChange) -> Result<()> {
        let KeyChange { table, old, new } = change;
        move_key(traffic, (&self.left, "traffic_table"), &[table.traffic_name()], (old, new)).await
    }

    /// Removes every copy, or every copy except for the conversion notes.
    pub async fn forget_all(&self, traffic: &Client, keeps_notes: bool) -> Result<()> {
        let tables = [&self.quarantine, &self.left].into_iter().chain((!keeps_notes).then_some(&self.notes));
        let sql: Vec<String> = tables.map(|table| format!("DELETE FROM {table}")).collect();
        step(traffic, "removing").batch(&sql.join("; ")).await
    }
}

/// Moves copies from the key `old` to the key `new`. A copy under the new key is of a row that no longer exists.
async fn move_key(
    traffic: &Client,
    (table, label): (&str, &str),
    labels: &[&str],
    (old, new): (Uuid, Uuid),
) -> Result<()> {
    let mine = format!("{label} = ANY ($1) AND row_id");
    for sql in [
        format!("DELETE FROM {table} WHERE {mine} = $3 AND EXISTS (SELECT FROM {table} WHERE {mine} = $2)"),
        format!("UPDATE {table} SET row_id = $3 WHERE {mine} = $2"),
    ] {
        step(traffic, "moving").run(&sql, &[&labels, &old, &new]).await?;
    }
    Ok(())
}

fn step<'c>(traffic: &'c Client, doing: &str) -> Step<'c> {
    during(traffic, format!("{doing} copies of rows in leadbridge's tables on Traffic"))
}
