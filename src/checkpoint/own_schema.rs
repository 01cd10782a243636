//! Whether leadbridge's own schema is in the hands of somebody else: the owners of its objects, and its form as
//! `leadbridge migrate` has made it (`sql/own`). A trigger, a view or a policy of a stranger would run with the
//! rights of the role that uses the table, so both are judged by the catalog alone.

use super::Installation;
use crate::error::{Error, Result};
use crate::language::message;
use crate::model::change::Table;
use crate::model::side::Side;
use crate::postgres::{Database, Endpoint};

const OWNERS: &str = include_str!("../../sql/own/owners.sql");
const TRUSTED: &str = include_str!("../../sql/own/trusted.sql");
const SHAPE: &str = include_str!("../../sql/own/shape.sql");

/// The hash of all rows of [`shape`], in the form of the comment on the schema. `s` are the rows.
pub const HASH: &str = "'leadbridge shape ' || pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(\
    pg_catalog.string_agg(s.object || E'\\n' || s.definition, E'\\n' ORDER BY s.object COLLATE \"C\"), 'UTF8')), 'hex')";

/// Objects that an error names.
const NAMED: usize = 5;

/// What must be as `migrate` has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every object, and none beside.
    Whole,
    /// Every object that is there: the caller's own checks name what is missing.
    Present,
}

/// The query for the form of the schema whose oid is the expression `space`: rows of `object` and `definition`.
pub fn shape(space: &str) -> String {
    SHAPE.replace("{{space}}", space)
}

/// The roles that may own the schema, as the common table `trusted`. Parameter 2: [`replicated`].
pub(super) fn trusted() -> &'static str {
    TRUSTED
}

/// The names of the tables whose owners may own leadbridge's schema.
pub(super) fn replicated(database: Database<'_>) -> Vec<String> {
    Table::replicated(true).into_iter().map(|table| database.table(table)).collect()
}

/// Refuses a schema, or an object in it, of a role that has nothing to do with the replicated tables. No table
/// of the schema is read before.
///
/// # Errors
/// `Refused` with the objects and their owners.
pub async fn refuse_foreign_owner(database: Database<'_>) -> Result<()> {
    let step = database.during(format!("reading who owns leadbridge's schema on {}", database.side.name()));
    let sql = OWNERS.replace("{{trusted}}", trusted());
    let rows = step.rows(&sql, &[&database.names.schema, &replicated(database)]).await?;
    let objects: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if objects.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{}: somebody else has made or owns objects of the schema `{}`: {}",
        database.side,
        database.names.schema,
        named(&objects)
    ))
    .remedy(message!("checkpoint-remedy-foreign-objects")))
}

/// What of the schema is not as `migrate` has recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Objects that `migrate` has not made, or that were changed since.
    pub foreign: Vec<String>,
    pub missing: Vec<String>,
}

impl Differences {
    fn is_within(&self, extent: Extent) -> bool {
        self.foreign.is_empty() && (extent == Extent::Present || self.missing.is_empty())
    }
}

/// Refuses a schema that is not as `migrate` has made it. Without the schema there is nothing to refuse.
/// [`refuse_foreign_owner`] comes before.
///
/// # Errors
/// `Refused` with the objects; `Refused` when `migrate` has recorded no form.
pub async fn admit(database: Database<'_>, extent: Extent) -> Result<()> {
    let schema = &database.names.schema;
    let step = database.during(format!("comparing leadbridge's schema on {}", database.side.name()));
    let space = "(SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1)";
    let sql = format!(
        "SELECT pg_catalog.obj_description(n.oid, 'pg_namespace'), (SELECT {HASH} FROM ({}) AS s) \
         FROM pg_catalog.pg_namespace AS n WHERE n.nspname = $1",
        shape(space)
    );
    let Some(row) = step.row_if_any(&sql, &[schema]).await? else { return Ok(()) };
    let (recorded, found): (Option<String>, Option<String>) = (row.get(0), row.get(1));
    if recorded.is_some() && recorded == found {
        return Ok(());
    }
    if recorded.is_none_or(|recorded| !recorded.starts_with("leadbridge shape ")) {
        return Err(Error::refused(format!(
            "{}: `leadbridge migrate` of this version has not looked at the schema `{schema}` yet",
            database.side
        ))
        .remedy(message!("report-migrate")));
    }
    let differences = differences(database, &shape(space)).await?;
    if differences.is_within(extent) && differences != Differences::default() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{}: the schema `{schema}` is not as `leadbridge migrate` has made it{}{}",
        database.side,
        phrase("; not leadbridge's, or changed: ", &differences.foreign),
        phrase("; missing: ", &differences.missing)
    ))
    .remedy(message!("checkpoint-remedy-schema-differs")))
}

/// Compares the catalog with the rows that `migrate` has recorded.
async fn differences(database: Database<'_>, shape: &str) -> Result<Differences> {
    let sql = format!(
        "SELECT s.object IS NULL, coalesce(s.object, w.object) FROM ({shape}) AS s \
         FULL JOIN {} AS w ON w.object = s.object \
         WHERE pg_catalog.md5(s.definition) IS DISTINCT FROM w.definition \
         ORDER BY coalesce(s.object, w.object) NOT LIKE 'table %', 2",
        database.names.own("shape")
    );
    let step =
        database.during(format!("reading how leadbridge's schema was made on {}", database.side.name()));
    let rows = step.rows(&sql, &[&database.names.schema]).await?;
    let of = |missing: bool| rows.iter().filter(move |row| row.get::<_, bool>(0) == missing);
    let named = |missing| of(missing).map(|row| row.get(1)).collect();
    Ok(Differences { foreign: named(false), missing: named(true) })
}

fn phrase(what: &str, objects: &[String]) -> String {
    if objects.is_empty() { String::new() } else { format!("{what}{}", named(objects)) }
}

/// The first of the objects, for an error. A table that is listed stands for its columns, and for what is on it.
pub fn named(objects: &[String]) -> String {
    let tables: Vec<&str> = objects.iter().filter_map(|object| object.strip_prefix("table ")).collect();
    let is_part = |object: &String| {
        let of = |table: &&str| {
            object.strip_prefix("column ").is_some_and(|column| column.starts_with(&format!("{table}.")))
                || object.ends_with(&format!(" on {table}"))
        };
        tables.iter().any(of)
    };
    let whole: Vec<&str> = objects.iter().filter(|object| !is_part(object)).map(String::as_str).collect();
    let named = whole.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match whole.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Refuses a schema of another installation, of another owner, or in another form: what every command calls
/// that is about to write on `database`.
///
/// # Errors
/// `Refused` with the reason.
pub async fn enter(database: Database<'_>, landing: &Endpoint, extent: Extent) -> Result<()> {
    Installation::refuse_another(database, landing).await?;
    admit(database, extent).await
}

/// Refuses a role that leadbridge's functions would refuse, because the schema's owner has not named the role.
/// Without the functions there is nothing to refuse.
///
/// # Errors
/// `Refused` with the remedy.
pub async fn refuse_unserved(database: Database<'_>) -> Result<()> {
    let names = database.names;
    let step =
        database.during(format!("asking whom leadbridge's functions serve on {}", database.side.name()));
    let sql = "SELECT session_user::text, bool_and(pg_catalog.pg_has_role(session_user, p.proowner, 'USAGE')) \
               FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace \
               WHERE n.nspname = $1 AND p.prosecdef";
    let row = step.row(sql, &[&names.schema]).await?;
    let (role, owns): (String, Option<bool>) = (row.get(0), row.get(1));
    if owns != Some(false) {
        return Ok(());
    }
    let sql = format!("SELECT EXISTS (SELECT FROM {} AS s WHERE s.role = $1::name)", names.own("served"));
    if step.row(&sql, &[&role]).await?.get(0) {
        return Ok(());
    }
    let side = match database.side {
        Side::Landing => "landing",
        Side::Traffic => "traffic",
    };
    Err(Error::refused(format!(
        "{}: the owner of the schema `{}` has not named the role {role}, so leadbridge's functions refuse it",
        database.side, names.schema
    ))
    .remedy(message!("checkpoint-remedy-unserved", side = side, role = role)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stands_for_its_parts_and_a_long_list_is_cut() {
        let list = |objects: &[&str]| objects.iter().map(|object| (*object).to_owned()).collect::<Vec<_>>();
        let spy = list(&["table spy", "column spy.id", "trigger t on spy", "column spying.id"]);
        assert_eq!(named(&spy), "table spy, column spying.id");
        assert_eq!(named(&list(&["a", "b", "c", "d", "e", "f", "g"])), "a, b, c, d, e and 2 more");
    }
}
