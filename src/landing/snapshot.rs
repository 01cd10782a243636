//! Copying a table under the slot's exported snapshot, in ranges of the table's pages.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use postgres_protocol::escape::escape_literal;
use tokio_postgres::{CopyOutStream, SimpleQueryMessage};

use super::catalog::Measure;
use super::ranges::Range;
use super::reading;
use crate::capture::layout::Layout;
use crate::checkpoint::Published;
use crate::error::{Error, Result};
use crate::mapping::{Passthrough, TableMapping};
use crate::model::budget::TOGETHER;
use crate::model::change::{Row, Table};
use crate::model::names::Names;
use crate::model::side::Side;
use crate::postgres::copied::{CopiedMessage, Decoder};
use crate::postgres::step::during;
use crate::postgres::table_lock::{self, Opening};
use crate::postgres::{Database, Endpoint, Session, large};

/// Size of a table under the snapshot.
#[derive(Clone, Debug)]
pub struct Extent {
    pub ranges: Vec<Range>,
    /// Counted for a small table, PostgreSQL's estimate for a large one.
    pub expected_rows: u64,
    /// Whether the table may hold large rows.
    pub may_hold_large: bool,
}

/// Large rows of a range, as SQL arrays of their `ctid`, which stay the same under the snapshot.
#[derive(Clone, Debug, Default)]
pub struct LargeRows {
    /// Sets of rows, each of a few megabytes.
    pub sets: Vec<String>,
    /// Rows of which each must be alone in memory.
    pub alone: Vec<String>,
}

/// A table to copy.
#[derive(Clone, Copy)]
pub struct CopiedFrom<'r> {
    pub names: &'r Names,
    pub published: &'r Published,
    pub layout: &'r Layout,
}

/// Maximum number of large rows in a set.
const SET: usize = 100;

/// A session on Landing that sees the exported snapshot.
///
/// The session locks a table only while reading a range of the table. A lock for the whole copy would make an
/// ALTER TABLE wait for hours, and every writer of the site would queue after the ALTER TABLE. So a table may
/// be rewritten between two ranges, or before the first range, and a rewritten table looks empty to the
/// snapshot. Under each lock the table's storage is compared with the storage in the snapshot's catalog:
/// equal storage means that no rewrite has happened in between.
pub struct SnapshotReader {
    session: Session,
}

/// A range, or a look at a table, ends with a rollback to the savepoint. The rollback releases the lock and
/// keeps the snapshot.
const RANGE: Opening<'_> = Opening { begin: "ROLLBACK TO range", undo: "ROLLBACK TO range" };

impl SnapshotReader {
    pub async fn open(landing: &Endpoint, snapshot: &str) -> Result<Self> {
        let session = landing.connect("snapshot").await?;
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; SAVEPOINT range",
            escape_literal(snapshot)
        );
        during(&session, "importing the snapshot on Landing").batch(&sql).await?;
        Ok(SnapshotReader { session })
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The oldest transaction that the snapshot does not see completely. The snapshot sees everything that
    /// earlier transactions committed.
    pub async fn horizon(&self) -> Result<String> {
        crate::postgres::wal::oldest_running(&self.session).await
    }

    /// Locks a table against every change of the table's storage, until [`SnapshotReader::release`] or the
    /// next lock. Waits for as long as another session holds an exclusive lock.
    ///
    /// # Errors
    /// Transient when the table's storage is not the storage in `published`: the snapshot may not see the
    /// table's rows.
    pub async fn lock(&self, names: &Names, table: Table, published: &Published) -> Result<()> {
        let name = names.landing_table(table);
        // Read from the relation cache, brought up to date by the lock, and not from the snapshot.
        let storage = format!(
            "SELECT to_regclass({0})::oid, pg_relation_filenode(to_regclass({0}))",
            escape_literal(&name)
        );
        let said = table_lock::open(&self.session, Side::Landing, RANGE, &[name], &storage, None).await?;
        let row = said.iter().find_map(|said| match said {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let number = |column| row.and_then(|row| row.get(column)).and_then(|text| text.parse().ok());
        published.check_storage(table, number(0).zip(number(1)))
    }

    /// Releases the last lock.
    pub async fn release(&self) -> Result<()> {
        during(&self.session, "giving a lock on Landing back").batch(RANGE.undo).await
    }

    /// The layout of a table under the snapshot.
    pub async fn layout(&self, names: &Names, mapping: &Arc<TableMapping>) -> Result<Layout> {
        super::catalog::layout(&self.session, names, mapping).await
    }

    /// The tables and columns that the publication sends from the snapshot on.
    pub async fn published(
        &self,
        names: &Names,
        tables: &[Table],
        passthrough: &Passthrough,
    ) -> Result<Published> {
        super::catalog::published(Database::landing(&self.session, names), tables, passthrough).await
    }

    /// Divides a table into ranges.
    pub async fn extent(&self, names: &Names, table: Table) -> Result<Extent> {
        let Measure { pages, rows } = super::catalog::measure(&self.session, names, table).await?;
        let may_hold_large = large::may_hold(Database::landing(&self.session, names), table).await?;
        Ok(Extent { ranges: Range::all(table, pages), expected_rows: rows, may_hold_large })
    }

    /// Streams the rows of one range. With `large`, the large rows are left out of the stream and listed there.
    ///
    /// # Errors
    /// Errors of [`SnapshotReader::lock`], and of the database.
    pub async fn rows<'r>(
        &'r self,
        table: CopiedFrom<'r>,
        range: &Range,
        large: Option<&mut LargeRows>,
    ) -> Result<RowStream<'r>> {
        let CopiedFrom { names, published, layout } = table;
        self.lock(names, layout.table(), published).await?;
        let mut condition = range.condition();
        if let Some(large) = large {
            *large = self.large(table, &condition).await?;
            condition = format!("{condition} AND NOT {}", reading::is_large(layout));
        }
        self.stream(table, &condition).await
    }

    /// Streams the rows of a set of [`LargeRows`].
    ///
    /// # Errors
    /// Errors of [`SnapshotReader::rows`].
    pub async fn large_rows<'r>(&'r self, table: CopiedFrom<'r>, set: &str) -> Result<RowStream<'r>> {
        self.lock(table.names, table.layout.table(), table.published).await?;
        self.stream(table, &format!("ctid = ANY ({set})")).await
    }

    /// The large rows among those of `condition`.
    async fn large(&self, table: CopiedFrom<'_>, condition: &str) -> Result<LargeRows> {
        let CopiedFrom { names, layout, .. } = table;
        let sql = format!(
            "SELECT ctid::text, {} FROM {} WHERE {condition} AND {}",
            reading::weight(layout),
            names.landing_table(layout.table()),
            reading::is_large(layout)
        );
        let step = format!("looking for large rows of {} on Landing", layout.name);
        let found = during(&self.session, step).rows(&sql, &[]).await?;
        let weighed = found.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()));
        let (alone, others): (Vec<(String, u64)>, Vec<_>) =
            weighed.partition(|(_, bytes)| TOGETHER.is_exceeded_by(*bytes));
        let set = |rows: Vec<String>| {
            format!(
                "'{{{}}}'::tid[]",
                rows.iter().map(|row| format!("\"{row}\"")).collect::<Vec<_>>().join(",")
            )
        };
        Ok(LargeRows {
            sets: TOGETHER.portions(others, SET).into_iter().map(set).collect(),
            alone: alone.into_iter().map(|(row, _)| set(vec![row])).collect(),
        })
    }

    async fn stream<'r>(&'r self, table: CopiedFrom<'r>, condition: &str) -> Result<RowStream<'r>> {
        let CopiedFrom { names, layout, .. } = table;
        let step = || format!("copying {} from Landing", layout.name);
        let select = reading::select(names, layout);
        let sql = format!("COPY ({select} WHERE {condition}) TO STDOUT (FORMAT binary)");
        let stream = self.session.copy_out(&sql).await.map_err(|error| Error::database(step(), &error))?;
        let decoder = Decoder::new(layout.mapping.columns().len());
        Ok(RowStream { layout, messages: Box::pin(stream), decoder })
    }
}

/// Rows as the server sends the rows; nothing is collected.
pub struct RowStream<'r> {
    layout: &'r Layout,
    messages: Pin<Box<CopyOutStream>>,
    decoder: Decoder,
}

impl RowStream<'_> {
    /// The next row, `None` at the end of the range. The row's texts are slices of the received buffer.
    pub async fn next(&mut self) -> Result<Option<Row>> {
        let step = || format!("copying {} from Landing", self.layout.name);
        // The end of the rows is not yet the end of the copy, because an error may come instead of the end of
        // the copy.
        while let Some(message) = self.messages.next().await {
            let message = message.map_err(|error| Error::database(step(), &error))?;
            match self.decoder.message(message) {
                Ok(CopiedMessage::Row(values)) => return reading::row(self.layout, values).map(Some),
                Ok(CopiedMessage::End) => {}
                Err(what) => return Err(Error::internal(format!("{}: {what}", step()))),
            }
        }
        Ok(None)
    }
}
