//! Deletes: with triggers on, so that cascades reach Traffic's own rows (guarantees 4.2), and without losing
//! rows that Landing still has.

use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, ToStatement};
use uuid::Uuid;

use super::statements;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::model::change::Table;
use crate::model::lsn::Lsn;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::model::truncate::OnTruncate;
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
pub(super) fn delete(names: &Names, table: Table, children: &[Table]) -> String {
    let traffic = names.traffic_table(table);
    let (mut kept, mut counts) = (String::new(), Vec::new());
    if table == Table::LandingLeads {
        for (number, child) in children.iter().filter(|child| child.lead_column().is_some()).enumerate() {
            kept += &format!("kept_{number} AS ({}), ", keep(names, *child));
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
fn keep(names: &Names, child: Table) -> String {
    let columns = statements::restorable(child).into_iter().filter_map(|(at, target)| {
        let column = child.columns().get(at)?;
        Some(format!("'{}', {}", column.name, statements::as_text(target)))
    });
    let columns: Vec<String> = columns.collect();
    let RefusalCause { sqlstate, message } = RefusalCause::lead_is_missing(Side::Traffic);
    format!(
        "INSERT INTO {quarantine} (source_table, row_id, lead_id, operation, lsn, sqlstate, message, row_data) \
         SELECT '{name}', t.id, t.lead_id, 'update', $2::pg_lsn, '{sqlstate}', '{message}', \
           pg_catalog.jsonb_build_object('id', t.id::text, {columns}) \
         FROM {table} t JOIN {leads} l ON l.id = t.lead_id \
         WHERE t.lead_id = ANY ($1::uuid[]) AND t.landing_synced_at IS NOT NULL AND l.landing_synced_at IS NOT NULL \
         ON CONFLICT (source_table, row_id) DO NOTHING RETURNING row_id",
        quarantine = names.own("quarantine"),
        name = child.landing_name(),
        columns = columns.join(", "),
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

/// Runs [`delete`], prepared or not.
///
/// # Errors
/// A row that Traffic does not let go, or that a trigger leaves out; any other error that ends an attempt.
pub(super) async fn run<S>(
    client: &Client,
    names: &Names,
    statement: &S,
    table: Table,
    ids: &[Uuid],
    at: Lsn,
) -> Result<Deleted>
where
    S: ?Sized + ToStatement,
{
    let step = format!("deleting from {}", table.traffic_name());
    let lsn = PgLsn::from(at);
    let answer = match table {
        Table::LandingLeads => client.query_one(statement, &[&ids, &lsn]).await,
        Table::LeadJourney | Table::ScheduledNotifications => client.query_one(statement, &[&ids]).await,
    };
    let answer = answer.map_err(|error| Error::writing(&step, &error).of_table(table.traffic_name()))?;
    let left: Vec<Uuid> = answer.get(1);
    if !left.is_empty() && is_there(client, names, table, &left).await? {
        return Err(Error::skipped(step));
    }
    let count = |at| answer.get::<_, i64>(at).unsigned_abs();
    Ok(Deleted { rows: count(0), kept: count(2) })
}

/// Whether Traffic has any of the rows now. Another session may have deleted the rows meanwhile.
async fn is_there(client: &Client, names: &Names, table: Table, ids: &[Uuid]) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE id = ANY ($1::uuid[]) AND landing_synced_at IS NOT NULL)",
        names.traffic_table(table)
    );
    let row = during(client, "looking for rows that were to be deleted").row(&sql, &[&ids]).await?;
    Ok(row.get(0))
}

impl Writer {
    /// Deletes rows with triggers on, and releases the rows from quarantine. `deleted` has children before
    /// leads. `at` is the position for the quarantine entries.
    pub(super) async fn delete_rows(&mut self, deleted: &[(Table, Uuid)], at: Lsn) -> Result<()> {
        if deleted.is_empty() {
            return Ok(());
        }
        self.execute("switching triggers on", self.triggers.restore()).await?;
        for group in deleted.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(table, _)) = group.first() else { continue };
            let ids: Vec<Uuid> = group.iter().map(|(_, id)| *id).collect();
            let on_traffic = self.held_as(table, &ids).await?;
            self.remove(table, &on_traffic, at).await?;
            reach(Point::Deleted);
            self.settle(table, &ids, &ids, &[]).await?;
        }
        self.execute("switching triggers off", self.triggers.suppress()).await
    }

    /// Deletes rows by their keys on Traffic, with triggers on. Quarantine entries stay.
    pub(super) async fn remove_stale(&mut self, table: Table, ids: &[Uuid], at: Lsn) -> Result<()> {
        self.execute("switching triggers on", self.triggers.restore()).await?;
        self.remove(table, ids, at).await?;
        self.execute("switching triggers off", self.triggers.suppress()).await
    }

    async fn remove(&mut self, table: Table, ids: &[Uuid], at: Lsn) -> Result<()> {
        let delete = self.delete(table).await?;
        let Deleted { rows, kept } = run(&self.session, &self.names, delete, table, ids, at).await?;
        if kept > 0 {
            self.may_have_quarantined = true;
            tracing::info!(
                rows = kept,
                "rows of leads that Landing has deleted wait in quarantine, unless their own deletes follow"
            );
        }
        self.counts.deleted += rows;
        self.counts.quarantined += kept;
        Ok(())
    }

    pub(super) async fn truncate(&mut self, tables: &[Table]) -> Result<()> {
        let names =
            |tables: &[Table]| tables.iter().map(|table| table.landing_name()).collect::<Vec<_>>().join(", ");
        if self.on_truncate == OnTruncate::Stop {
            return Err(Error::refused(format!("TRUNCATE on Landing of {}", names(tables))).remedy(
                "nothing was applied; to delete the rows that came from Landing on Traffic too, set \
                 on_truncate = \"apply\" and start again",
            ));
        }
        let spared: Vec<Table> = self.written_tables().filter(|table| !tables.contains(table)).collect();
        if tables.contains(&Table::LandingLeads) && !spared.is_empty() {
            return Err(Error::refused(format!(
                "TRUNCATE on Landing of {} and not of {}, whose rows have lost their leads",
                names(tables),
                names(&spared)
            ))
            .remedy("nothing was applied; run `leadbridge resync`: what has lost its lead waits in quarantine then"));
        }
        self.execute("switching triggers on", self.triggers.restore()).await?;
        // Deletes children before leads, so that a lead's cascade finds nothing left to do.
        for table in Table::ALL.into_iter().rev().filter(|table| tables.contains(table)) {
            let (step, traffic) = ("applying a TRUNCATE", self.names.traffic_table(table));
            let sql = format!("DELETE FROM {traffic} WHERE landing_synced_at IS NOT NULL");
            let deleted = during(&self.session, step).write(&sql, &[]).await?;
            self.counts.deleted += deleted;
            let left = format!("SELECT EXISTS (SELECT FROM {traffic} WHERE landing_synced_at IS NOT NULL)");
            let left = during(&self.session, step).row(&left, &[]).await?;
            if left.get(0) {
                return Err(Error::skipped(step));
            }
            self.quarantine.release_table(&self.session, table).await?;
            self.notes.forget_table(&self.session, table).await?;
        }
        self.execute("switching triggers off", self.triggers.suppress()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_deleted_lead_has_every_column_of_landings() {
        let sql = delete(&Names::default(), Table::LandingLeads, &Table::ALL);
        for child in Table::ALL.into_iter().filter(|table| table.lead_column().is_some()) {
            assert!(sql.contains(&format!("SELECT '{}', t.id", child.landing_name())), "{sql}");
            for column in child.columns() {
                assert!(sql.contains(&format!("'{}', t.{}", column.name, column.name)), "{}", column.name);
            }
        }
        assert!(!delete(&Names::default(), Table::LeadJourney, &Table::ALL).contains("quarantine"));
    }
}
