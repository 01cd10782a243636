//! Rows that stay on Traffic alone when a cutover is aborted after its hook had begun: the hook may have
//! pointed applications to Traffic, which then wrote there, while Landing stays the system of record.
//!
//! The rows are kept by image in `leadbridge.left_on_traffic`, so that no acknowledged write is without a
//! name. An operator writes the rows to Landing.

use tokio_postgres::Client;
use uuid::Uuid;

use super::journal::JournalEntry;
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::paging::PageStart;
use crate::postgres::step::during;
use crate::postgres::written_since::written_since;
use crate::postgres::{Database, Databases};
use crate::traffic::flowing;

const KEEPING: &str = "keeping the rows that an aborted cutover leaves on Traffic";

/// Number of Landing's keys in a page.
const PAGE: i64 = 1000;

/// Keeps the rows that Traffic's writers have written since the hook of `entry` began. Repeated calls add the
/// rows written since. While Landing is closed, rows deleted on Traffic are kept too, without an image.
///
/// # Errors
/// A database cannot be read or written.
pub async fn keep(databases: Databases<'_>, entry: &JournalEntry) -> Result<()> {
    let (landing, traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let (Some(closed_at), Some(hook_xid)) =
        (closed_at(landing, entry.id).await?, hook_xid(traffic, entry.id).await?)
    else {
        return Ok(());
    };
    for table in Table::ALL {
        if !exists(landing, table).await? || !exists(traffic, table).await? {
            continue;
        }
        keep_written(traffic, table, entry.id, (&hook_xid, closed_at)).await?;
        if !entry.is_lifted {
            keep_deleted(databases, table, entry.id).await?;
        }
    }
    Ok(())
}

/// Number of rows kept for a cutover.
pub async fn count(traffic: &Client, names: &Names, cutover: Uuid) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM {} WHERE cutover_id = $1", names.own("left_on_traffic"));
    let row = during(traffic, KEEPING).row(&sql, &[&cutover]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// When the cutover's fence was closed, by Landing's clock; `None` without a fence.
async fn closed_at(landing: Database<'_>, cutover: Uuid) -> Result<Option<Timestamp>> {
    let sql = format!("SELECT closed_at FROM {} WHERE cutover_id = $1", landing.names.own("fence"));
    Ok(landing.during(KEEPING).row_if_any(&sql, &[&cutover]).await?.map(|row| row.get(0)))
}

/// A transaction of Traffic before the hook, as the server's text; `None` without a hook.
async fn hook_xid(traffic: Database<'_>, cutover: Uuid) -> Result<Option<String>> {
    let sql = format!("SELECT hook_xid::text FROM {} WHERE id = $1", traffic.names.own("cutover"));
    Ok(traffic.during(KEEPING).row(&sql, &[&cutover]).await?.get(0))
}

async fn exists(database: Database<'_>, table: Table) -> Result<bool> {
    database.during(KEEPING).finds(&database.table(table)).await
}

/// Replication gives each row that it writes the commit time of Landing's change. So a row that was written
/// since the hook began, and last came from Landing before the fence was closed, was written by an
/// application; and so was a row born on Traffic.
async fn keep_written(
    traffic: Database<'_>,
    table: Table,
    cutover: Uuid,
    (hook_xid, closed_at): (&str, Timestamp),
) -> Result<()> {
    let names = traffic.names;
    let sql = format!(
        "INSERT INTO {kept} AS k (cutover_id, traffic_table, row_id, image)
         SELECT $1, $2, t.id, to_jsonb(t) FROM {table} AS t WHERE {written} AND {flows}
             AND (t.landing_synced_at IS NULL OR t.landing_synced_at < $3)
         ON CONFLICT (cutover_id, traffic_table, row_id)
         DO UPDATE SET image = EXCLUDED.image, kept_at = clock_timestamp() WHERE k.image IS DISTINCT FROM EXCLUDED.image",
        kept = names.own("left_on_traffic"),
        table = names.traffic_table(table),
        written = written_since("t.xmin", hook_xid),
        flows = flowing::flows(names, table),
    );
    traffic.during(KEEPING).run(&sql, &[&cutover, &table.traffic_name(), &closed_at]).await.map(drop)
}

/// Landing is closed, and Traffic had every row when Landing was closed: a row that is missing was deleted.
async fn keep_deleted(databases: Databases<'_>, table: Table, cutover: Uuid) -> Result<()> {
    let names = databases.names;
    let (landing, traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let (ours, theirs) = (names.landing_table(table), names.traffic_table(table));
    let count = async |database: Database<'_>, from: &str| {
        let sql = format!("SELECT count(*) FROM {from}");
        Ok::<i64, Error>(database.during(KEEPING).row(&sql, &[]).await?.get(0))
    };
    let held = count(traffic, &format!("{theirs} WHERE landing_synced_at IS NOT NULL")).await?;
    if count(landing, &ours).await? <= held {
        return Ok(());
    }
    let insert = format!(
        "INSERT INTO {} (cutover_id, traffic_table, row_id) SELECT $1, $2, l.id FROM unnest($3::uuid[]) AS l (id) \
         WHERE NOT EXISTS (SELECT FROM {theirs} AS t WHERE t.id = l.id) ON CONFLICT DO NOTHING",
        names.own("left_on_traffic")
    );
    let mut start = PageStart::FIRST;
    loop {
        let page = format!("SELECT id FROM {ours} WHERE {} ORDER BY id LIMIT $2", start.condition("id"));
        let rows = landing.during(KEEPING).rows(&page, &[start.key(), &PAGE]).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let Some(last) = ids.last() else { return Ok(()) };
        start = PageStart::after(*last);
        traffic.during(KEEPING).run(&insert, &[&cutover, &table.traffic_name(), &ids]).await?;
    }
}
