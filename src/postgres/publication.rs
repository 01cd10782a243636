//! A publication in a server's catalog.

use tokio_postgres::Client;

use super::step::during;
use crate::error::Result;
use crate::model::names::qualified;

/// A row of `pg_publication`.
pub struct PublicationEntry {
    pub oid: u32,
    /// `xmin` of the row, which changes with each change of the publication itself.
    pub version: String,
    /// Owner by oid and by name.
    pub owner: (u32, String),
    /// Whether this session's role has the owner's rights.
    pub is_owned: bool,
    pub all_tables: bool,
    /// FOR TABLES IN SCHEMA.
    pub schemas: bool,
    /// Whether insert, update, delete and truncate are published.
    pub every_operation: bool,
}

/// A table that a publication sends.
pub struct PublicationMember {
    pub schema: String,
    pub table: String,
    /// Whether the table itself was added, rather than its schema or all tables.
    pub is_listed: bool,
    pub has_row_filter: bool,
    pub has_column_list: bool,
}

impl PublicationMember {
    /// Quoted, with schema.
    pub fn qualified(&self) -> String {
        qualified(&self.schema, &self.table)
    }

    /// Whether rows or columns of the table are left out.
    pub fn is_partial(&self) -> bool {
        self.has_row_filter || self.has_column_list
    }
}

/// The publication of the given name; `None` when the publication does not exist.
pub async fn read(client: &Client, name: &str) -> Result<Option<PublicationEntry>> {
    let sql = "SELECT p.oid, p.xmin::text, p.pubowner, pg_catalog.pg_get_userbyid(p.pubowner)::text, \
               pg_catalog.pg_has_role(p.pubowner, 'USAGE'), p.puballtables, EXISTS ( \
                   SELECT FROM pg_catalog.pg_publication_namespace AS n WHERE n.pnpubid = p.oid), \
               p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate \
               FROM pg_catalog.pg_publication AS p WHERE p.pubname = $1";
    let row = during(client, format!("reading the publication `{name}`")).row_if_any(sql, &[&name]).await?;
    Ok(row.map(|row| PublicationEntry {
        oid: row.get(0),
        version: row.get(1),
        owner: (row.get(2), row.get(3)),
        is_owned: row.get(4),
        all_tables: row.get(5),
        schemas: row.get(6),
        every_operation: row.get(7),
    }))
}

/// The tables of the publication, also the tables that FOR TABLES IN SCHEMA adds; none for a publication that
/// does not exist.
pub async fn members(client: &Client, name: &str) -> Result<Vec<PublicationMember>> {
    let sql = "SELECT n.nspname::text, c.relname::text, r.oid IS NOT NULL, r.prqual IS NOT NULL, \
               r.prattrs IS NOT NULL FROM pg_catalog.pg_class AS c \
               JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
               LEFT JOIN (pg_catalog.pg_publication_rel AS r JOIN pg_catalog.pg_publication AS p \
                   ON p.oid = r.prpubid AND p.pubname = $1) ON r.prrelid = c.oid \
               WHERE r.oid IS NOT NULL OR (n.nspname, c.relname) IN ( \
                   SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = $1) \
               ORDER BY 1, 2";
    let rows = during(client, format!("reading the publication `{name}`")).rows(sql, &[&name]).await?;
    let member = |row: &tokio_postgres::Row| PublicationMember {
        schema: row.get(0),
        table: row.get(1),
        is_listed: row.get(2),
        has_row_filter: row.get(3),
        has_column_list: row.get(4),
    };
    Ok(rows.iter().map(member).collect())
}
