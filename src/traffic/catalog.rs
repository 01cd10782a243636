//! The target tables as the catalog describes them: read, never assumed.

use std::collections::HashMap;
use std::sync::Arc;

use super::statements::{self, FIXED};
use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::{self, Mapping, TableMapping};
use crate::model::change::Table;
use crate::postgres::Database;

/// The facts about the target tables that applying needs.
#[derive(Debug)]
pub struct TargetCatalog {
    mapping: Mapping,
    limits: HashMap<Table, Vec<Option<usize>>>,
}

impl TargetCatalog {
    /// # Errors
    /// A target table or column is missing: run `leadbridge migrate`.
    pub async fn read(traffic: Database<'_>, tables: &[Table], mapping: &Mapping) -> Result<Self> {
        let mut catalog = TargetCatalog { mapping: mapping.clone(), limits: HashMap::new() };
        for &table in tables {
            catalog.limits.insert(table, limits(traffic, mapping.of(table)).await?);
        }
        Ok(catalog)
    }

    pub fn mapping(&self, table: Table) -> &Arc<TableMapping> {
        self.mapping.of(table)
    }

    /// The longest text of each mapped column; empty for a table without replication.
    pub fn limits(&self, table: Table) -> &mapping::Limits {
        self.limits.get(&table).map_or(&[], Vec::as_slice)
    }

    /// Reads the limits of `table` again. Returns whether the limits have changed.
    pub(super) async fn renew_limits(&mut self, traffic: Database<'_>, table: Table) -> Result<bool> {
        let now = limits(traffic, self.mapping.of(table)).await?;
        let others = self.limits(table) != now;
        self.limits.insert(table, now);
        Ok(others)
    }
}

async fn limits(traffic: Database<'_>, mapping: &TableMapping) -> Result<Vec<Option<usize>>> {
    let table = mapping.table;
    let step = format!("reading the columns of {} on Traffic", table.traffic_name());
    let sql = format!(
        "SELECT a.attname::text, {TEXT_LIMIT} \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass($1) \
         AND a.attnum > 0 AND NOT a.attisdropped"
    );
    let rows = traffic.during(&*step).rows(&sql, &[&traffic.table(table)]).await?;
    let columns: HashMap<String, Option<i32>> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let fixed = FIXED.map(|(name, _)| name);
    let mapped = mapping.targets().iter().map(|target| &*target.name);
    // Reverse replication reads which leads flow back.
    let flowing = (table == Table::LandingLeads).then_some("landing_lead");
    let wanted = fixed.into_iter().chain(mapped).chain(flowing);
    let missing: Vec<_> = wanted.filter(|name| !columns.contains_key(*name)).collect();
    if !missing.is_empty() {
        let what = if columns.is_empty() { "the table is missing".into() } else { missing.join(", ") };
        return Err(Error::refused(format!("{step}: not there: {what}")).remedy(message!("report-migrate")));
    }
    let limit = |name: &str| text_limit(columns.get(name).copied().flatten());
    Ok(mapping.targets().iter().map(|target| limit(&target.name)).collect())
}

/// The longest text of a column `a`, null where there is no limit. The type modifier of varchar(n) is n + 4.
const TEXT_LIMIT: &str = "CASE WHEN a.atttypid IN ('pg_catalog.varchar'::pg_catalog.regtype, \
     'pg_catalog.bpchar'::pg_catalog.regtype) AND a.atttypmod > 4 THEN a.atttypmod - 4 END";

/// The limit from a result of [`TEXT_LIMIT`].
pub(super) fn text_limit(found: Option<i32>) -> Option<usize> {
    found.and_then(|limit| limit.try_into().ok())
}

/// Facts about a table as a target of COPY, at the moment. Parameters: the table and [`copied_columns`].
/// Columns of the answer:
///
/// 1. whether COPY has the effect of INSERT: the table has no rewrite rules and no active row-level security,
///    and each column has exactly the type that the mapping's text is cast to (or varchar for text), so no
///    assignment converts a value further;
/// 2. whether no row-level trigger fires under `session_replication_role = replica`;
/// 3. the [`TEXT_LIMIT`] of each column.
pub(super) fn copy_target() -> String {
    format!(
        "SELECT c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT pg_catalog.row_security_active(c.oid) \
         AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS wanted (name, type) \
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = wanted.name \
           WHERE (a.atttypid = wanted.type::pg_catalog.regtype \
             OR (wanted.type = 'text' AND a.atttypid = 'pg_catalog.varchar'::pg_catalog.regtype)) IS NOT TRUE), \
         NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgtype & 1 = 1 \
           AND t.tgenabled IN ('A', 'R')), \
         ARRAY(SELECT {TEXT_LIMIT} FROM unnest($2::text[]) WITH ORDINALITY AS wanted (name, position) \
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = wanted.name ORDER BY position) \
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)"
    )
}

/// The columns of a COPY into Traffic's table of `table`, and the types of the values sent.
pub(super) fn copied_columns(mapping: &TableMapping) -> (Vec<&str>, Vec<&str>) {
    let mapped = mapping.targets().iter().map(|target| (&*target.name, &*target.sql_type));
    let status = statements::initial_status(mapping.table).map(|_| ("status", "text"));
    FIXED.into_iter().chain(mapped).chain(status).unzip()
}

/// Whether Traffic's table of `table` holds a row from Landing.
pub(super) async fn holds_rows_from_landing(traffic: Database<'_>, table: Table) -> Result<bool> {
    let sql =
        format!("SELECT EXISTS (SELECT FROM {} WHERE landing_synced_at IS NOT NULL)", traffic.table(table));
    let step = traffic.during(format!("looking at {} on Traffic", table.traffic_name()));
    Ok(step.row(&sql, &[]).await?.get(0))
}
