//! Roles with a privilege to write to a table, and the statements of which each role is capable.

use tokio_postgres::Client;

use super::step::during;
use crate::error::Result;

/// A role with a privilege to write to a table, or to a column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableWriter {
    pub role: String,
    /// The table as SQL.
    pub table: String,
    /// Whether the role may insert into the table, or into some column.
    pub inserts: bool,
    /// A column that the role may update, as SQL; a column that takes only its default comes last.
    pub updates: Option<String>,
    pub deletes: bool,
    /// Whether this session may assume the role.
    pub is_assumable: bool,
}

impl TableWriter {
    /// Reads the writers of `tables`, each a table as SQL. A table that does not exist has no writers. The order is
    /// by role, then by table.
    ///
    /// # Errors
    /// A connection broke.
    pub async fn read(client: &Client, tables: &[String]) -> Result<Vec<TableWriter>> {
        // Since PostgreSQL 16 a member of a role need not be allowed to SET ROLE.
        let sql = "SELECT r.rolname::text, t::regclass::text, r.inserts, r.updates, r.deletes,
                          pg_has_role(session_user, r.oid, CASE WHEN current_setting('server_version_num')::int < 160000
                              THEN 'MEMBER' ELSE 'SET' END)
                   FROM unnest($1::text[]) AS name, LATERAL (SELECT to_regclass(name)) AS t (t),
                   LATERAL (SELECT oid, rolname, has_any_column_privilege(oid, t, 'INSERT') AS inserts,
                                   (SELECT quote_ident(attname) FROM pg_attribute AS a
                                    WHERE attrelid = t AND attnum > 0 AND NOT attisdropped
                                      AND has_column_privilege(r.oid, t, attnum, 'UPDATE')
                                    ORDER BY attgenerated <> '' OR attidentity <> '', attnum LIMIT 1) AS updates,
                                   has_table_privilege(oid, t, 'DELETE') AS deletes,
                                   has_table_privilege(oid, t, 'TRUNCATE') AS truncates FROM pg_roles AS r) AS r
                   WHERE t IS NOT NULL AND (r.inserts OR r.updates IS NOT NULL OR r.deletes OR r.truncates)
                   ORDER BY 1, 2";
        let rows =
            during(client, "reading which roles may write to the tables").rows(sql, &[&tables]).await?;
        let writer = |row: &tokio_postgres::Row| TableWriter {
            role: row.get(0),
            table: row.get(1),
            inserts: row.get(2),
            updates: row.get(3),
            deletes: row.get(4),
            is_assumable: row.get(5),
        };
        Ok(rows.iter().map(writer).collect())
    }
}
