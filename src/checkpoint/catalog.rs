//! Reads from a side's catalog what the side publishes, for the record of [`Published`].

use std::collections::BTreeMap;

use super::{Publication, Published, PublishedColumn, PublishedTable};
use crate::error::Result;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::{Database, publication};

/// The parts of `tables` that the side's publication sends, as the session's own snapshot sees the catalog,
/// with the columns for which `is_carried` holds.
pub async fn published(
    database: Database<'_>,
    tables: &[Table],
    is_carried: impl Fn(Table, &str) -> bool,
) -> Result<Published> {
    let Database { client, names, side } = database;
    let (name, schema) = match side {
        Side::Landing => (names.publication.clone(), &names.landing_schema),
        Side::Traffic => (names.reverse_publication(), &names.traffic_schema),
    };
    let publication = publication::read(client, &name).await?.map(|found| Publication {
        oid: found.oid,
        version: found.version,
        owner: found.owner.0,
    });
    // Looked up by name and schema, because regclass would resolve to the table of today instead of the
    // snapshot's. The stream does not send a generated column. A rewrite of Traffic's table by leadbridge's or
    // the school's own DDL stores the defaults of columns that were added with a default, and so changes the
    // version of these columns without changing a row: their version tells nothing.
    let sql = "SELECT c.relname::text, c.oid, COALESCE(r.oid, 0), c.relfilenode, a.attname::text, a.attnum, \
               CASE WHEN $4 AND a.atthasmissing THEN '' ELSE a.xmin::text END, a.attgenerated <> '' \
               FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r' \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
               LEFT JOIN pg_publication_rel r ON r.prrelid = c.oid AND r.prpubid = $3 \
               WHERE n.nspname = $1 AND c.relname = ANY ($2)";
    let by_name: BTreeMap<&str, Table> = tables
        .iter()
        .map(|table| match side {
            Side::Landing => (names.landing_name(*table), *table),
            Side::Traffic => (table.traffic_name(), *table),
        })
        .collect();
    let wanted: Vec<&str> = by_name.keys().copied().collect();
    let oid = publication.as_ref().map_or(0, |publication| publication.oid);
    let rows = database
        .during(format!("reading {}'s publication", side.name()))
        .rows(sql, &[&schema, &wanted, &oid, &(side == Side::Traffic)])
        .await?;
    let mut published = Published { publication, ..Published::default() };
    for row in rows {
        let (name, column, is_generated): (&str, String, bool) = (row.get(0), row.get(4), row.get(7));
        let Some(&table) = by_name.get(name) else { continue };
        let recorded = published.tables.entry(table.label().to_owned()).or_insert_with(|| PublishedTable {
            name: name.to_owned(),
            relation: row.get(1),
            membership: row.get(2),
            storage: row.get(3),
            columns: BTreeMap::new(),
        });
        if !is_generated && is_carried(table, &column) {
            recorded.columns.insert(column, PublishedColumn { number: row.get(5), version: row.get(6) });
        }
    }
    Ok(published)
}
