//! What the role of a session may do.

use tokio_postgres::Client;

use super::step::during;
use crate::error::Result;

/// The role of a session.
pub struct SessionRole {
    pub name: String,
    pub is_superuser: bool,
    /// The attribute REPLICATION.
    pub has_replication: bool,
    /// Whether the role may replicate as a member of a managed service's own role.
    pub has_service_replication: bool,
}

impl SessionRole {
    pub async fn read(client: &Client) -> Result<Self> {
        let sql = "SELECT current_user::text, r.rolsuper, r.rolreplication, EXISTS (SELECT FROM pg_roles AS m \
                   WHERE m.rolname IN ('rds_replication', 'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin') \
                   AND pg_has_role(m.oid, 'MEMBER')) FROM pg_roles AS r WHERE r.rolname = current_user";
        let row = during(client, "reading the role's attributes").row(sql, &[]).await?;
        Ok(SessionRole {
            name: row.get(0),
            is_superuser: row.get(1),
            has_replication: row.get(2),
            has_service_replication: row.get(3),
        })
    }

    /// Whether the role may create, read and drop slots by its own attributes.
    pub fn may_replicate(&self) -> bool {
        self.is_superuser || self.has_replication
    }
}

/// Tables of `list` (quoted, with schema) in which row-level security would hide rows from this role.
pub async fn hidden_by_rls(client: &Client, list: &[String]) -> Result<Vec<String>> {
    // In leadbridge's sessions `row_security` is off, and the function tells whether a policy would apply to
    // this role.
    let sql = "SELECT t FROM unnest($1::text[]) AS t WHERE to_regclass(t) IS NOT NULL \
               AND row_security_active(to_regclass(t)::oid)";
    let rows = during(client, "asking for row-level security").rows(sql, &[&list]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Missing privileges, each as `SELECT on "public"."landing_leads"`. Tables that do not exist are skipped.
pub async fn missing_privileges(
    client: &Client,
    list: &[String],
    privileges: &[&str],
) -> Result<Vec<String>> {
    let sql = "SELECT p || ' on ' || t FROM unnest($1::text[]) AS t, unnest($2::text[]) AS p \
               WHERE to_regclass(t) IS NOT NULL AND NOT has_table_privilege(to_regclass(t)::oid, p)";
    let rows = during(client, "asking for privileges").rows(sql, &[&list, &privileges]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Existing schemas of `list` on which this role lacks USAGE.
pub async fn closed_schemas(client: &Client, list: &[&str]) -> Result<Vec<String>> {
    let sql = "SELECT nspname::text FROM pg_namespace WHERE nspname = ANY ($1) \
               AND NOT has_schema_privilege(oid, 'USAGE')";
    let rows = during(client, "asking for the schemas").rows(sql, &[&list]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
