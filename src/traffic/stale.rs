//! After a snapshot: rows that once came from Landing and are no longer on Landing (guarantees 2.4).

use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::deletes;
use super::writer::CHECK_DEFERRED;
use crate::batch::bisect::{Bisection, middle};
use crate::error::{Result, row_refusal};
use crate::model::change::{Origin, Table};
use crate::model::names::Names;
use crate::postgres::step::during;
use crate::quarantine::notes::Notes;
use crate::quarantine::rows::{Refusal, Refused};
use crate::quarantine::{Quarantine, RefusalCause};

const STEP: &str = "removing rows that are no longer on Landing";

/// Number of rows deleted by one statement.
const PORTION: usize = 5000;

/// Deletes the rows of `tables` that came from Landing and that the snapshot of `origin` did not touch, with
/// triggers on. A row in quarantine keeps its last good image, because the row is on Landing and only cannot
/// be written. A row that Traffic does not let go gets a quarantined delete. Rows of a deleted lead that the
/// snapshot did bring go to quarantine for want of a lead; `children` are all replicated tables. Returns the
/// number of deleted rows.
pub async fn remove(
    client: &Client,
    names: &Names,
    tables: &[Table],
    children: &[Table],
    origin: Origin,
) -> Result<u64> {
    let removal = Removal { client, names, children, origin };
    execute(client, "SAVEPOINT stale").await?;
    let removed = removal.tables(tables).await?;
    // A deferred constraint may hold only after all deletes. If the constraint does not hold then, the second
    // pass checks each delete at once, to find the row.
    let checked = during(client, STEP).write_batch(CHECK_DEFERRED).await;
    if row_refusal(checked)?.is_ok() {
        return Ok(removed);
    }
    execute(client, &format!("ROLLBACK TO stale; {CHECK_DEFERRED}")).await?;
    removal.tables(tables).await
}

struct Removal<'r> {
    client: &'r Client,
    names: &'r Names,
    children: &'r [Table],
    origin: Origin,
}

impl Removal<'_> {
    /// Deletes children before leads, so that a lead's cascade finds nothing left to do.
    async fn tables(&self, tables: &[Table]) -> Result<u64> {
        let mut removed = 0;
        for &table in tables.iter().rev() {
            let ids = self.stale(table).await?;
            let delete = deletes::delete(self.names, table, self.children);
            let delete = during(self.client, STEP).prepare(&delete).await?;
            for portion in ids.chunks(PORTION) {
                removed += self.bisect(table, portion, &delete).await?;
            }
        }
        Ok(removed)
    }

    async fn stale(&self, table: Table) -> Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT t.id FROM {} t WHERE t.landing_synced_at <> $1 AND NOT EXISTS (SELECT FROM {} q \
             WHERE q.source_table = $2 AND q.row_id = t.id) ORDER BY t.id",
            self.names.traffic_table(table),
            self.names.own("quarantine"),
        );
        let rows =
            during(self.client, STEP).rows(&sql, &[&self.origin.commit_time, &table.landing_name()]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Deletes rows, and quarantines the delete of each row that Traffic does not let go. Returns the number
    /// of deleted rows.
    async fn bisect(&self, table: Table, ids: &[Uuid], delete: &Statement) -> Result<u64> {
        let (client, at) = (self.client, self.origin.commit_lsn);
        let mut removed = 0;
        let mut bisection = Bisection::new(ids, middle);
        while let Some(range) = bisection.next_range() {
            execute(client, "SAVEPOINT portion").await?;
            match row_refusal(deletes::run(client, self.names, delete, table, range, at).await)? {
                Ok(deleted) => {
                    execute(client, "RELEASE portion").await?;
                    removed += deleted.rows;
                }
                Err(error) => {
                    execute(client, "ROLLBACK TO portion; RELEASE portion").await?;
                    let Some(&id) = bisection.refuse(range) else { continue };
                    let (what, cause) = (Refused::Delete(table, id), RefusalCause::of(&error));
                    let refusal = Refusal { what, origin: self.origin, cause: &cause };
                    Quarantine::new(self.names).put(client, &refusal).await?;
                }
            }
        }
        Ok(removed)
    }
}

/// Removes the notes of rows missing on Traffic.
pub async fn forget_notes(client: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    for &table in tables {
        let sql = format!(
            "DELETE FROM {} n WHERE n.source_table = $1 AND NOT EXISTS (SELECT FROM {} t WHERE t.id = n.row_id)",
            names.own("conversion_notes"),
            names.traffic_table(table),
        );
        during(client, STEP).run(&sql, &[&table.landing_name()]).await?;
    }
    Ok(())
}

async fn execute(client: &Client, sql: &str) -> Result<()> {
    during(client, STEP).batch(sql).await
}

/// Removes the quarantined rows of `tables` at the beginning of a snapshot, because the snapshot reads every
/// row again.
pub async fn clear_quarantine(client: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE source_table = ANY ($1)", names.own("quarantine"));
    let tables: Vec<&str> = tables.iter().map(|table| table.landing_name()).collect();
    during(client, "emptying quarantine before a snapshot").run(&sql, &[&tables]).await?;
    Ok(())
}

/// Removes the notes of `table` before the first row of a snapshot arrives.
pub async fn clear_notes(client: &Client, names: &Names, table: Table) -> Result<()> {
    Notes::new(names).forget_table(client, table).await
}
