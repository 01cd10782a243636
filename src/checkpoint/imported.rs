//! Traffic's record of `leadbridge import`: which export, by which columns, and how far.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Row};

use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::{Mapping, Passthrough};
use crate::model::change::{Origin, Table};
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::timestamp::Timestamp;
use crate::postgres::Database;
use crate::postgres::step::during;

const WRITING: &str = "recording the import on Traffic";

/// The columns of Landing that an import carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedColumns {
    /// The columns of each file that the rules of the mapping read.
    pub known: BTreeMap<Table, BTreeSet<String>>,
    pub passthrough: Passthrough,
}

impl ImportedColumns {
    /// The mapping of the imported tables. A table without a file counts as a table with every column.
    pub fn mapping(&self) -> Mapping {
        let has = |table: Table, column: &str| {
            self.known.get(&table).is_none_or(|columns| columns.contains(column))
        };
        Mapping::new(has, &self.passthrough)
    }
}

/// A place between two rows of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportPosition {
    pub table: Table,
    /// Of the next row in the table's file, in bytes; 0 for the first row.
    pub offset: u64,
    /// Rows of all files before the place.
    pub rows: u64,
}

/// Rows of an import by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportedRows {
    pub written: u64,
    pub unchanged: u64,
    pub quarantined: u64,
}

/// Which export is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedExport {
    pub manifest_sha256: String,
    pub directory: String,
    /// Position and time of the export's snapshot, by Landing's clock.
    pub origin: Origin,
    pub columns: ImportedColumns,
}

/// The row of `leadbridge.import`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRecord {
    pub export: ImportedExport,
    pub position: ImportPosition,
    pub counts: ImportedRows,
    /// `None` until every row is on Traffic or in quarantine.
    pub finished_at: Option<Timestamp>,
}

impl ImportRecord {
    /// The import of our slot; `None` without one, and where Traffic has no such table yet.
    ///
    /// # Errors
    /// The connection broke, or a newer version wrote the row.
    pub async fn read(traffic: Database<'_>) -> Result<Option<Self>> {
        let table = traffic.names.own("import");
        let step = traffic.during("reading the import that Traffic has recorded");
        if !step.finds(&table).await? {
            return Ok(None);
        }
        let sql = format!(
            "SELECT manifest_sha256, directory, lsn, snapshot_time, columns, source_table, byte_offset, rows_done, \
             rows_written, rows_unchanged, rows_quarantined, finished_at FROM {table} WHERE slot = $1"
        );
        let row = step.row_if_any(&sql, &[&traffic.names.slot]).await?;
        row.map(|row| recorded(&row)).transpose()
    }

    /// Records that the import of `export` begins, in the place of any earlier import. The session must hold the
    /// lease.
    pub async fn begin(
        client: &Client,
        names: &Names,
        (export, operator): (&ImportedExport, &str),
        position: ImportPosition,
    ) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} AS i (slot, manifest_sha256, directory, lsn, snapshot_time, columns, source_table, \
             byte_offset, rows_done, operator, leadbridge_version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (slot) DO UPDATE SET manifest_sha256 = EXCLUDED.manifest_sha256, \
             directory = EXCLUDED.directory, lsn = EXCLUDED.lsn, snapshot_time = EXCLUDED.snapshot_time, \
             columns = EXCLUDED.columns, source_table = EXCLUDED.source_table, byte_offset = EXCLUDED.byte_offset, \
             rows_done = EXCLUDED.rows_done, rows_written = 0, rows_unchanged = 0, rows_quarantined = 0, \
             operator = EXCLUDED.operator, leadbridge_version = EXCLUDED.leadbridge_version, \
             begun_at = clock_timestamp(), finished_at = NULL",
            names.own("import")
        );
        let columns =
            serde_json::to_string(&export.columns).map_err(|error| Error::internal(error.to_string()))?;
        let lsn = PgLsn::from(export.origin.commit_lsn);
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &names.slot,
            &export.manifest_sha256,
            &export.directory,
            &lsn,
            &export.origin.commit_time,
            &columns,
            &position.table.label(),
            &number(position.offset),
            &number(position.rows),
            &operator,
            &env!("CARGO_PKG_VERSION"),
        ];
        during(client, WRITING).run(&sql, &parameters).await.map(drop)
    }

    /// Records how far the import has come, in the transaction of the rows. `ends` with the last row.
    ///
    /// # Errors
    /// Refused when the record is of another import.
    pub async fn advance(
        client: &Client,
        names: &Names,
        manifest_sha256: &str,
        (position, counts, ends): (ImportPosition, ImportedRows, bool),
    ) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET source_table = $3, byte_offset = $4, rows_done = $5, rows_written = $6, \
             rows_unchanged = $7, rows_quarantined = $8, finished_at = CASE WHEN $9 THEN clock_timestamp() END \
             WHERE slot = $1 AND manifest_sha256 = $2 AND finished_at IS NULL",
            names.own("import")
        );
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &names.slot,
            &manifest_sha256,
            &position.table.label(),
            &number(position.offset),
            &number(position.rows),
            &number(counts.written),
            &number(counts.unchanged),
            &number(counts.quarantined),
            &ends,
        ];
        match during(client, WRITING).run(&sql, &parameters).await? {
            1 => Ok(()),
            _ => Err(Error::refused("Traffic's record of this import is gone, or is of another import")
                .remedy(message!("checkpoint-remedy-import-gone"))),
        }
    }
}

/// Sizes of files and numbers of rows are far below the largest bigint.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn recorded(row: &Row) -> Result<ImportRecord> {
    let unknown = || {
        Error::refused("Traffic's record of an import was written by a version that this one does not know")
            .remedy(message!("checkpoint-remedy-import-newer"))
    };
    let table = Table::from_label(row.get(5)).ok_or_else(unknown)?;
    let columns = serde_json::from_str(row.get(4)).map_err(|_| unknown())?;
    let count = |at: usize| row.get::<_, i64>(at).unsigned_abs();
    let origin = Origin { xid: None, commit_lsn: Lsn::from(row.get::<_, PgLsn>(2)), commit_time: row.get(3) };
    Ok(ImportRecord {
        export: ImportedExport { manifest_sha256: row.get(0), directory: row.get(1), origin, columns },
        position: ImportPosition { table, offset: count(6), rows: count(7) },
        counts: ImportedRows { written: count(8), unchanged: count(9), quarantined: count(10) },
        finished_at: row.get(11),
    })
}
