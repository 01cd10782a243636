//! `conversion_notes`: the originals of values that the mapping had to change (guarantees 5.4).

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;
use uuid::Uuid;

use crate::batch::KeyChange;
use crate::error::Result;
use crate::mapping::{Note, TrafficRow};
use crate::model::change::{Origin, Table};
use crate::model::names::Names;
use crate::postgres::pipelined::IS_OPEN;
use crate::postgres::prepared::LazyStatement;
use crate::postgres::step::during;

/// `source_table` of the notes about Traffic's own values that a first copy replaced. These notes concern the
/// same rows as the notes of leads, and stay as long as the row: no later change brings the values back.
pub const OWN_VALUES: &str = "traffic_leads";

/// `source_table` of all notes about rows of `table`.
pub(super) fn labels(table: Table) -> Vec<&'static str> {
    let own = (table == Table::LandingLeads).then_some(OWN_VALUES);
    [table.label()].into_iter().chain(own).collect()
}

/// The statements on the notes table, for one session. A row has at most one note for each column: the note
/// about the current value.
#[derive(Debug)]
pub struct Notes {
    table: String,
    write: LazyStatement,
    forget: LazyStatement,
}

/// The notes concerned by a change of rows.
#[derive(Clone, Copy)]
pub struct Scope<'s> {
    pub table: Table,
    pub ids: &'s [Uuid],
    /// `None` stands for all columns.
    pub columns: Option<&'s [&'s str]>,
    /// Whether the rows are deleted, so that no note stays.
    pub are_deleted: bool,
}

impl Notes {
    pub fn new(names: &Names) -> Self {
        let table = names.own("conversion_notes");
        let write = format!(
            "INSERT INTO {table} AS n (source_table, row_id, column_name, original, reason, lsn) \
             SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::pg_lsn[]) \
             WHERE {IS_OPEN} ON CONFLICT (source_table, row_id, column_name) DO UPDATE SET original = EXCLUDED.original, \
             reason = EXCLUDED.reason, lsn = EXCLUDED.lsn, noted_at = now() \
             WHERE (n.original, n.reason) IS DISTINCT FROM (EXCLUDED.original, EXCLUDED.reason)"
        );
        let forget = format!(
            "DELETE FROM {table} WHERE {IS_OPEN} AND source_table = ANY ($1) AND row_id = ANY ($2) \
             AND ($5::text[] IS NULL OR column_name = ANY ($5)) \
             AND (row_id, column_name) NOT IN (SELECT * FROM unnest($3::uuid[], $4::text[]))"
        );
        Notes { table, write: LazyStatement::new(write), forget: LazyStatement::new(forget) }
    }

    pub async fn has_rows(&self, client: &Client) -> Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT FROM {})", self.table);
        let row = during(client, "reading notes").row(&sql, &[]).await?;
        Ok(row.get(0))
    }

    /// Prepares the statements needed later, because a pipelined batch sends only prepared statements.
    pub async fn prepare(&self, client: &Client, forget: bool, write: bool) -> Result<()> {
        for (statement, needed) in [(&self.forget, forget), (&self.write, write)] {
            if needed {
                statement.on(client, "preparing to write conversion notes").await?;
            }
        }
        Ok(())
    }

    /// Writes the notes of `rows`. Returns whether `rows` have any notes.
    pub async fn write(
        &self,
        client: &Client,
        table: Table,
        rows: impl Iterator<Item = (&TrafficRow, Origin)>,
    ) -> Result<bool> {
        let noted: Vec<(Uuid, Origin, &Note)> =
            rows.flat_map(|(row, origin)| row.notes.iter().map(move |note| (row.id, origin, note))).collect();
        if noted.is_empty() {
            return Ok(false);
        }
        let ids: Vec<Uuid> = noted.iter().map(|(id, ..)| *id).collect();
        let columns: Vec<&str> = noted.iter().map(|(_, _, note)| &*note.column).collect();
        let originals: Vec<&str> = noted.iter().map(|(_, _, note)| &*note.original).collect();
        let reasons: Vec<&str> = noted.iter().map(|(_, _, note)| note.reason.as_str()).collect();
        let lsns: Vec<PgLsn> = noted.iter().map(|(_, origin, _)| origin.commit_lsn.into()).collect();
        let step = "writing conversion notes";
        during(client, step)
            .run(
                self.write.on(client, step).await?,
                &[&table.label(), &ids, &columns, &originals, &reasons, &lsns],
            )
            .await?;
        Ok(true)
    }

    /// Removes the notes in `scope`, except for the notes of `still`. The rows in `scope` were written or
    /// deleted.
    pub async fn forget(
        &self,
        client: &Client,
        scope: Scope<'_>,
        still: impl Iterator<Item = &TrafficRow>,
    ) -> Result<()> {
        let (mut kept_ids, mut kept_columns) = (Vec::new(), Vec::new());
        for row in still {
            for note in &row.notes {
                kept_ids.push(row.id);
                kept_columns.push(&*note.column);
            }
        }
        let tables = if scope.are_deleted { labels(scope.table) } else { vec![scope.table.label()] };
        let step = "removing conversion notes";
        during(client, step)
            .run(
                self.forget.on(client, step).await?,
                &[&tables, &scope.ids, &kept_ids, &kept_columns, &scope.columns],
            )
            .await?;
        Ok(())
    }

    /// Moves the notes of a row whose primary key changed. A note about `metadata` still holds when the
    /// change did not send `metadata`.
    pub async fn change_key(&self, client: &Client, change: KeyChange) -> Result<()> {
        let KeyChange { table, old, new } = change;
        let (step, name) = (during(client, "changing a key in the conversion notes"), labels(table));
        let forget = format!("DELETE FROM {} WHERE source_table = ANY ($1) AND row_id = $2", self.table);
        step.run(&forget, &[&name, &new]).await?;
        let rename =
            format!("UPDATE {} SET row_id = $3 WHERE source_table = ANY ($1) AND row_id = $2", self.table);
        step.run(&rename, &[&name, &old, &new]).await?;
        Ok(())
    }

    /// Removes all notes of a table, after all rows of the table were deleted.
    pub async fn forget_table(&self, client: &Client, table: Table) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE source_table = ANY ($1)", self.table);
        during(client, "removing conversion notes").run(&sql, &[&labels(table)]).await?;
        Ok(())
    }

    /// Removes the notes of rows missing on Traffic.
    pub async fn forget_missing(&self, client: &Client, names: &Names, table: Table) -> Result<()> {
        let sql = format!(
            "DELETE FROM {} n WHERE n.source_table = ANY ($1) AND NOT EXISTS (SELECT FROM {} t WHERE t.id = n.row_id)",
            self.table,
            names.traffic_table(table),
        );
        during(client, "removing conversion notes").run(&sql, &[&labels(table)]).await?;
        Ok(())
    }
}
