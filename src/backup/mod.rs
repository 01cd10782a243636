//! Whole tables of Landing in files, as PostgreSQL itself writes their values.
//!
//! All tables are read in one snapshot, each in the order of its keys, with every column that it has, known to the
//! mapping or not. Rows go to the disk as they come, so memory does not grow with them. What was written is read back
//! before the manifest says that it is there; the manifest is the last file to come, so a directory with one holds a
//! whole backup.

mod directory;
mod format;
mod manifest;
mod restore;
mod table;

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

pub use directory::Directory;
pub(crate) use directory::replace;
pub use format::Format;
pub use manifest::{BackupColumn, BackupSource, GeneratedColumn, Manifest, TableFile};
pub use restore::restore_hint;

use crate::change::Table;
use crate::database::{Endpoint, Side, table_lock};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::lsn::Lsn;
use crate::names::Names;
use crate::timestamp::Timestamp;

/// Writes `tables` of Landing to `directory`.
///
/// # Errors
/// Those of the database and of the disk; refused when something is read back otherwise than it was written. Whatever
/// the error, the directory has no manifest.
pub async fn take(
    landing: &Endpoint,
    names: &Names,
    tables: &[Table],
    directory: Directory,
    format: Format,
) -> Result<Manifest> {
    let session = landing.connect("backup").await?;
    begin(&session, names, tables).await?;
    let mut manifest = Manifest::of(source(&session, landing).await?, format);
    for table in tables {
        let written =
            table::write(&session, &names.landing_table(*table), *table, format, &directory).await?;
        reach(Point::TableBackedUp);
        tracing::info!(table = table.landing_name(), rows = written.rows, bytes = written.bytes, "backed up");
        manifest.tables.push(written);
    }
    let ended = session.batch_execute("COMMIT").await;
    ended.map_err(|error| Error::database("ending the snapshot of the backup on Landing", &error))?;
    session.close().await;
    for file in &manifest.tables {
        directory.keep(&file.file)?;
    }
    manifest.verify(directory.path())?;
    reach(Point::FilesBackedUp);
    directory.complete(&manifest.to_json()?)?;
    Ok(manifest)
}

/// How long a transaction may hold the backup up.
const PATIENCE: Duration = Duration::from_secs(30);

/// One snapshot for all tables, whose columns stay as they are meanwhile.
async fn begin(session: &Client, names: &Names, tables: &[Table]) -> Result<()> {
    let tables: Vec<String> = tables.iter().map(|table| names.landing_table(*table)).collect();
    let patience = Some(PATIENCE);
    table_lock::open(session, Side::Landing, table_lock::ONE_SNAPSHOT, &tables, "", patience).await.map(drop)
}

async fn source(session: &Client, landing: &Endpoint) -> Result<BackupSource> {
    let sql = "SELECT now(), pg_current_wal_insert_lsn(), current_setting('server_version')";
    let row = session.query_one(sql, &[]).await;
    let row = row.map_err(|error| Error::database("reading Landing's WAL position", &error))?;
    Ok(BackupSource {
        host: landing.hosts(),
        database: landing.database().to_owned(),
        server_version: row.get(2),
        taken_at: row.get::<_, Timestamp>(0).to_string(),
        wal_position: Lsn::from(row.get::<_, PgLsn>(1)),
    })
}
