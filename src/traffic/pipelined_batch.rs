//! A small batch in two round trips: all statements including the checkpoint's are sent together, then
//! COMMIT.
//!
//! Under low load a batch is a transaction of a row or two, and spends most of its time waiting for answers.
//! As long as every row is good, no answer decides anything, so all answers are awaited together. When an
//! answer is not good, everything is undone, and the batch is applied step by step. So pipelining changes how
//! fast rows are written, and not the result.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::copying::WORTHWHILE;
use super::upserts::{self, Mapped, all_fit, map_rows};
use super::writer::Writer;
use crate::batch::{Batch, PlanStep, Segment, plan};
use crate::checkpoint::{Ledger, Recording};
use crate::error::{Result, row_refusal};
use crate::model::change::{SourcedChange, Table};
use crate::postgres::pipelined::in_order;
use crate::quarantine::notes::Scope;

/// The largest pipelined batch, in bytes. In a larger batch the round trips cost less than the rest, and the
/// rows of all tables need not be in memory together.
const LARGEST: usize = 1 << 20;

/// The rows of one table, in primary-key order.
type TableRows = (Table, Vec<Mapped>);

impl Writer {
    /// Tries to write `batch` and its position; the caller then commits the transaction. Returns false when
    /// nothing was done and the batch must be applied step by step, because the batch is not small or not
    /// plain, or Traffic refuses a row.
    ///
    /// # Errors
    /// Any error except a bad row; another daemon has taken over. The caller must then drop the session.
    pub async fn apply_pipelined(
        &mut self,
        batch: &Batch,
        ledger: &Ledger,
        recording: &Recording,
    ) -> Result<bool> {
        if self.session.in_transaction() || !is_small(&batch.changes) {
            return Ok(false);
        }
        let (Some(end), Some(segment)) = (batch.end, plain(&batch.changes)) else { return Ok(false) };
        let Some(tables) = map_plain(self, &segment) else { return Ok(false) };
        let noted = tables.iter().flat_map(|(_, rows)| rows).any(|mapped| !mapped.row.notes.is_empty());
        self.notes.prepare(&self.session, self.may_have_notes(), noted).await?;
        let opening = self.opening();
        let opened = async { self.session.execute("opening a transaction", &opening).await.map(|()| true) };
        let mut statements = vec![opened.boxed()];
        if self.may_have_quarantined {
            self.quarantine.prepare(&self.session).await?;
            statements.push(is_apart_from_quarantine(self, &tables).boxed());
        }
        for table in &tables {
            statements.extend(statements_of(self, table));
        }
        if self.session.may_defer() {
            statements.push(self.check_deferred(true).map(|checked| checked.map(|()| true)).boxed());
        }
        let record = ledger.record(&self.session, recording, end, &batch.markers);
        statements.push(record.map(|recorded| recorded.map(|()| true)).boxed());
        if row_refusal(in_order(statements).await)?.is_ok_and(|good| good.iter().all(|good| *good)) {
            self.has_noted |= noted;
            self.session.opened();
            return Ok(true);
        }
        self.session.execute("undoing a batch", "ROLLBACK").await?;
        Ok(false)
    }
}

/// Whether quarantine has none of the rows and no row that waits for one of the rows. Otherwise a
/// pipelined batch does not suffice.
async fn is_apart_from_quarantine(writer: &Writer, tables: &[TableRows]) -> Result<bool> {
    let keys = tables.iter().flat_map(|(table, rows)| rows.iter().map(|mapped| (*table, mapped.row.id)));
    let keys: Vec<_> = keys.collect();
    writer.quarantine.is_concerned(&writer.session, &keys).await.map(|concerned| !concerned)
}

/// The mapped rows of each table, leads first; `None` when a row needs a second look.
fn map_plain(writer: &Writer, segment: &Segment<'_>) -> Option<Vec<TableRows>> {
    let mut tables = Vec::new();
    for (table, writes) in segment.tables() {
        if writer.copying.is_worthwhile(table, writes) {
            return None;
        }
        let (mapped, rejected) = map_rows(writer, table, writes.iter());
        // A value too long for the limits may fit by now: applying step by step reads the limits again.
        if !all_fit(&mapped, &rejected) {
            return None;
        }
        tables.push((table, mapped));
    }
    Some(tables)
}

/// The statements for the rows of one table, as in `upserts`. Each statement answers whether every row
/// is good.
fn statements_of<'s>(writer: &'s Writer, (table, rows): &'s TableRows) -> Vec<BoxFuture<'s, Result<bool>>> {
    let table = *table;
    let upsert =
        async move { upserts::upsert(writer, table, rows).await.map(|upserted| upserted.is_complete()) };
    let mut statements = vec![upsert.boxed()];
    if writer.may_have_notes() {
        let forget = async move {
            let ids: Vec<Uuid> = rows.iter().map(|mapped| mapped.row.id).collect();
            let scope = Scope { table, ids: &ids, columns: None, are_deleted: false };
            let still = rows.iter().map(|mapped| &mapped.row);
            writer.notes.forget(&writer.session, scope, still).await.map(|()| true)
        };
        statements.push(forget.boxed());
    }
    if rows.iter().any(|mapped| !mapped.row.notes.is_empty()) {
        let noted = rows.iter().map(|mapped| (&mapped.row, mapped.origin));
        statements.push(writer.notes.write(&writer.session, table, noted).boxed());
    }
    statements
}

/// Whether round trips make up most of the cost: few rows, and few bytes.
fn is_small(changes: &[SourcedChange]) -> bool {
    changes.len() < WORTHWHILE && changes.iter().map(|change| change.change.size()).sum::<usize>() <= LARGEST
}

/// The rows to be written; `None` when there is anything else to do, or a row has an unchanged TOAST value.
fn plain(changes: &[SourcedChange]) -> Option<Segment<'_>> {
    let mut steps = plan(changes);
    let segment = match (steps.pop(), steps.is_empty()) {
        (None, _) => Segment::default(),
        (Some(PlanStep::Apply(segment)), true) => segment,
        _ => return None,
    };
    let deletes = segment.deleted().next().is_some();
    let unsent = segment.writes().any(|write| write.row.has_unchanged());
    (!deletes && !unsent).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::{Change, Datum, Operation, Origin, Row};
    use crate::model::lsn::Lsn;
    use crate::model::timestamp::Timestamp;

    fn sourced(change: Change) -> SourcedChange {
        let origin = Origin { xid: Some(1), commit_lsn: Lsn(1), commit_time: Timestamp(0) };
        SourcedChange { origin, change }
    }

    fn write(table: Table, id: u128, old: Option<u128>, value: Datum) -> SourcedChange {
        let mut values = vec![Datum::Null; table.columns().len()];
        values[1] = value;
        let row = Row { table, id: Uuid::from_u128(id), values: values.into() };
        sourced(Change::Write { operation: Operation::Update, row, old_id: old.map(Uuid::from_u128) })
    }

    fn lead(id: u128) -> SourcedChange {
        write(Table::LandingLeads, id, None, Datum::text("n"))
    }

    #[test]
    fn whole_rows_are_plain_and_so_is_nothing_at_all() {
        let stage = write(Table::LeadJourney, 3, None, Datum::text("s"));
        let changes = [stage, lead(2), lead(1), lead(2)];
        let rows: Vec<_> = plain(&changes).unwrap().writes().map(|write| write.row.id.as_u128()).collect();
        assert_eq!(rows, [1, 2, 3], "leads first, each once, in the order of their keys");
        assert_eq!(plain(&[]).unwrap().writes().count(), 0);
    }

    #[test]
    fn deletes_changed_keys_truncates_and_unsent_values_are_not_plain() {
        let id = Uuid::from_u128(1);
        for change in [
            sourced(Change::Delete { table: Table::LandingLeads, id }),
            sourced(Change::Delete { table: Table::LeadJourney, id }),
            sourced(Change::Truncate { tables: vec![Table::LeadJourney] }),
            write(Table::LandingLeads, 1, Some(9), Datum::text("n")),
            write(Table::LandingLeads, 1, None, Datum::Unchanged),
        ] {
            assert!(plain(&[lead(2), change.clone()]).is_none(), "{change:?}");
        }
    }

    #[test]
    fn many_changes_and_large_ones_are_not_small() {
        let many: Vec<_> = (0..WORTHWHILE as u128).map(lead).collect();
        assert!(!is_small(&many) && is_small(&many[1..]));
        let large = write(Table::LandingLeads, 1, None, Datum::text("x".repeat(LARGEST)));
        assert!(!is_small(&[large]));
    }
}
