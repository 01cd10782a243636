//! Exports of whole tables of either side in files, with each value as PostgreSQL itself writes the value; and the
//! reading of such files (docs/files.md).
//!
//! All tables are read in one snapshot, each in the order of its keys, with every column of the table, known
//! to the mapping or not. Rows go to disk as they arrive, so memory does not grow with the number of rows.
//! All files are read back before the manifest is written. The manifest is the last file, so a directory with
//! a manifest holds a complete export.

mod directory;
mod format;
mod manifest;
mod reading;
mod restore;
mod table;

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

pub use directory::Directory;
pub(crate) use directory::failed;
pub use format::Format;
pub use manifest::{ColumnSequence, ExportSource, FileColumn, GeneratedColumn, Manifest, TableFile};
pub use reading::{FileRow, RowReader};
pub use restore::restore_hint;

use crate::access;
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::postgres::{Database, Endpoint, table_lock};

/// Writes `tables` of the endpoint's side to `directory`. Changes nothing in the database; a standby serves as well.
///
/// # Errors
/// Errors of the database and of the disk. Refused when a file does not read back as written. After an error
/// the directory has no manifest, unless only the last flush of the directory failed.
pub async fn export(
    endpoint: &Endpoint,
    names: &Names,
    tables: &[Table],
    directory: Directory,
) -> Result<Manifest> {
    let session = endpoint.connect("export").await?;
    let database = Database { client: &session, side: endpoint.side(), names };
    begin(database, tables).await?;
    let mut manifest = Manifest::of(database.side, source(&session, endpoint).await?, directory.format());
    if database.side == Side::Landing {
        manifest.access = access::document(database, tables).await?;
    }
    for table in tables {
        let written = table::write(database, *table, &directory).await?;
        reach(Point::TableBackedUp);
        tracing::info!(table = written.table, rows = written.rows, bytes = written.bytes, "exported");
        manifest.tables.push(written);
    }
    during(&session, format!("ending the snapshot of the export on {}", database.side.name()))
        .batch("COMMIT")
        .await?;
    session.close().await;
    for file in &manifest.tables {
        directory.keep(&file.file)?;
    }
    manifest.verify(directory.path())?;
    reach(Point::FilesBackedUp);
    directory.complete(&manifest.to_json()?)?;
    Ok(manifest)
}

/// How long the export waits for a transaction that holds a table's lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens one snapshot for all tables. The tables stay locked meanwhile, so their columns do not change.
async fn begin(database: Database<'_>, tables: &[Table]) -> Result<()> {
    let tables: Vec<String> = tables.iter().map(|table| database.table(*table)).collect();
    let (session, patience) = (database.client, Some(PATIENCE));
    table_lock::open(session, database.side, table_lock::ONE_SNAPSHOT, &tables, "", patience).await.map(drop)
}

async fn source(session: &Client, endpoint: &Endpoint) -> Result<ExportSource> {
    let step = during(session, format!("reading the WAL position of {}", endpoint.side().name()));
    // A standby has replayed at least the WAL that the snapshot sees.
    let sql = "SELECT now(), CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
               ELSE pg_current_wal_insert_lsn() END, current_setting('server_version'), \
               has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')";
    let row = step.row(sql, &[]).await?;
    let system_identifier = match row.get(3) {
        true => Some(step.row("SELECT system_identifier::text FROM pg_control_system()", &[]).await?.get(0)),
        false => None,
    };
    Ok(ExportSource {
        host: endpoint.hosts(),
        database: endpoint.database().to_owned(),
        server_version: row.get(2),
        system_identifier,
        taken_at: row.get::<_, Timestamp>(0).to_string(),
        wal_position: Lsn::from(row.get::<_, PgLsn>(1)),
    })
}
