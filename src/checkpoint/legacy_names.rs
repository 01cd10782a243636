//! The record of the legacy names on Traffic (docs/legacy-names.md), and who may write through them.

use crate::error::Result;
use crate::postgres::Database;

/// A recorded view on Traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedName {
    pub name: String,
    /// The label of the replicated table whose rows the view shows; `None` for a view with Landing's own definition.
    pub shows: Option<String>,
    /// Whether the view runs with its owner's rights, because the operator has named it.
    pub has_owner_rights: bool,
    /// The columns that the view has; empty where the view is gone.
    pub columns: Vec<String>,
}

/// Reads the record; empty where there are no legacy names.
///
/// # Errors
/// The connection broke, or the role may not read the record.
pub async fn recorded_names(traffic: Database<'_>) -> Result<Vec<RecordedName>> {
    let step = traffic.during("reading the legacy names on Traffic");
    let record = traffic.names.own("legacy_names");
    if !step.finds(&record).await? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT l.name, l.shows, l.has_owner_rights, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a \
         JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid WHERE c.relname = l.name AND c.relkind = 'v' \
         AND c.relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident($1)) AND a.attnum > 0 ORDER BY a.attnum) \
         FROM {record} AS l ORDER BY 1"
    );
    let rows = step.rows(&sql, &[&traffic.names.traffic_schema]).await?;
    let recorded = |row: &tokio_postgres::Row| RecordedName {
        name: row.get(0),
        shows: row.get(1),
        has_owner_rights: row.get(2),
        columns: row.get(3),
    };
    Ok(rows.iter().map(recorded).collect())
}

/// The roles that the switch gives a right to write through a legacy name.
///
/// # Errors
/// Errors of [`recorded_names`].
pub async fn writers(traffic: Database<'_>) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT r.role::text FROM {} AS r WHERE r.privilege <> 'SELECT' \
         AND EXISTS (SELECT FROM pg_catalog.pg_roles AS p WHERE p.rolname = r.role) ORDER BY 1",
        traffic.names.own("legacy_rights")
    );
    let rows = traffic.during("reading the rights on the legacy names on Traffic").rows(&sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Who has been granted a right to write on one of `names`, beside the view's owner and superusers: the REVOKE of each.
///
/// # Errors
/// The connection broke.
pub async fn granted_writers(traffic: Database<'_>, names: &[String]) -> Result<Vec<(String, String)>> {
    let sql = "SELECT g.grantee || ' has ' || pg_catalog.string_agg(DISTINCT g.privilege, ', ' ORDER BY g.privilege) || ' on ' || g.name, \
                 pg_catalog.format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s', g.name, g.grantee) \
               FROM (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, a.privilege_type AS privilege, \
                       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END AS grantee \
                     FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                     CROSS JOIN LATERAL (SELECT c.relacl AS acl UNION ALL SELECT t.attacl FROM pg_catalog.pg_attribute AS t \
                         WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL) AS l \
                     CROSS JOIN LATERAL pg_catalog.aclexplode(l.acl) AS a \
                     LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee \
                     WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind = 'v' AND a.grantee <> c.relowner \
                       AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') AND NOT coalesce(r.rolsuper, false)) AS g \
               GROUP BY g.name, g.grantee ORDER BY 1";
    let step = traffic.during("reading who may write through the legacy names on Traffic");
    let rows = step.rows(sql, &[&traffic.names.traffic_schema, &names]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A right on one of Traffic's own tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseRight {
    pub relation: String,
    pub role: String,
    pub privilege: String,
    /// `None`: the whole relation.
    pub columns: Option<Vec<String>>,
}

/// What the switch gives on Traffic's own `tables`.
///
/// # Errors
/// The connection broke, or the role may not read the record.
pub async fn base_rights(traffic: Database<'_>, tables: &[String]) -> Result<Vec<BaseRight>> {
    let sql = format!(
        "SELECT relation, role::text, privilege, columns FROM {} WHERE relation = ANY ($1) ORDER BY 1, 2, 3",
        traffic.names.own("legacy_rights")
    );
    let step = traffic.during("reading what the switch gives on Traffic");
    let rows = step.rows(&sql, &[&tables]).await?;
    let right = |row: &tokio_postgres::Row| BaseRight {
        relation: row.get(0),
        role: row.get(1),
        privilege: row.get(2),
        columns: row.get(3),
    };
    Ok(rows.iter().map(right).collect())
}

/// Whether this role may give and take the rights at the switch and at a rollback.
///
/// # Errors
/// The connection broke.
pub async fn may_open(traffic: Database<'_>) -> Result<bool> {
    let sql = "SELECT coalesce(pg_catalog.bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')), true) \
               FROM unnest($1::text[]) AS name JOIN pg_catalog.pg_proc AS p ON p.oid = pg_catalog.to_regprocedure(name || '()')";
    let functions = ["open_legacy_names", "close_legacy_names"].map(|name| traffic.names.own(name));
    let step = traffic.during("looking for the right to open the legacy names on Traffic");
    Ok(step.row(sql, &[&functions.as_slice()]).await?.get(0))
}

/// Gives the API's roles what they lack of Landing's rights to write through the legacy names, in the transaction of
/// `traffic`'s session. Returns the roles. Does nothing where no version with legacy names has migrated.
///
/// # Errors
/// The connection broke, or the role may not execute the function.
pub async fn open(traffic: Database<'_>) -> Result<Vec<String>> {
    let step = traffic.during("giving the rights to write through the legacy names on Traffic");
    let function = traffic.names.own("open_legacy_names");
    if !exists(traffic, &function).await? {
        return Ok(Vec::new());
    }
    let rows = step.rows(&format!("SELECT r::text FROM {function}() AS r"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Takes away what [`open`] has given.
///
/// # Errors
/// Errors of [`open`].
pub async fn close(traffic: Database<'_>) -> Result<()> {
    let step = traffic.during("taking away the rights to write through the legacy names on Traffic");
    let function = traffic.names.own("close_legacy_names");
    if exists(traffic, &function).await? {
        step.row(&format!("SELECT {function}()"), &[]).await?;
    }
    Ok(())
}

async fn exists(traffic: Database<'_>, function: &str) -> Result<bool> {
    let step = traffic.during("looking for the legacy names on Traffic");
    let sql = "SELECT pg_catalog.to_regprocedure($1 || '()') IS NOT NULL";
    Ok(step.row(sql, &[&function]).await?.get(0))
}
