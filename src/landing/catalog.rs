//! Landing's clock, WAL position, slot and tables, read from the catalog.

use std::sync::Arc;

use tokio_postgres::Client;

use crate::capture::layout::Layout;
use crate::checkpoint::{self, Published, passthrough, recorded_published};
use crate::error::{Error, Result};
use crate::language::message;
use crate::mapping::{Mapping, Passthrough, PassthroughColumn, TableMapping};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;
use crate::pgoutput::{Relation, RelationColumn, ReplicaIdentity};
use crate::postgres::step::during;
use crate::postgres::{Database, Databases};

/// Up to this many pages, rows are counted; above, estimated, because counting tens of millions takes too
/// long.
const COUNTED_PAGES: i64 = 20_000;

/// Size of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    pub pages: i64,
    /// Counted for a small table, PostgreSQL's estimate for a large one.
    pub rows: u64,
}

/// Number of pages of a table.
pub async fn pages(client: &Client, names: &Names, table: Table) -> Result<i64> {
    let step = format!("measuring {} on Landing", names.landing_name(table));
    let sql = "SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint \
               FROM pg_class c WHERE c.oid = to_regclass($1)";
    Ok(during(client, &step).row(sql, &[&names.landing_table(table)]).await?.get(0))
}

pub async fn measure(client: &Client, names: &Names, table: Table) -> Result<Measure> {
    let pages = pages(client, names, table).await?;
    let step = format!("measuring {} on Landing", names.landing_name(table));
    let sql = "SELECT c.reltuples::float8, c.relpages::bigint FROM pg_class c WHERE c.oid = to_regclass($1)";
    let name = names.landing_table(table);
    let row = during(client, &step).row(sql, &[&name]).await?;
    let (tuples, analyzed_pages): (f64, i64) = (row.get(0), row.get(1));
    let rows = if pages <= COUNTED_PAGES || tuples < 0.0 || analyzed_pages == 0 {
        let count = during(client, &step).row(&format!("SELECT count(*) FROM {name}"), &[]).await?;
        count.get::<_, i64>(0).max(0) as u64
    } else {
        // The planner's own arithmetic: the density at the last ANALYZE times the pages of today.
        (tuples / analyzed_pages as f64 * pages as f64).round() as u64
    };
    Ok(Measure { pages, rows })
}

/// The layout of a table from the catalog, by the same rules as from a `Relation` message of the stream.
pub async fn layout(client: &Client, names: &Names, mapping: &Arc<TableMapping>) -> Result<Layout> {
    let table = mapping.table;
    let step = format!("reading the columns of {} on Landing", names.landing_name(table));
    let sql = "SELECT a.attname::text, a.atttypid, c.relreplident::text, \
               COALESCE(a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false) FROM pg_class c \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 AND a.attgenerated = '' \
               LEFT JOIN pg_index i ON i.indrelid = c.oid AND CASE c.relreplident \
                 WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END \
               WHERE c.oid = to_regclass($1) ORDER BY a.attnum";
    let rows = during(client, &step).rows(sql, &[&names.landing_table(table)]).await?;
    let Some(first) = rows.first() else {
        return Err(Error::refused(format!("table {} is missing on Landing", names.landing_table(table)))
            .remedy(message!("landing-remedy-schema")));
    };
    let replica_identity = match first.get(2) {
        "d" => ReplicaIdentity::Default,
        "f" => ReplicaIdentity::Full,
        "i" => ReplicaIdentity::Index,
        _ => ReplicaIdentity::Nothing,
    };
    let full = replica_identity == ReplicaIdentity::Full;
    let columns = rows.iter().map(|row| RelationColumn {
        key: full || row.get::<_, bool>(3),
        name: row.get::<_, String>(0).into(),
        type_oid: row.get(1),
    });
    let relation = Relation {
        id: 0,
        namespace: names.landing_schema.as_str().into(),
        name: names.landing_name(table).into(),
        replica_identity,
        columns: columns.collect(),
    };
    Layout::bind(mapping, &relation)
}

/// The parts of `tables` that the publication sends, as the session's own snapshot sees the catalog, with the
/// columns that the rules read, and the `passthrough` columns.
pub async fn published(
    landing: Database<'_>,
    tables: &[Table],
    passthrough: &Passthrough,
) -> Result<Published> {
    let is_carried = |table: Table, column: &str| {
        let is_read = table.columns().iter().any(|known| known.name == column);
        is_read || passthrough.of(table).iter().any(|carried| carried.landing == column)
    };
    let mut published = checkpoint::published(landing, tables, is_carried).await?;
    for (label, found) in &published.tables {
        let Some(table) = Table::from_label(label) else { continue };
        let carried =
            passthrough.of(table).iter().filter(|carried| found.columns.contains_key(&carried.landing));
        let carried: Vec<PassthroughColumn> = carried.cloned().collect();
        if !carried.is_empty() {
            published.passthrough.0.insert(table, carried);
        }
    }
    Ok(published)
}

/// A column of a Landing table.
#[derive(Clone, Debug)]
pub struct CatalogColumn {
    pub name: String,
    pub is_generated: bool,
    pub is_not_null: bool,
    /// The default as SQL. A generated column has an expression instead, and no default.
    pub default: Option<String>,
    /// The type with its modifier, as a definition of a column takes the type.
    pub definition: String,
    /// The type without a modifier, as a cast takes the type.
    pub sql_type: String,
    /// Schema of the type; of the element type for an array.
    pub type_schema: String,
    /// `pg_type.typtype` of the type; of the element type for an array.
    pub type_kind: String,
}

/// The columns of a table, in their order.
pub async fn columns(landing: &Client, names: &Names, table: Table) -> Result<Vec<CatalogColumn>> {
    let sql = "SELECT a.attname::text, a.attgenerated <> '', a.attnotnull, \
                 CASE a.attgenerated WHEN '' THEN pg_get_expr(d.adbin, d.adrelid) END, \
                 format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1), n.nspname::text, \
                 e.typtype::text FROM pg_attribute a \
               LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
               JOIN pg_type t ON t.oid = a.atttypid \
               JOIN pg_type e ON e.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE t.oid END \
               JOIN pg_namespace n ON n.oid = e.typnamespace \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let step = during(landing, format!("reading the columns of {} on Landing", names.landing_name(table)));
    let rows = step.rows(sql, &[&names.landing_table(table)]).await?;
    let column = |row: &tokio_postgres::Row| CatalogColumn {
        name: row.get(0),
        is_generated: row.get(1),
        is_not_null: row.get(2),
        default: row.get(3),
        definition: row.get(4),
        sql_type: row.get(5),
        type_schema: row.get(6),
        type_kind: row.get(7),
    };
    Ok(rows.iter().map(column).collect())
}

/// As [`published`], with the columns that the mapping of `before` carries.
pub async fn published_since(
    landing: Database<'_>,
    tables: &[Table],
    before: &Published,
) -> Result<Published> {
    Ok(published(landing, tables, &before.passthrough).await?.with_columns_of(before))
}

/// The mapping by which Traffic holds Landing's rows: as the last copy recorded the mapping, or before the first
/// copy as a copy would record the mapping now.
pub async fn mapping(databases: Databases<'_>, tables: &[Table]) -> Result<Mapping> {
    let traffic = databases.on(Side::Traffic);
    let recorded = recorded_published(traffic.client, traffic.names).await?;
    if !recorded.tables.is_empty() {
        return Ok(recorded.mapping());
    }
    let passthrough = passthrough::read(traffic).await?;
    Ok(published(databases.on(Side::Landing), tables, &passthrough).await?.mapping())
}
