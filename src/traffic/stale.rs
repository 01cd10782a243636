//! After a snapshot: rows that came from Landing once and are not there any more (guarantees 2.4).

use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::deletes;
use super::notes::Notes;
use super::quarantine::{Quarantine, QuarantineCause, Refused};
use super::writer::CHECK_DEFERRED;
use crate::change::{Operation, Origin, Table};
use crate::error::{Error, Kind, Result};
use crate::names::Names;

const STEP: &str = "removing rows that are no longer on Landing";

/// Rows that are deleted with one statement.
const PORTION: usize = 5000;

/// Deletes the rows of `tables` that came from Landing and that the snapshot of `origin` did not touch, with triggers on.
/// A row in quarantine keeps its last good image: it is on Landing, only not writable. A row that Traffic does not let go
/// is quarantined with its delete, and what the snapshot did bring of a lead that goes, is quarantined without it: `children` are
/// all tables that are replicated. Returns how many rows went.
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
    // What is deferred may hold only when all are gone; when it does not, the row is found by looking at each at once.
    let checked = client.batch_execute(CHECK_DEFERRED).await;
    match checked.map_err(|error| Error::writing(STEP, &error)) {
        Ok(()) => Ok(removed),
        Err(error) if error.kind() == Kind::Row => {
            execute(client, &format!("ROLLBACK TO stale; {CHECK_DEFERRED}")).await?;
            removal.tables(tables).await
        }
        Err(error) => Err(error),
    }
}

struct Removal<'r> {
    client: &'r Client,
    names: &'r Names,
    children: &'r [Table],
    origin: Origin,
}

impl Removal<'_> {
    /// Children first, so that a lead's cascade finds nothing left to do.
    async fn tables(&self, tables: &[Table]) -> Result<u64> {
        let mut removed = 0;
        for &table in tables.iter().rev() {
            let ids = self.stale(table).await?;
            let delete = self.client.prepare(&deletes::delete(self.names, table, self.children)).await;
            let delete = delete.map_err(|error| Error::database(STEP, &error))?;
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
        let rows = self.client.query(&sql, &[&self.origin.commit_time, &table.landing_name()]).await;
        Ok(rows.map_err(|error| Error::database(STEP, &error))?.iter().map(|row| row.get(0)).collect())
    }

    /// Deletes what can be deleted, and quarantines the delete of the rest. Returns how many rows went.
    async fn bisect(&self, table: Table, ids: &[Uuid], delete: &Statement) -> Result<u64> {
        let (client, at) = (self.client, self.origin.commit_lsn);
        let mut removed = 0;
        let mut ranges = vec![ids];
        while let Some(range) = ranges.pop() {
            execute(client, "SAVEPOINT portion").await?;
            let error = match deletes::run(client, self.names, delete, table, range, at).await {
                Ok(deleted) => {
                    execute(client, "RELEASE portion").await?;
                    removed += deleted.rows;
                    continue;
                }
                Err(error) => error,
            };
            if error.kind() != Kind::Row {
                return Err(error);
            }
            execute(client, "ROLLBACK TO portion; RELEASE portion").await?;
            if let &[id] = range {
                let what = Refused::Delete { table, id };
                let cause = QuarantineCause::of(&error);
                let quarantine = Quarantine::new(self.names);
                quarantine.put(client, what, Operation::Delete, self.origin, &cause).await?;
            } else {
                let (first, second) = range.split_at(range.len() / 2);
                ranges.extend([second, first]);
            }
        }
        Ok(removed)
    }
}

/// Forgets what is noted of rows that are not there.
pub async fn forget_notes(client: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    for &table in tables {
        let sql = format!(
            "DELETE FROM {} n WHERE n.source_table = $1 AND NOT EXISTS (SELECT FROM {} t WHERE t.id = n.row_id)",
            names.own("conversion_notes"),
            names.traffic_table(table),
        );
        let forgotten = client.execute(&sql, &[&table.landing_name()]).await;
        forgotten.map_err(|error| Error::database(STEP, &error))?;
    }
    Ok(())
}

async fn execute(client: &Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).await.map_err(|error| Error::database(STEP, &error))
}

/// Empties quarantine of these tables' rows when a snapshot begins: it reads every row again.
pub async fn clear_quarantine(client: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE source_table = ANY ($1)", names.own("quarantine"));
    let tables: Vec<&str> = tables.iter().map(|table| table.landing_name()).collect();
    let cleared = client.execute(&sql, &[&tables]).await;
    cleared.map(|_| ()).map_err(|error| Error::database("emptying quarantine before a snapshot", &error))
}

/// Forgets what is noted of the rows of `table`, which are not there: none of them has come yet.
pub async fn clear_notes(client: &Client, names: &Names, table: Table) -> Result<()> {
    Notes::new(names).forget_table(client, table).await
}
