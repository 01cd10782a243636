//! The rights that leadbridge's roles hold, to be taken away at the end of a move.
//!
//! A role that leadbridge's SQL has made loses every right in the database, and the attributes REPLICATION and BYPASSRLS.
//! Another role with rights in leadbridge's schema loses these; what else such a role holds is listed and left, because
//! another application may use the role. The rights of owners and superusers are their own.

use std::collections::BTreeSet;

use super::objects::{CALLABLE, ObjectKind, OwnedObject};
use crate::error::Result;
use crate::model::change::Table;
use crate::postgres::Database;

/// A right in the catalog.
struct HeldRight {
    object: OwnedObject,
    /// Whether `finish` takes the right away where the session may.
    is_ours: bool,
}

/// Every right of leadbridge's roles on one side, and whether this session may take the right away. What the session may
/// do is found out by trying, in a transaction that is rolled back: a managed service lets a role do more than the catalog
/// says, and a REVOKE by a role without the right only warns.
///
/// # Errors
/// A connection broke.
pub(super) async fn find(database: Database<'_>) -> Result<Vec<OwnedObject>> {
    let held = held(database).await?;
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let step = database.during(format!("trying which rights on the {} may be taken away", database.side));
    step.batch("BEGIN; SET LOCAL lock_timeout = '2s'").await?;
    let kept = kept(database, &held).await;
    step.batch("ROLLBACK").await?;
    let kept = kept?;
    let found = held.into_iter().map(|HeldRight { object, is_ours }| OwnedObject {
        permitted: is_ours && !kept.contains(&object.name),
        ..object
    });
    Ok(found.collect())
}

/// Takes every right of leadbridge's away, and returns the names of the rights that are still held.
async fn kept(database: Database<'_>, held: &[HeldRight]) -> Result<BTreeSet<String>> {
    for HeldRight { object, .. } in held.iter().filter(|right| right.is_ours) {
        let tried = database.client.batch_execute(&format!("SAVEPOINT right_of_role; {}", object.sql)).await;
        let end = match tried {
            Ok(()) => "RELEASE SAVEPOINT right_of_role",
            Err(_) => "ROLLBACK TO SAVEPOINT right_of_role; RELEASE SAVEPOINT right_of_role",
        };
        database.during("trying to take a right away").batch(end).await?;
    }
    let left = self::held(database).await?;
    Ok(left.into_iter().map(|right| right.object.name).collect())
}

/// Reads the rights. A right that the owner of its object holds is no grant; a function that `finish` drops needs no
/// REVOKE.
async fn held(database: Database<'_>) -> Result<Vec<HeldRight>> {
    let names = database.names;
    let tables: Vec<String> = Table::ALL.into_iter().map(|table| database.table(table)).collect();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&names.schema, &names.role_mark(), &CALLABLE.as_slice(), &tables];
    let step = database.during(format!("reading the rights of leadbridge's roles on the {}", database.side));
    let rows = step.rows(HELD, &values).await?;
    let right = |row: &tokio_postgres::Row| {
        let (is_made, is_ours): (bool, bool) = (row.get(3), row.get(4));
        let note = "leadbridge has not made this role: only if nothing else needs the right";
        HeldRight {
            object: OwnedObject {
                database: database.side,
                kind: ObjectKind::Right,
                name: row.get(0),
                sql: row.get(1),
                owner: row.get(2),
                permitted: false,
                note: (!is_made && !is_ours).then(|| note.to_owned()),
            },
            is_ours,
        }
    };
    Ok(rows.iter().map(right).collect())
}

/// $1 leadbridge's schema, $2 the mark of a role that leadbridge has made, $3 functions that are dropped, $4 the
/// replicated tables. Columns: name, SQL, whoever may take the right away, whether leadbridge has made the role, whether
/// `finish` takes the right away.
const HELD: &str = "
    WITH own AS (
        SELECT oid, nspowner, nspacl FROM pg_namespace WHERE nspname = $1
    ), roles AS (
        SELECT r.oid, r.rolname, r.rolreplication, r.rolbypassrls,
               coalesce(shobj_description(r.oid, 'pg_authid') = $2, false) AS is_made
        FROM pg_roles AS r
        WHERE NOT r.rolsuper AND r.oid NOT IN (SELECT nspowner FROM own)
            AND (coalesce(shobj_description(r.oid, 'pg_authid') = $2, false)
                 OR r.oid IN (SELECT a.grantee FROM own, aclexplode(own.nspacl) AS a))
    ), objects AS (
        SELECT 1 AS place, 'SCHEMA' AS kind, format('%I', n.nspname) AS name, NULL AS col, n.nspacl AS acl,
               n.nspowner AS owner, n.oid IN (SELECT oid FROM own) AS is_own, false AS is_table
        FROM pg_namespace AS n
        UNION ALL
        SELECT 2, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, format('%I.%I', n.nspname, c.relname), a.attname,
               CASE WHEN a.attname IS NULL THEN c.relacl ELSE a.attacl END, c.relowner,
               c.relnamespace IN (SELECT oid FROM own), c.oid IN (SELECT to_regclass(t) FROM unnest($4::text[]) AS t)
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT NULL::name AS attname, NULL::aclitem[] AS attacl
            UNION ALL
            SELECT attname, attacl FROM pg_attribute WHERE attrelid = c.oid AND attacl IS NOT NULL AND NOT attisdropped) AS a
        UNION ALL
        SELECT 3, 'ROUTINE', p.oid::regprocedure::text, NULL, p.proacl, p.proowner, p.pronamespace IN (SELECT oid FROM own), false
        FROM pg_proc AS p
        WHERE NOT (p.pronamespace IN (SELECT oid FROM own) AND p.proname = ANY ($3::text[]))
        UNION ALL
        SELECT 4, 'LANGUAGE', format('%I', lanname), NULL, lanacl, lanowner, false, false FROM pg_language
        UNION ALL
        SELECT 5, 'PARAMETER', parname, NULL, paracl, 10::oid, false, true FROM pg_parameter_acl
        UNION ALL
        SELECT 6, 'DATABASE', format('%I', datname), NULL, datacl, datdba, false, false
        FROM pg_database WHERE datname = current_database()
    ), granted AS (
        SELECT o.place, o.kind, o.name, o.is_own, o.is_table, r.rolname, r.is_made,
               pg_get_userbyid(a.grantor)::text AS grantor,
               string_agg(DISTINCT a.privilege_type || coalesce(' (' || quote_ident(o.col) || ')', ''), ', ') AS privileges
        FROM objects AS o, aclexplode(o.acl) AS a JOIN roles AS r ON r.oid = a.grantee
        WHERE a.grantee <> o.owner
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    )
    SELECT format('%s on %s %s of %s', g.privileges, lower(g.kind), g.name, g.rolname) AS name,
           format('REVOKE %s ON %s %s FROM %I', g.privileges, g.kind, g.name, g.rolname),
           g.grantor, g.is_made, g.is_made OR g.is_own, g.place
    FROM granted AS g WHERE g.is_made OR g.is_own OR g.is_table
    UNION ALL
    SELECT format('%s of %s', a.attribute, r.rolname), format('ALTER ROLE %I NO%s', r.rolname, a.attribute), NULL,
           r.is_made, r.is_made, 7
    FROM roles AS r, LATERAL (VALUES ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls)) AS a (attribute, has)
    WHERE a.has
    ORDER BY 6, 1";
