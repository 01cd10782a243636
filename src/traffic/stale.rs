//! After a snapshot: rows that came from Landing once and are not there any more (semantics 2.4).

use tokio_postgres::Client;
use uuid::Uuid;

use super::notes::Notes;
use super::quarantine::{Cause, Parked, Quarantine};
use crate::change::{Operation, Origin, Table};
use crate::error::{Error, Kind, Result};
use crate::names::Names;

const STEP: &str = "removing rows that are no longer on Landing";

/// Deletes the rows that came from Landing and that the snapshot of `origin` did not touch, with triggers on. A row in
/// quarantine keeps its last good image: it is on Landing, only not writable. A row that Traffic does not let go is
/// parked with its delete. Returns how many rows went.
pub async fn remove(client: &Client, names: &Names, tables: &[Table], origin: Origin) -> Result<u64> {
    let quarantine = names.own("quarantine");
    let mut removed = 0;
    // Children first, so that a lead's cascade finds nothing left to do.
    for &table in tables.iter().rev() {
        let traffic = names.traffic_table(table);
        let stale = format!(
            "t.landing_synced_at <> $1 AND NOT EXISTS (SELECT FROM {quarantine} q \
             WHERE q.source_table = $2 AND q.row_id = t.id)"
        );
        let name = table.landing_name();
        execute(client, "SAVEPOINT stale").await?;
        let sql = format!("DELETE FROM {traffic} t WHERE {stale}");
        match client.execute(&sql, &[&origin.commit_time, &name]).await {
            Ok(rows) => removed += rows,
            Err(error) if Error::database(STEP, &error).kind() == Kind::Row => {
                execute(client, "ROLLBACK TO stale").await?;
                let sql = format!("SELECT t.id FROM {traffic} t WHERE {stale} ORDER BY t.id");
                let rows = client.query(&sql, &[&origin.commit_time, &name]).await;
                let rows = rows.map_err(|error| Error::database(STEP, &error))?;
                let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
                removed += remove_by_halves(client, names, table, &ids, origin).await?;
            }
            Err(error) => return Err(Error::database(STEP, &error)),
        }
    }
    Ok(removed)
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

/// Deletes what can be deleted, and parks the delete of the rest. Returns how many rows went.
async fn remove_by_halves(
    client: &Client,
    names: &Names,
    table: Table,
    ids: &[Uuid],
    origin: Origin,
) -> Result<u64> {
    let sql = format!("DELETE FROM {} WHERE id = ANY ($1)", names.traffic_table(table));
    let mut removed = 0;
    let mut ranges = vec![ids];
    while let Some(range) = ranges.pop() {
        execute(client, "RELEASE stale; SAVEPOINT stale").await?;
        let error = match client.execute(&sql, &[&range]).await {
            Ok(rows) => {
                removed += rows;
                continue;
            }
            Err(error) => Error::database(STEP, &error),
        };
        if error.kind() != Kind::Row {
            return Err(error);
        }
        execute(client, "ROLLBACK TO stale").await?;
        if let &[id] = range {
            let what = Parked::Delete { table, id };
            let cause = Cause::of(&error);
            Quarantine::new(names).park(client, what, Operation::Delete, origin, &cause).await?;
        } else {
            let (first, second) = range.split_at(range.len() / 2);
            ranges.extend([second, first]);
        }
    }
    Ok(removed)
}

async fn execute(client: &Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).await.map_err(|error| Error::database(STEP, &error))
}

/// Empties quarantine of these tables' rows when a snapshot begins: it reads every row anew.
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
