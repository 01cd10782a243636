//! Writing the rows of an import, batch by batch, each with the place in the files that it reaches.

use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::{ImportProgress, ImportReport, PlannedImport};
use crate::batch::{Batch, BatchLimits};
use crate::checkpoint::{ImportPosition, ImportRecord, ImportedRows};
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::operator;
use crate::postgres::step::during;
use crate::postgres::{Database, Session};
use crate::traffic::{RowCounts, Supplied, Touch, Writer, WriterSettings, stale};

/// See [`Import::carry_out`](super::Import::carry_out). `traffic` holds the lease.
pub(super) async fn carry_out(
    planned: &PlannedImport,
    traffic: Session,
    (progress, stop): (&ImportProgress, &CancellationToken),
) -> Result<ImportReport> {
    let names = &planned.config.names;
    progress.done.store(planned.from.rows, Ordering::Relaxed);
    progress.expected.store(planned.rows(), Ordering::Relaxed);
    if !planned.continues && !stop.is_cancelled() {
        begin(planned, &traffic).await?;
    }
    reach(Point::ImportBegun);
    let settings = WriterSettings {
        mapping: &planned.mapping,
        tables: &planned.tables,
        // Every row tells which export brought it last.
        touch: Touch::EveryRow,
        on_truncate: planned.config.on_truncate,
    };
    let mut writer = Writer::new(traffic, names, settings).await?;
    if planned.keeps_own_values {
        writer.keep_own_values().await?;
    }
    let mut writing = Writing { planned, writer, position: planned.from, complete: false };
    for &table in planned.tables.iter().skip_while(|table| **table != planned.from.table) {
        writing.table(table, (progress, stop)).await?;
    }
    if !stop.is_cancelled() {
        writing.end().await?;
    }
    let Writing { ref writer, position, complete, .. } = writing;
    let traffic = Database::traffic(writer.session(), names);
    planned.report(traffic, (position.rows, writing.counts(), complete)).await
}

/// Records the import. As at the beginning of a snapshot, quarantine is emptied, because every row is read again: a row
/// that waits since an earlier export may be gone from Landing by now.
async fn begin(planned: &PlannedImport, traffic: &Session) -> Result<()> {
    let names = &planned.config.names;
    let step = during(traffic, "beginning the import on Traffic");
    step.batch("BEGIN").await?;
    stale::clear_quarantine(traffic, names, &planned.tables).await?;
    let begun = (&planned.export, &*operator::name());
    ImportRecord::begin(traffic, names, begun, planned.from).await?;
    step.batch("COMMIT").await
}

struct Writing<'w> {
    planned: &'w PlannedImport,
    writer: Writer,
    position: ImportPosition,
    complete: bool,
}

impl Writing<'_> {
    async fn table(
        &mut self,
        table: Table,
        (progress, stop): (&ImportProgress, &CancellationToken),
    ) -> Result<()> {
        let config = &self.planned.config;
        if self.position.table != table {
            self.position = ImportPosition { table, offset: 0, ..self.position };
        }
        if self.position.offset == 0 && self.writer.is_new(table).await? {
            stale::clear_notes(self.writer.session(), &config.names, table).await?;
            self.writer.fill(table).await?;
        }
        let mut source = self.planned.source(table, self.position.offset)?;
        let limits = BatchLimits { rows: config.batch_rows, bytes: config.batch_bytes };
        while !stop.is_cancelled() {
            let batch = source.batch(limits, self.planned.export.origin)?;
            if batch.changes.is_empty() {
                let rows = self.position.rows;
                tracing::info!(table = table.traffic_name(), rows, "every row of the file is imported");
                break;
            }
            self.position.rows += batch.changes.len() as u64;
            self.position.offset = source.offset();
            self.write(&batch).await?;
            progress.done.store(self.position.rows, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes a batch in one short transaction, with the place that it reaches.
    async fn write(&mut self, batch: &Batch) -> Result<()> {
        self.writer.begin().await?;
        // Rows of a file have every value, so no values need to be supplied.
        self.writer.apply(batch, &Supplied::new()).await?;
        reach(Point::ImportWritten);
        self.record(false).await?;
        reach(Point::ImportRecorded);
        self.writer.commit().await?;
        reach(Point::ImportCommitted);
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        self.writer.begin().await?;
        self.record(true).await?;
        self.writer.commit().await?;
        self.complete = true;
        Ok(())
    }

    async fn record(&self, ends: bool) -> Result<()> {
        let PlannedImport { config, export, .. } = self.planned;
        let reached = (self.position, self.counts(), ends);
        ImportRecord::advance(self.writer.session(), &config.names, &export.manifest_sha256, reached).await
    }

    /// Rows by result, those of earlier runs included.
    fn counts(&self) -> ImportedRows {
        let (before, RowCounts { written, unchanged, quarantined, .. }) =
            (self.planned.before, self.writer.counts());
        ImportedRows {
            written: before.written + written,
            unchanged: before.unchanged + unchanged,
            quarantined: before.quarantined + quarantined,
        }
    }
}
