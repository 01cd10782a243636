//! Landing's clock, WAL position, slot and tables, read from the catalog.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::capture::layout::Layout;
use crate::checkpoint::{Publication, Published, PublishedColumn, PublishedTable};
use crate::error::{Error, Result};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::pgoutput::{Relation, RelationColumn, ReplicaIdentity};
use crate::postgres::publication;
use crate::postgres::step::during;

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

pub async fn measure(client: &Client, names: &Names, table: Table) -> Result<Measure> {
    let step = format!("measuring {} on Landing", names.landing_name(table));
    let sql = "SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint, \
               c.reltuples::float8, c.relpages::bigint FROM pg_class c WHERE c.oid = to_regclass($1)";
    let name = names.landing_table(table);
    let row = during(client, &step).row(sql, &[&name]).await?;
    let (pages, tuples, analyzed_pages): (i64, f64, i64) = (row.get(0), row.get(1), row.get(2));
    let rows = if pages <= COUNTED_PAGES || tuples < 0.0 || analyzed_pages == 0 {
        let count = during(client, &step).row(&format!("SELECT count(*) FROM {name}"), &[]).await?;
        count.get::<_, i64>(0).max(0) as u64
    } else {
        // The planner's own arithmetic: the density at the last ANALYZE times the pages of today.
        (tuples / analyzed_pages as f64 * pages as f64).round() as u64
    };
    Ok(Measure { pages, rows })
}

/// The layout of `table` from the catalog, by the same rules as from a `Relation` message of the stream.
pub async fn layout(client: &Client, names: &Names, table: Table) -> Result<Layout> {
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
            .remedy("check LANDING_DATABASE_URL and [names] landing_schema"));
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
    Layout::bind(table, &relation)
}

/// The parts of `tables` that the publication sends, as the session's own snapshot sees the catalog.
pub async fn published(client: &Client, names: &Names, tables: &[Table]) -> Result<Published> {
    let publication = publication::read(client, &names.publication).await?.map(|found| Publication {
        oid: found.oid,
        version: found.version,
        owner: found.owner.0,
    });
    // Looked up by name and schema, because regclass would resolve to the table of today instead of the
    // snapshot's.
    let sql = "SELECT c.relname::text, c.oid, COALESCE(r.oid, 0), c.relfilenode, a.attname::text, a.attnum, \
               a.xmin::text FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r' \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
               LEFT JOIN pg_publication_rel r ON r.prrelid = c.oid AND r.prpubid = $3 \
               WHERE n.nspname = $1 AND c.relname = ANY ($2)";
    let wanted: Vec<&str> = tables.iter().map(|table| names.landing_name(*table)).collect();
    let oid = publication.as_ref().map_or(0, |publication| publication.oid);
    let rows = during(client, "reading Landing's publication")
        .rows(sql, &[&names.landing_schema, &wanted, &oid])
        .await?;
    let mut published = Published { publication, ..Published::default() };
    for row in rows {
        let (name, column): (String, String) = (row.get(0), row.get(4));
        let Some(table) = names.from_landing_name(&name) else { continue };
        let read = Published::is_read(table, &column);
        let table = published.tables.entry(table.label().to_owned()).or_insert_with(|| PublishedTable {
            name,
            relation: row.get(1),
            membership: row.get(2),
            storage: row.get(3),
            columns: BTreeMap::new(),
        });
        if read {
            table.columns.insert(column, PublishedColumn { number: row.get(5), version: row.get(6) });
        }
    }
    Ok(published)
}
