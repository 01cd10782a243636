//! After a snapshot: rows that once came from Landing and are no longer on Landing (guarantees 2.4).

use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::deletes::{self, Deletion};
use crate::batch::bisect::{Bisection, middle};
use crate::error::{Result, row_refusal};
use crate::mapping::Mapping;
use crate::model::change::{Origin, Table};
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::Database;
use crate::postgres::step::during;
use crate::postgres::write::{CHECK_DEFERRED, Savepoint};
use crate::quarantine::notes::Notes;
use crate::quarantine::rows::{Refusal, Refused};
use crate::quarantine::{Quarantine, RefusalCause};

const STEP: &str = "removing rows that are no longer on Landing";

/// Number of rows deleted by one statement.
const PORTION: usize = 5000;

/// Undoes all deletes of stale rows.
const STALE: Savepoint = Savepoint(Side::Traffic, "stale");

/// Undoes the deletes of a portion.
const STALE_PORTION: Savepoint = Savepoint(Side::Traffic, "portion");

/// The rows of `tables` that came from Landing and that the snapshot of `origin` did not touch.
#[derive(Clone, Copy)]
pub struct StaleRows<'s> {
    pub tables: &'s [Table],
    /// The mapping of the copy.
    pub mapping: &'s Mapping,
    /// All replicated tables.
    pub children: &'s [Table],
    pub origin: Origin,
}

/// Deletes stale rows, with triggers on. A row in quarantine keeps its last good image, because the row is on
/// Landing and only cannot be written. A row that Traffic does not let go gets a quarantined delete. Rows of a
/// deleted lead that the snapshot did bring go to quarantine for want of a lead. Returns the number of deleted
/// rows.
pub async fn remove(traffic: Database<'_>, scope: StaleRows<'_>) -> Result<u64> {
    let removal = Removal { traffic, scope };
    STALE.set(traffic.client).await?;
    let removed = removal.tables().await?;
    // A deferred constraint may hold only after all deletes. If the constraint does not hold then, the second
    // pass checks each delete at once, to find the row.
    let checked = traffic.during(STEP).write_batch(CHECK_DEFERRED).await;
    if row_refusal(checked)?.is_ok() {
        return Ok(removed);
    }
    traffic.during(STEP).batch(&format!("ROLLBACK TO stale; {CHECK_DEFERRED}")).await?;
    removal.tables().await
}

struct Removal<'r> {
    traffic: Database<'r>,
    scope: StaleRows<'r>,
}

impl Removal<'_> {
    /// Deletes children before leads, so that a lead's cascade finds nothing left to do.
    async fn tables(&self) -> Result<u64> {
        let mut removed = 0;
        for &table in self.scope.tables.iter().rev() {
            let ids = self.stale(table).await?;
            let delete =
                deletes::delete((self.traffic.names, self.scope.mapping), table, self.scope.children);
            let delete = self.traffic.during(STEP).prepare(&delete).await?;
            for portion in ids.chunks(PORTION) {
                let deletion = Deletion { table, ids: portion, at: self.scope.origin.commit_lsn };
                removed += self.bisect(deletion, &delete).await?;
            }
        }
        Ok(removed)
    }

    async fn stale(&self, table: Table) -> Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT t.id FROM {} t WHERE t.landing_synced_at <> $1 AND NOT EXISTS (SELECT FROM {} q \
             WHERE q.source_table = $2 AND q.row_id = t.id) ORDER BY t.id",
            self.traffic.table(table),
            self.traffic.names.own("quarantine"),
        );
        let synced = self.scope.origin.commit_time;
        let rows = self.traffic.during(STEP).rows(&sql, &[&synced, &table.label()]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Deletes rows, and quarantines the delete of each row that Traffic does not let go. Returns the number
    /// of deleted rows.
    async fn bisect(&self, deletion: Deletion<'_>, delete: &Statement) -> Result<u64> {
        let client = self.traffic.client;
        let mut removed = 0;
        let mut bisection = Bisection::new(deletion.ids, middle);
        while let Some(ids) = bisection.next_range() {
            STALE_PORTION.set(client).await?;
            let deleted = Deletion { ids, ..deletion }.run(self.traffic, delete).await;
            match STALE_PORTION.close(client, deleted).await? {
                Ok(deleted) => removed += deleted.rows,
                Err(error) => {
                    let Some(&id) = bisection.refuse(ids) else { continue };
                    let (what, cause) = (Refused::Delete(deletion.table, id), RefusalCause::of(&error));
                    let refusal = Refusal { what, origin: self.scope.origin, cause: &cause };
                    Quarantine::new(self.traffic.names, &Mapping::whole()).put(client, &refusal).await?;
                }
            }
        }
        Ok(removed)
    }
}

/// Removes the notes of rows missing on Traffic.
pub async fn forget_notes(client: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    for &table in tables {
        Notes::new(names).forget_missing(client, names, table).await?;
    }
    Ok(())
}

/// Removes the quarantined rows of `tables` at the beginning of a snapshot, because the snapshot reads every
/// row again.
pub async fn clear_quarantine(client: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE source_table = ANY ($1)", names.own("quarantine"));
    let tables: Vec<&str> = tables.iter().map(|table| table.label()).collect();
    during(client, "emptying quarantine before a snapshot").run(&sql, &[&tables]).await?;
    Ok(())
}

/// Removes the notes of `table` before the first row of a snapshot arrives.
pub async fn clear_notes(client: &Client, names: &Names, table: Table) -> Result<()> {
    Notes::new(names).forget_table(client, table).await
}
