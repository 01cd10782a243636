//! Backups of whole Landing tables in files, with each value as PostgreSQL itself writes the value.
//!
//! All tables are read in one snapshot, each in the order of its keys, with every column of the table, known
//! to the mapping or not. Rows go to disk as they arrive, so memory does not grow with the number of rows.
//! All files are read back before the manifest is written. The manifest is the last file, so a directory with
//! a manifest holds a complete backup.

mod directory;
mod format;
mod manifest;
mod restore;
mod table;

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

pub use directory::Directory;
pub(crate) use directory::failed;
pub use format::Format;
pub use manifest::{BackupColumn, BackupSource, ColumnSequence, GeneratedColumn, Manifest, TableFile};
pub use restore::restore_hint;

use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::timestamp::Timestamp;
use crate::postgres::step::during;
use crate::postgres::{Database, Endpoint, table_lock};

/// Writes `tables` of Landing to `directory`.
///
/// # Errors
/// Errors of the database and of the disk. Refused when a file does not read back as written. After an error
/// the directory has no manifest, unless only the last flush of the directory failed.
pub async fn take(
    landing: &Endpoint,
    names: &Names,
    tables: &[Table],
    directory: Directory,
) -> Result<Manifest> {
    let session = landing.connect("backup").await?;
    let database = Database::landing(&session, names);
    begin(database, tables).await?;
    let mut manifest = Manifest::of(source(&session, landing).await?, directory.format());
    for table in tables {
        let written = table::write(database, *table, &directory).await?;
        reach(Point::TableBackedUp);
        tracing::info!(
            table = names.landing_name(*table),
            rows = written.rows,
            bytes = written.bytes,
            "backed up"
        );
        manifest.tables.push(written);
    }
    during(&session, "ending the snapshot of the backup on Landing").batch("COMMIT").await?;
    session.close().await;
    for file in &manifest.tables {
        directory.keep(&file.file)?;
    }
    manifest.verify(directory.path())?;
    reach(Point::FilesBackedUp);
    directory.complete(&manifest.to_json()?)?;
    Ok(manifest)
}

/// How long the backup waits for a transaction that holds a table's lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens one snapshot for all tables. The tables stay locked meanwhile, so their columns do not change.
async fn begin(landing: Database<'_>, tables: &[Table]) -> Result<()> {
    let tables: Vec<String> = tables.iter().map(|table| landing.table(*table)).collect();
    let (session, patience) = (landing.client, Some(PATIENCE));
    table_lock::open(session, Side::Landing, table_lock::ONE_SNAPSHOT, &tables, "", patience).await.map(drop)
}

async fn source(session: &Client, landing: &Endpoint) -> Result<BackupSource> {
    let sql = "SELECT now(), pg_current_wal_insert_lsn(), current_setting('server_version')";
    let row = during(session, "reading Landing's WAL position").row(sql, &[]).await?;
    Ok(BackupSource {
        host: landing.hosts(),
        database: landing.database().to_owned(),
        server_version: row.get(2),
        taken_at: row.get::<_, Timestamp>(0).to_string(),
        wal_position: Lsn::from(row.get::<_, PgLsn>(1)),
    })
}
