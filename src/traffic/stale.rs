//! After a snapshot: rows that came from Landing once and are not there any more (semantics 2.4).

use tokio_postgres::Client;

use crate::change::Table;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::timestamp::Timestamp;

/// Deletes the rows that came from Landing and that the snapshot of `snapshot_time` did not touch, with triggers
/// on, and forgets what quarantine and notes say of rows it did not see. A row in quarantine keeps its last good
/// image: it is on Landing, only not writable. Returns how many rows went.
pub async fn remove(
    client: &Client,
    names: &Names,
    tables: &[Table],
    snapshot_time: Timestamp,
) -> Result<u64> {
    let step = "removing rows that are no longer on Landing";
    let quarantine = names.own("quarantine");
    let mut removed = 0;
    // Children first, so that a lead's cascade finds nothing left to do.
    for table in tables.iter().rev() {
        let sql = format!(
            "DELETE FROM {traffic} t WHERE t.landing_synced_at <> $1 AND NOT EXISTS (SELECT FROM {quarantine} q \
             WHERE q.source_table = $2 AND q.row_id = t.id)",
            traffic = names.traffic_table(*table)
        );
        let name = table.landing_name();
        removed += client
            .execute(&sql, &[&snapshot_time, &name])
            .await
            .map_err(|error| Error::database(step, &error))?;
        let sql = format!(
            "DELETE FROM {} n WHERE n.source_table = $1 AND NOT EXISTS (SELECT FROM {} t WHERE t.id = n.row_id)",
            names.own("conversion_notes"),
            names.traffic_table(*table)
        );
        client.execute(&sql, &[&name]).await.map_err(|error| Error::database(step, &error))?;
    }
    Ok(removed)
}

/// Empties quarantine of these tables' rows when a snapshot begins: it reads every row anew.
pub async fn clear_quarantine(client: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE source_table = ANY ($1)", names.own("quarantine"));
    let tables: Vec<&str> = tables.iter().map(|table| table.landing_name()).collect();
    let cleared = client.execute(&sql, &[&tables]).await;
    cleared.map(|_| ()).map_err(|error| Error::database("emptying quarantine before a snapshot", &error))
}
