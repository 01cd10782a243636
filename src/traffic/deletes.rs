//! Deletes: with triggers on, so that cascades reach Traffic's own rows (guarantees 4.2), and without losing
//! rows that Landing still has.

use postgres_protocol::escape::escape_literal;
use tokio_postgres::ToStatement;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use super::writer::{Arrived, Writer};
use super::{keys, statements};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::language::message;
use crate::mapping::{Mapping, TableMapping};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::truncate::OnTruncate;
use crate::postgres::Database;
use crate::postgres::step::during;
use crate::quarantine::RefusalCause;

/// Deletes rows of `table` that came from Landing. Parameters: ids; for leads also the position for the
/// quarantine entries. Answers one row: number of deleted rows; ids of rows from Landing that were not
/// deleted, by the snapshot of the statement; number of quarantined rows.
///
/// Traffic's cascade deletes a lead's rows of `children` with the lead. Where Landing's own cascade ran,
/// Landing's transaction deletes the children too, and the batch has applied the deletes known so far.
/// Landing may have kept the children left on Traffic. So the statement quarantines the children, and a later
/// delete from Landing removes a child from quarantine.
pub(super) fn delete((names, mapping): (&Names, &Mapping), table: Table, children: &[Table]) -> String {
    let traffic = names.traffic_table(table);
    let (mut kept, mut counts) = (String::new(), Vec::new());
    if table == Table::LandingLeads {
        for (number, child) in children.iter().filter(|child| child.lead_column().is_some()).enumerate() {
            kept += &format!("kept_{number} AS ({}), ", keep(names, mapping.of(*child)));
            counts.push(format!("(SELECT count(*) FROM kept_{number})"));
        }
    }
    let counts = if counts.is_empty() { "0::bigint".to_owned() } else { counts.join(" + ") };
    format!(
        "WITH {kept}gone AS (DELETE FROM {traffic} t \
           WHERE t.id = ANY ($1::uuid[]) AND t.landing_synced_at IS NOT NULL RETURNING t.id) \
         SELECT (SELECT count(*) FROM gone), ARRAY(SELECT t.id FROM {traffic} t \
           WHERE (SELECT count(*) FROM gone) < cardinality($1) AND t.id = ANY ($1::uuid[]) \
           AND t.landing_synced_at IS NOT NULL AND NOT EXISTS (SELECT FROM gone g WHERE g.id = t.id)), {counts}"
    )
}

/// Quarantines the rows of `child` that came from Landing and whose lead is about to be deleted. Traffic's
/// rows serve as the images, because every column of the tables of children is verbatim.
fn keep(names: &Names, mapping: &TableMapping) -> String {
    let child = mapping.table;
    let (mut columns, mut texts) = (vec!["'id'".to_owned()], vec!["t.id::text".to_owned()]);
    for (at, target) in mapping.verbatim().filter(|(_, target)| mapping.gives(target)) {
        columns.extend(mapping.columns().get(at).map(|column| escape_literal(&column.name)));
        texts.push(statements::as_text(target));
    }
    let RefusalCause { sqlstate, message } = RefusalCause::lead_is_missing(Side::Traffic);
    format!(
        "INSERT INTO {quarantine} (source_table, row_id, lead_id, operation, lsn, sqlstate, message, row_data) \
         SELECT '{name}', t.id, t.lead_id, 'update', $2::pg_lsn, '{sqlstate}', '{message}', \
           pg_catalog.jsonb_object(ARRAY[{columns}], ARRAY[{texts}]) \
         FROM {table} t JOIN {leads} l ON l.id = t.lead_id \
         WHERE t.lead_id = ANY ($1::uuid[]) AND t.landing_synced_at IS NOT NULL AND l.landing_synced_at IS NOT NULL \
         ON CONFLICT (source_table, row_id) DO NOTHING RETURNING row_id",
        quarantine = names.own("quarantine"),
        name = child.label(),
        columns = columns.join(", "),
        texts = texts.join(", "),
        table = names.traffic_table(child),
        leads = names.traffic_table(Table::LandingLeads),
    )
}

/// Result of deletes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deleted {
    pub(super) rows: u64,
    /// Quarantined rows of deleted leads.
    pub(super) kept: u64,
}

/// Rows to be deleted from Traffic.
#[derive(Clone, Copy)]
pub(super) struct Deletion<'d> {
    pub(super) table: Table,
    pub(super) ids: &'d [Uuid],
    /// The position for the quarantine entries.
    pub(super) at: Lsn,
}

impl Deletion<'_> {
    /// Runs [`delete`], prepared or not.
    ///
    /// # Errors
    /// A row that Traffic does not let go, or that a trigger leaves out; any other error that ends an attempt.
    pub(super) async fn run<S>(&self, traffic: Database<'_>, statement: &S) -> Result<Deleted>
    where
        S: ?Sized + ToStatement,
    {
        let Deletion { table, ids, at } = *self;
        let (name, lsn) = (table.traffic_name(), PgLsn::from(at));
        let deleting = format!("deleting from {name}");
        let step = traffic.during(&*deleting).of_table(name);
        let answer = match table {
            Table::LandingLeads => step.write_row(statement, &[&ids, &lsn]).await?,
            Table::LeadJourney | Table::ScheduledNotifications => step.write_row(statement, &[&ids]).await?,
        };
        let left: Vec<Uuid> = answer.get(1);
        if !left.is_empty() && is_there(traffic, table, &left).await? {
            return Err(Error::skipped(deleting));
        }
        let count = |at| answer.get::<_, i64>(at).unsigned_abs();
        Ok(Deleted { rows: count(0), kept: count(2) })
    }
}

/// Whether Traffic has any of the rows now. Another session may have deleted the rows meanwhile.
async fn is_there(traffic: Database<'_>, table: Table, ids: &[Uuid]) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE id = ANY ($1::uuid[]) AND landing_synced_at IS NOT NULL)",
        traffic.table(table)
    );
    let row = traffic.during("looking for rows that were to be deleted").row(&sql, &[&ids]).await?;
    Ok(row.get(0))
}

/// Deletes rows with triggers on, and releases the rows from quarantine. `deleted` has children before
/// leads. `at` is the position for the quarantine entries.
pub(super) async fn delete_rows(writer: &mut Writer, deleted: &[(Table, Uuid)], at: Lsn) -> Result<()> {
    if deleted.is_empty() {
        return Ok(());
    }
    writer.session.fire_triggers(true).await?;
    for group in deleted.chunk_by(|a, b| a.0 == b.0) {
        let Some(&(table, _)) = group.first() else { continue };
        let ids: Vec<Uuid> = group.iter().map(|(_, id)| *id).collect();
        let on_traffic = keys::held_as(writer, table, &ids).await?;
        remove(writer, Deletion { table, ids: &on_traffic, at }).await?;
        reach(Point::Deleted);
        writer.record(Arrived { table, ids: &ids, noted: &ids, rows: &[], are_deleted: true }).await?;
        writer.copies.forget_left(&writer.session, table, &ids).await?;
    }
    writer.session.fire_triggers(false).await
}

/// Deletes rows by their keys on Traffic, with triggers on. Quarantine entries stay.
pub(super) async fn remove_stale(writer: &mut Writer, deletion: Deletion<'_>) -> Result<()> {
    writer.session.fire_triggers(true).await?;
    remove(writer, deletion).await?;
    writer.session.fire_triggers(false).await
}

async fn remove(writer: &mut Writer, deletion: Deletion<'_>) -> Result<()> {
    let delete = writer.delete(deletion.table).await?;
    let Deleted { rows, kept } = deletion.run(writer.database(), delete).await?;
    if kept > 0 {
        writer.may_have_quarantined = true;
        tracing::info!(
            rows = kept,
            "rows of leads that Landing has deleted wait in quarantine, unless their own deletes follow"
        );
    }
    writer.counts.deleted += rows;
    writer.counts.quarantined += kept;
    Ok(())
}

pub(super) async fn truncate(writer: &mut Writer, tables: &[Table]) -> Result<()> {
    let landing = &writer.names;
    let names = |tables: &[Table]| {
        tables.iter().map(|table| landing.landing_name(*table)).collect::<Vec<_>>().join(", ")
    };
    if writer.on_truncate == OnTruncate::Stop {
        return Err(Error::refused(format!("TRUNCATE on Landing of {}", names(tables)))
            .remedy(message!("traffic-remedy-truncate")));
    }
    let spared: Vec<Table> = writer.written_tables().filter(|table| !tables.contains(table)).collect();
    if tables.contains(&Table::LandingLeads) && !spared.is_empty() {
        return Err(Error::refused(format!(
            "TRUNCATE on Landing of {} and not of {}, whose rows have lost their leads",
            names(tables),
            names(&spared)
        ))
        .remedy(message!("traffic-remedy-truncate-in-part")));
    }
    writer.session.fire_triggers(true).await?;
    // Deletes children before leads, so that a lead's cascade finds nothing left to do.
    for table in Table::ALL.into_iter().rev().filter(|table| tables.contains(table)) {
        let (step, traffic) = ("applying a TRUNCATE", writer.names.traffic_table(table));
        let sql = format!("DELETE FROM {traffic} WHERE landing_synced_at IS NOT NULL");
        let deleted = during(&writer.session, step).write(&sql, &[]).await?;
        writer.counts.deleted += deleted;
        let left = format!("SELECT EXISTS (SELECT FROM {traffic} WHERE landing_synced_at IS NOT NULL)");
        let left = during(&writer.session, step).row(&left, &[]).await?;
        if left.get(0) {
            return Err(Error::skipped(step));
        }
        writer.quarantine.release_table(&writer.session, table).await?;
        writer.notes.forget_table(&writer.session, table).await?;
        writer.copies.forget_left_missing(&writer.session, table).await?;
    }
    writer.session.fire_triggers(false).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_deleted_lead_has_every_column_of_landings() {
        let sql = delete((&Names::default(), &Mapping::whole()), Table::LandingLeads, &Table::ALL);
        for child in Table::ALL.into_iter().filter(|table| table.lead_column().is_some()) {
            assert!(sql.contains(&format!("SELECT '{}', t.id", child.label())), "{sql}");
            for column in child.columns() {
                assert!(sql.contains(&format!("t.{}", column.name)), "{}", column.name);
                assert!(sql.contains(&format!("'{}'", column.name)), "{}", column.name);
            }
        }
        assert!(
            !delete((&Names::default(), &Mapping::whole()), Table::LeadJourney, &Table::ALL)
                .contains("quarantine")
        );
    }
}
