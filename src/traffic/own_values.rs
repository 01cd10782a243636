//! A copy that overwrites leads of Traffic's own: Traffic's values are kept as conversion notes before
//! (docs/imports.md).

use tokio_postgres::types::{PgLsn, ToSql};
use uuid::Uuid;

use super::flowing;
use super::statements::{TargetTable, cast, given, input, text_of};
use super::upserts::{Mapped, columns_of};
use super::writer::{Writer, preparing};
use crate::error::Result;
use crate::mapping::Target;
use crate::model::change::Table;
use crate::postgres::Database;
use crate::postgres::pipelined::IS_OPEN;
use crate::postgres::step::during;
use crate::quarantine::notes;

const TABLE: Table = Table::LandingLeads;

const REASON: &str = "Traffic''s own value before the first copy";

/// Whether Traffic holds a lead that a copy might overwrite.
pub async fn are_there(traffic: Database<'_>) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} t WHERE {})",
        traffic.table(TABLE),
        flowing::is_traffics_lead("t")
    );
    let step = traffic.during("looking for leads that Traffic had before");
    Ok(step.row(&sql, &[]).await?.get(0))
}

/// The number of leads among `ids` that Traffic holds as its own.
pub async fn count_among(traffic: Database<'_>, ids: &[Uuid]) -> Result<u64> {
    let sql = format!(
        "SELECT count(*) FROM {} t WHERE t.id = ANY ($1) AND {}",
        traffic.table(TABLE),
        flowing::is_traffics_lead("t")
    );
    let step = traffic.during("looking for leads that Traffic had before");
    Ok(step.row(&sql, &[&ids]).await?.get::<_, i64>(0).unsigned_abs())
}

impl Writer {
    /// From now on each upsert of leads keeps the values of Traffic's own leads with the same ids.
    ///
    /// # Errors
    /// The role lacks a privilege; the connection broke.
    pub async fn keep_own_values(&mut self) -> Result<()> {
        let sql = statement(self.target(TABLE));
        self.own_values = Some(during(&self.session, preparing(TABLE)).prepare(&sql).await?);
        Ok(())
    }
}

/// Must run before the upsert of the same rows, in the same transaction.
pub(super) async fn keep(writer: &Writer, table: Table, rows: &[Mapped]) -> Result<()> {
    let (TABLE, Some(statement), Some(first)) = (table, &writer.own_values, rows.first()) else {
        return Ok(());
    };
    let columns = columns_of(writer.catalog.mapping(table), rows.iter());
    let lsn = PgLsn::from(first.origin.commit_lsn);
    let mut parameters: Vec<&(dyn ToSql + Sync)> = columns.parameters();
    parameters.push(&lsn);
    during(&writer.session, "keeping Traffic's own values as notes").run(statement, &parameters).await?;
    Ok(())
}

/// Notes each value of an own lead that the upsert is about to change. Parameters: as in
/// [`TargetTable::upsert`], then the position of the notes. The rows are locked in primary-key order, so a
/// value cannot change between note and upsert. A null is no value to keep. An earlier note stays.
fn statement(TargetTable { names, mapping }: TargetTable<'_>) -> String {
    let targets: Vec<&Target> = mapping.targets().iter().collect();
    let values: Vec<String> = given(&targets, mapping).into_iter().map(compared).collect();
    format!(
        "WITH held AS MATERIALIZED (SELECT t.* FROM {traffic} t WHERE t.id = ANY ($1::uuid[]) AND {own} AND {IS_OPEN} \
           ORDER BY t.id FOR NO KEY UPDATE) \
         INSERT INTO {notes} (source_table, row_id, column_name, original, reason, lsn) \
         SELECT '{label}', t.id, v.name, v.held, '{REASON}', ${position}::pg_lsn \
         FROM held t JOIN {input} ON i.id = t.id CROSS JOIN LATERAL (VALUES {values}) AS v (name, held, new) \
         WHERE v.held <> v.new OR (v.held IS NOT NULL AND v.new IS NULL) \
         ON CONFLICT (source_table, row_id, column_name) DO NOTHING",
        traffic = names.traffic_table(TABLE),
        own = flowing::is_traffics_lead("t"),
        notes = names.own("conversion_notes"),
        label = notes::OWN_VALUES,
        position = targets.len() + 3,
        input = input(&targets),
        values = values.join(", "),
    )
}

/// Name, Traffic's value, new value. Where Landing has null, Traffic's value may stay.
fn compared(target: &Target) -> String {
    let (held, new) = (text_of(&format!("t.{}", target.ident())), text_of(&cast(target)));
    let name = postgres_protocol::escape::escape_literal(&target.name);
    match target.keeps_target_when_null() {
        true => format!("({name}, {held}, COALESCE({new}, {held}))"),
        false => format!("({name}, {held}, {new})"),
    }
}
